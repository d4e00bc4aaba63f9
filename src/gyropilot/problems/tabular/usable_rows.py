"""Settles which rows of the channels are trained on and which validate, with their targets and weights.

all rows -> those with a target, and a weight where there are weights -> a sample, if they are too many -> two parts
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gyropilot.data import csv_files
from gyropilot.errors import InvalidData
from gyropilot.problems.contract import Json
from gyropilot.problems.tabular import kinds, sampling, splitting, targets
from gyropilot.problems.tabular.findings import Findings, rows_of
from gyropilot.problems.tabular.request import TabularSpec
from gyropilot.problems.tabular.spool import Spool
from gyropilot.problems.tabular.targets import Target

RECOMMENDED_ROWS = 500
RARE_SHARE = 0.05
_NAMED_ROWS = 20
_SHOWN_CLASSES = 10
_FEW_OF_CLASS = 5

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Rows of one spool."""

    spool: Spool
    rows: npt.NDArray[np.int64]
    """Their numbers in the spool, ascending."""
    target: Floats
    """[row]: class numbers or numbers."""
    weights: Floats | None
    """[row]"""

    @property
    def keep(self) -> npt.NDArray[np.bool_]:
        """[row of the spool]: whether it is of this part."""
        mask = np.zeros(self.spool.rows, dtype=bool)
        mask[self.rows] = True
        return mask


@dataclass(frozen=True, kw_only=True)
class UsableRows:
    """The rows of a job."""

    target: Target
    """As the training channel has it."""
    training: Part
    validation: Part
    dropped: int
    sampled_from: int | None
    """How many usable rows there are; None: all of them are used."""
    split: dict[str, Json]


def choose(spools: Mapping[str, Spool], spec: TabularSpec, *, memory_bytes: int, found: Findings) -> UsableRows:
    """Settle the rows of a job.

    Args:
        spools: by channel type.
        spec: the job.
        memory_bytes: memory that the job was given; 0: no bound.
        found: hears of rows that were left out, and of classes.

    Raises:
        InvalidData: the target cannot be learnt, or too few rows are usable.
    """
    training = spools["training"]
    target = targets.read(training.column(spec.target), spec.problem_type, where=_where(training, spec.target))
    usable = _usable(training, target, spec, found)
    parts = {"training": usable}
    if "validation" in spools:
        spool = spools["validation"]
        its_target, unknown = targets.read_like(spool.column(spec.target), target, where=_where(spool, spec.target))
        _note_unknown(unknown, found)
        parts["validation"] = _usable(spool, its_target, spec, found)
    every = sum(len(one.rows) for one in parts.values())
    dropped = sum(one.rows for one in spools.values()) - every
    sampled = {name: _sampled(one, target, spec, memory_bytes, found) for name, one in parts.items()}
    taken = sum(len(one.rows) for one in sampled.values())
    split: dict[str, Json] = {"kind": "channels", "fraction": None, "seed": None}
    if spec.validation_fraction is not None:
        kind = "random" if target.problem_type == "Regression" else "stratified"
        split = {"kind": kind, "fraction": spec.validation_fraction, "seed": spec.seed}
        sampled = _split(sampled["training"], target, spec.validation_fraction, spec.seed)
    _check_classes(sampled, target, spec)
    _note_classes(sampled["training"], target, found)
    _note_size(len(sampled["training"].rows), found)
    return UsableRows(
        target=target,
        training=sampled["training"],
        validation=sampled["validation"],
        dropped=dropped,
        sampled_from=every if taken < every else None,
        split=split,
    )


def _where(spool: Spool, column: str) -> str:
    uris = list(spool.rows_by_uri())
    more = f" and {len(uris) - 1} more files" if len(uris) > 1 else ""
    return f"{uris[0]}{more}: column {column!r}"


def _usable(spool: Spool, target: Target, spec: TabularSpec, found: Findings) -> Part:
    usable = target.usable
    if target.bad:
        told = ", ".join(f"{count} {what}" for what, count in target.bad.items())
        count = sum(target.bad.values())
        found.add(
            "bad_target",
            "dropped",
            f"{rows_of(count)} without a usable {spec.target!r} left out ({told})",
            count=count,
            columns=[spec.target],
            rows=[spool.place(row) for row in np.flatnonzero(~usable)[:_NAMED_ROWS].tolist()],
        )
    weights = None
    if spec.weight_column is not None:
        weights = _weights(spool, spec.weight_column, usable, found)
        usable = usable & ~np.isnan(weights)
    rows = np.flatnonzero(usable)
    if not len(rows):
        raise InvalidData(
            where=_where(spool, spec.target),
            found=rows_of(spool.rows),
            problem="no row is left that has a usable target and weight",
            fix="fill both columns",
        )
    return Part(spool=spool, rows=rows, target=target.values[rows], weights=None if weights is None else weights[rows])


