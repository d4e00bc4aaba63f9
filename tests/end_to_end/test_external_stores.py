"""Jobs on an S3 store that is not the service's own: a second service plays it."""

from __future__ import annotations

import json

import pytest

import services

BUCKET = "outside"


@pytest.fixture(scope="module")
def outside(service):
    """The store: rows at s3://outside/train/, and an operator key of it."""
    services.put_rows(service, services.rows(30), bucket=BUCKET)
    made = service.gyropilot("keys", "create", "--kind", "operator", "--name", "outside", "--json")
    return json.loads(made.stdout) | {"url": service.variables["AWS_ENDPOINT_URL"]}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("inside") / "home"


def request(running, name, role_arn):
    channel = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/train/"}}}
    hyperparameters = {"TextGenerationHyperParameters": {"epochCount": "1"}}
    return services.request(running, name, **hyperparameters) | {
        "AutoMLJobInputDataConfig": [channel],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "RoleArn": role_arn,
    }


def trained(running, name):
    job = running.sdk().wait(name, timeout_seconds=120, poll_seconds=0.2)
    assert job["AutoMLJobStatus"] == "Completed", job.get("FailureReason")
    return job


def keys_below(service, prefix):
    return {one["Key"] for one in service.boto3("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]}


@pytest.mark.slow
def test_a_role_s_jobs_work_on_its_own_store_by_its_own_keys(service, outside, home, tiny_model_folder):
    with services.running(home, checkpoint_seconds=1) as inside:
        assert inside.gyropilot("models", "add", services.TINY, tiny_model_folder).returncode == 0
        prefixes = ("--read", f"s3://{BUCKET}/train", "--write", f"s3://{BUCKET}/out")
        store = ("--s3-endpoint", outside["url"], "--s3-access-key", outside["AccessKeyId"])
        added = inside.gyropilot("roles", "add", "far", *prefixes, *store, input=outside["SecretAccessKey"])
        assert added.returncode == 0, added.stderr
        inside.sdk().create_job(request(inside, "far", added.stdout.strip()))
        job = trained(inside, "far")
        assert job["BestCandidate"]["InferenceContainers"][0]["ModelDataUrl"] == f"s3://{BUCKET}/out/far/model.tar.gz"
        assert keys_below(service, "out/far/") >= {"out/far/manifest.json", "out/far/model.tar.gz"}
        assert inside.boto3("s3").list_buckets()["Buckets"] == []

        written = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file()) + inside.log.read_bytes()
        assert outside["AccessKeyId"].encode() not in written
        assert outside["SecretAccessKey"].encode() not in written

        refused = service.gyropilot("keys", "revoke", outside["AccessKeyId"])
        assert refused.returncode == 0
        with pytest.raises(Exception, match="the role's object store cannot be used"):
            inside.sdk().create_job(request(inside, "later", added.stdout.strip()))


@pytest.mark.slow
def test_a_service_set_up_on_an_external_store_has_none_of_its_own(service, outside, home, tiny_model_folder):
    made = service.gyropilot("keys", "create", "--kind", "operator", "--name", "settings", "--json")
    key = json.loads(made.stdout)
    variables = (
        f"AWS_ACCESS_KEY_ID={key['AccessKeyId']}",
        f"AWS_SECRET_ACCESS_KEY={key['SecretAccessKey']}",
    )
    inside = services.Service(home, program=("env", *variables, *services.GYROPILOT), checkpoint_seconds=1)
    inside.start("--s3-endpoint", outside["url"])
    try:
        if "Tiny" not in inside.gyropilot("models", "list").stdout:
            assert inside.gyropilot("models", "add", services.TINY, tiny_model_folder).returncode == 0
        assert inside.variables["AWS_ENDPOINT_URL_S3"] == outside["url"]
        inside.sdk().create_job(request(inside, "external", inside.variables["GYROPILOT_ROLE_ARN"]))
        trained(inside, "external")
        assert "out/external/manifest.json" in keys_below(service, "out/external/")
        assert not (home / "s3" / BUCKET).exists()
        with pytest.raises(Exception, match="s3"):
            inside.boto3("s3").list_buckets()
        assert key["SecretAccessKey"].encode() not in inside.log.read_bytes()
    finally:
        inside.stop()
