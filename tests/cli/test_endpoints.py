"""From a job to an endpoint that answers, and to its end, by commands alone."""

import json

import pytest

import services

pytestmark = pytest.mark.slow


def ran(service, *arguments, **options):
    """Run a command that succeeds; give what it printed."""
    done = service.gyropilot(*arguments, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(service, *arguments, **options):
    """Run a command that fails; give the one line that says why."""
    done = service.gyropilot(*arguments, **options)
    assert done.returncode == 1, done.stdout
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def broken(service, endpoint):
    """The name of an endpoint that is Failed, since its model has an environment that cannot be honoured."""
    sagemaker, endpoints = service.boto3("sagemaker"), service.sdk().endpoints
    variants = endpoints.configuration(endpoints.describe(endpoint)["EndpointConfigName"])["ProductionVariants"]
    model = endpoints.model(variants[0]["ModelName"])
    container = {name: model["PrimaryContainer"][name] for name in ("Image", "ModelDataUrl")}
    sagemaker.create_model(
        ModelName="broken",
        PrimaryContainer=container | {"Environment": {"GYROPILOT_MAX_NEW_TOKENS": "many"}},
        ExecutionRoleArn=model["ExecutionRoleArn"],
    )
    variant = {"VariantName": "v", "ModelName": "broken", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName="broken", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="broken", EndpointConfigName="broken")
    assert endpoints.wait("broken", timeout_seconds=60, poll_seconds=0.1)["EndpointStatus"] == "Failed"
    yield "broken"
    endpoints.delete("broken")


def test_a_job_is_deployed_called_switched_and_deleted(service, endpoint):
    said = ran(service, "deploy", endpoint, "--name", "second")
    assert said.splitlines()[0] == "second is InService."
    assert "gyropilot try second" in said
    assert "model second" in said
    assert "there is an endpoint second already, which is InService" in refused(
        service, "deploy", endpoint, "--name", "second"
    )
    ran(service, "deploy", endpoint, "--name", "second", "--replace", "--instances", "2", "--no-wait")
    made = service.boto3("sagemaker").list_endpoint_configs(NameContains="second-", SortBy="CreationTime")
    configurations = [
        service.sdk().endpoints.configuration(one["EndpointConfigName"]) for one in made["EndpointConfigs"]
    ]
    assert sorted(one["ProductionVariants"][0]["InitialInstanceCount"] for one in configurations) == [1, 2]
    sagemaker, ours = service.boto3("sagemaker"), "second-0123abcd"
    there = sagemaker.describe_model(ModelName=configurations[0]["ProductionVariants"][0]["ModelName"])
    sagemaker.create_model(
        ModelName=ours, PrimaryContainer=there["PrimaryContainer"], ExecutionRoleArn=there["ExecutionRoleArn"]
    )
    deleted = ran(service, "endpoints", "delete", "second", "--wait").splitlines()
    assert deleted[0] == "deleted endpoint second"
    made = ["deleted endpoint configuration", "deleted endpoint configuration", "deleted model"]
    assert [line.rpartition(" ")[0] for line in deleted[1:]] == made
    assert [one["ModelName"] for one in sagemaker.list_models(NameContains="second")["Models"]] == [ours]
    sagemaker.delete_model(ModelName=ours)
    assert service.sdk().endpoints.find("second") is None
    assert "there is no endpoint second" in refused(service, "endpoints", "show", "second")


def test_what_a_job_made_for_an_endpoint_goes_with_it_and_a_user_s_of_like_name_stays(service, endpoint):
    sagemaker, endpoints = service.boto3("sagemaker"), service.sdk().endpoints
    told = endpoints.configuration(endpoints.describe(endpoint)["EndpointConfigName"])["ProductionVariants"][0]
    model = endpoints.model(told["ModelName"])
    tags = [{"Key": "gyropilot:made-for", "Value": "third"}]  # as ModelDeployConfig tags them
    for name, given in (("candidate", tags), ("third", []), ("third-0123abcd", [])):
        sagemaker.create_model(
            ModelName=name,
            PrimaryContainer=model["PrimaryContainer"],
            ExecutionRoleArn=model["ExecutionRoleArn"],
            Tags=given,
        )
    variant = {"VariantName": "v", "ModelName": "candidate", "InitialInstanceCount": 1}
    for name, given in (("third", tags), ("third-0123abcd", [])):
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], Tags=given)
    sagemaker.create_endpoint(EndpointName="third", EndpointConfigName="third")
    assert endpoints.delete("third") == ["endpoint third", "endpoint configuration third", "model candidate"]
    left = [one["ModelName"] for one in sagemaker.list_models(NameContains="third")["Models"]]
    assert sorted(left) == ["third", "third-0123abcd"]
    for name in left:
        sagemaker.delete_model(ModelName=name)
    sagemaker.delete_endpoint_config(EndpointConfigName="third-0123abcd")


