"""Two accounts at one door: what is another account's is refused as S3 refuses it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import uuid
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

import doors
import raw_requests
from gyropilot.s3 import bodies

KEYS = {
    "FIRSTACCOUNTSADMINXX": {"secret": "f" * 40, "kind": "admin", "name": "first", "account_id": "000000000000"},
    "SECONDACCOUNTSKEYXXX": {"secret": "s" * 40, "kind": "operator", "name": "second", "account_id": "111111111111"},
}


@pytest.fixture(scope="module")
def shared_door(tmp_path_factory):
    home = tmp_path_factory.mktemp("tenancy") / "home"
    home.mkdir(mode=0o700)
    (home / "credentials.json").touch(mode=0o600)
    (home / "credentials.json").write_text(json.dumps(KEYS))
    with doors.running(home) as running:
        yield running


@pytest.fixture(scope="module")
def first(shared_door):
    client = shared_door.client()
    client.create_bucket(Bucket="firsts")
    client.put_object(Bucket="firsts", Key="k", Body=b"secret")
    return client


@pytest.fixture(scope="module")
def second(shared_door):
    client = replace(shared_door, key="SECONDACCOUNTSKEYXXX", secret="s" * 40).client()
    client.create_bucket(Bucket="seconds")
    return client


CALLS = {
    "head_bucket": {},
    "get_bucket_location": {},
    "get_bucket_versioning": {},
    "list_objects": {},
    "list_objects_v2": {},
    "list_multipart_uploads": {},
    "delete_bucket": {},
    "get_object": {"Key": "k"},
    "head_object": {"Key": "k"},
    "put_object": {"Key": "k2", "Body": b"x"},
    "delete_object": {"Key": "k"},
    "delete_objects": {"Delete": {"Objects": [{"Key": "k"}]}},
    "create_multipart_upload": {"Key": "k2"},
    "list_parts": {"Key": "k2", "UploadId": "0" * 32},
    "upload_part": {"Key": "k2", "UploadId": "0" * 32, "PartNumber": 1, "Body": b"x"},
    "abort_multipart_upload": {"Key": "k2", "UploadId": "0" * 32},
    "copy_object": {"Key": "k2", "CopySource": "firsts/k"},
}


@pytest.mark.parametrize("call", CALLS)
def test_every_call_on_another_account_s_bucket_is_denied(first, second, call):
    with pytest.raises(ClientError) as caught:
        getattr(second, call)(Bucket="firsts", **CALLS[call])
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert caught.value.response["Error"]["Code"] in ("AccessDenied", "403")
    assert [one["Key"] for one in first.list_objects_v2(Bucket="firsts")["Contents"]] == ["k"]


@pytest.mark.parametrize("key", ["k", "missing"])
def test_nothing_is_copied_out_of_another_account_s_bucket(first, second, refused, key):
    assert refused(second.copy_object, Bucket="seconds", Key="c", CopySource=f"firsts/{key}") == "AccessDenied"
    upload = second.create_multipart_upload(Bucket="seconds", Key="c")["UploadId"]
    part = {"Bucket": "seconds", "Key": "c", "UploadId": upload, "PartNumber": 1, "CopySource": f"firsts/{key}"}
    assert refused(second.upload_part_copy, **part) == "AccessDenied"


def test_each_account_lists_its_own_buckets(first, second):
    assert [one["Name"] for one in first.list_buckets()["Buckets"]] == ["firsts"]
    listed = second.list_buckets()
    assert [one["Name"] for one in listed["Buckets"]] == ["seconds"]
    assert listed["Owner"]["ID"] == "111111111111"


def test_a_name_another_account_holds_cannot_be_had(first, second, refused):
    assert refused(second.create_bucket, Bucket="firsts") == "BucketAlreadyExists"
    second.create_bucket(Bucket="seconds")


def test_an_expected_owner_is_compared_with_the_caller_s_account(first, second, refused):
    second.list_objects_v2(Bucket="seconds", ExpectedBucketOwner="111111111111")
    asked = {"Bucket": "seconds", "ExpectedBucketOwner": "000000000000"}
    assert refused(second.list_objects_v2, **asked) == "AccessDenied"


def test_a_bucket_that_says_nothing_of_its_account_is_the_first_account_s(shared_door, first, second, refused):
    first.create_bucket(Bucket="old")
    (shared_door.objects.root / "old" / "@bucket").write_text('{"created_at": "2026-01-01T00:00:00+00:00"}')
    first.list_objects_v2(Bucket="old")
    assert refused(second.list_objects_v2, Bucket="old") == "AccessDenied"
    first.delete_bucket(Bucket="old")


def test_uploads_that_a_kill_left_are_not_the_next_owner_s(shared_door, first, second):
    first.create_bucket(Bucket="reused")
    upload = first.create_multipart_upload(Bucket="reused", Key="k")["UploadId"]
    first.upload_part(Bucket="reused", Key="k", UploadId=upload, PartNumber=1, Body=b"secret")
    shared_door.objects.delete_bucket("reused")  # as a service that is killed before it ends the uploads
    second.create_bucket(Bucket="reused")
    assert "Uploads" not in second.list_multipart_uploads(Bucket="reused")
    with pytest.raises(ClientError, match="NoSuchUpload"):
        second.list_parts(Bucket="reused", Key="k", UploadId=upload)


@pytest.mark.parametrize(
    ("method", "place", "body"),
    [
        ("PUT", "/train/b.csv", b"poison"),
        ("PUT", "/train/a.csv", b"poison"),
        ("POST", "?delete", b"<Delete><Object><Key>train/a.csv</Key></Object></Delete>"),
        ("DELETE", "/train/a.csv", b"x"),
        ("GET", "/train/a.csv", b"x"),
        ("GET", "?list-type=2", b"x"),
    ],
)
def test_a_request_held_open_reaches_no_bucket_that_became_another_s(
    shared_door, first, second, monkeypatch, method, place, body
):
    bucket = f"squatted-{uuid.uuid4().hex[:12]}"
    awaits_body, plain = threading.Event(), bodies._next

    async def noted(stream):
        awaits_body.set()
        return await plain(stream)

    second.create_bucket(Bucket=bucket)
    monkeypatch.setattr(bodies, "_next", noted)
    key = raw_requests.Key(url=shared_door.url, access_key="SECONDACCOUNTSKEYXXX", secret="s" * 40)
    held = raw_requests.signed(key, method, f"/{bucket}{place}", body=body, service="s3").written()
    with socket.create_connection(("127.0.0.1", shared_door.settings.port), 10) as line:
        line.sendall(held[:-1])
        assert awaits_body.wait(10)
        second.delete_bucket(Bucket=bucket)
        first.create_bucket(Bucket=bucket)
        first.put_object(Bucket=bucket, Key="train/a.csv", Body=b"rows")
        line.sendall(held[-1:])
        answer = http.client.HTTPResponse(line, method=method)
        answer.begin()
        said = answer.read()
    assert b"AccessDenied" in said
    assert b"rows" not in said
    found = [(one["Key"], one["Size"]) for one in first.list_objects_v2(Bucket=bucket)["Contents"]]
    assert found == [("train/a.csv", 4)]


def test_buckets_are_audited_and_objects_are_not(shared_door, first, second, refused):
    first.create_bucket(Bucket="audited")
    first.put_object(Bucket="audited", Key="k", Body=b"")
    refused(second.delete_bucket, Bucket="audited")
    refused(first.delete_bucket, Bucket="audited")
    lines = [json.loads(one) for one in shared_door.settings.audit.read_text().splitlines()]
    told = [(one["principal"][:6], one["action"], one["result"]) for one in lines if one["resource"] == "s3://audited"]
    assert told == [
        ("FIRSTA", "s3:CreateBucket", "OK"),
        ("SECOND", "s3:DeleteBucket", "AccessDenied"),
        ("FIRSTA", "s3:DeleteBucket", "BucketNotEmpty"),
    ]
    assert shared_door.settings.audit.stat().st_mode & 0o077 == 0
