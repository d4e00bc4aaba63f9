"""Prompt tuning by an unmodified boto3 program against a real service: jobs, kills, source prompts, endpoints."""

import json

import botocore.exceptions
import pytest

import services
import storms
from gyropilot.problems.text_generation.source_prompts.store import SourcePrompts

TAG = "gyropilot:TuningConfig"
TUNING = {
    "tuning_type": "PROMPT_TUNING",
    "num_epochs": 12,
    "learning_rate": 0.05,
    "batch_size": 4,
    "torch_dtype": "float32",
    "verbalizer": "Question: {{input}} Answer:",
    "tuning_config": {
        "num_virtual_tokens": 8,
        "prompt_tuning_init_method": "TEXT",
        "prompt_tuning_init_text": "What is the sum of both?",
    },
}


@pytest.fixture(scope="module")
def service(tmp_path_factory, tiny_model_folder):
    home = tmp_path_factory.mktemp("prompts") / "home"
    # One core: the number of threads decides the last bits of a loss.
    with services.running(home, cores=1, checkpoint_seconds=0.2, lease_seconds=2) as service:
        assert service.gyropilot("models", "add", services.TINY, tiny_model_folder).returncode == 0
        services.put_rows(service, services.rows(40))
        yield service


def create(service, name, tuning, *, data=None, **hyperparameters):
    """Create a job with a map of strings, and behind its tag a JSON object."""
    service.boto3("s3").put_object(Bucket="data", Key=f"tuning/{name}.json", Body=json.dumps(tuning).encode())
    request = services.request(service, name, TextGenerationHyperParameters=hyperparameters)
    request["Tags"] = [{"Key": TAG, "Value": f"s3://data/tuning/{name}.json"}]
    if data:
        request["AutoMLJobInputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] = data
    service.boto3("sagemaker").create_auto_ml_job_v2(**request)


def completed(service, name):
    """Wait for a job; give its description as boto3 has it."""
    ended = service.sdk().wait(name, timeout_seconds=300, poll_seconds=0.1)
    assert ended["AutoMLJobStatus"] == "Completed", ended.get("FailureReason")
    return service.boto3("sagemaker").describe_auto_ml_job_v2(AutoMLJobName=name)


def losses_of(job):
    metrics = job["BestCandidate"]["CandidateProperties"]["CandidateMetrics"]
    return {one["StandardMetricName"]: one["Value"] for one in metrics if "Loss" in one["StandardMetricName"]}


def artifact(service, name, file):
    return service.boto3("s3").get_object(Bucket="data", Key=f"out/{name}/{file}")["Body"].read()


def answer(service, endpoint, text):
    body = json.dumps({"inputs": text}).encode()
    reply = service.boto3("sagemaker-runtime").invoke_endpoint(
        EndpointName=endpoint, ContentType="application/json", Body=body
    )
    (one,) = json.loads(reply["Body"].read())
    return one["generated_text"]


@pytest.fixture(scope="module")
def prompt(service):
    """The description of a finished job of prompt tuning."""
    create(service, "prompt", TUNING)
    return completed(service, "prompt")


@pytest.mark.slow
def test_a_tagged_job_learns_and_lists_what_it_made(service, prompt):
    assert {"TrainingLoss", "ValidationLoss"} <= losses_of(prompt).keys()
    evaluation = json.loads(artifact(service, "prompt", "evaluation.json"))
    measured = evaluation["models"]
    assert losses_of(prompt)["ValidationLoss"] == pytest.approx(measured["tuned"]["ValidationLoss"], rel=1e-5)
    assert measured["tuned"]["ValidationLoss"] < 0.8 * measured["base"]["ValidationLoss"]
    assert [one["epoch"] for one in evaluation["epochs"]] == list(range(1, 13))
    listed = service.boto3("s3").list_objects_v2(Bucket="data", Prefix="out/prompt/")["Contents"]
    names = {one["Key"].removeprefix("out/prompt/") for one in listed}
    assert names >= {
        "model.tar.gz",
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "adapter/prompt.safetensors",
        "caikit/config.yml",
        "caikit/decoder.pt",
        "caikit/training_logs.jsonl",
        "manifest.json",
    }
    assert json.loads(artifact(service, "prompt", "manifest.json"))["files"].keys() == names - {"manifest.json"}


@pytest.mark.slow
@pytest.mark.usefixtures("prompt")
def test_its_endpoint_answers_as_was_scored_in_the_replica_of_a_lora_on_the_same_base(service):
    endpoints = service.sdk().endpoints
    endpoints.deploy("prompt", instances=1)
    ready = endpoints.wait("prompt", timeout_seconds=120, poll_seconds=0.1)
    assert ready["EndpointStatus"] == "InService", ready.get("FailureReason")
    hyperparameters = {"epochCount": "1", "torchDtype": "float32"}
    services.deploy(service, "lora", TextGenerationHyperParameters=hyperparameters)
    services.wait_until(
        lambda: len(storms.children_of(service)) == 1, seconds=60, what="one replica that holds both models"
    )
    scored = json.loads(artifact(service, "prompt", "evaluation.json"))["generations"][:3]
    for row in scored:
        assert answer(service, "prompt", row["input"]) == row["tuned"]["answer"]
    scored = json.loads(artifact(service, "lora", "evaluation.json"))["generations"][:3]
    for row in scored:
        assert answer(service, "lora", row["input"]) == row["tuned"]["answer"]
    for name in ("prompt", "lora"):
        service.boto3("sagemaker").delete_endpoint(EndpointName=name)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"verbalizer": "no field"}, "verbalizer"),
        ({"verbalizer": "{{input}} {{output}}"}, "verbalizer"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"tuning_type": "PROMPT"}, "tuning_type"),
        ({"tuning_config": {"num_virtual_tokens": 0}}, "tuning_config.num_virtual_tokens"),
        (
            {"tuning_config": {**TUNING["tuning_config"], "prompt_tuning_init_method": "AVERAGE_SOURCE"}},
            "tuning_config",
        ),
        ({"num_epoch": 3}, "num_epoch"),
    ],
)
def test_a_bad_value_is_refused_by_its_name_before_there_is_a_job(service, changes, where):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        create(service, "refused", TUNING | changes)
    error = caught.value.response
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == ("ValidationException", 400)
    assert f"Tags[{TAG}].{where}" in error["Error"]["Message"]
    assert "refused" not in {one["AutoMLJobName"] for one in service.sdk().jobs()}


