"""Decodes with transformers' own code, every family and device; rows share one cache and join and leave between steps.

    cohort   keys and values of its rows side by side, each padded on the left, the mask from lengths alone
             [. . a a a a]
             [b b b b b b]
             [. . . . c c]

Prompts are read in cohorts of their own and join the others at their first step. An encoder-decoder model's cohort
also has the encoded prompts' keys, padded on the right. Virtual tokens are read as rows in the place of embeddings; a
text behind an attention prefix begins in a cohort of its own, since padding may not lie between the two. Adapters add
to the linear layers' results, row by row, by hooks: no wrapper stands round the model, and rows with different
adapters are computed together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch.nn import functional
from transformers import DynamicCache, EncoderDecoderCache

from gyropilot.problems.text_generation import embeddings, models
from gyropilot.problems.text_generation.decoding import prompt_tokens
from gyropilot.problems.text_generation.decoding.adapters import Adapter, check_fits, read_adapter
from gyropilot.problems.text_generation.decoding.decoder import LoadedAdapter, Read, Row
from gyropilot.problems.text_generation.decoding.virtual_tokens import NOTHING, Place, TokensBefore
from gyropilot.problems.text_generation.models import DTYPES, DtypeName
from gyropilot.problems.text_generation.plain import side_by_side

Side = Literal["left", "right"]


@dataclass(eq=False)
class _Row:
    """A text; its keys and values are in its cohort."""

    prompt_length: int
    adapter: Adapter | None
    before: TokensBefore
    cohort: _Cohort | None = None
    length: int = 0
    """Tokens read."""

    @property
    def is_answering(self) -> bool:
        """Whether the prompt has been read."""
        return self.length >= self.prompt_length


@dataclass(eq=False)
class _Cohort:
    """Rows whose keys and values lie in one cache."""

    rows: list[_Row]
    cache: DynamicCache
    """[rows, heads, width, head width] a layer; of an encoder-decoder model that of the decoder."""
    mask: torch.Tensor
    """[rows, width] int64: 1 where a row has a token."""
    crossed: DynamicCache | None = None
    """Keys and values of the encoded prompts."""
    prompt_mask: torch.Tensor | None = None
    ended: set[_Row] = field(default_factory=set)


class PlainDecoder:
    """A model of transformers and its cohorts."""

    name = "plain"

    def __init__(self, folder: Path, *, dtype: DtypeName) -> None:
        """Load the model; onto the accelerator where there is one.

        Raises:
            TrainingFailed: the folder holds no model of a family known here.
        """
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = models.load(folder, dtype=dtype, attention="sdpa").model.to(self._device)
        _own(self._model)
        self._head, self._scale = models.head_of(self._model), models.head_scale(self._model)
        self._dtype = DTYPES[dtype]
        self._is_causal = models.layout(self._model) != "encoder-decoder"
        self._embedding = embeddings.embedding_of(self._model)
        config: Any = cast(Any, self._model).config
        self.vocabulary = int(self._head.weight.shape[0])
        self.model_tokens: int | None = _found(config, "max_position_embeddings", "max_seq_len", "n_positions")
        self.weight_bytes = sum(one.nbytes for one in self._model.parameters())
        self.token_bytes = _token_bytes(config) * self._dtype.itemsize
        self.reads_in_parts = self._is_causal
        self._place = Place(
            is_causal=self._is_causal,
            width=self._embedding.embedding_dim,
            cache=self._cache_shape() if self._is_causal else (0, 0, 0),
            model_tokens=self.model_tokens,
        )
        self._linears = {
            name: module for name, module in self._model.named_modules() if isinstance(module, torch.nn.Linear)
        }
        self._hooked: set[str] = set()
        self._assigned: list[_Row] = []

    def read_adapter(self, folder: Path, *, task: int) -> LoadedAdapter:
        """Load one task of an adapter folder; raises TrainingFailed where it does not fit the model."""
        adapter = read_adapter(folder, self._place, task=task, dtype=self._dtype, device=self._device)
        check_fits(adapter, {name: tuple(module.weight.shape) for name, module in self._linears.items()})
        return adapter

    def tokens_kept(self, lengths: Sequence[int]) -> int:
        """Give how many there are when all are padded to the longest."""
        return len(lengths) * max(lengths, default=0)

    def text_before(self, prompt: Sequence[int]) -> Sequence[int]:
        """Give the tokens that an answer continues: the prompt, or the token that begins every answer."""
        return prompt if self._is_causal else [models.answer_start(self._model)]

    def begin(self, prompt: Sequence[int], adapter: LoadedAdapter | None) -> Row:
        """Give the row of a new text; nothing is computed."""
        mine = cast(Adapter | None, adapter)
        if mine is not None:
            self._hook(mine.changes)
        before = NOTHING if mine is None else mine.before
        return _Row(prompt_length=len(prompt) + before.known, adapter=mine, before=before)

    @torch.inference_mode()
    def compute(self, reads: Sequence[Read]) -> torch.Tensor:
        """Read tokens and give [reads, vocabulary] float32 on the CPU: what each row would say next."""
        tokens_by_row = {cast(_Row, one.row): one.tokens for one in reads}
        hear_by_row = {cast(_Row, one.row): one.hear for one in reads if one.hear is not None}
        logits: dict[_Row, torch.Tensor] = {}
        for cohort in self._cohorts(tokens_by_row):
            hidden = self._read(cohort, [tokens_by_row[row] for row in cohort.rows])
            # contiguous, or the product copies the head once a row
            found = self._logits(hidden[:, -1].contiguous())
            logits.update(zip(cohort.rows, found, strict=True))
            for row, mine in zip(cohort.rows, hidden, strict=True):
                if row in hear_by_row:
                    read = mine[len(mine) - len(tokens_by_row[row]) :]
                    prompt_tokens.tell(hear_by_row[row], read, self._logits, vocabulary=self.vocabulary)
        return torch.stack([logits[row] for row in tokens_by_row])

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Give [rows, vocabulary] float32 on the CPU."""
        found = self._head(hidden * self._scale if self._scale != 1.0 else hidden)
        return cast(torch.Tensor, found).float().cpu()

    def end(self, row: Row) -> None:
        """Let go of a row."""
        mine = cast(_Row, row)
        if mine.cohort is not None:
            mine.cohort.ended.add(mine)

    def reset(self) -> None:
        """Let go of all rows; each holds its cohort, so nothing else does."""
        self._assigned = []

    def _cohorts(self, tokens_by_row: dict[_Row, Sequence[int]]) -> list[_Cohort]:
        """Give the cohorts that together hold each row once, all rows of one with as many tokens to read."""
        new = [row for row in tokens_by_row if row.cohort is None]
        # one behind a prefix is never whole here: it has its cache to itself until it answers
        whole = [row for row in new if len(tokens_by_row[row]) == row.prompt_length]
        parts = [[row] for row in new if row not in whole]
        fresh = [self._new_cohort(rows) for rows in ([whole] if whole else []) + parts]
        known = list(dict.fromkeys(row.cohort for row in tokens_by_row if row.cohort and row not in new))
        for cohort in known:
            self._drop_ended(cohort)
        # a part of a prompt may be one token long as well
        steps = [one for one in known if all(row.is_answering for row in one.rows)]
        reading = [one for one in known if one not in steps]
        return ([_joined(steps)] if steps else []) + reading + fresh

    def _new_cohort(self, rows: list[_Row]) -> _Cohort:
        cohort = _Cohort(rows=rows, cache=DynamicCache(), mask=torch.zeros(len(rows), 0, dtype=torch.long))
        for row in rows:
            row.cohort = cohort
        known = rows[0].before.known
        if known:
            for number, (keys, values) in enumerate(zip(*(rows[0].before.prefix or ()), strict=True)):
                cohort.cache.update(keys[None], values[None], number)
            cohort.mask, rows[0].length = torch.ones(1, known, dtype=torch.long), known
        return cohort

    def _drop_ended(self, cohort: _Cohort) -> None:
        if not cohort.ended:
            return
        kept = [place for place, row in enumerate(cohort.rows) if row not in cohort.ended]
        places = torch.tensor(kept)
        cohort.rows, cohort.mask, cohort.ended = [cohort.rows[place] for place in kept], cohort.mask[places], set()
        cohort.cache.batch_select_indices(places.to(self._device))
        # Rows come and go: without this a cohort that never empties would grow by a token a step for ever.
        width = cohort.mask.shape[1]
        empty = int(cohort.mask.amax(0).argmax())
        cohort.mask = cohort.mask[:, empty:]
        _cut(cohort.cache, empty, width)
        if cohort.crossed is not None and cohort.prompt_mask is not None:
            cohort.prompt_mask = cohort.prompt_mask[places]
            longest = int(cohort.prompt_mask.sum(1).max())
            cohort.prompt_mask = cohort.prompt_mask[:, :longest]
            cohort.crossed.batch_select_indices(places.to(self._device))
            _cut(cohort.crossed, 0, longest)

    def _read(self, cohort: _Cohort, tokens: list[Sequence[int]]) -> torch.Tensor:
        """Give [rows, length, hidden]: the hidden state of each token, those of a text at the end of its row."""
        self._assigned = cohort.rows
        output = self._continued(cohort, tokens) if self._is_causal else self._answered(cohort, tokens)
        for row, read in zip(cohort.rows, tokens, strict=True):
            row.length += len(read)
        return cast(torch.Tensor, output.last_hidden_state)

    def _continued(self, cohort: _Cohort, tokens: list[Sequence[int]]) -> Any:  # noqa: ANN401 - of transformers
        width = max(len(read) for read in tokens)
        ids, mask = (torch.zeros(len(tokens), width, dtype=torch.long) for _ in range(2))
        for row, read in enumerate(tokens):
            ids[row, width - len(read) :] = torch.tensor(read)
            mask[row, width - len(read) :] = 1
        read_before = torch.tensor([row.length for row in cohort.rows])[:, None]
        cohort.mask = torch.cat([cohort.mask, mask], 1)
        body = cast(Any, models.body_of(self._model))
        return body(
            inputs_embeds=embeddings.with_rows(self._embedding, ids, _rows_among(cohort, tokens, width)),
            attention_mask=cohort.mask.to(self._device),
            position_ids=((mask.cumsum(1) - 1).clamp(min=0) + read_before).to(self._device),
            past_key_values=cohort.cache,
            use_cache=True,
        )

    def _answered(self, cohort: _Cohort, tokens: list[Sequence[int]]) -> Any:  # noqa: ANN401 - of transformers
        encoder, decoder = (cast(Any, part) for part in models.encoder_and_decoder_of(self._model))
        rows: list[tuple[int, int, torch.Tensor]] = []
        if cohort.prompt_mask is None:
            ids, mask = side_by_side([np.array(read) for read in tokens])
            cohort.prompt_mask, cohort.crossed = torch.from_numpy(mask), DynamicCache()
            befores = [row.before for row in cohort.rows]
            rows = [(row, 0, one.text_rows) for row, one in enumerate(befores) if one.text_rows is not None]
            encoded = encoder(
                inputs_embeds=embeddings.with_rows(self._embedding, torch.from_numpy(ids), rows),
                attention_mask=cohort.prompt_mask.to(self._device),
            ).last_hidden_state
            tokens, cohort.mask, rows = self._answer_starts([one.answer_rows for one in befores])
        else:
            # their keys are in the cache; only the shape is looked at
            shape = (*cohort.prompt_mask.shape, int(encoder.config.d_model))
            encoded = torch.zeros((), dtype=self._dtype, device=self._device).expand(shape)
        cohort.mask = torch.cat([cohort.mask, cohort.mask.new_ones(len(tokens), 1)], 1)
        return decoder(
            inputs_embeds=embeddings.with_rows(self._embedding, torch.tensor(tokens), rows),
            attention_mask=cohort.mask.to(self._device),
            encoder_hidden_states=encoded,
            encoder_attention_mask=cohort.prompt_mask.to(self._device),
            past_key_values=EncoderDecoderCache(cohort.cache, cohort.crossed),
            use_cache=True,
        )

    def _answer_starts(
        self, before: Sequence[torch.Tensor | None]
    ) -> tuple[list[Sequence[int]], torch.Tensor, list[tuple[int, int, torch.Tensor]]]:
        """Give what decoders read first, padded on the left: tokens, the mask of all but the last, rows among them."""
        longest = max(0 if rows is None else len(rows) for rows in before)
        tokens: list[Sequence[int]] = [[0] * longest + [models.answer_start(self._model)] for _ in before]
        placed = [(row, longest - len(rows), rows) for row, rows in enumerate(before) if rows is not None]
        mask = torch.zeros(len(before), longest, dtype=torch.long)
        for row, start, _ in placed:
            mask[row, start:] = 1
        return tokens, mask, placed

    @torch.inference_mode()
    def _cache_shape(self) -> tuple[int, int, int]:
        """Give layers, key heads and head width of what the model keeps of a token, by computing one."""
        cache = DynamicCache()
        token = torch.zeros(1, 1, dtype=torch.long, device=self._device)
        cast(Any, models.body_of(self._model))(input_ids=token, past_key_values=cache, use_cache=True)
        keys = cast(torch.Tensor, cache.layers[0].keys)
        return len(cache.layers), keys.shape[1], keys.shape[3]

    def _hook(self, names: Iterable[str]) -> None:
        for name in set(names) - self._hooked:
            self._hooked.add(name)
            self._linears[name].register_forward_hook(partial(self._add, name))

    def _add(
        self, name: str, _: torch.nn.Module, inputs: tuple[torch.Tensor, ...], result: torch.Tensor
    ) -> torch.Tensor:
        """Add what the rows' adapters change in a layer; input and result are [rows, length, width]."""
        x = inputs[0]
        places_by_adapter: dict[Adapter, list[int]] = {}
        for place, row in enumerate(self._assigned):
            if row.adapter is not None and name in row.adapter.changes:
                places_by_adapter.setdefault(row.adapter, []).append(place)
        for adapter, places in places_by_adapter.items():
            change = adapter.changes[name]
            if len(places) == len(self._assigned):
                return result + functional.linear(functional.linear(x, change.down), change.up)
            index = torch.tensor(places, device=x.device)
            result = result.index_add(0, index, functional.linear(functional.linear(x[index], change.down), change.up))
        return result