def test_a_refused_deployment_leaves_nothing(service, endpoint):
    assert "1 to 16 replicas" in refused(service, "deploy", endpoint, "--name", "x99", "--instances", "99")
    sagemaker = service.boto3("sagemaker")
    assert sagemaker.list_models(NameContains="x99")["Models"] == []
    assert sagemaker.list_endpoint_configs(NameContains="x99")["EndpointConfigs"] == []


def test_endpoints_are_listed_and_shown(service, endpoint):
    assert f"{endpoint}" in ran(service, "endpoints", "list").split()
    listed = json.loads(ran(service, "endpoints", "list", "--name", endpoint, "--json"))
    assert [one["EndpointName"] for one in listed] == [endpoint]
    assert "zzz in its name" in service.gyropilot("endpoints", "list", "--name", "zzz").stderr
    page = ran(service, "endpoints", "show", endpoint)
    assert "Status   InService" in page
    assert "AllTraffic: 1 of 1 processes, weight 1" in page
    assert f"s3://data/out/{endpoint}/model.tar.gz" in page
    assert "is ready" in ran(service, "endpoints", "logs", endpoint)


def test_an_endpoint_is_invoked_with_a_text_a_file_and_standard_input(service, endpoint, tmp_path):
    said = ran(service, "invoke", endpoint, "--text", "What is 2 and 2?", "--set", "max_new_tokens=5")
    (answer,) = json.loads(said)
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"inputs": "What is 2 and 2?", "parameters": {"max_new_tokens": 5}}))
    assert json.loads(ran(service, "invoke", endpoint, "--file", request)) == [answer]
    for streamed in (
        ran(service, "invoke", endpoint, "--stream", input=request.read_text()),
        ran(service, "invoke", endpoint, "--stream", "--text", "What is 2 and 2?", "--set", "max_new_tokens=5"),
    ):
        events = [json.loads(line.removeprefix("data:")) for line in streamed.split("\n") if line.startswith("data:")]
        assert len(events) > 1, streamed
    one = json.dumps({"inputs": "What is 2 and 2?", "stream": False})
    assert len(json.loads(ran(service, "invoke", endpoint, "--stream", input=one))) == 1
    assert "max_new_token" in refused(service, "invoke", endpoint, "--text", "x", "--set", "max_new_token=5")


def test_a_name_that_is_nearly_one_is_told(service, endpoint):
    for command in (["endpoints", "show"], ["invoke", "--text", "x"], ["try"]):
        said = refused(service, *command, f"{endpoint}x", input="")
        assert f"there is no endpoint {endpoint}x; did you mean {endpoint}?" in said, command


def test_an_invoker_is_told_the_same_of_a_missing_endpoint_by_invoke_and_try(service, endpoint):
    made = json.loads(service.gyropilot("keys", "create", "--kind", "invoker", "--name", "asks", "--json").stdout)
    shell = services.clean_environment() | {
        "AWS_ENDPOINT_URL": service.variables["AWS_ENDPOINT_URL"],
        "AWS_REGION": service.variables["AWS_REGION"],
        "AWS_ACCESS_KEY_ID": made["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"],
    }
    said = set()
    for command in (["invoke", "nope", "--text", "x"], ["try", "nope"]):
        done = services.run([*services.GYROPILOT, *command], env=shell, input="")
        assert done.returncode == 1
        said.add(done.stderr)
    (line,) = said
    assert endpoint in line


def test_a_failed_endpoint_says_why_and_what_to_do(service, broken):
    page = ran(service, "endpoints", "show", broken)
    assert "Status   Failed" in page
    assert "0 of 1 processes, weight 1\n" in page
    for command in (["invoke", "--text", "x"], ["try"]):
        said = refused(service, *command, broken, input="")
        assert "Failed" in said, command
        assert "GYROPILOT_MAX_NEW_TOKENS" in said, command
        assert "elete" in said, command


def test_a_job_without_a_model_is_not_deployed(service):
    client = service.sdk()
    client.create_job(services.request(service, "unready"))
    client.stop("unready")
    said = refused(service, "deploy", "unready")
    assert "the job unready is Stop" in said
    assert "has no model to deploy" in said
    assert "ResourceNotFound" in refused(service, "deploy", "nobody")


def test_without_a_service_the_command_says_how_to_start_one(tmp_path):
    environment = services.clean_environment() | {"GYROPILOT_HOME": str(tmp_path)}
    for command in (["deploy", "x"], ["try", "x"]):
        done = services.run([*services.GYROPILOT, *command], env=environment)
        assert done.returncode == 1
        assert "gyropilot up" in done.stderr


def test_names_of_endpoints_are_completed(service, endpoint):
    environment = services.clean_environment() | {
        "GYROPILOT_HOME": str(service.home),
        "_GYROPILOT_COMPLETE": "bash_complete",
        "COMP_WORDS": f"gyropilot try {endpoint[:2]}",
        "COMP_CWORD": "2",
    }
    done = services.run([*services.GYROPILOT], env=environment)
    assert f"plain,{endpoint}" in done.stdout.splitlines()
