"""What a table's columns are: names in training order, kinds, the target and its labels; kept with every model.

Every part of this problem type speaks of data by a `Schema`: reading makes it, training and serving go by it. Importing
this is cheap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from gyropilot.problems.contract import Json

ColumnKind = Literal["numeric", "categorical", "text", "datetime", "sequence"]
ProblemType = Literal["BinaryClassification", "MulticlassClassification", "Regression"]
COLUMN_KINDS: tuple[ColumnKind, ...] = get_args(ColumnKind)


@dataclass(frozen=True, kw_only=True)
class Column:
    """One feature."""

    name: str
    """As the file's header has it."""
    kind: ColumnKind
    day_first: bool = False
    """Of a datetime: 01/02/2003 is the first of February."""
    takes_strays: bool = False
    """Of numbers or times: training rows had fields that are neither; such fields are read as missing, as learnt."""
    is_ignored: bool = False
    """It says nothing about other rows, as a row index: its fields are taken in their place, and read as missing."""


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The columns of a job's table."""

    features: tuple[Column, ...]
    """In training order, which is that of the training channel's header with target, weight and unused columns left
    out: the order of the fields of a row that is to be predicted."""
    target: str
    weight: str | None
    """The column of sample weights, not a feature; None: rows count alike."""
    problem_type: ProblemType
    labels: tuple[str, ...]
    """The target's values as the files write them, in the order of class numbers; of two, the second is the positive
    one. Empty for regression."""

    @property
    def names(self) -> list[str]:
        """Names of the features, in training order."""
        return [one.name for one in self.features]

    @property
    def is_regression(self) -> bool:
        """Say whether the target is a number to be estimated."""
        return self.problem_type == "Regression"

    def of_kind(self, *kinds: ColumnKind) -> list[str]:
        """Give the names of the features of these kinds, in training order."""
        return [one.name for one in self.features if one.kind in kinds]

    def to_json(self) -> dict[str, Json]:
        """Give the schema as JSON values, read back by `read_schema`."""
        return asdict(self)


def read_schema(values: Mapping[str, Json]) -> Schema:
    """Read what `Schema.to_json` gave."""
    features = tuple(Column(**one) for one in values["features"])
    return Schema(**{**values, "features": features, "labels": tuple(values["labels"])})
