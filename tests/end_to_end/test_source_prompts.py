"""A job that begins with a source prompt, and whose output becomes one: through the API, worker and children."""

import json

import botocore.exceptions
import pytest

import services
import source_vectors
from gyropilot.problems.text_generation.source_prompts.store import SourcePrompts

ASKED = {"tuningType": "MULTITASK_PROMPT", "initMethod": "AVERAGE_SOURCE", "initSourceModel": "topics"}


@pytest.fixture(scope="module")
def topics(service, tiny_model_folder, tmp_path_factory):
    """A source prompt of three tasks, 4 rows and 2 ranks, imported into the service's home."""
    folder = tmp_path_factory.mktemp("adapter") / "topics"
    source_vectors.bring(service, folder, tiny_model_folder)
    return SourcePrompts(service.home / "source_prompts").verify("topics")


@pytest.mark.slow
def test_a_job_begins_with_a_source_prompt_and_its_output_becomes_one(service, topics):
    client, s3 = service.sdk(), service.boto3("s3")
    parameters = {"epochCount": "1", "learningRate": "0.01", **ASKED}
    client.create_job(services.request(service, "from-topics", TextGenerationHyperParameters=parameters))
    ended = client.wait("from-topics", timeout_seconds=300, poll_seconds=0.2)
    assert ended["AutoMLJobStatus"] == "Completed", ended.get("FailureReason")
    out = "out/from-topics"
    lineage = json.loads(s3.get_object(Bucket="data", Key=f"{out}/lineage.json")["Body"].read())
    assert topics.digest in json.dumps(lineage["method"])
    config = json.loads(s3.get_object(Bucket="data", Key=f"{out}/adapter/adapter_config.json")["Body"].read())
    assert (config["num_virtual_tokens"], config["num_ranks"], config["num_tasks"]) == (topics.rows, topics.ranks, 1)
    assert not config.get("prompt_tuning_init_state_dict_path")

    for name, place in (("again", f"s3://data/{out}"), ("peers", f"s3://data/{out}/caikit")):
        imported = service.gyropilot("prompts", "import", place, "--name", name)
        assert imported.returncode == 0, imported.stderr
        found = SourcePrompts(service.home / "source_prompts").verify(name)
        assert (found.base_model, found.rows, found.width) == (services.TINY, topics.rows, topics.width)
        assert found.ranks == (topics.ranks if name == "again" else 0)
        assert service.gyropilot("prompts", "remove", name).returncode == 0


def test_a_source_prompt_that_is_not_there_or_does_not_fit_is_refused_by_its_key(service, topics):
    sagemaker = service.boto3("sagemaker")
    for changes, said in (
        ({"initSourceModel": "topic"}, "initSourceModel"),
        ({"numVirtualTokens": "9"}, "numVirtualTokens"),
        ({"promptRanks": "7"}, "promptRanks"),
    ):
        parameters = {"epochCount": "1", **ASKED, **changes}
        request = services.request(service, "refused", TextGenerationHyperParameters=parameters)
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            sagemaker.create_auto_ml_job_v2(**request)
        error = caught.value.response
        assert error["ResponseMetadata"]["HTTPStatusCode"] == 400
        assert f"TextGenerationHyperParameters.{said}" in error["Error"]["Message"]
