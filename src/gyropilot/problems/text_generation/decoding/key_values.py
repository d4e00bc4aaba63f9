"""Where the fast decoder keeps keys and values: rows of like length side by side, so that one call attends for all.

    shelf of 256    [layer, row, keys | values, head, place, width]     rows with up to 256 tokens
    shelf of 512    ...                                                 rows that grew beyond

A row whose prompt is still being read has a shelf of its own. It moves to the shared one of its length with its first
answer token, and to the next when that is full. A row that leaves is replaced by its shelf's last.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from gyropilot.problems.text_generation.decoding.llama_weights import Shape

_LEAST_PLACES = 256


@dataclass(eq=False)
class Shelf:
    """Keys and values of the rows on it."""

    data: torch.Tensor
    rows: list[KeptRow] = field(default_factory=list)

    @property
    def places(self) -> int:
        """Give how many tokens a row may have."""
        return self.data.shape[4]


@dataclass(eq=False)
class KeptRow:
    """A text and where it stands."""

    prompt_length: int
    length: int = 0
    shelf: Shelf | None = None
    number: int = 0
    """Its place among the shelf's rows."""

    @property
    def is_answering(self) -> bool:
        """Whether the prompt has been read."""
        return self.length >= self.prompt_length


class KeyValues:
    """All shelves."""

    def __init__(self, shape: Shape, dtype: torch.dtype) -> None:
        self._shape, self._dtype = shape, dtype
        self._shared: dict[int, Shelf] = {}

    @property
    def shared(self) -> list[Shelf]:
        """Give the shelves of rows that answer, without the empty ones."""
        return [shelf for _, shelf in sorted(self._shared.items()) if shelf.rows]

    def make_room(self, row: KeptRow, tokens: int) -> None:
        """See that `row` can take `tokens` more, on a shelf of its own or, once it answers, on a shared one."""
        needed = row.length + tokens
        if row.is_answering and row.length:
            places = _places(needed)
            if row.shelf is not None and row.shelf.places == places:
                self._shared.setdefault(places, row.shelf)
            if row.shelf is None or row.shelf is not self._shared.get(places):
                self._move(row, self._with_room(places))
        elif row.shelf is None or row.shelf.places < needed:
            self._move(row, self._new(1, _places(max(needed, row.prompt_length + 1))))

    def drop(self, row: KeptRow) -> None:
        """Let go of a row."""
        shelf = row.shelf
        if shelf is None:
            return
        row.shelf = None
        last = shelf.rows.pop()
        if last is not row:
            shelf.data[:, row.number, :, :, : last.length] = shelf.data[:, last.number, :, :, : last.length]
            shelf.rows[row.number], last.number = last, row.number
        if not shelf.rows:
            self._shared = {places: one for places, one in self._shared.items() if one is not shelf}

    def _move(self, row: KeptRow, shelf: Shelf) -> None:
        if row.shelf is not None:
            kept = row.shelf.data[:, row.number, :, :, : row.length]
            shelf.data[:, len(shelf.rows), :, :, : row.length] = kept
            self.drop(row)
        row.shelf, row.number = shelf, len(shelf.rows)
        shelf.rows.append(row)

    def _with_room(self, places: int) -> Shelf:
        shelf = self._shared.get(places) or self._shared.setdefault(places, self._new(0, places))
        count, size = len(shelf.rows), shelf.data.shape[1]
        if count == size:
            longest = max((row.length for row in shelf.rows), default=0)
            larger = self._new(max(count + 1, count * 3 // 2), places).data
            larger[:, :count, :, :, :longest] = shelf.data[:, :, :, :, :longest]
            shelf.data = larger
        return shelf

    def _new(self, rows: int, places: int) -> Shelf:
        """Give an empty shelf; of zeros, since a masked place counts nothing only where it is a number."""
        shape = self._shape
        return Shelf(torch.zeros(shape.layers, rows, 2, shape.key_heads, places, shape.width, dtype=self._dtype))


def _places(tokens: int) -> int:
    places = _LEAST_PLACES
    while places < tokens:
        places *= 2
    return places
