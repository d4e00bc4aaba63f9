"""Containers of tabular models, loaded as a replica loads them: a chain answers what the whole model does."""

from __future__ import annotations

import asyncio
import csv
import io
import json

import numpy as np
import pytest

import tuned_tables
from gyropilot.errors import InvalidRequest, TrainingFailed, Unavailable
from gyropilot.problems.contract import Call, ServeTask
from gyropilot.problems.tabular import tables
from gyropilot.problems.tabular.hpo import model as tuned_model
from gyropilot.problems.tabular.inference import open_server
from gyropilot.problems.tabular.models import labels_of
from gyropilot.problems.tabular.serving.containers import Whole
from gyropilot.problems.tabular.serving.environment import read
from gyropilot.serve.replica.hosted_models import ContainerFiles, HostedModels

LINES = "application/jsonlines"
OUTPUT, INPUT = "SAGEMAKER_INFERENCE_OUTPUT", "SAGEMAKER_INFERENCE_INPUT"
SUPPORTED = "SAGEMAKER_INFERENCE_SUPPORTED"
FIRST = {"AUTOML_TRANSFORM_MODE": "feature-transform"}
THIRD = {"AUTOML_TRANSFORM_MODE": "inverse-label-transform"}


class Served:
    """A model in one process of its own kind, as a replica holds it."""

    def __init__(self, table, *, outputs="predicted_label", inputs=None, containers=3):
        self.table = table
        second = {} if table.schema.is_regression else {OUTPUT: inputs or outputs}
        third = {**THIRD, INPUT: inputs or outputs, OUTPUT: outputs}
        folders = [(table.transform, FIRST), (table.algorithm, second), (table.transform, third)][:containers]
        self.models = HostedModels(open_server, ServeTask(base_models=table.transform, cores=1, memory_bytes=0))
        files = [ContainerFiles(folder=folder, environment=environment) for folder, environment in folders]
        asyncio.run(self.models.load("model", files, seconds=60))

    def reply(self, body, content_type="text/csv", accept=""):
        return asyncio.run(self.models.answer("model", Call(body=body, content_type=content_type, accept=accept)))

    def rows(self, body, content_type="text/csv"):
        return list(csv.reader(io.StringIO(self.reply(body, content_type, "text/csv").body.decode())))

    def objects(self, body, content_type="text/csv"):
        return json.loads(self.reply(body, content_type, "application/json").body)["predictions"]


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    root = tmp_path_factory.mktemp("binary")
    return tuned_tables.train(root, "BinaryClassification", pipeline="dpp1", algorithm="linear-learner", threshold=0.4)


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    root = tmp_path_factory.mktemp("several")
    return tuned_tables.train(root, "MulticlassClassification", pipeline="dpp4", algorithm="xgboost")


@pytest.fixture(scope="module")
def regression(tmp_path_factory):
    return tuned_tables.train(tmp_path_factory.mktemp("regression"), "Regression", pipeline="dpp0", algorithm="xgboost")


@pytest.fixture(scope="module")
def all_outputs(binary):
    return Served(
        binary,
        outputs="predicted_label,probability,probabilities,labels",
        inputs="predicted_label,probability,probabilities",
    )


def whole(table, tmp_path, **environment):
    """Give the model of both archives as one container."""
    model = tuned_model.load(table.joined(tmp_path / "joined"))
    return Whole(model, read(environment, "whole", is_regression=table.schema.is_regression))


def test_a_chain_learned_the_answer_and_names_it_by_its_label(binary):
    answered = [row for (row,) in Served(binary).rows(binary.csv(300))]
    right = np.mean([one == binary.schema.labels[wanted] for one, wanted in zip(answered, binary.target, strict=True)])
    assert right > 0.9
    assert set(answered) == set(binary.schema.labels)


def test_a_chain_gives_the_bits_of_the_model_that_was_scored(binary, all_outputs, tmp_path):
    model = whole(binary, tmp_path).model
    wanted = model.predict_probabilities(tables.from_text(binary.rows, binary.schema))
    found = all_outputs.objects(binary.csv(300))
    assert [one["probabilities"] for one in found] == wanted.tolist()
    classes = labels_of(wanted, binary.schema.labels, model.threshold)
    assert [one["predicted_label"] for one in found] == [binary.schema.labels[one] for one in classes]
    assert classes.tolist() != wanted.argmax(axis=1).tolist(), "the threshold must matter here"


