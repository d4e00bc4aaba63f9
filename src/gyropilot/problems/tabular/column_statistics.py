"""Sums up the values of one column for the profile: reports and the exploration notebook show them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from gyropilot.data import csv_files
from gyropilot.problems.contract import Json
from gyropilot.problems.tabular.columns import ColumnKind

Arrow = Any
"""A value of pyarrow's, which ships no types."""
_BINS = 20
_TOP = 10


def statistics(values: Arrow, kind: ColumnKind) -> dict[str, Json]:
    """Sum up typed values.

    Returns:
        numeric: min, max, mean, deviation, quartiles [25 %, 50 %, 75 %], histogram {edges, counts}; datetime: min and
        max as ISO 8601; all else: top [[value, count], ...], most frequent first, and text also words, the mean
        number of them. Empty where all values are missing.
    """
    present = values.drop_null()
    if not len(present):
        return {}
    if kind == "numeric":
        return of_numbers(np.asarray(present.to_numpy(zero_copy_only=False), dtype=np.float64))
    if kind == "datetime":
        bounds = pc.min_max(present).as_py()
        return {name: bounds[name].isoformat() for name in ("min", "max")}
    counts = pc.value_counts(present)
    order = np.lexsort((np.arange(len(counts)), -np.asarray(counts.field("counts"))))[:_TOP].tolist()
    top = [counts[at].as_py() for at in order]
    words = {}
    if kind == "text":
        words = {"words": pc.mean(pc.add(pc.count_substring_regex(present, r"\s+"), 1)).as_py()}
    return {"top": [[csv_files.shown([one["values"]])[0], one["counts"]] for one in top], **words}


def of_numbers(numbers: npt.NDArray[np.float64]) -> dict[str, Json]:
    """Sum up numbers, of which there is one at least, all finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = float(numbers.min()), float(numbers.max())
        summed: dict[str, Json] = {
            "min": low,
            "max": high,
            "mean": _finite(numbers.mean()),
            "deviation": _finite(numbers.std()),
            "quartiles": [float(one) for one in np.quantile(numbers, (0.25, 0.5, 0.75), method="higher")],
        }
        if low < high and np.isfinite(high - low):
            counts, edges = np.histogram(numbers, bins=_BINS)
            summed["histogram"] = {"edges": edges.tolist(), "counts": counts.tolist()}
    return summed


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
