"""The AWS CLI, unmodified, against a real service; the environment is what `gyropilot env` prints."""

import json

import pytest

import services


def test_objects_go_in_and_out(service, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a b.txt").write_text("one")
    (tmp_path / "folder" / "ü.txt").write_text("two")
    for command in (
        ("s3", "mb", "s3://cli-bucket"),
        ("s3", "cp", tmp_path / "folder" / "a b.txt", "s3://cli-bucket/single/a b.txt"),
        ("s3", "sync", tmp_path / "folder", "s3://cli-bucket/many"),
        ("s3", "cp", "--recursive", "s3://cli-bucket/many", tmp_path / "back"),
    ):
        ran = service.aws(*command)
        assert ran.returncode == 0, ran.stderr
    assert {one.name: one.read_text() for one in (tmp_path / "back").iterdir()} == {"a b.txt": "one", "ü.txt": "two"}
    listed = service.aws("s3", "ls", "--recursive", "s3://cli-bucket").stdout
    assert [line.split(maxsplit=3)[3] for line in listed.splitlines()] == [
        "many/a b.txt",
        "many/ü.txt",
        "single/a b.txt",
    ]
    assert service.aws("s3", "rm", "--recursive", "s3://cli-bucket").returncode == 0
    assert service.aws("s3", "ls", "--recursive", "s3://cli-bucket").stdout == ""


@pytest.mark.slow
def test_a_job_is_created_described_listed_and_stopped(service, tmp_path):
    hyperparameters = {"epochCount": "10", "batchSize": "1"}
    request = services.request(service, "by-cli", TextGenerationHyperParameters=hyperparameters)
    (tmp_path / "request.json").write_text(json.dumps(request))
    created = service.aws("sagemaker", "create-auto-ml-job-v2", "--cli-input-json", f"file://{tmp_path}/request.json")
    assert json.loads(created.stdout)["AutoMLJobArn"].endswith(":automl-job/by-cli"), created.stderr
    described = json.loads(_ask(service, "describe-auto-ml-job-v2", "--auto-ml-job-name", "by-cli"))
    assert described["AutoMLProblemTypeConfig"] == request["AutoMLProblemTypeConfig"]
    listed = json.loads(_ask(service, "list-auto-ml-jobs", "--name-contains", "by-cli"))
    assert [one["AutoMLJobName"] for one in listed["AutoMLJobSummaries"]] == ["by-cli"]
    assert _ask(service, "stop-auto-ml-job", "--auto-ml-job-name", "by-cli") == ""
    services.wait_until(
        lambda: (
            json.loads(_ask(service, "describe-auto-ml-job-v2", "--auto-ml-job-name", "by-cli"))["AutoMLJobStatus"]
            == "Stopped"
        ),
        seconds=120,
        what="the job to be Stopped",
    )


@pytest.mark.slow
def test_a_model_is_deployed_asked_and_deleted(service, endpoint, tmp_path):
    job = json.loads(_ask(service, "describe-auto-ml-job-v2", "--auto-ml-job-name", endpoint))
    containers = json.dumps(job["BestCandidate"]["InferenceContainers"])
    role = service.variables["GYROPILOT_ROLE_ARN"]
    named = ("--model-name", "by-cli", "--execution-role-arn", role, "--containers", containers)
    assert json.loads(_ask(service, "create-model", *named))["ModelArn"].endswith(":model/by-cli")
    variant = "VariantName=all,ModelName=by-cli,InitialInstanceCount=1,InstanceType=ml.m5.large"
    _ask(service, "create-endpoint-config", "--endpoint-config-name", "by-cli", "--production-variants", variant)
    _ask(service, "create-endpoint", "--endpoint-name", "by-cli", "--endpoint-config-name", "by-cli")
    described = ("describe-endpoint", "--endpoint-name", "by-cli")
    services.wait_until(
        lambda: json.loads(_ask(service, *described))["EndpointStatus"] == "InService",
        seconds=120,
        what="the endpoint to be in service",
    )
    answers = {_invoked(service, name, tmp_path) for name in ("by-cli", endpoint)}
    assert len(answers) == 1  # one model under two names
    _ask(service, "delete-endpoint", "--endpoint-name", "by-cli")
    # The waiter of the CLI looks every 30 s; the end is what is waited for here.
    services.wait_until(
        lambda: "Could not find endpoint" in service.aws("sagemaker", *described).stderr,
        seconds=60,
        what="the endpoint to be gone",
    )
    _ask(service, "delete-endpoint-config", "--endpoint-config-name", "by-cli")
    _ask(service, "delete-model", "--model-name", "by-cli")


def _invoked(service, name, folder):
    (folder / "payload.json").write_text('{"inputs": "What is 2 and 2?", "parameters": {"max_new_tokens": 8}}')
    command = ("sagemaker-runtime", "invoke-endpoint", "--endpoint-name", name, "--content-type", "application/json")
    ran = service.aws(*command, "--body", f"fileb://{folder}/payload.json", folder / "answer.json")
    assert ran.returncode == 0, ran.stderr
    return (folder / "answer.json").read_text()


def test_an_unknown_job_is_resource_not_found(service):
    ran = service.aws("sagemaker", "describe-auto-ml-job-v2", "--auto-ml-job-name", "nobody")
    assert ran.returncode != 0
    assert "(ResourceNotFound)" in ran.stderr


def _ask(service, *arguments):
    ran = service.aws("sagemaker", *arguments)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout
