"""Secrets turn up nowhere: not in answers, logs, events, the audit log, the database, arguments or environments."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

import services
from gyropilot.sdk.connection import Connection
from gyropilot.sdk.errors import Refused

S3_SECRET = "canary-of-the-store-5uQz7"


class Spy:
    """Calls the service and keeps all that it says."""

    def __init__(self, service, key=None, secret=None):
        given = service.variables
        self.said: list[str] = []
        self._connection = Connection(
            url=given["AWS_ENDPOINT_URL"],
            access_key=key or given["AWS_ACCESS_KEY_ID"],
            secret=secret or given["AWS_SECRET_ACCESS_KEY"],
            region=given["AWS_REGION"],
        )

    def call(self, operation, dialect="gyropilot", **request):
        try:
            answer = self._connection.call(dialect, operation, request)
        except Refused as error:
            answer = {"refused": str(error)}
        self.said.append(json.dumps(answer, default=str))
        return answer


def processes():
    """Give arguments and environments of all processes that this one may look into."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                found.append((folder.name, (folder / name).read_bytes()))
            except OSError:
                continue
    return found


@pytest.fixture(scope="module")
def noisy(tmp_path_factory, tiny_model_folder):
    home = tmp_path_factory.mktemp("canaries") / "home"
    with services.running(home, log_level="DEBUG", checkpoint_seconds=1) as service:
        assert service.gyropilot("models", "add", services.TINY, tiny_model_folder).returncode == 0
        services.put_rows(service, services.rows(20))
        yield service


@pytest.mark.slow
def test_secrets_turn_up_nowhere(noisy):
    spy = Spy(noisy)
    made = spy.call("create_caller_key", Kind="operator", Name="ann")
    secrets = [made["SecretAccessKey"], noisy.variables["AWS_SECRET_ACCESS_KEY"], S3_SECRET]
    spy.said.clear()  # the one answer that has a secret

    store = {
        "Endpoint": "http://127.0.0.1:9",
        "Region": "us-east-1",
        "AccessKeyId": "AKID",
        "SecretAccessKey": S3_SECRET,
    }
    role = {"ReadPrefixes": ["s3://data"], "WritePrefixes": ["s3://data/out"], "S3Store": store}
    arn = spy.call("create_job_role", RoleName="far", **role)["RoleArn"]
    spy.call("create_job_role", RoleName="far", **role)
    spy.call("create_job_role", RoleName="bad name", **role)
    spy.call("create_job_role", RoleName="bad", **role | {"ReadPrefixes": ["s3://"]})
    spy.call("create_job_role", RoleName="bad", **role | {"S3Store": store | {"SecretAccessKey": f"{S3_SECRET} \n"}})
    spy.call("create_job_role", RoleName="bad", **role | {"S3Store": store | {"SecretAccessKey": S3_SECRET * 90}})
    spy.call("create_job_role", RoleName="bad", **role | {"S3Store": store | {"Endpoint": f"http://a:{S3_SECRET}@b"}})
    spy.call("describe_job_role", RoleName="far")
    spy.call("list_job_roles")
    spy.call("list_caller_keys")
    spy.call("create_auto_ml_job_v2", "sagemaker", **services.request(noisy, "far") | {"RoleArn": arn})

    ann = Spy(noisy, made["AccessKeyId"], made["SecretAccessKey"])
    ann.call("create_caller_key", Kind="admin", Name="me")
    ann.call("create_job_role", RoleName="mine", **role)
    ann.call("create_auto_ml_job_v2", "sagemaker", **services.request(noisy, "near"))
    Spy(noisy, made["AccessKeyId"], "wrong").call("list_caller_keys")
    with pytest.raises(ClientError):
        noisy.boto3("s3").get_object(Bucket="none", Key="k")

    seen: list[tuple[str, bytes]] = []
    ended = threading.Event()
    watcher = threading.Thread(target=lambda: [seen.extend(processes()) for _ in iter(lambda: ended.wait(0.2), True)])
    watcher.start()
    job = noisy.sdk().wait("near", timeout_seconds=120, poll_seconds=0.2)
    ended.set()
    watcher.join()
    assert job["AutoMLJobStatus"] == "Completed", job
    spy.said.append(json.dumps([job, [vars(one) for one in noisy.sdk().events("near")]], default=str))
    spy.said.append(noisy.sdk().log("near").text)
    spy.call("delete_caller_key", AccessKeyId=made["AccessKeyId"])
    spy.call("delete_job_role", RoleName="far")

    own_files = {noisy.home / "credentials.json"}
    files = [path for path in noisy.home.rglob("*") if path.is_file() and path not in own_files]
    places = [(str(path), path.read_bytes()) for path in files]
    places += [("log", noisy.log.read_bytes()), ("answers", "\n".join(spy.said + ann.said).encode())]
    own = str(noisy.process.pid)
    assert any(process == own for process, _ in seen), "the watcher saw the service"
    places += [(f"process {process}", data) for process, data in seen if _is_of_service(data)]
    for secret in secrets:
        found = [place for place, data in places if secret.encode() in data]
        assert found == [], f"secret {secrets.index(secret)} stands in {found}"
    assert b"AKID" not in b"".join(data for place, data in places if place.endswith(("gyropilot.db", "-wal")))


def _is_of_service(data):
    return b"gyropilot" in data


@pytest.mark.slow
def test_the_service_dumps_no_core(noisy):
    limits = Path(f"/proc/{noisy.process.pid}/limits").read_text().splitlines()
    (core,) = [line.split()[4:6] for line in limits if line.startswith("Max core file size")]
    assert core == ["0", "0"]


@pytest.mark.slow
def test_every_file_of_the_home_is_its_owner_s_alone(noisy):
    loose = [
        path for path in [noisy.home, *noisy.home.rglob("*")] if not path.is_symlink() and path.stat().st_mode & 0o077
    ]
    assert loose == []
