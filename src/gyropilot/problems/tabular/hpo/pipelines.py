"""The pipelines that hyperparameter tuning chooses among: how features are prepared, and the algorithm that follows.

Names are those of the candidate definitions: dpp0, dpp1...; importing this is cheap, for the search goes by it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from gyropilot.problems.tabular.columns import ColumnKind, Schema

Numbers = Literal["plain", "standard", "normal", "binned"]
Categories = Literal["ordinal", "one-hot", "target"]
Texts = Literal["terms", "topics"]

MOST_TARGET_CLASSES = 10
"""With more classes, encoding categories by the target would give each column as many features."""

MOST_DENSE_COLUMNS = 60
"""With more categorical columns, a feature for each category takes too much memory where the matrix is not sparse."""


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """One way from columns to a model."""

    name: str
    algorithm: str
    numbers: Numbers
    """plain: as they are, missing ones too; standard: mean 0, deviation 1; normal: bent to a normal distribution by
    rank; binned: ten intervals, a feature each. Dates and sequences become numbers before."""
    categories: Categories
    """ordinal: numbered in order of their text; one-hot: a feature each, rare ones together; target: each by the
    mean of the target under it."""
    texts: Texts
    """terms: tf-idf of words and pairs of words, a feature each; topics: their strongest directions."""

    @property
    def title(self) -> str:
        """Give the pipeline in words."""
        return f"{self.algorithm} on {self.numbers} numbers, {self.categories} categories and text by {self.texts}"


PIPELINES: tuple[Pipeline, ...] = (
    Pipeline(name="dpp0", algorithm="xgboost", numbers="plain", categories="ordinal", texts="topics"),
    Pipeline(name="dpp1", algorithm="linear-learner", numbers="standard", categories="one-hot", texts="terms"),
    Pipeline(name="dpp2", algorithm="mlp", numbers="normal", categories="one-hot", texts="topics"),
    Pipeline(name="dpp3", algorithm="xgboost", numbers="plain", categories="target", texts="topics"),
    Pipeline(name="dpp4", algorithm="xgboost", numbers="plain", categories="one-hot", texts="topics"),
    Pipeline(name="dpp5", algorithm="linear-learner", numbers="binned", categories="one-hot", texts="terms"),
    Pipeline(name="dpp6", algorithm="mlp", numbers="standard", categories="target", texts="topics"),
)
"""In the order in which each is tried once, with its algorithm's defaults."""


def pipelines_for(schema: Schema, algorithms: Collection[str]) -> list[Pipeline]:
    """Give the pipelines that differ on columns such as these, in order.

    Args:
        schema: the table's columns.
        algorithms: those allowed; empty: all.
    """
    by_effect: dict[tuple[str, ...], Pipeline] = {}
    for one in PIPELINES:
        if (not algorithms or one.algorithm in algorithms) and _is_fit(one, schema):
            by_effect.setdefault(_effect(one, schema), one)
    return list(by_effect.values())


def pipeline_named(name: str) -> Pipeline:
    """Give the pipeline of that name."""
    return next(one for one in PIPELINES if one.name == name)


def columns_used(schema: Schema, *kinds: ColumnKind) -> list[str]:
    """Give the names of the features of these kinds that say something."""
    return [one.name for one in schema.features if one.kind in kinds and not one.is_ignored]


def _is_fit(pipeline: Pipeline, schema: Schema) -> bool:
    """Say whether its way with categories does not make too much of this table's."""
    columns = len(columns_used(schema, "categorical"))
    if columns and pipeline.categories == "target":
        return len(schema.labels) <= MOST_TARGET_CLASSES
    return pipeline.categories != "one-hot" or pipeline.algorithm != "xgboost" or columns <= MOST_DENSE_COLUMNS


def _effect(pipeline: Pipeline, schema: Schema) -> tuple[str, ...]:
    numbers = pipeline.numbers if columns_used(schema, "numeric", "datetime", "sequence") else ""
    categories = pipeline.categories if columns_used(schema, "categorical") else ""
    texts = pipeline.texts if columns_used(schema, "text") else ""
    return pipeline.algorithm, numbers, categories, texts