def _weights(spool: Spool, column: str, usable: npt.NDArray[np.bool_], found: Findings) -> Floats:
    """Give [row of the spool]: its weight, NaN where that is none."""
    values = kinds.numbers(kinds.cleaned(spool.column(column)))
    weights = np.array(values.to_numpy(zero_copy_only=False), dtype=np.float64)
    with np.errstate(invalid="ignore"):
        weights[weights < 0] = np.nan
    bad = np.flatnonzero(np.isnan(weights) & usable)
    if len(bad):
        found.add(
            "bad_weight",
            "dropped",
            f"{rows_of(len(bad))} left out: {column!r} is missing, no number or below 0",
            count=len(bad),
            columns=[column],
            rows=[spool.place(row) for row in bad[:_NAMED_ROWS].tolist()],
        )
    if not np.nansum(weights):
        raise InvalidData(
            where=_where(spool, column),
            problem="no row has a weight above 0",
            fix="give weights, or leave SampleWeightAttributeName out",
        )
    return weights


def _note_unknown(unknown: Mapping[str, int], found: Findings) -> None:
    if unknown:
        names = ", ".join(map(repr, csv_files.shown(list(unknown)[:5])))
        count = sum(unknown.values())
        found.add(
            "unknown_class",
            "dropped",
            f"{rows_of(count)} of the validation channel left out: no training row is of their class ({names})",
            count=count,
        )


def _sampled(part: Part, target: Target, spec: TabularSpec, memory_bytes: int, found: Findings) -> Part:
    most = sampling.most_rows(
        rows=part.spool.rows,
        text_bytes=part.spool.text_bytes,
        columns=len(part.spool.columns),
        memory_bytes=memory_bytes,
    )
    classes = None if target.problem_type == "Regression" else part.target.astype(np.int64)
    rows = sampling.sample(part.rows, classes, most, spec.seed)
    if len(rows) == len(part.rows):
        return part
    found.add(
        "sampled",
        "warning",
        f"{rows_of(len(rows))} of {len(part.rows)} are used, drawn at random"
        f"{'' if classes is None else ' with each class in its share'}: more do not fit into the memory of the job",
        count=len(part.rows) - len(rows),
    )
    return _at(part, np.searchsorted(part.rows, rows))


def _at(part: Part, numbers: npt.NDArray[np.int64]) -> Part:
    return Part(
        spool=part.spool,
        rows=part.rows[numbers],
        target=part.target[numbers],
        weights=None if part.weights is None else part.weights[numbers],
    )


def _split(part: Part, target: Target, fraction: float, seed: int) -> dict[str, Part]:
    if target.problem_type == "Regression":
        training, validation = splitting.random(len(part.rows), fraction, seed)
    else:
        training, validation = splitting.stratified(part.target.astype(np.int64), fraction, seed)
    return {"training": _at(part, training), "validation": _at(part, validation)}


def _check_classes(parts: Mapping[str, Part], target: Target, spec: TabularSpec) -> None:
    """Refuse a single training row, and a part that lacks one of two classes: it teaches nothing, measures nothing."""
    if len(parts["training"].rows) < 2:
        raise InvalidData(
            where=_where(parts["training"].spool, spec.target),
            found="1 usable row to train on",
            problem="is too few to learn from",
            fix="give more rows",
        )
    if len(target.labels) != 2:
        return
    mend = "give two rows of each class at least" if spec.validation_fraction is not None else "give rows of both"
    for name, part in parts.items():
        counts = np.bincount(part.target.astype(np.int64), minlength=2)
        if not counts.all():
            raise InvalidData(
                where=_where(part.spool, spec.target),
                found=f"{rows_of(len(part.rows))} for {name}, all of the class {target.labels[int(counts.argmax())]!r}",
                problem="the rows for training and those for validation must hold both classes each",
                fix=mend,
            )


def _note_classes(training: Part, target: Target, found: Findings) -> None:
    if not target.labels:
        return
    counts = np.bincount(training.target.astype(np.int64), minlength=len(target.labels))
    rare = [label for label, count in zip(target.labels, counts.tolist(), strict=True) if count < _FEW_OF_CLASS]
    if rare:
        names = ", ".join(map(repr, csv_files.shown(rare[:5])))
        found.add(
            "rare_class",
            "warning",
            f"{len(rare)} of {len(target.labels)} classes have fewer than {_FEW_OF_CLASS} training rows: {names}",
            count=len(rare),
        )
    share = counts.min() / counts.sum()
    if len(target.labels) == 2 and share < RARE_SHARE:
        label = target.labels[int(counts.argmin())]
        found.add(
            "imbalanced",
            "note",
            f"only {share:.1%} of the training rows are of the class {label!r}: F1, AUC or BalancedAccuracy tell more"
            " than Accuracy",
            count=int(counts.min()),
        )
    spellings = Counter(label.casefold() for label in target.labels)
    alike = [label for label in target.labels if spellings[label.casefold()] > 1]
    if alike:
        shown = ", ".join(map(repr, csv_files.shown(alike[:_SHOWN_CLASSES])))
        more = ", ..." if len(alike) > _SHOWN_CLASSES else ""
        message = f"classes differ in letter case alone, and are kept apart: {shown}{more}"
        found.add("similar_classes", "warning", message, count=len(alike) - len({one.casefold() for one in alike}))


def _note_size(rows: int, found: Findings) -> None:
    if rows < RECOMMENDED_ROWS:
        message = f"{rows_of(rows)} to train on; {RECOMMENDED_ROWS} or more are recommended"
        found.add("few_rows", "warning", message, count=rows)
