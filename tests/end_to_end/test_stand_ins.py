"""A boto3 program that names a model of 7 billion parameters, run unchanged on a small one that stands in for it."""

import json
import tarfile

import botocore.exceptions
import pytest

import services


@pytest.fixture
def stands_in(service):
    made = set()

    def stand_in(name):
        ran = service.gyropilot("models", "stand-in", name, services.TINY)
        assert ran.returncode == 0, ran.stderr
        made.add(name)

    yield stand_in
    for name in made:
        assert service.gyropilot("models", "stand-in", "--remove", name).returncode == 0


def _request(service, name, **config):
    request = services.request(service, name, TextGenerationHyperParameters={"epochCount": "1"}, **config)
    if "BaseModelName" not in config:
        del request["AutoMLProblemTypeConfig"]["TextGenerationJobConfig"]["BaseModelName"]
    return request


@pytest.mark.slow
def test_a_program_that_names_no_model_trains_the_stand_in_of_the_default_and_everything_says_so(
    service, stands_in, tmp_path
):
    stands_in("Falcon7BInstruct")
    sagemaker, s3 = service.boto3("sagemaker"), service.boto3("s3")
    request = _request(service, "stood-in")
    listed = {one["Name"]: one for one in service.sdk().base_models()}
    assert (listed["Falcon7BInstruct"]["Installed"], listed["Falcon7BInstruct"]["StandIn"]) == (False, "Tiny")
    assert "StandIn" not in listed["Tiny"]
    sagemaker.create_auto_ml_job_v2(**request)
    ended = service.sdk().wait("stood-in", timeout_seconds=120, poll_seconds=0.1)
    assert ended["AutoMLJobStatus"] == "Completed", ended.get("FailureReason")

    job = sagemaker.describe_auto_ml_job_v2(AutoMLJobName="stood-in")
    assert job["AutoMLProblemTypeConfig"] == request["AutoMLProblemTypeConfig"]
    resolved = job["ResolvedAttributes"]["AutoMLProblemTypeResolvedAttributes"]
    assert resolved == {"TextGenerationResolvedAttributes": {"BaseModelName": services.TINY}}
    container = job["BestCandidate"]["InferenceContainers"][0]
    assert container["Environment"]["GYROPILOT_BASE_MODEL"] == services.TINY
    assert container["Environment"]["GYROPILOT_STANDS_IN_FOR"] == "Falcon7BInstruct"

    (event,) = [one for one in service.sdk().events("stood-in") if one.kind == "stand_in"]
    assert event.message.startswith("Tiny stands in for Falcon7BInstruct")
    shown = service.gyropilot("jobs", "show", "stood-in").stdout
    assert "Tiny is trained, it stands in for Falcon7BInstruct" in shown

    def artifact(name):
        return s3.get_object(Bucket="data", Key=f"out/stood-in/{name}")["Body"].read()

    lineage = json.loads(artifact("lineage.json"))
    assert (lineage["base_model"]["name"], lineage["base_model"]["stands_in_for"]) == ("Tiny", "Falcon7BInstruct")
    assert json.loads(artifact("evaluation.json"))["base_model"] == {
        "name": "Tiny",
        "stands_in_for": "Falcon7BInstruct",
    }
    assert b"Tiny, which stood in for Falcon7BInstruct, and says nothing of" in artifact("report.html")
    (tmp_path / "model.tar.gz").write_bytes(artifact("model.tar.gz"))
    with tarfile.open(tmp_path / "model.tar.gz") as archive:
        (serving,) = [one for one in archive.getnames() if one.endswith("gyropilot-serving.json")]
        assert json.load(archive.extractfile(serving))["stands_in_for"] == "Falcon7BInstruct"


@pytest.mark.slow
def test_a_job_keeps_the_model_that_stood_in_when_it_was_created(service, stands_in):
    stands_in("Mistral7B")
    service.boto3("sagemaker").create_auto_ml_job_v2(**_request(service, "stood-in-kept", BaseModelName="Mistral7B"))
    assert service.gyropilot("models", "stand-in", "--remove", "Mistral7B").returncode == 0
    ended = service.sdk().wait("stood-in-kept", timeout_seconds=120, poll_seconds=0.1)
    stands_in("Mistral7B")
    assert ended["AutoMLJobStatus"] == "Completed", ended.get("FailureReason")
    resolved = ended["ResolvedAttributes"]["AutoMLProblemTypeResolvedAttributes"]
    assert resolved["TextGenerationResolvedAttributes"]["BaseModelName"] == services.TINY


def test_a_gated_name_wants_its_licence_accepted_though_another_model_stands_in(service, stands_in):
    stands_in("Llama2-7BChat")
    with pytest.raises(botocore.exceptions.ClientError, match="AcceptEula: Llama2-7BChat is under the licence"):
        service.boto3("sagemaker").create_auto_ml_job_v2(**_request(service, "gated", BaseModelName="Llama2-7BChat"))


def test_without_a_stand_in_the_big_model_is_refused(service):
    with pytest.raises(botocore.exceptions.ClientError, match=f"models stand-in Falcon7B {services.TINY}"):
        service.boto3("sagemaker").create_auto_ml_job_v2(**_request(service, "big", BaseModelName="Falcon7B"))
