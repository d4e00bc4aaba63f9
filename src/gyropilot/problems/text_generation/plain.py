"""The summed loss of a pack by the model's own code: what every other way is compared with; called by forward.

Three forms, by how a model counts positions (architectures.Layout):

    packed           [a | b | c] in one sequence under a dense block mask, each row with position numbers of its own
    padded           [a . .]     rows side by side; causal, so that padding at the end is seen by nothing that counts
                     [b b b]
    encoder-decoder  prompts side by side to the encoder, answers to the decoder, which sees no padding of the prompts

Trained weights are float32. Where the processor is faster in bfloat16, the products are computed in it and the weights,
their gradients and the optimizer stay float32 (autocast); a frozen base is in bfloat16 itself.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, cast

import numpy as np
import torch

from gyropilot.problems.text_generation import models
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
        output = cast(Any, models.body_of(self._model))(
            input_ids=self._on_device(pack.input_ids)[None],
            position_ids=self._on_device(pack.position_ids)[None],
            attention_mask=self._on_device(pack.visible())[None, None],
            use_cache=False,
        )
        return cast(torch.Tensor, output.last_hidden_state[0, self._on_device(pack.label_positions)])

    def _padded(self, pack: Pack) -> torch.Tensor:
        rows = _rows(pack)
        tokens, mask = side_by_side(rows)
        output = cast(Any, models.body_of(self._model))(
            input_ids=self._on_device(tokens), attention_mask=self._on_device(mask), use_cache=False
        )
        places = [
            row * tokens.shape[1] + len(ids) - count - 1 + np.arange(count)
            for row, (ids, count) in enumerate(zip(rows, pack.label_counts, strict=True))
        ]
        hidden: torch.Tensor = output.last_hidden_state.flatten(0, 1)
        return hidden[self._on_device(np.concatenate(places))]

    def _answered(self, pack: Pack) -> torch.Tensor:
        encoder, decoder = (cast(Any, part) for part in models.encoder_and_decoder_of(self._model))
        start = models.answer_start(self._model)
        rows = list(zip(_rows(pack), pack.label_counts, strict=True))
        prompts, mask = side_by_side([ids[: len(ids) - count] for ids, count in rows])
        answers, is_real = side_by_side([np.concatenate(([start], ids[len(ids) - count : -1])) for ids, count in rows])
        seen = self._on_device(mask)
        encoded = encoder(input_ids=self._on_device(prompts), attention_mask=seen).last_hidden_state
        output = decoder(
            input_ids=self._on_device(answers),
            encoder_hidden_states=encoded,
            encoder_attention_mask=seen,
            use_cache=False,
        )
        hidden: torch.Tensor = output.last_hidden_state.flatten(0, 1)
        return hidden[self._on_device(np.flatnonzero(is_real))]

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


def _rows(pack: Pack) -> list[Ints]:
    """Give the tokens of each example of a pack whose examples share no start."""
    assert pack.prefix_length == 0
    return np.split(pack.input_ids, np.cumsum(pack.lengths)[:-1])
