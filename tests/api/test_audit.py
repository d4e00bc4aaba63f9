"""A line in the audit log for each call that changes something, also where it was refused."""

from __future__ import annotations

import errno
import json
import os

import pytest
from botocore.exceptions import ClientError

import api_servers
import houses
from gyropilot.sdk.connection import _session
from gyropilot.store import audit as audit_log
from mean_problem import MEAN


@pytest.fixture
def server(tmp_path):
    house = houses.build(tmp_path, (MEAN,))
    with api_servers.serving(house) as server:
        yield server
    house.db.close()


@pytest.fixture
def ours(server):
    """Give a client of our own operations, for a key."""

    def client(key=None, secret=None):
        return server.client("gyropilot", session=_session(), key=key, secret=secret)

    return client


def lines(server):
    path = server.house.settings.audit
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()] if path.exists() else []


def told(server):
    return [(one["action"], one["resource"], one["result"]) for one in lines(server)]


def test_what_changes_something_is_noted_and_what_reads_is_not(server):
    client = server.client()
    arn = client.create_auto_ml_job_v2(**houses.mean_request("mine"))["AutoMLJobArn"]
    client.describe_auto_ml_job_v2(AutoMLJobName="mine")
    client.list_auto_ml_jobs()
    client.stop_auto_ml_job(AutoMLJobName="mine")
    assert told(server) == [
        ("sagemaker:CreateAutoMLJobV2", arn, "OK"),
        ("sagemaker:StopAutoMLJob", "mine", "OK"),
    ]
    line = lines(server)[0]
    assert line.keys() == {"time", "principal", "account", "action", "resource", "result", "request_id"}
    assert (line["principal"], line["account"]) == (server.key, "000000000000")


def test_what_is_refused_is_noted_with_its_code(server, ours):
    invoker, secret = server.house.credentials.create(account_id="000000000000", kind="invoker", name="app")
    operator, second = server.house.credentials.create(account_id="000000000000", kind="operator", name="op")
    calls = (
        lambda: server.client(key=invoker.access_key_id, secret=secret).stop_auto_ml_job(AutoMLJobName="job"),
        lambda: ours(operator.access_key_id, second).create_caller_key(Kind="admin", Name="me"),
        lambda: server.client().stop_auto_ml_job(AutoMLJobName="none"),
        lambda: ours().create_job_role(RoleName="r", ReadPrefixes=["s3://"], WritePrefixes=[]),
    )
    for call in calls:
        with pytest.raises(ClientError):
            call()
    assert told(server) == [
        ("sagemaker:StopAutoMLJob", "job", "AccessDeniedException"),
        ("gyropilot:CreateCallerKey", "me", "AccessDeniedException"),
        ("sagemaker:StopAutoMLJob", "none", "ResourceNotFound"),
        ("gyropilot:CreateJobRole", "r", "ValidationException"),
    ]
    assert [one["principal"] for one in lines(server)][:2] == [invoker.access_key_id, operator.access_key_id]


def test_a_key_s_line_names_the_key_and_not_its_secret(server, ours):
    made = ours().create_caller_key(Kind="operator", Name="ann")
    ours().delete_caller_key(AccessKeyId=made["AccessKeyId"])
    ours().list_caller_keys()
    assert told(server) == [
        ("gyropilot:CreateCallerKey", made["AccessKeyId"], "OK"),
        ("gyropilot:DeleteCallerKey", made["AccessKeyId"], "OK"),
    ]
    assert made["SecretAccessKey"] not in server.house.settings.audit.read_text()


def test_a_role_s_line_says_whose_it_is(server, ours):
    role = {"RoleName": "r", "ReadPrefixes": [], "WritePrefixes": []}
    ours().create_job_role(**role)
    ours().create_job_role(**role, AccountId="111111111111")
    ours().delete_job_role(RoleName="r", AccountId="111111111111")
    assert [one["resource"] for one in lines(server)] == [
        "arn:aws:iam::000000000000:role/r",
        "arn:aws:iam::111111111111:role/r",
        "111111111111:r",
    ]


def test_what_a_caller_sends_forges_no_line(server):
    name = 'x"}\n{"action": "forged"}\r\x1b[31m\u202eü\u2028'
    with pytest.raises(ClientError):
        server.client(parameter_validation=False).stop_auto_ml_job(AutoMLJobName=name)
    data = server.house.settings.audit.read_bytes()
    assert data.count(b"\n") == 1
    assert all(32 <= byte < 127 for byte in data.rstrip(b"\n"))
    assert lines(server)[0]["resource"] == name


def test_a_long_name_is_cut(server):
    with pytest.raises(ClientError):
        server.client(parameter_validation=False).stop_auto_ml_job(AutoMLJobName="x" * 100_000)
    assert len(lines(server)[0]["resource"]) == 512


def test_a_call_that_cannot_be_noted_is_not_acknowledged(server):
    server.house.settings.audit.mkdir()
    with pytest.raises(ClientError) as caught:
        server.client().stop_auto_ml_job(AutoMLJobName="job")
    assert caught.value.response["Error"]["Code"] == "ServiceUnavailable"


def test_a_full_disk_of_the_home_is_told_as_such(server, ours, monkeypatch, caplog):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(audit_log, "_write", full)
    with pytest.raises(ClientError) as caught:
        ours().create_caller_key(Kind="operator", Name="ann")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert caught.value.response["Error"]["Code"] == "ServiceUnavailable"
    assert "the home's disk is full" in caplog.text


def test_a_log_that_was_rotated_away_is_begun_anew_for_its_owner_alone(server):
    path = server.house.settings.audit
    server.client().create_auto_ml_job_v2(**houses.mean_request("first"))
    path.rename(path.with_name("audit.log.1"))
    server.client().create_auto_ml_job_v2(**houses.mean_request("second"))
    assert [one["resource"].rpartition("/")[2] for one in lines(server)] == ["second"]
    assert path.stat().st_mode & 0o077 == 0


def test_strangers_are_no_matter_of_the_audit_log(server):
    with pytest.raises(ClientError):
        server.client(key="GYROSTRANGER", secret="x").stop_auto_ml_job(AutoMLJobName="job")
    assert lines(server) == []
