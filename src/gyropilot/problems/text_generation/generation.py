"""Greedy generation for many prompts at once, as models are scored; served ones are computed in decoding/.

tests/conformance/test_decoding.py holds the two to the same tokens, for every family.

A causal model continues its prompts:

    prompts  [shared start][pad|rest of a]     the start that all have in common is computed once and its keys repeated;
                           [  rest of b  ]     the rests are padded on the left, the mask comes from lengths alone

One that counts positions by place (architectures.Layout "padded") gets whole prompts padded on the left: no hole may
lie inside a text. An encoder-decoder model reads the prompts once, padded on the right, and its decoder begins every
answer with the same token.

Virtual tokens of a tuned model (virtual_tokens.py) are read first, as part of the shared start or before each text,
or begin the cache; an encoder-decoder model's stand before what the encoder reads, and before the start token.

Rows that have ended leave the batch. transformers' own generate gives the same tokens and takes about twice the time:
it computes the shared start for every row, keeps ended rows, and its slice of the last position makes the product
with the head copy the head once a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from transformers import DynamicCache, EncoderDecoderCache

from gyropilot.problems.text_generation import embeddings, models, virtual_tokens
from gyropilot.problems.text_generation.models import body_of, head_of, unwrapped
from gyropilot.problems.text_generation.plain import side_by_side

_Rows = list[tuple[int, int, torch.Tensor]]
"""Trained rows and where they go, as embeddings.with_rows takes them."""
_COMPACT_SHARE = 0.8
"""Ended rows leave once fewer than this share of the batch is at work: leaving copies the keys."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model generated for one prompt."""

    token_ids: tuple[int, ...]
    """Without the token that ended it."""
    is_ended: bool
    """The model ended it by itself; else it was cut at the limit."""


@torch.inference_mode()
def generate(
    model: torch.nn.Module,
    prompts: Sequence[Sequence[int]],
    *,
    stop_ids: Sequence[int],
    max_new_tokens: int,
    tasks: Sequence[int] | None = None,
) -> list[Answer]:
    """Give the most likely continuation of each prompt, token by token.

    Args:
        model: in evaluation mode.
        prompts: token ids, at least one each.
        stop_ids: tokens that end an answer.
        max_new_tokens: most tokens of an answer.
        tasks: of each prompt, in a model tuned on several tasks; None: all of the first.
    """
    places_by_group: dict[tuple[int, int], list[int]] = {}
    for place in range(len(prompts)):
        task = 0 if tasks is None else tasks[place]
        places_by_group.setdefault((task, place if _stands_alone(model) else 0), []).append(place)
    answers: dict[int, Answer] = {}
    for (task, _), places in places_by_group.items():
        batch = _batch(model, [prompts[place] for place in places], task)
        found = _answered(batch, len(places), stop_ids=stop_ids, max_new_tokens=max_new_tokens)
        answers.update(zip(places, found, strict=True))
    return [answers[place] for place in range(len(prompts))]


@torch.inference_mode()
def first_logits(model: torch.nn.Module, prompt: Sequence[int], *, task: int = 0) -> torch.Tensor:
    """Give [vocabulary]: the logits of an answer's first token, in float32 on the CPU."""
    return _batch(model, [prompt], task).logits()[0].float().cpu()


class _Batch(Protocol):
    """Prompts on their way through a model."""

    rows: list[int]
    """Which of the prompts are still in it, in order."""

    def logits(self) -> torch.Tensor:
        """Give [rows, vocabulary]: what each row would say next."""

    def advance(self, tokens: torch.Tensor, going: Sequence[int]) -> None:
        """Read one token a row; `going` are the places of rows still wanted, the others may leave."""