def test_the_probability_of_a_chain_is_that_of_the_positive_class_and_of_a_whole_model_that_of_the_answer(
    binary, all_outputs, tmp_path
):
    chained = all_outputs.objects(binary.csv(50))
    assert all(one["probability"] == one["probabilities"][1] for one in chained)
    container = whole(binary, tmp_path, SAGEMAKER_INFERENCE_OUTPUT="probability,predicted_label,probabilities")
    call = Call(body=binary.csv(50), content_type="text/csv", accept="application/json")
    for one in json.loads(container.answer(call).body)["predictions"]:
        place = binary.schema.labels.index(one["predicted_label"])
        assert one["probability"] == one["probabilities"][place]


def test_of_several_classes_the_probability_is_that_of_the_answer(several):
    found = Served(several, outputs="predicted_label,probability,probabilities").objects(several.csv(300))
    assert all(one["probability"] == max(one["probabilities"]) for one in found)
    labels = several.schema.labels
    assert np.mean([labels.index(one["predicted_label"]) for one in found] == several.target) > 0.9


def test_every_form_says_the_same(binary, all_outputs):
    body = binary.csv(3)
    objects = all_outputs.objects(body)
    lines = all_outputs.reply(body, accept=LINES)
    assert [json.loads(line) for line in lines.body.splitlines()] == objects
    for cells, one in zip(all_outputs.rows(body), objects, strict=True):
        assert cells[0] == one["predicted_label"]
        assert [json.loads(cell) for cell in cells[1:]] == [one["probability"], one["probabilities"], one["labels"]]
    assert objects[0]["labels"] == list(binary.schema.labels)


def test_rows_are_answered_in_the_form_in_which_they_came_unless_another_is_accepted(binary):
    served = Served(binary)
    row = dict(zip(binary.schema.names, binary.rows[0], strict=True))
    as_json, as_line = json.dumps({"instances": [row]}).encode(), json.dumps(row).encode() + b"\n"
    label = served.rows(binary.csv(1))[0][0]
    said = {"predicted_label": label}
    assert json.loads(served.reply(as_json, "application/json").body) == {"predictions": [said]}
    assert json.loads(served.reply(as_line, LINES).body) == said
    assert served.reply(as_line, LINES).content_type == LINES
    assert served.reply(as_json, "application/json", "image/png, text/csv;q=0.5").body == f'"{label}"\n'.encode()
    assert served.reply(binary.csv(1), accept="application/*").content_type == "application/json"


def test_a_usual_accept_of_the_container_comes_before_the_form_of_the_rows(binary, tmp_path):
    container = whole(binary, tmp_path, SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT="application/json")
    call = Call(body=binary.csv(1), content_type="text/csv", accept="*/*")
    assert container.answer(call).content_type == "application/json"


def test_labels_alone_may_be_asked_for(binary):
    """The SDK's inference_response_keys leaves the second container's output as it was then."""
    served = Served(binary, outputs="labels", inputs="predicted_label")
    assert served.objects(binary.csv(1)) == [{"labels": list(binary.schema.labels)}]


def test_a_regression_is_two_containers_and_gives_scores(regression, tmp_path):
    served = Served(regression, containers=2)
    found = [float(row) for (row,) in served.rows(regression.csv(300))]
    assert np.corrcoef(found, regression.target)[0, 1] > 0.98
    model = whole(regression, tmp_path).model
    assert found == model.predict_numbers(tables.from_text(regression.rows, regression.schema)).tolist()
    assert served.objects(regression.csv(1)) == [{"score": found[0]}]


def test_unseen_categories_and_missing_values_are_answered(binary, several, regression):
    body = b',17,"never seen",\n,,,\nx,1e9,basic,1900-01-01\n,"unknown",plus,"-"\n'
    for table, containers in ((binary, 3), (several, 3), (regression, 2)):
        assert len(Served(table, containers=containers).rows(body)) == 4


