"""The summed loss of a pack by the model's own code: what every other way is compared with; called by forward.

Three forms, by how a model counts positions (architectures.Layout):

    packed           [a | b | c] in one sequence under a dense block mask, each row with position numbers of its own
    padded           [a . .]     rows side by side; causal, so that padding at the end is seen by nothing that counts
                     [b b b]
    encoder-decoder  prompts side by side to the encoder, answers to the decoder, which sees no padding of the prompts

Virtual tokens (virtual_tokens.py) stand first in each: as rows before the embedded tokens, or as keys and values in a
cache that every block finds filled.

Trained weights are float32. Where the processor is faster in bfloat16, the products are computed in it and the weights,
their gradients and the optimizer stay float32 (autocast); a frozen base is in bfloat16 itself.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, cast

import numpy as np
import torch
from transformers import DynamicCache

from gyropilot.problems.text_generation import models, virtual_tokens
from gyropilot.problems.text_generation.architectures import Layout
from gyropilot.problems.text_generation.batches import Ints, Pack
from gyropilot.problems.text_generation.head import label_loss_sum
from gyropilot.problems.text_generation.models import DTYPES, DtypeName


class PlainForward:
    """The model's own forward, in the form that suits it."""

    name = "plain"
    is_parallel = False

    def __init__(self, model: torch.nn.Module, *, precision: DtypeName = "float32") -> None:
        self.layout: Layout = models.layout(model)
        self._model = model
        self._head = models.head_of(model)
        self._scale = models.head_scale(model)
        self._precision = precision
        self._tokens = virtual_tokens.of(model)
        self.virtual_tokens = virtual_tokens.count_of(model)

    def loss_sum(self, pack: Pack) -> torch.Tensor:
        """Give the summed loss through the model's own code."""
        hidden_of = {"packed": self._packed, "padded": self._padded, "encoder-decoder": self._answered}[self.layout]
        with self._computed():
            hidden = hidden_of(pack) * self._scale if self._scale != 1.0 else hidden_of(pack)
        if self._is_mixed():
            hidden = hidden.to(DTYPES[self._precision])
        return label_loss_sum(hidden, self._head.weight, self._on_device(pack.labels))

    def refresh(self) -> None:
        """Nothing is kept between packs."""

    def _packed(self, pack: Pack) -> torch.Tensor:
        body = cast(Any, models.body_of(self._model))
        whole = pack.after(self.virtual_tokens)
        cache = self._cache(pack.task, rows=1)
        kept = whole.tokens - pack.tokens if cache is not None else 0
        output = body(
            **self._read(body, pack.input_ids[None], self._text_rows(pack.task)),
            position_ids=self._on_device(whole.position_ids[kept:])[None],
            attention_mask=self._on_device(whole.visible()[kept:])[None, None],
            past_key_values=cache,
            use_cache=False,
        )
        return cast(torch.Tensor, output.last_hidden_state[0, self._on_device(whole.label_positions - kept)])

    def _padded(self, pack: Pack) -> torch.Tensor:
        body = cast(Any, models.body_of(self._model))
        rows = _rows(pack)
        tokens, mask = side_by_side(rows)
        output = body(
            **self._read(body, tokens, self._text_rows(pack.task)),
            attention_mask=self._on_device(_after_ones(mask, self.virtual_tokens)),
            past_key_values=self._cache(pack.task, rows=len(rows)),
            use_cache=False,
        )
        hidden: torch.Tensor = output.last_hidden_state[:, -tokens.shape[1] :].flatten(0, 1)
        places = [
            row * tokens.shape[1] + len(ids) - count - 1 + np.arange(count)
            for row, (ids, count) in enumerate(zip(rows, pack.label_counts, strict=True))
        ]
        return hidden[self._on_device(np.concatenate(places))]

    def _answered(self, pack: Pack) -> torch.Tensor:
        encoder, decoder = (cast(Any, part) for part in models.encoder_and_decoder_of(self._model))
        start = models.answer_start(self._model)
        rows = list(zip(_rows(pack), pack.label_counts, strict=True))
        prompts, mask = side_by_side([ids[: len(ids) - count] for ids, count in rows])
        answers, is_real = side_by_side([np.concatenate(([start], ids[len(ids) - count : -1])) for ids, count in rows])
        seen = self._on_device(_after_ones(mask, self._tokens.before_text if self._tokens else 0))
        asked = self._read(encoder, prompts, self._text_rows(pack.task))
        encoded = encoder(**asked, attention_mask=seen).last_hidden_state
        answered = self._tokens.answer_rows(pack.task) if self._tokens else None
        output = decoder(
            **self._read(decoder, answers, answered),
            encoder_hidden_states=encoded,
            encoder_attention_mask=seen,
            use_cache=False,
        )
        hidden: torch.Tensor = output.last_hidden_state[:, -answers.shape[1] :].flatten(0, 1)
        return hidden[self._on_device(np.flatnonzero(is_real))]

    def _text_rows(self, task: int) -> torch.Tensor | None:
        return self._tokens.text_rows(task) if self._tokens else None

    def _cache(self, task: int, *, rows: int) -> DynamicCache | None:
        """Give a cache that holds the attention prefix of each of `rows` texts; None where there is none."""
        key_values = self._tokens.key_values(task) if self._tokens else None
        if key_values is None:
            return None
        dtype = self._head.weight.dtype
        return DynamicCache(
            [tuple(one.to(dtype).expand(rows, *one.shape) for one in (keys, values)) for keys, values in key_values]
        )

    def _read(self, part: Any, tokens: Ints, rows: torch.Tensor | None) -> dict[str, torch.Tensor]:  # noqa: ANN401
        """Give what `part` of the model reads: [rows, longest] tokens, or their embeddings after `rows` in each."""
        ids = self._on_device(tokens)
        if rows is None:
            return {"input_ids": ids}
        embedded = part.get_input_embeddings()(ids)
        before = rows.to(embedded.dtype).expand(len(tokens), *rows.shape)
        return {"inputs_embeds": torch.cat((before, embedded), dim=1)}

    def _is_mixed(self) -> bool:
        return self._precision == "bfloat16" and self._head.weight.dtype == torch.float32

    def _computed(self) -> AbstractContextManager[object]:
        return torch.autocast(self._head.weight.device.type, dtype=torch.bfloat16, enabled=self._is_mixed())

    def _on_device(self, values: Ints | np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(self._head.weight.device)


def side_by_side(rows: list[Ints]) -> tuple[Ints, Ints]:
    """Give [rows, longest] int64 twice: tokens, 0 at the end where a row is shorter; and 1 where they are its own.

    Which token fills up is of no meaning: the mask comes from lengths alone.
    """
    lengths = np.array([len(row) for row in rows])
    mask = (np.arange(int(lengths.max()))[None, :] < lengths[:, None]).astype(np.int64)
    tokens = np.zeros_like(mask)
    tokens[mask.astype(bool)] = np.concatenate(rows)
    return tokens, mask


def _after_ones(mask: Ints, count: int) -> Ints:
    """Give [rows, longest] as [rows, count + longest], ones in front."""
    return np.pad(mask, ((0, 0), (count, 0)), constant_values=1)


def _rows(pack: Pack) -> list[Ints]:
    """Give the tokens of each example of a pack whose examples share no start."""
    assert pack.prefix_length == 0
    return np.split(pack.input_ids, np.cumsum(pack.lengths)[:-1])