def _answered(batch: _Batch, count: int, *, stop_ids: Sequence[int], max_new_tokens: int) -> list[Answer]:
    answers: list[list[int]] = [[] for _ in range(count)]
    ended = [False] * count
    while True:
        tokens = batch.logits().argmax(-1).cpu()
        going = []
        for place, (row, token) in enumerate(zip(batch.rows, tokens.tolist(), strict=True)):
            if ended[row] or len(answers[row]) >= max_new_tokens:
                continue
            if token in stop_ids:
                ended[row] = True
                continue
            answers[row].append(token)
            if len(answers[row]) < max_new_tokens:
                going.append(place)
        if not going:
            break
        batch.advance(tokens, going)
    return [Answer(token_ids=tuple(ids), is_ended=is_ended) for ids, is_ended in zip(answers, ended, strict=True)]


def _stands_alone(model: torch.nn.Module) -> bool:
    """Say whether a prompt must be answered by itself: padding would lie between a cached prefix and its text."""
    tokens = virtual_tokens.of(model)
    return models.layout(model) == "padded" and tokens is not None and tokens.key_values(0) is not None


def _batch(model: torch.nn.Module, prompts: Sequence[Sequence[int]], task: int) -> _Batch:
    is_causal = models.layout(model) != "encoder-decoder"
    return _Texts(model, prompts, task) if is_causal else _Answers(model, prompts, task)


