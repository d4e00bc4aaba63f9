"""Writes the usable rows of a job as typed Parquet, as `tables.read_prepared` reads them back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from gyropilot.problems.tabular.columns import Schema
from gyropilot.problems.tabular.tables import arrow_type, typed_columns
from gyropilot.problems.tabular.usable_rows import Part

Arrow = Any
"""A value of pyarrow's, which ships no types."""


class RowKeys:
    """A number for each row that rows with the same features and target share, and hardly any others."""

    def __init__(self) -> None:
        self._parts: list[Any] = []

    def add(self, columns: list[Arrow]) -> None:
        """Take in some rows."""
        import pandas as pd

        frame = pd.DataFrame({at: column.to_pandas() for at, column in enumerate(columns)})
        self._parts.append(pd.util.hash_pandas_object(frame, index=False, categorize=True).to_numpy())

    def all(self) -> Any:  # noqa: ANN401 - [row] uint64
        """Give the keys of all rows."""
        return np.concatenate(self._parts) if self._parts else np.array([], dtype=np.uint64)


def write(path: Path, part: Part, schema: Schema) -> RowKeys:
    """Write the rows of a part: features in the schema's order, target, weight; a stretch of rows in memory at a time.

    Returns:
        a key for each row.
    """
    keys = RowKeys()
    names = [one.name for one in schema.features if not one.is_ignored]
    target_type = pa.float64() if schema.is_regression else pa.int64()
    fields = [pa.field(one.name, arrow_type(one.kind)) for one in schema.features]
    fields.append(pa.field(schema.target, target_type))
    fields += [pa.field(schema.weight, pa.float64())] if schema.weight is not None else []
    arrow_schema = pa.schema(fields)
    done = 0
    with parquet.ParquetWriter(path, arrow_schema, compression="zstd") as writer:
        for start, texts in part.spool.groups(names or [schema.target]):
            rows = part.rows[np.searchsorted(part.rows, start) : np.searchsorted(part.rows, start + len(texts[0]))]
            if not len(rows):
                continue
            chosen = pa.array(rows - start)
            typed = typed_columns({name: one.take(chosen) for name, one in zip(names, texts, strict=False)}, schema)
            here = slice(done, done + len(rows))
            typed = [column if len(column) else pa.nulls(len(rows), column.type) for column in typed]
            typed.append(pa.array(part.target[here]).cast(target_type))
            keys.add(typed)
            if part.weights is not None:
                typed.append(pa.array(part.weights[here]))
            columns = [column.cast(field.type) for column, field in zip(typed, arrow_schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(columns, schema=arrow_schema))
            done += len(rows)
    return keys
