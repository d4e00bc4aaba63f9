"""Jobs on families of their own kind through the running service: Falcon by adapters, Flan-T5 whole."""

import io
import json
import tarfile

import pytest

import served_models
import services
import tiny_models


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "tuning"), [("falcon-7b", "LORA"), ("flan-t5", "FULL")])
def test_a_job_on_another_family_gives_a_model_that_answers(service, tmp_path, kind, tuning):
    name = f"{kind}-{tuning}"
    added = service.gyropilot("models", "add", name, tiny_models.make(kind, tmp_path / kind))
    assert added.returncode == 0, added.stderr
    hyperparameters = {"epochCount": "4", "batchSize": "4", "learningRate": "0.01", "tuningType": tuning}
    request = services.request(service, name, BaseModelName=name, TextGenerationHyperParameters=hyperparameters)
    service.boto3("sagemaker").create_auto_ml_job_v2(**request)
    ended = service.sdk().wait(name, timeout_seconds=120, poll_seconds=0.1)
    assert ended["AutoMLJobStatus"] == "Completed", ended.get("FailureReason")
    shown = service.gyropilot("jobs", "show", name)
    assert f"tuningType = {tuning}" in shown.stdout

    s3 = service.boto3("s3")

    def artifact(key):
        return s3.get_object(Bucket="data", Key=f"out/{name}/{key}")["Body"].read()

    measured = json.loads(artifact("evaluation.json"))["models"]
    assert measured["tuned"]["ValidationLoss"] < 0.7 * measured["base"]["ValidationLoss"]
    listed = s3.list_objects_v2(Bucket="data", Prefix=f"out/{name}/adapter/")
    assert (listed["KeyCount"] > 0) == (tuning == "LORA")
    with tarfile.open(fileobj=io.BytesIO(artifact("model.tar.gz"))) as archive:
        archive.extractall(tmp_path / "model", filter="data")
    base_models = service.home / "base_models"
    with served_models.serving(tmp_path / "model", base_models=base_models) as model:
        assert model.text("What is 7 and 7?").startswith("It is")
        assert bool(model.server.base_digests) == (tuning == "LORA")