class _Texts:
    """Prompts that a causal model continues: cache, mask and positions of the rows still in it."""

    def __init__(self, model: torch.nn.Module, prompts: Sequence[Sequence[int]], task: int) -> None:
        self._body, self._head = body_of(model), head_of(model)
        self._embedding = embeddings.embedding_of(model)
        self._device = self._head.weight.device
        self.rows = list(range(len(prompts)))
        self._cache = DynamicCache(config=unwrapped(model).config)
        tokens = virtual_tokens.of(model)
        rows = None if tokens is None else tokens.text_rows(task)
        cached = self._begin_cache(None if tokens is None else tokens.key_values(task))
        is_packed = models.layout(model) == "packed"
        shared = _shared_start(prompts) if is_packed else 0
        known = cached
        if is_packed and (shared or rows is not None):
            start, before = _behind(rows, prompts[0][:shared])
            rows, known = None, cached + len(start)
            self._read(start[None], before, torch.ones(1, known, dtype=torch.long), torch.arange(cached, known)[None])
        if known:
            self._cache.batch_repeat_interleave(len(prompts))
        self._hidden = self._read_rests([_behind(rows, prompt[shared:]) for prompt in prompts], known)

    def _begin_cache(self, key_values: Sequence[tuple[torch.Tensor, torch.Tensor]] | None) -> int:
        """Put keys and values of virtual tokens into the cache; give how many tokens they are."""
        for number, (keys, values) in enumerate(key_values or ()):
            kind = self._embedding.weight.dtype
            self._cache.update(keys[None].to(self._device, kind), values[None].to(self._device, kind), number)
        return 0 if key_values is None else key_values[0][0].shape[1]

    def _read_rests(self, rests: Sequence[tuple[torch.Tensor, _Rows]], known: int) -> torch.Tensor:
        """Read what the prompts do not share, padded on the left, each after `known` tokens."""
        width = max(len(rest) for rest, _ in rests)
        tokens, mask = (torch.zeros(len(rests), width, dtype=torch.long) for _ in range(2))
        rows: _Rows = []
        for text, (rest, before) in enumerate(rests):
            start = width - len(rest)
            tokens[text, start:] = rest
            mask[text, start:] = 1
            rows += [(text, start, part) for _, _, part in before]
        positions = (mask.cumsum(1) - 1).clamp(min=0) + known
        self._mask = torch.cat([torch.ones(len(rests), known, dtype=torch.long), mask], 1)
        self._position = positions[:, -1:]
        return self._read(tokens, rows, self._mask, positions)

    def logits(self) -> torch.Tensor:
        return cast(torch.Tensor, self._head(self._hidden))

    def advance(self, tokens: torch.Tensor, going: Sequence[int]) -> None:
        if len(going) < _COMPACT_SHARE * len(self.rows):
            places = torch.tensor(going)
            self._cache.batch_select_indices(places.to(self._device))
            self.rows = [self.rows[place] for place in going]
            tokens, self._mask, self._position = tokens[places], self._mask[places], self._position[places]
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(self.rows), 1)], 1)
        self._position = self._position + 1
        self._hidden = self._read(tokens[:, None], [], self._mask, self._position)

    def _read(self, tokens: torch.Tensor, rows: _Rows, mask: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Give [rows, hidden]: the last position's hidden state, contiguous so that the head is not copied."""
        output = self._body(
            inputs_embeds=embeddings.with_rows(self._embedding, tokens, rows),
            attention_mask=mask.to(self._device),
            position_ids=positions.to(self._device),
            past_key_values=self._cache,
            use_cache=True,
        )
        return output.last_hidden_state[:, -1].contiguous()  # type: ignore[no-any-return]


class _Answers:
    """Answers that a decoder makes to encoded prompts."""

    def __init__(self, model: torch.nn.Module, prompts: Sequence[Sequence[int]], task: int) -> None:
        encoder, self._decoder = (cast(Any, part) for part in models.encoder_and_decoder_of(model))
        self._head, self._scale = head_of(model), models.head_scale(model)
        self._embedding = embeddings.embedding_of(model)
        self.rows = list(range(len(prompts)))
        virtual = virtual_tokens.of(model)
        before = [_behind(None if virtual is None else virtual.text_rows(task), prompt) for prompt in prompts]
        tokens, mask = side_by_side([ids.numpy() for ids, _ in before])
        rows = [(text, 0, part) for text, (_, parts) in enumerate(before) for _, _, part in parts]
        self._mask = torch.from_numpy(mask).to(self._head.weight.device)
        embedded = embeddings.with_rows(self._embedding, torch.from_numpy(tokens), rows)
        self._encoded = encoder(inputs_embeds=embedded, attention_mask=self._mask).last_hidden_state
        self._cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        start, parts = _behind(None if virtual is None else virtual.answer_rows(task), [models.answer_start(model)])
        rows = [(text, 0, part) for text in self.rows for _, _, part in parts]
        self._hidden = self._read(start.expand(len(prompts), -1), rows)

    def logits(self) -> torch.Tensor:
        return cast(torch.Tensor, self._head(self._hidden * self._scale if self._scale != 1.0 else self._hidden))

    def advance(self, tokens: torch.Tensor, going: Sequence[int]) -> None:
        if len(going) < _COMPACT_SHARE * len(self.rows):
            places = torch.tensor(going)
            there = places.to(self._mask.device)
            self._cache.batch_select_indices(there)
            self._mask, self._encoded = self._mask[there], self._encoded[there]
            self.rows, tokens = [self.rows[place] for place in going], tokens[places]
        self._hidden = self._read(tokens[:, None], [])

    def _read(self, tokens: torch.Tensor, rows: _Rows) -> torch.Tensor:
        output = self._decoder(
            inputs_embeds=embeddings.with_rows(self._embedding, tokens, rows),
            encoder_hidden_states=self._encoded,
            encoder_attention_mask=self._mask,
            past_key_values=self._cache,
            use_cache=True,
        )
        return output.last_hidden_state[:, -1].contiguous()  # type: ignore[no-any-return]


def _behind(rows: torch.Tensor | None, tokens: Sequence[int]) -> tuple[torch.Tensor, _Rows]:
    """Give tokens with a place for each of `rows` before them, and the rows for the one text that these are."""
    if rows is None:
        return torch.tensor(tokens, dtype=torch.long), []
    return torch.tensor([*[0] * len(rows), *tokens], dtype=torch.long), [(0, 0, rows)]


def _shared_start(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens that all prompts begin with, at least one of each left over."""
    if len(prompts) < 2:
        return 0
    longest = min(len(prompt) for prompt in prompts) - 1
    first = prompts[0]
    for place in range(longest):
        if any(prompt[place] != first[place] for prompt in prompts):
            return place
    return longest
