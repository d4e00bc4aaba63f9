"""What the best model answers to the rows of a job, beside what is true: the material of both of its reports."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gyropilot import clock
from gyropilot.problems.contract import ReportTask
from gyropilot.problems.tabular import models
from gyropilot.problems.tabular.columns import Schema, read_schema

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from gyropilot.problems.tabular.tables import Frame

_BATCH_ROWS = 5000
_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Answers of one model to rows whose target is known."""

    truth: npt.NDArray[np.float64] | npt.NDArray[np.int64]
    """[row] class numbers, or the numbers of a regression."""
    predicted: npt.NDArray[np.float64] | npt.NDArray[np.int64]
    """[row] as `truth`."""
    probabilities: npt.NDArray[np.float64] | None
    """[row, class]; None for a regression."""
    weights: npt.NDArray[np.float64] | None
    """[row]; None: rows count alike."""
    rows_known: int
    """Rows that could have been asked; more than were where the time was short."""

    @property
    def rows(self) -> int:
        """Give how many rows were answered."""
        return len(self.truth)


def schema_of(task: ReportTask) -> Schema:
    """Give the columns of the job."""
    return read_schema(task.profile["schema"])


@contextmanager
def best_model(task: ReportTask) -> Iterator[models.Model]:
    """Give the best candidate's model, loaded from a folder of its own that goes at the end."""
    from gyropilot.problems.tabular import artifacts

    with tempfile.TemporaryDirectory(prefix="report-") as folder:
        yield models.load(artifacts.unpack(task.model, task.result["containers"], Path(folder) / "model"))


def read_rows(task: ReportTask, split: Literal["training", "validation"]) -> Frame:
    """Give the rows of the job that profile kept."""
    from gyropilot.problems.tabular import tables

    return tables.read_prepared(task.prepared / f"{split}.parquet", schema_of(task))


def outputs(model: models.Model, features: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Give what the model says of each row: [row, class] probabilities, or [row, 1] numbers."""
    if model.schema.is_regression:
        return model.predict_numbers(features).reshape(-1, 1)
    return model.predict_probabilities(features)


def ask(model: models.Model, frame: Frame, *, seconds: float | None) -> Answers:
    """Ask the model for the rows of `frame`, in a random order, until all are answered or `seconds` are over."""
    import numpy as np

    order = np.random.default_rng(_SEED).permutation(len(frame.target))
    ends_at = None if seconds is None else clock.monotonic() + seconds
    parts: list[npt.NDArray[np.float64]] = []
    for start in range(0, len(order), _BATCH_ROWS):
        if parts and ends_at is not None and clock.monotonic() > ends_at:
            break
        parts.append(outputs(model, _at(frame.features, order[start : start + _BATCH_ROWS])))
    said = np.concatenate(parts)
    return _answers(model, frame, said, order[: len(said)])


def known(task: ReportTask, model: models.Model, frame: Frame) -> Answers | None:
    """Give what training kept of the validation rows: there only where the whole model saw them, see artifacts.py.

    Args:
        task: its `model` folder holds what was kept.
        model: the best candidate's.
        frame: all validation rows.
    """
    import numpy as np

    from gyropilot.problems.tabular import artifacts

    folders = [Path(one["model_path"]).parent for one in task.result["containers"]]
    kept = next(iter(task.model / one / artifacts.VALIDATION_PREDICTIONS for one in folders), None)
    if kept is None or not kept.exists():
        return None
    said = np.load(kept, allow_pickle=False).reshape(len(frame.target), -1)
    return _answers(model, frame, said, np.arange(len(frame.target)))


def _answers(model: models.Model, frame: Frame, said: npt.NDArray[np.float64], asked: npt.NDArray[np.int64]) -> Answers:
    """Give answers `said`, [row, class] or [row, 1], to the rows of `frame` at `asked`."""
    schema = model.schema
    labels = None if schema.is_regression else models.labels_of(said, schema.labels, model.threshold)
    return Answers(
        truth=frame.target[asked],
        predicted=said[:, 0] if labels is None else labels,
        probabilities=None if schema.is_regression else said,
        # Where no row counts, all of them do.
        weights=None if frame.weights is None or not frame.weights[asked].any() else frame.weights[asked],
        rows_known=len(frame.target),
    )


def _at(features: pd.DataFrame, rows: npt.NDArray[np.int64]) -> pd.DataFrame:
    return features.iloc[rows].reset_index(drop=True)
