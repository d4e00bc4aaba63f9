"""Attention inside a pack by small batched products, forward and backward; called by layers.

A pack is a shared start and many short rows. One product over the whole pack would spend most of itself on pairs that
the mask throws away, and the fused kernel that torch has for CPUs is slower on short rows than plain products. So
rows of like length are laid side by side, padded to the longest, each with the shared start before its own keys:

    queries [rows, heads, S]   x   keys [rows, heads, P + S]      causal, so padding is never seen by a real query

Heads that share keys (grouped-query attention) are stacked along the queries. Long rows are cut into blocks of
queries, each of which looks only as far back as it may.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from gyropilot.problems.text_generation.batches import Pack

_BLOCK = 256
_LEAST_FILLED = 0.7
_KEPT_SCORES = 1 << 22
"""Most attention weights of one block that are kept for its backward pass."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Queries that are computed together. R rows, S queries each, L keys each."""

    queries: torch.Tensor
    """[R * S]: their places in the pack; padding repeats a row's last place."""
    keys: torch.Tensor
    """[R * L]: places of the shared start, then of the row, padded alike."""
    rows: int
    real: torch.Tensor
    """Which of the R * S queries are no padding."""
    bias: torch.Tensor
    """[S, L]: 0 where a query sees a key, minus infinity elsewhere; the same for every row."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What the backward pass needs of one group."""

    queries: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor
    weights: torch.Tensor | None
    """Attention weights, or None where they are too large to keep and are computed again."""


def groups_of(pack: Pack, *, dtype: torch.dtype) -> tuple[Group, ...]:
    """Give the groups in which the attention of `pack` is computed; every place is in one of them, once."""
    prefix = pack.prefix_length
    blocks: list[tuple[int, int, int]] = []
    starts = [0] if prefix else []
    lengths = [prefix] if prefix else []
    start = prefix
    for length in pack.lengths:
        starts.append(start)
        lengths.append(length)
        start += length
    for start, length in zip(starts, lengths, strict=True):
        for begin in range(0, length, _BLOCK):
            blocks.append((min(_BLOCK, length - begin), begin, start))
    blocks.sort(key=lambda block: (block[2] < prefix, block[1], -block[0], block[2]))
    return tuple(_group(part, prefix, dtype) for part in _alike(blocks, prefix))


def attend(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, groups: tuple[Group, ...], *, scale: float
) -> tuple[torch.Tensor, list[Kept]]:
    """Give softmax(scale q k) v of every place, and what `attend_backward` needs.

    Args:
        queries: [T, heads, width].
        keys: [T, key heads, width]; heads is a multiple of key heads.
        values: [T, key heads, width].
        groups: of this pack.
        scale: as 1 / sqrt(width).
    """
    result = torch.empty_like(queries)
    is_small = queries.shape[1] * sum(len(one.queries) * one.bias.shape[1] for one in groups) <= _KEPT_SCORES
    kept = []
    for group in groups:
        stacked = _stacked(queries, group, keys.shape[1])
        group_keys, group_values = _gathered(keys, group), _gathered(values, group)
        weights = _weights(stacked, group_keys, group, scale)
        found = torch.bmm(weights, group_values)
        _put(result, _unstacked(found, group, queries.shape[1:]), group)
        kept.append(Kept(queries=stacked, keys=group_keys, values=group_values, weights=weights if is_small else None))
    return result, kept


