from __future__ import annotations

import numpy as np
import pytest

from bad_tables import amount, colour, table
from gyropilot.errors import InvalidData
from gyropilot.problems.tabular import sampling
from gyropilot.problems.tabular.columns import read_schema
from profiled_tables import ProfiledTable, findings, kinds

HPO = {"mode": "HYPERPARAMETER_TUNING"}
COLUMNS = {"size": amount, "colour": colour, "day": lambda row: f"2024-03-{1 + row % 28:02}"}


@pytest.fixture
def job(tmp_path):
    return ProfiledTable(tmp_path)


def test_rows_are_typed_split_by_class_and_read_back(job):
    found = job.profile(job.channel(table(COLUMNS, 200, target=lambda row: "yes" if row % 10 == 0 else "no")))
    schema = read_schema(found["schema"])
    assert kinds(found) == {"size": "numeric", "colour": "categorical", "day": "datetime"}
    assert (schema.problem_type, schema.labels, found["objective"]) == ("BinaryClassification", ("no", "yes"), "F1")
    assert found["rows"] == {"read": 200, "dropped": 0, "training": 160, "validation": 40, "sampled_from": None}
    assert found["split"] == {"kind": "stratified", "fraction": 0.2, "seed": 42}
    training, validation = job.read(found), job.read(found, "validation")
    assert (training.target.sum(), validation.target.sum()) == (16, 4)
    assert [str(one) for one in training.features.dtypes] == ["float64", "object", "datetime64[ns]"]
    sizes = {float(amount(row)) for row in range(200)}
    assert {*training.features["size"], *validation.features["size"]} == sizes
    assert found["target"]["training"] == {"no": 144, "yes": 16}


def test_a_table_that_takes_all_of_the_memory_by_itself_is_trained_on_by_one_process():
    table = {"rows": 10**6, "text_bytes": 10**8, "columns": 10}
    memory = 32 * 10**9
    used = sampling.most_rows(**table, memory_bytes=memory)
    assert used == 10**6
    assert sampling.most_at_once(used_rows=used, **table, memory_bytes=memory) == 3
    less = memory // 8
    used = sampling.most_rows(**table, memory_bytes=less)
    assert used < 10**6
    assert sampling.most_at_once(used_rows=used, **table, memory_bytes=less) == 1
    assert sampling.most_at_once(used_rows=100, **table, memory_bytes=less) > 8
    assert sampling.most_at_once(used_rows=100, **table, memory_bytes=0) is None


def test_a_profile_says_how_many_may_train_side_by_side(job):
    channel = job.channel(table(COLUMNS, 60))
    assert job.profile(channel)["most_at_once"] is None
    assert job.profile(channel, memory_bytes=10**9)["most_at_once"] == 2


def test_the_same_data_gives_the_same_profile(job):
    channel = job.channel(table(COLUMNS, 60))
    assert job.profile(channel) == job.profile(channel)


def test_a_validation_channel_is_taken_as_it_is_whatever_the_order_of_its_columns(job):
    training = table({"size": amount, "colour": colour}, 40)
    validation = b"y,colour,size\nyes,red,1.5\nno,pink,\nmaybe,red,2\n"
    found = job.profile(job.channel(training), job.channel(validation, kind="validation"))
    assert (found["rows"]["training"], found["rows"]["validation"], found["split"]["kind"]) == (40, 2, "channels")
    assert findings(found)["unknown_class"]["count"] == 1
    frame = job.read(found, "validation")
    assert frame.features["colour"].tolist() == ["red", "pink"]
    assert np.isnan(frame.features["size"][1])
    assert frame.target.tolist() == [1, 0]


def test_channels_of_other_columns_are_refused_by_name(job):
    training, validation = table({"size": amount}), table({"weight": amount})
    with pytest.raises(InvalidData, match=r"validation-0: header: column .size. is missing"):
        job.profile(job.channel(training), job.channel(validation, kind="validation"))


def test_a_regression_keeps_its_numbers_and_weights(job):
    found = job.profile(
        job.channel(table({"size": amount, "w": lambda row: row % 3}, 90, target=lambda row: row / 7)),
        weight_column="w",
    )
    frame = job.read(found)
    assert found["schema"]["problem_type"] == "Regression"
    assert set(kinds(found)) == {"size"}
    assert set(frame.weights.tolist()) == {0.0, 1.0, 2.0}
    assert set(frame.target.tolist()) <= {row / 7 for row in range(90)}


def test_auto_goes_by_size_and_weights(job, monkeypatch):
    channel = job.channel(table({"size": amount, "w": "1"}, 60))
    assert job.profile(channel, mode="AUTO")["mode"] == "ENSEMBLING"
    monkeypatch.setattr("gyropilot.problems.tabular.request.AUTO_ENSEMBLING_BYTES", 100)
    assert job.profile(channel, mode="AUTO")["mode"] == "HYPERPARAMETER_TUNING"
    assert job.profile(channel, mode="AUTO", weight_column="w")["mode"] == "ENSEMBLING"