@pytest.mark.slow
def test_a_service_that_is_killed_in_training_completes_the_job_once_with_the_same_losses(service):
    """The learning rate is not given: what the probe found is kept over the kill."""
    tuning = {name: value for name, value in TUNING.items() if name != "learning_rate"} | {"batch_size": 1}
    create(service, "undisturbed", tuning)
    undisturbed = losses_of(completed(service, "undisturbed"))
    create(service, "killed", tuning)
    services.wait_until(lambda: steps_of(service, "killed") > 20, seconds=120, what="the job to train")
    service.kill()
    service.start()
    assert losses_of(completed(service, "killed")) == undisturbed
    steps = [
        [json.loads(line)["loss"] for line in artifact(service, name, "training.jsonl").splitlines()]
        for name in ("undisturbed", "killed")
    ]
    assert steps[0] == steps[1]
    events = list(service.sdk().events("killed"))
    assert [one.message for one in events if one.kind == "status"].count("Completed") == 1
    assert "resumed" in {one.kind for one in events}


def steps_of(service, name):
    """Give how many steps of training a job has done; 0 before."""
    progress = service.sdk().progress(name)
    return progress.done if progress and progress.phase == "training" else 0


@pytest.mark.slow
def test_a_job_on_several_tasks_becomes_a_source_that_a_further_job_begins_with(service):
    rows = [(*pair, ("sums", "doubles")[number % 2]) for number, pair in enumerate(services.rows(40))]
    lines = "".join(f'"{given}","{wanted}",{topic}\n' for given, wanted, topic in rows)
    service.boto3("s3").put_object(Bucket="data", Key="topics/rows.csv", Body=f"input,output,topic\n{lines}".encode())
    tuning = {"num_epochs": 2, "learning_rate": 0.05, "torch_dtype": "float32", "task_column": "topic"}
    ranks = {"tuningType": "MULTITASK_PROMPT", "numVirtualTokens": "4", "promptRanks": "2"}
    create(service, "tasks", tuning, data="s3://data/topics/", **ranks)
    completed(service, "tasks")
    imported = service.gyropilot("prompts", "import", "s3://data/out/tasks", "--name", "sums")
    assert imported.returncode == 0, imported.stderr
    source = SourcePrompts(service.home / "source_prompts").verify("sums")
    assert (source.rows, source.ranks, len(source.tasks), source.base_model) == (4, 2, 2, services.TINY)

    asked = {"initMethod": "AVERAGE_SOURCE", "initSourceModel": "sums", "tuningType": "MULTITASK_PROMPT"}
    create(service, "further", {"num_epochs": 1, "learning_rate": 0.01}, **asked)
    completed(service, "further")
    lineage = json.loads(artifact(service, "further", "lineage.json"))
    assert lineage["method"]["source_sha256"] == source.digest
    assert (lineage["method"]["num_virtual_tokens"], lineage["method"]["ranks"]) == (4, 2)
