"""Greedy generation for many prompts at once, as models are scored; served ones are computed in decoding/.

tests/conformance/test_decoding.py holds the two to the same tokens, for every family.

A causal model continues its prompts:

    prompts  [shared start][pad|rest of a]     the start that all have in common is computed once and its keys repeated;
                           [  rest of b  ]     the rests are padded on the left, the mask comes from lengths alone

One that counts positions by place (architectures.Layout "padded") gets whole prompts padded on the left: no hole may
lie inside a text. An encoder-decoder model reads the prompts once, padded on the right, and its decoder begins every
answer with the same token.

Rows that have ended leave the batch. transformers' own generate gives the same tokens and takes about twice the time:
it computes the shared start for every row, keeps ended rows, and its slice of the last position makes the product
with the head copy the head once a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
from transformers import DynamicCache, EncoderDecoderCache

from gyropilot.problems.text_generation import models
from gyropilot.problems.text_generation.models import body_of, head_of, unwrapped
from gyropilot.problems.text_generation.plain import side_by_side

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
    model: torch.nn.Module, prompts: Sequence[Sequence[int]], *, stop_ids: Sequence[int], max_new_tokens: int
) -> list[Answer]:
    """Give the most likely continuation of each prompt, token by token.

    Args:
        model: in evaluation mode.
        prompts: token ids, at least one each.
        stop_ids: tokens that end an answer.
        max_new_tokens: most tokens of an answer.
    """
    batch = _batch(model, prompts)
    answers: list[list[int]] = [[] for _ in prompts]
    ended = [False] * len(prompts)
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


@torch.inference_mode()
def first_logits(model: torch.nn.Module, prompt: Sequence[int]) -> torch.Tensor:
    """Give [vocabulary]: the logits of an answer's first token, in float32 on the CPU."""
    return _batch(model, [prompt]).logits()[0].float().cpu()


class _Batch(Protocol):
    """Prompts on their way through a model."""

    rows: list[int]
    """Which of the prompts are still in it, in order."""

    def logits(self) -> torch.Tensor:
        """Give [rows, vocabulary]: what each row would say next."""

    def advance(self, tokens: torch.Tensor, going: Sequence[int]) -> None:
        """Read one token a row; `going` are the places of rows still wanted, the others may leave."""


def _batch(model: torch.nn.Module, prompts: Sequence[Sequence[int]]) -> _Batch:
    return _Answers(model, prompts) if models.layout(model) == "encoder-decoder" else _Texts(model, prompts)


class _Texts:
    """Prompts that a causal model continues: cache, mask and positions of the rows still in it."""

    def __init__(self, model: torch.nn.Module, prompts: Sequence[Sequence[int]]) -> None:
        self._body, self._head = body_of(model), head_of(model)
        self._device = self._head.weight.device
        self.rows = list(range(len(prompts)))
        self._cache = DynamicCache(config=unwrapped(model).config)
        shared = _shared_start(prompts) if models.layout(model) == "packed" else 0
        if shared:
            self._read(
                torch.tensor([prompts[0][:shared]]), torch.ones(1, shared, dtype=torch.long), torch.arange(shared)[None]
            )
            self._cache.batch_repeat_interleave(len(prompts))
        rests = [torch.tensor(prompt[shared:]) for prompt in prompts]
        width = max(len(rest) for rest in rests)
        tokens = torch.zeros(len(rests), width, dtype=torch.long)
        mask = torch.zeros(len(rests), width, dtype=torch.long)
        for row, rest in enumerate(rests):
            tokens[row, width - len(rest) :] = rest
            mask[row, width - len(rest) :] = 1
        positions = (mask.cumsum(1) - 1).clamp(min=0) + shared
        self._mask = torch.cat([torch.ones(len(rests), shared, dtype=torch.long), mask], 1)
        self._position = positions[:, -1:]
        self._hidden = self._read(tokens, self._mask, positions)

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
        self._hidden = self._read(tokens[:, None], self._mask, self._position)

    def _read(self, tokens: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Give [rows, hidden]: the last position's hidden state, contiguous so that the head is not copied."""
        output = self._body(
            input_ids=tokens.to(self._device),
            attention_mask=mask.to(self._device),
            position_ids=positions.to(self._device),
            past_key_values=self._cache,
            use_cache=True,
        )
        return output.last_hidden_state[:, -1].contiguous()  # type: ignore[no-any-return]


class _Answers:
    """Answers that a decoder makes to encoded prompts."""

    def __init__(self, model: torch.nn.Module, prompts: Sequence[Sequence[int]]) -> None:
        encoder, self._decoder = (cast(Any, part) for part in models.encoder_and_decoder_of(model))
        self._head, self._scale = head_of(model), models.head_scale(model)
        device = self._head.weight.device
        self.rows = list(range(len(prompts)))
        tokens, mask = side_by_side([np.array(prompt) for prompt in prompts])
        self._mask = torch.from_numpy(mask).to(device)
        self._encoded = encoder(
            input_ids=torch.from_numpy(tokens).to(device), attention_mask=self._mask
        ).last_hidden_state
        self._cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        self._hidden = self._read(torch.full((len(prompts),), models.answer_start(model)))

    def logits(self) -> torch.Tensor:
        return cast(torch.Tensor, self._head(self._hidden * self._scale if self._scale != 1.0 else self._hidden))

    def advance(self, tokens: torch.Tensor, going: Sequence[int]) -> None:
        if len(going) < _COMPACT_SHARE * len(self.rows):
            places = torch.tensor(going)
            there = places.to(self._mask.device)
            self._cache.batch_select_indices(there)
            self._mask, self._encoded = self._mask[there], self._encoded[there]
            self.rows, tokens = [self.rows[place] for place in going], tokens[places]
        self._hidden = self._read(tokens)

    def _read(self, tokens: torch.Tensor) -> torch.Tensor:
        output = self._decoder(
            input_ids=tokens[:, None].to(self._mask.device),
            encoder_hidden_states=self._encoded,
            encoder_attention_mask=self._mask,
            past_key_values=self._cache,
            use_cache=True,
        )
        return output.last_hidden_state[:, -1].contiguous()  # type: ignore[no-any-return]


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