def _rows_among(cohort: _Cohort, tokens: Sequence[Sequence[int]], width: int) -> list[tuple[int, int, torch.Tensor]]:
    """Give the rows of virtual tokens among what a cohort reads, padded on the left to `width`, and their places."""
    return [
        (place, width - len(read), row.before.text_rows[row.length : row.length + len(read)])
        for place, (row, read) in enumerate(zip(cohort.rows, tokens, strict=True))
        if row.before.text_rows is not None and row.length < row.before.read
    ]


def _own(model: torch.nn.Module) -> None:
    """Copy what is still the file's own pages, as loading leaves it: who writes to the file would change the model."""
    for one in (*model.parameters(), *model.buffers()):
        one.data = one.data.clone()


def _joined(cohorts: Sequence[_Cohort]) -> _Cohort:
    """Give one cohort of all rows."""
    if len(cohorts) == 1:
        return cohorts[0]
    width = max(one.mask.shape[1] for one in cohorts)
    joined = _Cohort(
        rows=[row for one in cohorts for row in one.rows],
        cache=_stacked([one.cache for one in cohorts], width, side="left"),
        mask=_padded([one.mask for one in cohorts], width, side="left"),
    )
    for row in joined.rows:
        row.cohort = joined
    masks = [one.prompt_mask for one in cohorts if one.prompt_mask is not None]
    if masks:
        longest = max(mask.shape[1] for mask in masks)
        crossed = [one.crossed for one in cohorts if one.crossed is not None]
        joined.prompt_mask = _padded(masks, longest, side="right")
        joined.crossed = _stacked(crossed, longest, side="right")
    return joined


