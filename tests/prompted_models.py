"""Tiny models behind drawn virtual tokens: their folders as training writes them, and what they should answer."""

from __future__ import annotations

import torch
from safetensors.torch import save_file
from transformers import DynamicCache

from gyropilot.problems.text_generation import models
from gyropilot.problems.text_generation.tuning.prompted import Prompted


class Drawn:
    """VirtualTokens: drawn rows before texts and answers, of each task its own, or a drawn attention prefix."""

    def __init__(self, model, *, before_text=0, before_answer=0, prefix=0, tasks=1, seed=0):
        draw = torch.Generator().manual_seed(seed)
        width = model.get_input_embeddings().embedding_dim
        self.before_text, self.before_answer, self.tasks = before_text or prefix, before_answer, tasks
        self.is_causal, self.is_prefix = models.layout(model) != "encoder-decoder", bool(prefix)
        self._text = torch.randn(tasks, before_text, width, generator=draw)
        self._answer = torch.randn(tasks, before_answer, width, generator=draw)
        if prefix:
            layers, heads, head_width = cache_shape(model)
            self._prefix = torch.randn(2, tasks, layers, heads, prefix, head_width, generator=draw)

    def text_rows(self, task):
        return self._text[task] if self._text.shape[1] else None

    def answer_rows(self, task):
        return self._answer[task] if self._answer.shape[1] else None

    def key_values(self, task):
        return list(zip(*self._prefix[:, task], strict=True)) if self.is_prefix else None

    def save(self, folder):
        """Write the folder of an adapter that serving reads, with all tasks."""
        folder.mkdir(parents=True, exist_ok=True)
        metadata = {"format": "1"}
        if self.is_prefix:
            keys, values = (one.contiguous() for one in self._prefix[:, 0])
            save_file({"keys": keys, "values": values}, folder / "prefix.safetensors", metadata)
            return folder
        sides = {}
        for task in range(self.tasks):
            of = f".{task}" if task else ""
            sides[("decoder" if self.is_causal else "encoder") + of] = self.text_rows(task)
            sides |= {} if self.is_causal else {f"decoder{of}": self.answer_rows(task)}
        rows = {side: part.contiguous() for side, part in sides.items() if part is not None}
        save_file(rows, folder / "prompt.safetensors", metadata)
        return folder


def cache_shape(model):
    """Give layers, key heads and head width of a causal model's cache."""
    cache = DynamicCache()
    model(input_ids=torch.tensor([[5]]), past_key_values=cache, use_cache=True)
    return len(cache.layers), cache.layers[0].keys.shape[1], cache.layers[0].keys.shape[3]


def prompted(model, **rows):
    """Give the model behind drawn virtual tokens."""
    return Prompted(model, torch.nn.Module(), Drawn(model, **rows)).eval()


def full_forwards(tuned, prompt, count, *, task=0):
    """Give the most likely answer of `count` tokens, every one by a forward over the whole text without any cache."""
    answer = []
    with torch.inference_mode():
        while len(answer) < count:
            answer.append(int(next_logits(tuned, prompt, answer, task=task).argmax()))
    return answer


def next_logits(tuned, prompt, answer, *, task=0):
    """Give [vocabulary]: what comes after a prompt and the beginning of an answer, by the base's own forward."""
    base, tokens = tuned.get_base_model(), tuned.virtual_tokens
    if tokens.key_values(task) is not None:
        return _behind_prefix(base, tokens.key_values(task), [*prompt, *answer])
    if tokens.is_causal:
        return base(inputs_embeds=_embedded(base, tokens.text_rows(task), [*prompt, *answer])).logits[0, -1]
    read = _embedded(base, tokens.text_rows(task), prompt)
    written = _embedded(base, tokens.answer_rows(task), [models.answer_start(base), *answer])
    return base(inputs_embeds=read, decoder_inputs_embeds=written).logits[0, -1]


def _behind_prefix(base, key_values, text):
    cache = DynamicCache()
    for number, (keys, values) in enumerate(key_values):
        cache.update(keys[None], values[None], number)
    known = cache.get_seq_length()
    mask, positions = torch.ones(1, known + len(text), dtype=torch.long), torch.arange(known, known + len(text))[None]
    kind = {} if base.config.model_type == "mpt" else {"position_ids": positions}
    return base(
        input_ids=torch.tensor([text]), past_key_values=cache, attention_mask=mask, use_cache=True, **kind
    ).logits[0, -1]


def _embedded(base, rows, tokens):
    found = base.get_input_embeddings()(torch.tensor([tokens]))
    return found if rows is None else torch.cat([rows[None], found], 1)
