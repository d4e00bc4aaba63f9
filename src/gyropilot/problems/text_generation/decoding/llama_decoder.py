r"""The fast way for Llama-type models on a CPU: rows that answer and parts of prompts in a pass, without transformers.

    tokens of a pass   [a][b][c][d d d d d d][e e e]      one each of the rows that answer, then parts of prompts
                        \_______________________/
                     linear layers over all of them          weights are read once a pass
                        \______/ \_________/ \___/
                     attention by shelf, and by part

Few calls of torch a layer: queries, keys and values in one product, gate and up in another, sums with what goes round
a block inside the products, positions by one complex multiplication (llama_weights.paired), keys and values written by
one call for all rows of a shelf, heads that share keys as further queries of one. An adapter adds to the products of
its own rows alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch.nn import functional

from gyropilot.problems.text_generation.decoding.adapters import read_adapter
from gyropilot.problems.text_generation.decoding.decoder import LoadedAdapter, Read, Row
from gyropilot.problems.text_generation.decoding.key_values import GROWTH, KeptRow, KeyValues, Shelf, places_for
from gyropilot.problems.text_generation.decoding.llama_adapters import (
    AdaptedTokens,
    StackedAdapter,
    by_adapter,
    stacked,
)
from gyropilot.problems.text_generation.decoding.llama_weights import Weights, linear_names, paired, shape_of
from gyropilot.problems.text_generation.decoding.products import Product, kind_of_products
from gyropilot.problems.text_generation.decoding.prompt_tokens import tell
from gyropilot.problems.text_generation.decoding.virtual_tokens import Place, TokensBefore


@dataclass(eq=False)
class _Row(KeptRow):
    """A text."""

    adapter: StackedAdapter | None = None


@dataclass(frozen=True)
class _Block:
    """One layer's weights."""

    first_norm: torch.Tensor
    qkv: Product
    out: Product
    second_norm: torch.Tensor
    gate_up: Product
    down: Product


@dataclass(frozen=True)
class _Seen:
    """Tokens of a pass that attend together."""

    begin: int
    end: int
    shelf: Shelf
    row: int | None
    """The one row that they are of; None: one of each row of the shelf."""
    written: torch.Tensor
    """Where their keys and values go in the shelf, [tokens * 2 * key heads], as if a layer of it were one column."""
    length: int
    """Keys that are looked at."""
    mask: torch.Tensor | None