def _stacked(caches: Sequence[DynamicCache], width: int, *, side: Side) -> DynamicCache:
    """Give a cache of all rows, each padded with zeros to `width`."""
    result = DynamicCache()
    for number, layers in enumerate(zip(*(cache.layers for cache in caches), strict=True)):
        keys, values = (
            torch.cat([_widened(getattr(layer, part), width, side=side) for layer in layers])
            for part in ("keys", "values")
        )
        for layer in layers:  # layer by layer, or all would be held twice for a moment
            layer.keys = layer.values = keys[:0]
        result.update(keys, values, number)
    return result


def _cut(cache: DynamicCache, begin: int, end: int) -> None:
    """Keep these places of every row."""
    for layer in cache.layers:
        layer.keys, layer.values = layer.keys[:, :, begin:end], layer.values[:, :, begin:end]


def _widened(x: torch.Tensor, width: int, *, side: Side) -> torch.Tensor:
    lacking = width - x.shape[2]
    return functional.pad(x, (0, 0, lacking, 0) if side == "left" else (0, 0, 0, lacking)) if lacking else x


def _padded(masks: Sequence[torch.Tensor], width: int, *, side: Side) -> torch.Tensor:
    return torch.cat(
        [
            functional.pad(one, (width - one.shape[1], 0) if side == "left" else (0, width - one.shape[1]))
            for one in masks
        ]
    )


def _found(config: Any, *names: str) -> int | None:  # noqa: ANN401 - a configuration of transformers, untyped
    return next((int(value) for name in names if (value := getattr(config, name, None))), None)


def _token_bytes(config: Any) -> int:  # noqa: ANN401 - a configuration of transformers, untyped
    """Give how many numbers the keys and values of one token are, at most.

    An encoder-decoder model pads prompts and answers apart: twice what both together are padded to holds them.
    """
    hidden = _found(config, "hidden_size", "d_model") or 1024
    layers = _found(config, "num_hidden_layers", "n_layers", "num_layers") or 24
    if getattr(config, "is_encoder_decoder", False):
        heads, width = _found(config, "num_heads") or 1, _found(config, "d_kv") or 64
        return 2 * 2 * (_found(config, "num_decoder_layers") or layers) * heads * width
    heads = _found(config, "num_attention_heads", "n_heads") or 1
    return 2 * layers * (hidden // heads) * (_found(config, "num_key_value_heads") or heads)
