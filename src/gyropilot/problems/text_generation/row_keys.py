"""Which rows are copies of each other: eight bytes a row and column, whatever the rows' length; filled by data."""

from __future__ import annotations

import hashlib
import unicodedata
from array import array
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

_Keys = npt.NDArray[np.uint64]


class RowKeys:
    """Digests of rows. Rows count as alike that differ in nothing but Unicode form (NFC) and the width of spaces."""

    def __init__(self) -> None:
        self._pairs, self._inputs = array("Q"), array("Q")

    def __len__(self) -> int:
        return len(self._pairs)

    def add(self, text: str, answer: str, *others: str) -> None:
        """Take the next row; what it says besides, as its task, makes it another row, and its input another input."""
        asked = [_normal(one) for one in (text, *others)]
        self._inputs.append(_digest(*asked))
        self._pairs.append(_digest(*asked, _normal(answer)))

    @property
    def pairs(self) -> _Keys:
        """[n]: equal where input and output are alike."""
        return np.frombuffer(self._pairs, np.uint64)

    @property
    def inputs(self) -> _Keys:
        """[n]: equal where the inputs are alike."""
        return np.frombuffer(self._inputs, np.uint64)

    def alike(self) -> list[list[int]]:
        """Give each set of two or more rows that are copies of each other, ascending."""
        order = np.argsort(self.pairs, kind="stable")
        ends = np.flatnonzero(np.diff(self.pairs[order])) + 1
        bounds = [0, *ends.tolist(), len(order)]
        return [order[start:end].tolist() for start, end in pairwise(bounds) if end - start > 1]


def shared(keys: _Keys, training: Sequence[int], validation: Sequence[int]) -> int:
    """Give how many validation rows have a key that a training row has too."""
    return int(np.isin(keys[np.asarray(validation)], keys[np.asarray(training)]).sum())


def repeated(keys: _Keys) -> int:
    """Give how many rows have a key that an earlier row has."""
    return len(keys) - len(np.unique(keys))


def _normal(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _digest(*texts: str) -> int:
    total = hashlib.blake2b(digest_size=8)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        total.update(len(data).to_bytes(8, "little") + data)
    return int.from_bytes(total.digest(), "little")
