"""Adapters as the fast decoder adds them: what reads the same input stands together; called by llama_decoder.

a block's products   qkv      o      gate up   down
its additions        x A^T B^T of q, k and v in one, of o, ...      None where the adapter changes none of them
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from gyropilot.problems.text_generation.decoding.adapters import Adapter, Change, check_fits
from gyropilot.problems.text_generation.decoding.llama_weights import paired
from gyropilot.problems.text_generation.decoding.virtual_tokens import NOTHING, TokensBefore


@dataclass(frozen=True, eq=False)
class Addition:
    """What an adapter adds to linear layers that read the same input: x A^T, a part of it for each, times B^T."""

    down: torch.Tensor
    """[rank of all, in]."""
    ups: tuple[tuple[slice, slice, torch.Tensor], ...]
    """Of each layer: its columns of the result, its columns of x A^T, and B^T with the scale in it."""


@dataclass(frozen=True, eq=False)
class StackedAdapter:
    """An adapter, block by block: what it adds to qkv, o, gate and up, down; no blocks where it changes none."""

    blocks: tuple[tuple[Addition | None, ...], ...]
    size_bytes: int
    before: TokensBefore
    """Keys of a prefix as the fast decoder keeps keys (llama_weights.paired)."""


@dataclass(frozen=True)
class AdaptedTokens:
    """Tokens of a pass whose rows have one adapter."""

    adapter: StackedAdapter
    tokens: torch.Tensor | None
    """Their places; None: all."""

    def add(self, result: torch.Tensor, x: torch.Tensor, block: int, product: int) -> None:
        """Add what the adapter changes in a product of a block, in place; `x` is what the product read."""
        addition = self.adapter.blocks[block][product]
        if addition is None:
            return
        inner = functional.linear(x if self.tokens is None else x[self.tokens], addition.down)
        for columns, ranks, up in addition.ups:
            if self.tokens is None:
                result[:, columns].addmm_(inner[:, ranks], up)
            else:
                result[:, columns].index_add_(0, self.tokens, inner[:, ranks] @ up)


def stacked(
    adapter: Adapter, names: Sequence[Sequence[str]], sizes: Mapping[str, tuple[int, ...]], *, head_width: int
) -> StackedAdapter:
    """Give an adapter as it is added.

    Args:
        adapter: as read.
        names: of each block's linear layers: q, k, v, o, gate, up, down.
        sizes: [out, in] of each.
        head_width: numbers of a head.

    Raises:
        TrainingFailed: it changes what the model does not have.
    """
    if not adapter.changes:
        return StackedAdapter(blocks=(), size_bytes=adapter.size_bytes, before=_paired_keys(adapter.before))
    check_fits(adapter, sizes)
    blocks = [
        tuple(
            _addition(adapter.changes, group, sizes, head_width)
            for group in (layers[:3], layers[3:4], layers[4:6], layers[6:])
        )
        for layers in names
    ]
    return StackedAdapter(blocks=tuple(blocks), size_bytes=adapter.size_bytes, before=NOTHING)


def by_adapter(adapters: Sequence[StackedAdapter | None], counts: Sequence[int]) -> list[AdaptedTokens]:
    """Give the tokens of each adapter that changes a product; rows have so many tokens each, one after the other."""
    places_by_adapter: dict[StackedAdapter, list[int]] = {}
    start = 0
    for adapter, count in zip(adapters, counts, strict=True):
        if adapter is not None and adapter.blocks:
            places_by_adapter.setdefault(adapter, []).extend(range(start, start + count))
        start += count
    return [
        AdaptedTokens(adapter, None if len(places) == start else torch.tensor(places))
        for adapter, places in places_by_adapter.items()
    ]


def _addition(
    changes: Mapping[str, Change], names: Sequence[str], sizes: Mapping[str, tuple[int, ...]], head_width: int
) -> Addition | None:
    downs: list[torch.Tensor] = []
    ups = []
    column = inner = 0
    for name in names:
        size = sizes[name][0]
        if name in changes:
            change = changes[name]
            up = paired(change.up, head_width) if name.endswith(("q_proj", "k_proj")) else change.up
            rank = len(change.down)
            ups.append((slice(column, column + size), slice(inner, inner + rank), up.t().contiguous()))
            downs.append(change.down)
            inner += rank
        column += size
    return Addition(down=torch.cat(downs), ups=tuple(ups)) if downs else None


def _paired_keys(before: TokensBefore) -> TokensBefore:
    """Give a prefix with the two numbers of a key side by side that positions rotate together, as all keys there."""
    if before.prefix is None:
        return before
    keys, values = before.prefix
    halves = keys.view(*keys.shape[:3], 2, -1)
    return replace(before, prefix=(halves.transpose(3, 4).flatten(3).contiguous(), values))
