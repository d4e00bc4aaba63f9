"""Walks Thrift's compact encoding without building anything: what Parquet's footer and page headers are written in.

Arrow makes objects of what it reads, some hundred bytes for three; so we count first, and read the few numbers that say
how much memory a page will take.
"""

from __future__ import annotations

_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(13)
_MOST_NESTED = 24


class NotThrift(ValueError):
    """The bytes are not the compact encoding of a struct, or end within it."""


class TooMany(ValueError):
    """There are more structs than were allowed."""


def count_structs(data: bytes, *, at_most: int) -> int:
    """Give how many structs the struct at the beginning of `data` holds, itself among them.

    Raises:
        NotThrift: it is none.
        TooMany: there are more than `at_most`.
    """
    walk = _Walk(data, at_most)
    walk.struct({}, 0)
    return walk.structs


def numbers_of(data: bytes) -> tuple[dict[int, int], int]:
    """Give the whole numbers among the fields of the struct at the beginning of `data`, by field id, and its length.

    Raises:
        NotThrift: it is none, or goes on beyond `data`.
    """
    walk = _Walk(data, 10_000)
    found: dict[int, int] = {}
    walk.struct(found, 0)
    return found, walk.at


def structs_of(data: bytes, *, field: int, at_most: int) -> list[tuple[dict[int, int], dict[int, bytes]]]:
    """Give whole numbers and texts, by field id, of each struct in the list that a field of the first struct is.

    What follows the list need not be there.

    Raises:
        NotThrift: it is none, has no such list, or ends within it.
        TooMany: the list has more than `at_most` structs.
    """
    return _Walk(data, at_most).listed(field)


class _Walk:
    def __init__(self, data: bytes, at_most: int) -> None:
        self._data, self._at_most = data, at_most
        self.at = self.structs = 0

    def listed(self, wanted: int) -> list[tuple[dict[int, int], dict[int, bytes]]]:
        field = 0
        while head := self._byte():
            delta, kind = head >> 4, head & 15
            field = field + delta if delta else self._zigzag()
            if field == wanted and kind == _LIST:
                count, kind = self._list_head()
                if kind != _STRUCT:
                    break
                if count > self._at_most:
                    raise TooMany(f"more than {self._at_most} structs")
                found: list[tuple[dict[int, int], dict[int, bytes]]] = [({}, {}) for _ in range(count)]
                for numbers, texts in found:
                    self.struct(numbers, 1, texts)
                return found
            self._skip(kind, 0)
        raise NotThrift(f"field {wanted} is no list of structs")

    def struct(self, numbers: dict[int, int], depth: int, texts: dict[int, bytes] | None = None) -> None:
        self.structs += 1
        if self.structs > self._at_most:
            raise TooMany(f"more than {self._at_most} structs")
        if depth > _MOST_NESTED:
            raise NotThrift("nested too deeply")
        field = 0
        while head := self._byte():
            delta, kind = head >> 4, head & 15
            field = field + delta if delta else self._zigzag()
            if kind in (_I16, _I32, _I64):
                numbers[field] = self._zigzag()
            elif kind == _BINARY and texts is not None:
                length = self._varint()
                texts[field] = self._data[self.at : self.at + length]
                self.at += length
            else:
                self._skip(kind, depth)
        if self.at > len(self._data):
            raise NotThrift("ends within a struct")

    def _skip(self, kind: int, depth: int) -> None:
        if kind in (_TRUE, _FALSE):
            return
        if kind == _BYTE:
            self.at += 1
        elif kind in (_I16, _I32, _I64):
            self._varint()
        elif kind == _DOUBLE:
            self.at += 8
        elif kind == _BINARY:
            length = self._varint()
            self.at += length
        elif kind in (_LIST, _SET):
            self._skip_list(depth)
        elif kind == _STRUCT:
            self.struct({}, depth + 1)
        else:  # Parquet has no maps
            raise NotThrift(f"a field of kind {kind}")

    def _skip_list(self, depth: int) -> None:
        count, kind = self._list_head()
        if depth > _MOST_NESTED:
            raise NotThrift("nested too deeply")
        if kind in (_TRUE, _FALSE, _BYTE):
            self.at += count
            return
        for _ in range(count):
            self._skip(kind, depth + 1)

    def _list_head(self) -> tuple[int, int]:
        head = self._byte()
        count, kind = head >> 4, head & 15
        count = self._varint() if count == 15 else count
        if count > len(self._data) - self.at:
            raise NotThrift("a list longer than its bytes")
        return count, kind

    def _byte(self) -> int:
        if self.at >= len(self._data):
            raise NotThrift("ends within a struct")
        self.at += 1
        return self._data[self.at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while (one := self._byte()) & 0x80:
            value |= (one & 0x7F) << shift
            shift += 7
            if shift > 63:
                raise NotThrift("a number too long")
        return value | one << shift

    def _zigzag(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)
