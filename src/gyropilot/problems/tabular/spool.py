"""A channel's rows on disk as text, column by column, so that each step of the profile holds one column at a time."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import parquet

from gyropilot.data.tables import TextBatch, TextTable

Arrow = Any
"""A value of pyarrow's, which ships no types."""
_GROUP_BYTES = 32 * 2**20


@dataclass(frozen=True, kw_only=True)
class Spool:
    """The rows of one channel."""

    path: Path
    columns: tuple[str, ...]
    rows: int
    text_bytes: int
    starts: tuple[tuple[int, str], ...]
    """(row number in the spool, from 0, of a file's first row; the file's URI), ascending."""

    def place(self, row: int) -> str:
        """Give a row as messages name it: `s3://bucket/key: row 7`."""
        at = bisect.bisect_right([start for start, _ in self.starts], row) - 1
        start, uri = self.starts[at]
        return f"{uri}: row {row - start + 1}"

    def rows_by_uri(self) -> dict[str, int]:
        """Give the number of rows of each file that has any."""
        ends = [start for start, _ in self.starts[1:]] + [self.rows]
        return {uri: end - start for (start, uri), end in zip(self.starts, ends, strict=True)}

    def column(self, name: str, keep: npt.NDArray[np.bool_] | None = None) -> Arrow:
        """Give the fields of one column, of the rows to keep or of all."""
        parts, start = [], 0
        at = self.columns.index(name)
        for group in range(self._file.num_row_groups):
            values = self._file.read_row_group(group, columns=[str(at)], use_threads=False).column(0)
            rows = len(values)
            parts += (values if keep is None else values.filter(pa.array(keep[start : start + rows]))).chunks
            start += rows
        return pa.chunked_array(parts, pa.large_string()).combine_chunks()

    def groups(self, names: Sequence[str]) -> Iterator[tuple[int, list[Arrow]]]:
        """Give the fields of some columns, some thousand rows at a time, with the number of the first row."""
        start = 0
        numbers = [str(self.columns.index(name)) for name in names]
        for group in range(self._file.num_row_groups):
            table = self._file.read_row_group(group, columns=numbers, use_threads=False)
            yield start, [table.column(number).combine_chunks() for number in numbers]
            start += table.num_rows

    @cached_property
    def _file(self) -> Arrow:
        # Opened once: of a thousand columns each opening reads what the footer says of all.
        return parquet.ParquetFile(self.path)


def write(path: Path, table: TextTable, *, note: Callable[[TextBatch], None]) -> Spool:
    """Write all rows of an opened channel; `note` hears of each batch.

    Raises:
        InvalidData: a file cannot be read.
    """
    # Columns are called by their numbers: their own names need not be such as Parquet's readers take.
    schema = pa.schema([(str(at), pa.large_string()) for at in range(len(table.columns))])
    starts: list[tuple[int, str]] = []
    rows = text_bytes = held = 0
    batches: list[Arrow] = []
    with parquet.ParquetWriter(path, schema, compression="zstd", compression_level=1, use_dictionary=False) as writer:
        for batch in table.batches:
            note(batch)
            if not starts or starts[-1][1] != batch.uri:
                starts.append((rows, batch.uri))
            rows += batch.rows
            batches.append(pa.record_batch(list(batch.columns), schema=schema))
            held += batches[-1].nbytes
            if held > _GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(batches).combine_chunks())
                text_bytes, held, batches = text_bytes + held, 0, []
        if batches:
            writer.write_table(pa.Table.from_batches(batches).combine_chunks())
    return Spool(path=path, columns=table.columns, rows=rows, text_bytes=text_bytes + held, starts=tuple(starts))