class LlamaDecoder:
    """A model's weights, and keys and values of its rows."""

    name = "fused"
    reads_in_parts = True

    def __init__(self, config: Mapping[str, object], weights: Weights, *, dtype: torch.dtype) -> None:
        """Read the weights of a configuration for which llama_weights.why_not is empty."""
        self._shape = shape = shape_of(config)
        self._dtype = dtype
        self._product = kind_of_products(dtype)
        self._embedding = weights.get("model.embed_tokens.weight")
        if not config.get("tie_word_embeddings"):
            self._embedding = self._embedding.to(dtype)
        self._read_linears(weights)
        self._keys = KeyValues(shape, dtype)
        self.vocabulary = len(self._embedding)
        self.model_tokens = shape.model_tokens
        self.token_bytes = int(GROWTH * 2 * shape.layers * shape.key_heads * shape.width * dtype.itemsize)

    def _read_linears(self, weights: Weights) -> None:
        self.weight_bytes = self._embedding.nbytes
        self._sizes: dict[str, tuple[int, ...]] = {}
        self._names = list(linear_names(self._shape.layers))
        self._blocks = [self._block(weights, number) for number in range(self._shape.layers)]
        self._last_norm = weights.get("model.norm.weight").to(self._dtype)
        head = weights.find("lm_head.weight") if "lm_head.weight" in weights.names else None
        self._head = self._packed(self._embedding if head is None else head, None)

    def _block(self, weights: Weights, number: int) -> _Block:
        width, names = self._shape.width, self._names[number]

        def stacked(*parts: str) -> Product:
            found, biases = [], []
            for name in parts:
                weight, bias = weights.get(f"{name}.weight"), weights.find(f"{name}.bias")
                self._sizes[name] = tuple(weight.shape)
                bias = weight.new_zeros(len(weight)) if bias is None and len(parts) > 1 else bias
                turn = name.endswith(("q_proj", "k_proj"))
                found.append(paired(weight, width) if turn else weight)
                if bias is not None:
                    biases.append(paired(bias, width) if turn else bias)
            has_bias = any(f"{name}.bias" in weights.names for name in parts)
            return self._packed(torch.cat(found), torch.cat(biases) if has_bias else None)

        def norm(name: str) -> torch.Tensor:
            return weights.get(f"model.layers.{number}.{name}.weight").to(self._dtype)

        return _Block(
            first_norm=norm("input_layernorm"),
            qkv=stacked(*names[:3]),
            out=stacked(names[3]),
            second_norm=norm("post_attention_layernorm"),
            gate_up=stacked(*names[4:6]),
            down=stacked(names[6]),
        )

    def _packed(self, weight: torch.Tensor, bias: torch.Tensor | None) -> Product:
        weight = weight.to(self._dtype)
        self.weight_bytes += weight.nbytes
        return self._product(weight, None if bias is None else bias.to(self._dtype))

    def read_adapter(self, folder: Path, *, task: int) -> LoadedAdapter:
        """Load one task of an adapter folder; raises TrainingFailed where it does not fit the model."""
        shape = self._shape
        place = Place(
            is_causal=True,
            width=shape.hidden,
            cache=(shape.layers, shape.key_heads, shape.width),
            model_tokens=shape.model_tokens,
        )
        adapter = read_adapter(folder, place, task=task, dtype=self._dtype, device=torch.device("cpu"))
        return stacked(adapter, self._names, self._sizes, head_width=shape.width)

    def tokens_kept(self, lengths: Sequence[int]) -> int:
        """Give how many places their shelves have."""
        return sum(map(places_for, lengths))

    def text_before(self, prompt: Sequence[int]) -> Sequence[int]:
        """Give the tokens that an answer continues."""
        return prompt

    def begin(self, prompt: Sequence[int], adapter: LoadedAdapter | None) -> Row:
        """Give the row of a new text; nothing is computed."""
        mine = cast(StackedAdapter | None, adapter)
        return _Row(prompt_length=len(prompt) + (mine.before.known if mine else 0), adapter=mine)

    @torch.inference_mode()
    def end(self, row: Row) -> None:
        """Let go of a row."""
        self._keys.drop(cast(_Row, row))

    def reset(self) -> None:
        """Let go of all rows."""
        self._keys = KeyValues(self._shape, self._dtype)

    @torch.inference_mode()
    def compute(self, reads: Sequence[Read]) -> torch.Tensor:
        """Read tokens and give [reads, vocabulary] float32 on the CPU: what each row would say next."""
        tokens_by_row = {cast(_Row, one.row): one.tokens for one in reads}
        for row, tokens in tokens_by_row.items():
            if not row.length and row.adapter is not None:
                self._begin_with(row, row.adapter.before)
            self._keys.make_room(row, len(tokens))
        shared = self._keys.shared
        rows = [cast(_Row, row) for shelf in shared for row in shelf.rows]
        rows += [row for row in tokens_by_row if row.shelf not in shared]
        ids = torch.tensor([token for row in rows for token in tokens_by_row[row]])
        counts = [len(tokens_by_row[row]) for row in rows]
        positions = torch.cat([torch.arange(row.length, row.length + n) for row, n in zip(rows, counts, strict=True)])
        embedded = self._embedded(ids, rows, counts)
        adapted = by_adapter([row.adapter for row in rows], counts)
        hidden = self._pass(embedded, positions, self._seen(shared, rows, counts), adapted)
        for row, count in zip(rows, counts, strict=True):
            row.length += count
        end_by_row = dict(zip(rows, torch.tensor(counts).cumsum(0).tolist(), strict=True))
        for one in reads:
            if one.hear is not None:
                end = end_by_row[cast(_Row, one.row)]
                tell(one.hear, hidden[end - len(one.tokens) : end], self._logits, vocabulary=self.vocabulary)
        return self._logits(hidden[torch.tensor([end_by_row[row] - 1 for row in tokens_by_row])])

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Give [tokens, vocabulary] float32."""
        return self._head.of(self._normed(hidden, self._last_norm)).float()

    def _begin_with(self, row: _Row, before: TokensBefore) -> None:
        """Put what a row knows before it reads among its keys and values."""
        if before.prefix is None:
            return
        self._keys.make_room(row, before.known)
        assert row.shelf is not None
        for layer, *both in zip(row.shelf.data, *before.prefix, strict=True):
            for place, part in enumerate(both):
                layer[row.number, place, :, : before.known] = part
        row.length = before.known

    def _embedded(self, ids: torch.Tensor, rows: Sequence[_Row], counts: Sequence[int]) -> torch.Tensor:
        """Give [tokens, hidden]: the rows of virtual tokens where such are read, embeddings elsewhere."""
        x = functional.embedding(ids, self._embedding).to(self._dtype)
        start = 0
        for row, count in zip(rows, counts, strict=True):
            if row.adapter is not None and row.length < row.adapter.before.read:
                assert row.adapter.before.text_rows is not None
                part = row.adapter.before.text_rows[row.length : row.length + count]
                x[start : start + len(part)] = part
            start += count
        return x

    def _seen(self, shared: Sequence[Shelf], rows: Sequence[_Row], counts: Sequence[int]) -> list[_Seen]:
        found, start = [], 0
        for shelf in shared:
            lengths = torch.tensor([row.length for row in shelf.rows])
            found.append(self._seen_by_shelf(shelf, lengths, start))
            start += len(lengths)
        for row, count in zip(rows[start:], counts[start:], strict=True):
            found.append(self._seen_by_part(row, count, start))
            start += count
        return found

    def _seen_by_shelf(self, shelf: Shelf, lengths: torch.Tensor, start: int) -> _Seen:
        """One token of each row, whose length before it is given."""
        longest = int(lengths.max()) + 1
        places = torch.arange(longest)
        hidden = places[None, :] > lengths[:, None]
        if self._shape.window is not None:
            hidden |= places[None, :] <= lengths[:, None] - self._shape.window
        return _Seen(
            begin=start,
            end=start + len(lengths),
            shelf=shelf,
            row=None,
            written=self._written(shelf, torch.arange(len(lengths)), lengths),
            length=longest,
            mask=self._mask(hidden)[:, None, None, :] if bool(hidden.any()) else None,
        )

    def _seen_by_part(self, row: _Row, count: int, start: int) -> _Seen:
        """`count` tokens of one row."""
        assert row.shelf is not None
        own = torch.arange(row.length, row.length + count)
        places = torch.arange(row.length + count)
        hidden = places[None, :] > own[:, None]
        if self._shape.window is not None:
            hidden |= places[None, :] <= own[:, None] - self._shape.window
        return _Seen(
            begin=start,
            end=start + count,
            shelf=row.shelf,
            row=row.number,
            written=self._written(row.shelf, torch.full((count,), row.number), own),
            length=row.length + count,
            mask=self._mask(hidden) if count > 1 or self._shape.window is not None else None,
        )

    def _mask(self, hidden: torch.Tensor) -> torch.Tensor:
        return torch.zeros(hidden.shape, dtype=self._dtype).masked_fill_(hidden, float("-inf"))

    def _written(self, shelf: Shelf, rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        heads = torch.arange(2 * self._shape.key_heads)
        return ((rows[:, None] * len(heads) + heads[None, :]) * shelf.places + places[:, None]).flatten()

    def _pass(
        self, x: torch.Tensor, positions: torch.Tensor, seen: Sequence[_Seen], adapted: Sequence[AdaptedTokens]
    ) -> torch.Tensor:
        """Give [tokens, hidden]: the last block's result, from what the first reads."""
        shape = self._shape
        turns = torch.outer(positions.float(), shape.frequencies)
        turned = torch.polar(torch.ones_like(turns), turns)[:, None, :]
        queries = shape.heads * shape.width
        for number, block in enumerate(self._blocks):
            normed = self._normed(x, block.first_norm)
            qkv = block.qkv.of(normed)
            _add(qkv, normed, adapted, number, 0)
            self._turn(qkv, turned)
            found = [self._attended(qkv, one, number) for one in seen]
            attended = found[0] if len(found) == 1 else torch.cat(found)
            attended = attended.view(len(x), queries)
            x = block.out.added(attended, x)
            _add(x, attended, adapted, number, 1)
            normed = self._normed(x, block.second_norm)
            gate_up = block.gate_up.of(normed)
            _add(gate_up, normed, adapted, number, 2)
            gate, up = gate_up.chunk(2, dim=1)
            product = functional.silu(gate).mul_(up)
            x = block.down.added(product, x)
            _add(x, product, adapted, number, 3)
        return x

    def _attended(self, qkv: torch.Tensor, seen: _Seen, layer: int) -> torch.Tensor:
        """Write keys and values and give [tokens, heads * width] softmax(q k) v."""
        shape = self._shape
        count, key_heads, width = seen.end - seen.begin, shape.key_heads, shape.width
        mine, split = qkv[seen.begin : seen.end], shape.heads * width
        kept = seen.shelf.data[layer]
        kept.view(-1, width).index_copy_(0, seen.written, mine[:, split:].reshape(-1, width))
        grouped = mine[:, :split].view(count, key_heads, -1, width)
        if seen.row is None:
            whole = kept[:count, :, :, : seen.length]
            found = functional.scaled_dot_product_attention(grouped, whole[:, 0], whole[:, 1], attn_mask=seen.mask)
            return found.reshape(count, split)
        one = kept[seen.row, :, :, None, : seen.length].expand(-1, -1, grouped.shape[2], -1, -1)
        found = functional.scaled_dot_product_attention(
            grouped.permute(1, 2, 0, 3), one[0], one[1], attn_mask=seen.mask
        )
        return found.permute(2, 0, 1, 3).reshape(count, split)

    def _turn(self, qkv: torch.Tensor, turned: torch.Tensor) -> None:
        """Rotate queries and keys by their positions, in place."""
        heads = self._shape.heads + self._shape.key_heads
        part = qkv[:, : heads * self._shape.width]
        if self._dtype == torch.float32:
            torch.view_as_complex(part.view(len(qkv), heads, -1, 2)).mul_(turned)
        else:
            wide = part.float().view(len(qkv), heads, -1, 2)
            part.copy_(torch.view_as_real(torch.view_as_complex(wide).mul_(turned)).view(len(qkv), -1))

    def _normed(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return functional.rms_norm(x, weight.shape, weight, self._shape.epsilon)


def _add(result: torch.Tensor, x: torch.Tensor, adapted: Sequence[AdaptedTokens], block: int, product: int) -> None:
    """Add what the rows' adapters change in a product that read `x`, in place."""
    for one in adapted:
        one.add(result, x, block, product)