def test_sequences_are_of_tuning_only_and_definitions_alone_end_the_job(job):
    columns = {"curve": lambda row: f"{row},{row + 1},{row * 2}", "size": amount}
    found = job.profile(job.channel(table(columns, 60)))
    assert kinds(found)["curve"] == "categorical"
    tuned = job.profile(job.channel(table(columns, 60)), definitions_only=True, **HPO)
    assert kinds(tuned)["curve"] == "sequence"
    assert tuned["ends_as"] == "CandidateDefinitionsGenerated"
    assert set(tuned["artifacts"]) == {"CandidateDefinition", "DataExploration"}
    assert all((job.root / "output" / path).is_file() for path in tuned["artifacts"].values())


def test_a_feature_specification_names_features_and_kinds(job):
    said = {"FeatureAttributeNames": ["day", "code"], "FeatureDataTypes": {"code": "categorical"}}
    found = job.profile(job.channel(table({**COLUMNS, "code": lambda row: row % 5}, 60)), features=said)
    assert kinds(found) == {"day": "datetime", "code": "categorical"}


def test_a_column_that_is_not_of_the_kind_that_was_said_is_refused(job):
    with pytest.raises(InvalidData, match=r"column 'colour': is said to be numeric.*no field is.*'red'"):
        job.profile(job.channel(table(COLUMNS, 60)), features={"FeatureDataTypes": {"colour": "numeric"}})


def test_a_row_index_is_kept_in_its_place_and_read_as_missing(job):
    found = job.profile(job.channel(table({"": str, "size": amount}, 60)))
    assert [one["is_ignored"] for one in found["schema"]["features"]] == [True, False]
    assert job.read(found).features["Unnamed: 0"].isna().all()


@pytest.mark.parametrize(
    ("lot", "is_index"),
    [
        (lambda row: row + 1, True),
        (lambda row: row, True),
        (lambda row: row + 2, False),
        (lambda row: 60 - row, False),
        (lambda row: row + 1 if row < 50 else 7 * row, False),
    ],
    ids=["from 1", "from 0", "from 2", "backwards", "only in rows that are used"],
)
def test_only_a_count_of_all_rows_in_their_order_is_an_index(job, lot, is_index):
    def target(row):
        return "" if row >= 50 else ("no", "yes")[row % 2]

    found = job.profile(job.channel(table({"lot": lot, "size": amount}, 60, target=target)))
    assert [one["is_ignored"] for one in found["schema"]["features"]] == [is_index, False]
    assert ("identifier" in {one["kind"] for one in found["findings"]}) == is_index


def test_data_larger_than_the_memory_is_sampled_class_by_class_and_said_so(job):
    rows = 3000
    content = table({"size": amount, "colour": colour}, rows, target=lambda row: "rare" if row % 50 == 0 else "much")
    found = job.profile(job.channel(content), memory_bytes=sampling._MEMORY_SHARE * 140 * 1000)
    kept = found["rows"]["training"] + found["rows"]["validation"]
    assert found["rows"]["sampled_from"] == rows
    assert 900 < kept < 1200
    assert found["target"]["training"]["rare"] + found["target"]["validation"]["rare"] == rows / 50
    assert findings(found)["sampled"]["severity"] == "warning"


def test_what_was_found_is_told_as_events(job):
    found = job.profile(job.channel(table({"size": amount, "void": ""}, 60)))
    told = [detail["kind"] for kind, _, detail in job.listener.events if kind == "finding"]
    assert told == [one["kind"] for one in found["findings"]]
    assert findings(found)["few_rows"]["severity"] == "warning"
    assert findings(found)["all_missing"]["columns"] == ["void"]


def test_rows_that_are_left_out_are_named_by_file_and_row(job):
    first, second = (
        table({"size": amount}, 30),
        table({"size": amount}, 30, target=lambda row: "" if row == 6 else "no"),
    )
    found = job.profile(job.channel(first, second))
    assert findings(found)["bad_target"]["rows"] == ["s3://data/training-1: row 7"]
    assert [one["rows"] for one in found["files"]] == [30, 30]
    assert all(len(one["sha256"]) == 64 for one in found["files"])


def test_classes_that_differ_in_letter_case_alone_are_named(job):
    content = table({"size": amount}, 60, target=lambda row: ("yes", "Yes", "no")[row % 3])
    (message,) = (
        one["message"] for one in job.profile(job.channel(content))["findings"] if "letter case" in one["message"]
    )
    assert message.startswith("classes differ in letter case alone, and are kept apart: ")
    assert "'yes'" in message
    assert "'Yes'" in message
    assert "'no'" not in message


def test_one_stray_field_is_told_as_one(job):
    found = job.profile(job.channel(table({"size": lambda row: "soon" if row == 3 else row * 1.5}, 60)))
    assert "1 of its fields is not ('soon'): it is read as missing" in findings(found)["stray_value"]["message"]
    assert [one["takes_strays"] for one in found["schema"]["features"]] == [True]