def attend_backward(
    gradient: torch.Tensor, kept: list[Kept], groups: tuple[Group, ...], *, key_heads: int, scale: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Give the gradients of queries, keys and values from that of the result, [T, heads, width]."""
    total, heads, width = gradient.shape
    grad_queries = torch.empty_like(gradient)
    grad_keys = gradient.new_zeros(total, key_heads * width)
    grad_values = gradient.new_zeros(total, key_heads * width)
    for group, one in zip(groups, kept, strict=True):
        weights = one.weights if one.weights is not None else _weights(one.queries, one.keys, group, scale)
        stacked = _stacked(gradient, group, key_heads, zero_padding=True)
        _add(grad_values, torch.bmm(weights.transpose(1, 2), stacked), group)
        grad_weights = torch.bmm(stacked, one.values.transpose(1, 2))
        scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
        found = torch.bmm(scores, one.keys).mul_(scale)
        _put(grad_queries, _unstacked(found, group, (heads, width)), group)
        _add(grad_keys, torch.bmm(scores.transpose(1, 2), one.queries).mul_(scale), group)
    return grad_queries, grad_keys.view(total, key_heads, width), grad_values.view(total, key_heads, width)


def _alike(blocks: list[tuple[int, int, int]], prefix: int) -> Iterator[list[tuple[int, int, int]]]:
    """Split blocks (length, begin, start), longest first, where padding would outweigh a product of its own."""
    part: list[tuple[int, int, int]] = []
    for block in blocks:
        same = part and part[0][1] == block[1] and (part[0][2] < prefix) == (block[2] < prefix)
        if part and not (same and block[0] >= _LEAST_FILLED * part[0][0] - 8):
            yield part
            part = []
        part.append(block)
    yield part


def _group(blocks: list[tuple[int, int, int]], prefix: int, dtype: torch.dtype) -> Group:
    longest, begin, start = blocks[0]
    is_prefix = start < prefix
    before = 0 if is_prefix else prefix
    lengths = torch.tensor([length for length, _, _ in blocks])[:, None]
    starts = torch.tensor([start for _, _, start in blocks])[:, None]
    within = torch.arange(longest)[None, :]
    queries = starts + begin + torch.minimum(within, lengths - 1)
    own = starts + torch.minimum(torch.arange(begin + longest)[None, :], begin + lengths - 1)
    keys = torch.cat((torch.arange(before).expand(len(blocks), before), own), dim=1)
    visible = torch.arange(before + begin + longest)[None, :] <= before + begin + within.t()
    return Group(
        queries=queries.flatten(),
        keys=keys.flatten(),
        rows=len(blocks),
        real=(within < lengths).flatten().nonzero().flatten(),
        bias=torch.zeros(visible.shape, dtype=dtype).masked_fill_(~visible, float("-inf")),
    )


def _weights(stacked: torch.Tensor, keys: torch.Tensor, group: Group, scale: float) -> torch.Tensor:
    count, length, _ = stacked.shape
    seen, all_keys = group.bias.shape
    scores = torch.bmm(stacked, keys.transpose(1, 2)).mul_(scale)
    scores.view(count, length // seen, seen, all_keys).add_(group.bias)
    return torch.softmax(scores, dim=-1)


def _stacked(x: torch.Tensor, group: Group, key_heads: int, *, zero_padding: bool = False) -> torch.Tensor:
    """[T, heads, width] -> [R * key heads, heads / key heads * S, width] for the group's queries."""
    _, heads, width = x.shape
    rows = x.reshape(x.shape[0], heads * width)
    if zero_padding and len(group.real) < len(group.queries):
        taken = rows.new_zeros(len(group.queries), heads * width)
        taken[group.real] = rows[group.queries[group.real]]
    else:
        taken = rows[group.queries]
    seen = len(group.queries) // group.rows
    parts = taken.view(group.rows, seen, key_heads, heads // key_heads, width).permute(0, 2, 3, 1, 4)
    return parts.reshape(group.rows * key_heads, heads // key_heads * seen, width)


def _unstacked(x: torch.Tensor, group: Group, shape: tuple[int, ...]) -> torch.Tensor:
    """[R * key heads, heads / key heads * S, width] -> [R * S, heads, width]."""
    heads, width = shape
    seen = len(group.queries) // group.rows
    key_heads = x.shape[0] // group.rows
    parts = x.view(group.rows, key_heads, heads // key_heads, seen, width).permute(0, 3, 1, 2, 4)
    return parts.reshape(group.rows * seen, heads, width)


def _gathered(x: torch.Tensor, group: Group) -> torch.Tensor:
    """[T, key heads, width] -> [R * key heads, L, width] for the group's keys."""
    _, key_heads, width = x.shape
    taken = x.reshape(x.shape[0], key_heads * width)[group.keys]
    length = len(group.keys) // group.rows
    parts = taken.view(group.rows, length, key_heads, width).transpose(1, 2)
    return parts.reshape(group.rows * key_heads, length, width)


def _put(result: torch.Tensor, found: torch.Tensor, group: Group) -> None:
    """Write what the real queries of a group found to their places."""
    if len(group.real) == len(group.queries):
        result[group.queries] = found
    else:
        result[group.queries[group.real]] = found[group.real]


def _add(total: torch.Tensor, found: torch.Tensor, group: Group) -> None:
    """Add [R * key heads, L, width] to the keys' places; padding and unseen keys add zeros."""
    key_heads = found.shape[0] // group.rows
    _, length, width = found.shape
    parts = found.view(group.rows, key_heads, length, width).transpose(1, 2)
    total.index_add_(0, group.keys, parts.reshape(group.rows * length, key_heads * width))
