"""Builds the scikit-learn steps of a pipeline: columns of a table in, one matrix of numbers out.

numeric, dates, sequences -> plain | standard | normal | binned
categorical               -> ordinal | one-hot | target
text                      -> terms | topics
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    QuantileTransformer,
    StandardScaler,
)

from gyropilot.problems.tabular.columns import Schema
from gyropilot.problems.tabular.hpo.category_means import CategoryMeans
from gyropilot.problems.tabular.hpo.dates_and_sequences import DateParts, SequenceParts
from gyropilot.problems.tabular.hpo.fold_models import Floats, Matrix
from gyropilot.problems.tabular.hpo.pipelines import Pipeline, columns_used
from gyropilot.problems.tabular.hpo.texts import TextTerms, TextTopics

_LARGEST = 1e30
"""Numbers beyond are held to this: features are float32, in which more would be infinite."""
_WIDEST_DEVIATIONS = 6.0
"""How far from the mean a scaled number may lie: a network or a line makes anything of what it never saw."""
_MOST_CATEGORIES = {"xgboost": 20, "linear-learner": 200, "mlp": 100}
_LEAST_SHARE = 0.0005
"""One-hot: categories of a smaller share of the rows go together."""
_DENSE_ABOVE = 0.3
"""Share of values that are not 0 from which on a one-hot matrix is dense."""


def build_steps(schema: Schema, pipeline: Pipeline, *, rows: int, seed: int) -> ColumnTransformer:
    """Give the steps, not yet fitted, for tables of `schema` with so many training rows."""
    numbers = partial(_number_steps, pipeline, rows=rows, seed=seed)
    parts: list[tuple[str, BaseEstimator, list[str]]] = [
        ("numeric", numbers(_function(finite)), columns_used(schema, "numeric")),
        ("datetime", numbers(DateParts()), columns_used(schema, "datetime")),
        ("sequence", numbers(SequenceParts()), columns_used(schema, "sequence")),
        ("categorical", _category_steps(schema, pipeline, rows=rows, seed=seed), columns_used(schema, "categorical")),
    ]
    for place, name in enumerate(columns_used(schema, "text")):
        parts.append((f"text{place}", TextTerms() if pipeline.texts == "terms" else TextTopics(seed), [name]))
    # Of boosted trees a missing value and 0 are two things, which a sparse matrix would not tell apart.
    sparse_up_to = 0.0 if pipeline.algorithm == "xgboost" else _DENSE_ABOVE
    return ColumnTransformer([part for part in parts if part[2]], sparse_threshold=sparse_up_to)


def fit_steps(steps: ColumnTransformer, features: pd.DataFrame, target: np.ndarray[Any, Any]) -> Matrix:
    """Fit the steps and give the matrix of the same rows, in which no row's own target tells of itself."""
    with warnings.catch_warnings():
        # Bins of a column with few values come together, as they should.
        warnings.filterwarnings("ignore", message="Bins whose width", category=UserWarning)
        warnings.filterwarnings("ignore", message="Feature .* is constant", category=UserWarning)
        return as_matrix(steps.fit_transform(features, target))


def as_matrix(made: Matrix) -> Matrix:
    """Give what the steps made as float32, rows one after the other."""
    if isinstance(made, np.ndarray):
        return np.ascontiguousarray(made, dtype=np.float32)
    matrix: Matrix = made.tocsr().astype(np.float32)
    return matrix


def finite(values: pd.DataFrame) -> Floats:
    """Give numbers as they are, infinite ones as missing, and none larger than float32 holds."""
    numbers = np.asarray(values, dtype=np.float64)
    return np.clip(np.where(np.isfinite(numbers), numbers, np.nan), -_LARGEST, _LARGEST)


def bounded(values: Floats) -> Floats:
    """Hold scaled numbers within some deviations of their mean."""
    return np.clip(values, -_WIDEST_DEVIATIONS, _WIDEST_DEVIATIONS)


def filled(values: pd.DataFrame) -> np.ndarray[Any, Any]:
    """Give categories with missing ones as an empty string, which is a category like others."""
    return np.asarray(values.where(values.notna(), ""), dtype=object)


def _number_steps(pipeline: Pipeline, first: BaseEstimator, *, rows: int, seed: int) -> BaseEstimator:
    if pipeline.numbers == "plain":
        return first
    impute = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    if pipeline.numbers == "standard":
        return make_pipeline(first, impute, StandardScaler(), _function(bounded))
    if pipeline.numbers == "normal":
        ranks = QuantileTransformer(
            n_quantiles=max(1, min(1000, rows)), output_distribution="normal", subsample=50_000, random_state=seed
        )
        return make_pipeline(first, impute, ranks)
    bins = KBinsDiscretizer(
        n_bins=10, encode="onehot", strategy="quantile", quantile_method="averaged_inverted_cdf", random_state=seed
    )
    return make_pipeline(first, impute, bins)


def _category_steps(schema: Schema, pipeline: Pipeline, *, rows: int, seed: int) -> BaseEstimator:
    if pipeline.categories == "ordinal":
        encode: BaseEstimator = OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=-1, min_frequency=2, dtype=np.float32
        )
    elif pipeline.categories == "one-hot":
        encode = OneHotEncoder(
            handle_unknown="infrequent_if_exist",
            min_frequency=max(2, round(_LEAST_SHARE * rows)),
            max_categories=_MOST_CATEGORIES[pipeline.algorithm],
            dtype=np.float32,
        )
    else:
        encode = CategoryMeans(len(schema.labels), seed)
    steps = [_function(filled), encode]
    return (
        make_pipeline(*steps, StandardScaler(), _function(bounded)) if _is_scaled(pipeline) else make_pipeline(*steps)
    )


def _is_scaled(pipeline: Pipeline) -> bool:
    return pipeline.categories == "target" and pipeline.algorithm != "xgboost"


def _function(function: Callable[..., object]) -> FunctionTransformer:
    return FunctionTransformer(function, feature_names_out=None)
