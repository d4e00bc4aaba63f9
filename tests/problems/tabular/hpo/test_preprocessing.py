from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gyropilot.problems.tabular.columns import Column, Schema
from gyropilot.problems.tabular.hpo.category_means import CategoryMeans
from gyropilot.problems.tabular.hpo.containers import FeatureTransform
from gyropilot.problems.tabular.hpo.dates_and_sequences import DATE_PARTS, SEQUENCE_PARTS, DateParts, SequenceParts
from gyropilot.problems.tabular.hpo.pipelines import PIPELINES, pipeline_named
from gyropilot.problems.tabular.hpo.texts import TextTerms, TextTopics
from mixed_tables import frame_of, schema_of


@pytest.mark.parametrize("pipeline", PIPELINES, ids=lambda one: one.name)
@pytest.mark.parametrize("problem_type", ["BinaryClassification", "MulticlassClassification", "Regression"])
def test_each_pipeline_gives_each_row_the_same_numbers_alone_and_among_others(pipeline, problem_type):
    frame, schema = frame_of(problem_type, rows=120), schema_of(problem_type)
    transform, matrix = FeatureTransform.fitted(schema, pipeline, frame.features, frame.target, seed=1)
    again = transform.transform(frame.features)
    alone = transform.transform(frame.features.iloc[7:8])
    assert type(matrix) is type(again) is type(alone)
    assert (matrix.dtype, matrix.shape) == (np.float32, again.shape)
    dense = [one if isinstance(one, np.ndarray) else one.toarray() for one in (again, alone)]
    assert np.array_equal(dense[0][7:8], dense[1], equal_nan=True)
    if pipeline.numbers != "plain":
        assert np.isfinite(dense[0]).all()


@pytest.mark.parametrize("name", ["dpp0", "dpp1", "dpp2", "dpp5"])
def test_columns_that_hold_one_value_or_none_and_huge_numbers_are_borne(name):
    features = pd.DataFrame(
        {
            "constant": np.ones(30),
            "none": np.full(30, np.nan),
            "huge": np.where(np.arange(30) % 2, 1e300, np.inf),
            "void": np.full(30, None, dtype=object),
            "names": np.asarray([f"id {n}" for n in range(30)], dtype=object),
            "day": np.full(30, np.datetime64("NaT"), dtype="datetime64[ns]"),
        }
    )
    kinds = ["numeric", "numeric", "numeric", "categorical", "categorical", "datetime"]
    columns = tuple(Column(name=one, kind=kind) for one, kind in zip(features, kinds, strict=True))
    schema = Schema(features=columns, target="t", weight=None, problem_type="Regression", labels=())
    transform, _ = FeatureTransform.fitted(schema, pipeline_named(name), features, np.arange(30.0), seed=1)
    made = transform.transform(features)
    assert not np.isinf(made if isinstance(made, np.ndarray) else made.toarray()).any()


def test_dates_become_their_parts():
    features = pd.DataFrame({"day": pd.to_datetime(["2024-02-29 13:45", None]).astype("datetime64[ns]")})
    parts = dict(zip(DATE_PARTS, DateParts().fit(features).transform(features)[0], strict=True))
    assert (parts["year"], parts["month"], parts["day"], parts["weekday"]) == (2024, 2, 29, 3)
    assert (parts["hour"], parts["minute"], parts["day_of_year"]) == (13, 45, 60)
    assert np.isnan(DateParts().fit(features).transform(features)[1]).all()


def test_sequences_become_what_describes_them():
    features = pd.DataFrame({"curve": ["1, 2,4", "[5]", None, "x,nan,", "2,2,2"]}, dtype=object)
    rows = [dict(zip(SEQUENCE_PARTS, row, strict=True)) for row in SequenceParts().fit(features).transform(features)]
    assert (rows[0]["count"], rows[0]["mean"], rows[0]["slope"], rows[0]["first"]) == (3, 7 / 3, 1.5, 1)
    assert (rows[1]["count"], rows[1]["median"], rows[1]["slope"]) == (1, 5, 0)
    assert rows[2]["count"] == rows[3]["count"] == 0
    assert np.isnan(rows[2]["mean"])
    assert (rows[4]["deviation"], rows[4]["self_likeness"]) == (0, 0)


def test_words_become_terms_and_topics():
    texts = pd.DataFrame({"note": ["good day", "bad day", "good night", None] * 5}, dtype=object)
    terms, topics = TextTerms().fit(texts).transform(texts), TextTopics(1).fit(texts).transform(texts)
    assert terms.shape[0] == topics.shape[0] == 20
    assert not np.allclose(topics[0], topics[1])
    assert np.array_equal(topics[3, -2:], [0, 0])
    unlike = pd.DataFrame({"note": [None, "!!!", "once", "only"]}, dtype=object)
    assert TextTopics(1).fit(unlike).transform(unlike).shape == (4, 2)


def test_means_of_categories_do_not_tell_a_row_its_own_target():
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, 500)
    names = np.asarray([[f"id {n}"] for n in range(500)], dtype=object)
    encoded = CategoryMeans(classes=2, seed=0).fit_transform(names, target)[:, 0]
    assert np.allclose(encoded, target.mean(), atol=0.1)
    assert abs(np.corrcoef(encoded, target)[0, 1]) < 0.2 if encoded.std() > 1e-9 else True


def test_common_categories_are_encoded_alike_in_training_and_later():
    rng = np.random.default_rng(0)
    names, target = rng.choice(["a", "b", "c"], (600, 2)).astype(object), rng.normal(size=600)
    names[0, 0] = "rare"
    means = CategoryMeans(classes=0, seed=0)
    encoded = means.fit_transform(names, target)
    later = means.transform(names)
    assert np.array_equal(encoded[1:], later[1:])
    assert encoded[0, 0] != later[0, 0]


def test_means_of_categories_follow_the_target():
    names = np.asarray([["a"], ["b"]] * 200, dtype=object)
    means = CategoryMeans(classes=0, seed=0).fit(names, np.tile([1.0, 3.0], 200))
    encoded = means.transform(np.asarray([["a"], ["b"], ["never seen"]], dtype=object))[:, 0]
    assert np.allclose(encoded, [1.05, 2.95, 2.0], atol=0.01)
    of_classes = CategoryMeans(classes=3, seed=0).fit(names, np.tile([0, 2], 200))
    assert of_classes.transform(names).shape == (400, 3)
