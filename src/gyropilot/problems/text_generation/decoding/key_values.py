"""Where the fast decoder keeps keys and values: rows of like length side by side, so that one call attends for all.

    shelf of 64     a layer each: [row, keys | values, head, place, width]     rows with up to 64 tokens
    shelf of 128    ...                                                        rows that grew beyond

A row whose prompt is still being read has a shelf of its own. It moves to the shared one of its length with its first
answer token, and to the next when that is full. A row that leaves is replaced by its shelf's last. Shelves grow and
shrink with their rows, layer by layer: there is never room for more than GROWTH times as many as there are.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from gyropilot.problems.text_generation.decoding.llama_weights import Shape

GROWTH = 1.5
_LEAST_PLACES = 64
_HALF_STEPS = 256
"""Places from which shelves are half as far apart: long rows waste more by the step."""


@dataclass(eq=False)
class Shelf:
    """Keys and values of the rows on it."""

    data: list[torch.Tensor]
    rows: list[KeptRow] = field(default_factory=list)

    @property
    def places(self) -> int:
        """Give how many tokens a row may have."""
        return self.data[0].shape[3]

    @property
    def size_bytes(self) -> int:
        """Give the memory it takes."""
        return sum(layer.nbytes for layer in self.data)

    @property
    def room(self) -> int:
        """Give how many rows there is room for."""
        return self.data[0].shape[0]

    def resize(self, count: int) -> None:
        """Make room for `count` rows; layer by layer, so that only one is held twice."""
        longest = max((row.length for row in self.rows), default=0)
        for number, layer in enumerate(self.data):
            new = layer.new_zeros(count, *layer.shape[1:])
            new[: len(self.rows), :, :, :longest] = layer[: len(self.rows), :, :, :longest]
            self.data[number] = new


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
            places = places_for(needed)
            if row.shelf is not None and row.shelf.places == places:
                self._shared.setdefault(places, row.shelf)
            if row.shelf is None or row.shelf is not self._shared.get(places):
                self._move(row, self._with_room(places))
        elif row.shelf is None or row.shelf.places < needed:
            self._move(row, self._new(1, places_for(max(needed, row.prompt_length + 1))))

    def drop(self, row: KeptRow) -> None:
        """Let go of a row."""
        shelf = row.shelf
        if shelf is None:
            return
        row.shelf = None
        last = shelf.rows.pop()
        if last is not row:
            for layer in shelf.data:
                layer[row.number, :, :, : last.length] = layer[last.number, :, :, : last.length]
            shelf.rows[row.number], last.number = last, row.number
        if not shelf.rows:
            self._shared = {places: one for places, one in self._shared.items() if one is not shelf}
        elif shelf.room > GROWTH * len(shelf.rows):
            shelf.resize(_room_for(len(shelf.rows)))

    def _move(self, row: KeptRow, shelf: Shelf) -> None:
        if row.shelf is not None:
            for layer, kept in zip(shelf.data, row.shelf.data, strict=True):
                layer[len(shelf.rows), :, :, : row.length] = kept[row.number, :, :, : row.length]
            self.drop(row)
        row.shelf, row.number = shelf, len(shelf.rows)
        shelf.rows.append(row)

    def _with_room(self, places: int) -> Shelf:
        shelf = self._shared.get(places) or self._shared.setdefault(places, self._new(0, places))
        if len(shelf.rows) == shelf.room:
            shelf.resize(_room_for(len(shelf.rows) + 1))
        return shelf

    def _new(self, rows: int, places: int) -> Shelf:
        """Give an empty shelf; of zeros, since a masked place counts nothing only where it is a number."""
        shape = self._shape
        size = (rows, 2, shape.key_heads, places, shape.width)
        return Shelf([torch.zeros(size, dtype=self._dtype) for _ in range(shape.layers)])


def places_for(tokens: int) -> int:
    """Give how many tokens the shelf has room for that a row of so many is on."""
    places = _LEAST_PLACES
    while places < tokens:
        if places >= _HALF_STEPS and places * 3 // 2 >= tokens:
            return places * 3 // 2
        places *= 2
    return places


def _room_for(rows: int) -> int:
    """Give for how many rows a shelf of `rows` has room when it changes: a quarter more."""
    return rows * 5 // 4
