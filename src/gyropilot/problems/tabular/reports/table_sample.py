"""A sample of the training rows that profile left, small enough to be looked at as a whole; what is odd among them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gyropilot.problems.tabular.columns import Schema

if TYPE_CHECKING:
    from gyropilot.problems.tabular.tables import Frame

_MOST_ROWS, _MOST_CELLS, _SEED = 20_000, 3_000_000, 0
_FOREST_ROWS, _FOREST_COLUMNS, _TREES = 4000, 100, 50


def sample(path: Path, schema: Schema) -> Frame:
    """Read rows of a Parquet file that profile left: all of a small one, of a large one some, drawn at random."""
    import pyarrow as pa
    from pyarrow import parquet

    from gyropilot.problems.tabular.tables import read_prepared

    most = max(100, min(_MOST_ROWS, _MOST_CELLS // max(1, len(schema.features))))
    with parquet.ParquetFile(path) as file:
        rows = file.metadata.num_rows
        if rows <= most:
            return read_prepared(path, schema)
        chosen = np.sort(np.random.default_rng(_SEED).choice(rows, most, replace=False))
        parts, start = [], 0
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, use_threads=False)
            places = chosen[(chosen >= start) & (chosen < start + table.num_rows)] - start
            parts.append(table.take(pa.array(places)))
            start += table.num_rows
    with tempfile.TemporaryDirectory(prefix="sample-") as folder:
        drawn = Path(folder) / "sample.parquet"
        parquet.write_table(pa.concat_tables(parts), drawn)
        return read_prepared(drawn, schema)


def oddness(frame: Frame, schema: Schema, strongest: list[str]) -> npt.NDArray[np.float64]:
    """Give how usual each of the first rows is, beside the others: the lower, the odder.

    Args:
        frame: the rows; a few thousand of them are judged.
        schema: the columns.
        strongest: the features that tell most of the target, the first of them are looked at.

    Source: Liu, Ting and Zhou 2008 (isolation forest), as scikit-learn computes it.
    """
    from sklearn.ensemble import IsolationForest

    kinds = {one.name: one.kind for one in schema.features if one.kind not in ("text", "sequence")}
    names = [name for name in strongest if name in kinds][:_FOREST_COLUMNS]
    features = frame.features.iloc[:_FOREST_ROWS]
    if not names or len(features) < 2:
        return np.zeros(0)
    columns = []
    for name in names:
        values = features[name]
        if kinds[name] == "categorical":
            numbers = values.map(values.value_counts()).astype("float64").fillna(0).to_numpy()
        else:
            numbers = values.astype("int64" if kinds[name] == "datetime" else "float64").to_numpy().astype(np.float64)
            known = ~values.isna().to_numpy()
            numbers = np.where(known, numbers, np.median(numbers[known]) if known.any() else 0.0)
        columns.append(np.clip(numbers, -1e37, 1e37))
    forest = IsolationForest(n_estimators=_TREES, random_state=_SEED)
    matrix = np.column_stack(columns)
    return np.asarray(forest.fit(matrix).decision_function(matrix), dtype=np.float64)