def test_answers_in_parts_are_those_of_the_whole(binary, several, regression, monkeypatch):
    for table, containers in ((binary, 3), (several, 3), (regression, 2)):
        served = Served(table, containers=containers)
        whole_reply = served.reply(table.csv(40)).body
        with monkeypatch.context() as patch:
            patch.setattr("gyropilot.problems.tabular.serving.payloads.ROWS_AT_ONCE", 7)
            assert served.reply(table.csv(40)).body == whole_reply


def test_the_first_container_refuses_rows_and_what_cannot_be_answered(binary):
    served = Served(binary)
    for body, content_type, accept, words in (
        (b"1,2\n", "text/csv", "", "row 1: has 2 columns, and the model takes 4"),
        (binary.csv(1), "text/csv", "image/png", "Accept: names nothing that is answered here"),
        (binary.csv(1), "text/html", "", "ContentType: is not taken here"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            served.reply(body, content_type, accept)
        assert str(caught.value).startswith(words)


def test_containers_that_do_not_hand_over_what_is_taken_are_refused_by_name(binary):
    with pytest.raises(
        InvalidRequest, match=r"container 3: SAGEMAKER_INFERENCE_INPUT: is not what comes: 0\.\d+ is no"
    ):
        _mismatched(binary, second="probability", third="predicted_label")
    with pytest.raises(InvalidRequest, match=r"container 3: .* a row has 2 values"):
        _mismatched(binary, second="predicted_label,probability", third="predicted_label")


def _mismatched(table, *, second, third):
    served = Served(table, containers=1)
    served.models = HostedModels(open_server, ServeTask(base_models=table.transform, cores=1, memory_bytes=0))
    environments = (FIRST, {OUTPUT: second}, {**THIRD, INPUT: third, OUTPUT: third})
    folders = (table.transform, table.algorithm, table.transform)
    files = [ContainerFiles(folder=one, environment=it) for one, it in zip(folders, environments, strict=True)]
    asyncio.run(served.models.load("model", files, seconds=60))
    return served.reply(table.csv(3))


def test_the_algorithm_alone_says_what_it_takes(binary, tmp_path):
    server = open_server(ServeTask(base_models=tmp_path, cores=2, memory_bytes=0))
    assert server.calls_at_once >= 2
    server.load("model", binary.algorithm, {})
    with pytest.raises(InvalidRequest, match="send rows to the whole chain"):
        server.answer("model", Call(body=b"1,2", content_type="text/csv", accept=""))
    server.unload("model")


def test_a_folder_of_another_role_or_of_none_is_not_loaded(binary, regression, tmp_path):
    server = open_server(ServeTask(base_models=tmp_path, cores=1, memory_bytes=0))
    for folder, environment in (
        (tmp_path, {}),
        (tmp_path, FIRST),
        (binary.algorithm, FIRST),
        (binary.transform, {}),
        (regression.transform, THIRD),
    ):
        with pytest.raises(TrainingFailed):
            server.load("model", folder, environment)
    with pytest.raises(InvalidRequest, match=r"Environment\.SAGEMAKER_INFERENCE_OUTPUT"):
        server.load("model", binary.algorithm, {OUTPUT: "labels"})


def test_a_row_without_a_finite_answer_is_named_and_gets_none(binary, tmp_path):
    served = whole(binary, tmp_path)
    predict = served.model.predict_probabilities

    def broken(features):
        found = predict(features)
        found[1] = np.nan
        return found

    served.model.predict_probabilities = broken
    served = Whole(served.model, read({}, "whole", is_regression=False))
    call = Call(body=binary.csv(3), content_type="text/csv", accept="")
    with pytest.raises(InvalidRequest, match=r"^row 2: the model has no finite answer"):
        served.answer(call)


def test_a_call_that_nobody_waits_for_ends_early(binary):
    server = open_server(ServeTask(base_models=binary.transform, cores=1, memory_bytes=0))
    server.load("model", binary.transform, FIRST)
    call = Call(body=binary.csv(1), content_type="text/csv", accept="")
    call.cancelled.set()
    with pytest.raises(Unavailable):
        server.answer("model", call)
