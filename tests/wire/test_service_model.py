"""What is kept of botocore's service model, and our own model beside it."""

import json
from pathlib import Path

import botocore.loaders
import pytest
from botocore.model import ServiceModel as BotocoreServiceModel

from gyropilot.wire import service_model

OURS = Path(service_model.__file__).with_name("gyropilot-service-2.json")


@pytest.fixture(scope="module")
def whole():
    return service_model.load("sagemaker", lambda name: True)


def test_only_the_operations_asked_for_are_kept():
    model = service_model.load("sagemaker", lambda name: name == "StopAutoMLJob")
    assert list(model.operations) == ["StopAutoMLJob"]
    assert model.target_prefix == "SageMaker"
    assert "CreateEndpoint" in model.known_names
    stop = model.operations["StopAutoMLJob"]
    assert (stop.signing_name, stop.output, stop.errors) == ("sagemaker", None, {"ResourceNotFound"})


def test_every_shape_says_what_botocore_says(whole):
    raw = botocore.loaders.Loader().load_service_model("sagemaker", "service-2")
    theirs = BotocoreServiceModel(raw, "sagemaker")
    roots = [shape for one in whole.operations.values() for shape in (one.input, one.output) if shape]
    ours = service_model.shapes_below(roots)
    assert len(ours) > 2500
    for name, shape in ours.items():
        expected = theirs.shape_for(name)
        assert shape.kind == expected.type_name
        assert shape.required == set(expected.metadata.get("required", ()))
        assert (shape.minimum, shape.maximum) == (expected.metadata.get("min"), expected.metadata.get("max"))
        assert list(shape.enum) == list(getattr(expected, "enum", []) or [])
        if shape.kind == "structure":
            assert list(shape.members) == list(expected.members)
            assert shape.is_union == expected.is_tagged_union


def test_models_in_the_user_s_own_folder_change_nothing(tmp_path, monkeypatch):
    folder = tmp_path / "sagemaker" / "2099-01-01"
    folder.mkdir(parents=True)
    (folder / "service-2.json").write_text(json.dumps({"metadata": {}, "operations": {}, "shapes": {}}))
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    assert service_model.load("sagemaker", lambda name: name == "ListAutoMLJobs").operations


def test_our_own_model_is_one_that_botocore_reads():
    raw = json.loads(OURS.read_bytes())
    model = BotocoreServiceModel(raw, "gyropilot")
    assert set(model.operation_names) == set(service_model.load("gyropilot", lambda name: True).operations)
    for name in model.operation_names:
        assert model.operation_model(name).input_shape is not None
    used = service_model.shapes_below(
        shape
        for one in service_model.load("gyropilot", lambda name: True).operations.values()
        for shape in (one.input, one.output)
        if shape is not None
    )
    assert set(raw["shapes"]) - used.keys() == {"ResourceInUse", "ResourceLimitExceeded", "ResourceNotFound"}


def test_function_names_are_those_of_clients():
    assert service_model.function_name("CreateAutoMLJobV2") == "create_auto_ml_job_v2"
