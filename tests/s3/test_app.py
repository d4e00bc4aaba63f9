from __future__ import annotations

import datetime
import hashlib
import http.client
import json
import logging
import urllib.error
import urllib.request
from dataclasses import replace

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

import doors


@pytest.fixture
def send(door):
    """Send one signed request, changed after it was signed; give status, code of the error, and body."""

    def sent(
        method,
        path,
        body=b"",
        headers=None,
        *,
        sign=True,
        change=None,
        signer=S3SigV4Auth,
        key=None,
        secret=None,
        service="s3",
        sent_body=None,
    ):
        headers = {"x-amz-content-sha256": hashlib.sha256(body).hexdigest()} | (headers or {})
        request = AWSRequest(method=method, url=door.url + path, data=body, headers=headers)
        if sign:
            signer(Credentials(key or door.key, secret or door.secret), service, "us-east-1").add_auth(request)
        prepared = dict(request.headers.items()) | (change or {})
        connection = http.client.HTTPConnection(door.url.removeprefix("http://"), timeout=30)
        try:
            connection.request(
                method,
                path,
                body if sent_body is None else sent_body,
                {name: value for name, value in prepared.items() if value is not None},
            )
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        code = text.split(b"<Code>")[1].split(b"</Code>")[0].decode() if b"<Code>" in text else ""
        return answer.status, code, text

    return sent


def test_the_log_has_the_path_as_it_was_sent(send, bucket, caplog):
    with caplog.at_level(logging.INFO):
        send("GET", f"/{bucket}/a%0a2026-01-01%20forged")
    (line,) = [one.getMessage() for one in caplog.records if one.name == "gyropilot.s3.app"]
    assert f"GET /{bucket}/a%0a2026-01-01%20forged 404" in line


def test_a_signed_request_is_answered(send, bucket):
    assert send("GET", f"/{bucket}")[0] == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("PUT", "/new-bucket"),
        ("GET", "/{bucket}"),
        ("GET", "/{bucket}?location"),
        ("GET", "/{bucket}?acl"),
        ("DELETE", "/{bucket}"),
        ("POST", "/{bucket}?delete"),
        ("PUT", "/{bucket}/k"),
        ("GET", "/{bucket}/k"),
        ("DELETE", "/{bucket}/k"),
        ("POST", "/{bucket}/k?uploads"),
        ("PUT", "/{bucket}/k?partNumber=1&uploadId=x"),
        ("OPTIONS", "/{bucket}/k"),
    ],
)
def test_no_route_answers_without_a_signature(send, bucket, method, path):
    assert send(method, path.format(bucket=bucket), sign=False)[:2] == (403, "AccessDenied")


def test_signatures_that_do_not_hold_are_refused(send, bucket, door):
    path = f"/{bucket}/k"
    assert send("PUT", path, b"x", secret="x" * 40)[:2] == (403, "SignatureDoesNotMatch")
    assert send("PUT", path, b"x", change={"x-amz-meta-a": "b"})[0] == 400
    assert send("PUT", path, b"x", service="sagemaker", signer=SigV4Auth)[0] == 403
    assert send("PUT", path, b"x", headers={"x-amz-meta-a": "b"}, change={"x-amz-meta-a": "c"})[0] == 403
    assert send("PUT", path, b"x", sent_body=b"y")[:2] == (400, "XAmzContentSHA256Mismatch")
    assert send("GET", path)[:2] == (404, "NoSuchKey")


@pytest.mark.parametrize(("method", "key"), [("DELETE", "/k"), ("DELETE", ""), ("PUT", "/copied")])
def test_a_body_nobody_reads_must_be_what_was_signed(send, bucket, s3, method, key):
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept")
    headers = {"x-amz-copy-source": f"/{bucket}/k"} if method == "PUT" else {}
    status, code, _ = send(method, f"/{bucket}{key}", headers=headers, sent_body=b"added")
    assert (status, code) == (400, "XAmzContentSHA256Mismatch")
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["k"]


def test_an_unknown_key_looks_like_a_wrong_secret(send, bucket):
    wrong = send("GET", f"/{bucket}", secret="x" * 40)
    unknown = send("GET", f"/{bucket}", key="GYROUNKNOWNUNKNOWN00")
    assert wrong[:2] == unknown[:2] == (403, "SignatureDoesNotMatch")
    assert wrong[2].split(b"<RequestId>")[0] == unknown[2].split(b"<RequestId>")[0]


def test_a_request_out_of_time_is_refused(send, bucket, monkeypatch):
    import botocore.auth

    stamp = (datetime.datetime.now(tz=datetime.UTC) - datetime.timedelta(minutes=6)).replace(tzinfo=None)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: stamp)
    assert send("GET", f"/{bucket}")[:2] == (403, "RequestTimeTooSkewed")


def test_invokers_may_not_use_the_store(tmp_path):
    entries = {
        "ADMINADMINADMINADMIN": {"secret": "a" * 40, "kind": "admin", "name": "a", "account_id": "000000000000"},
        "INVOKERINVOKERINVOKE": {"secret": "i" * 40, "kind": "invoker", "name": "i", "account_id": "000000000000"},
    }
    path = tmp_path / "credentials.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(entries))
    with doors.running(tmp_path) as door:
        assert door.client().list_buckets()["Buckets"] == []
        invoker = replace(door, key="INVOKERINVOKERINVOKE", secret="i" * 40).client()
        with pytest.raises(ClientError, match="AccessDenied"):
            invoker.list_buckets()


@pytest.mark.parametrize(
    "change",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
def test_foreign_hosts_and_origins_are_refused(send, bucket, change):
    assert send("GET", f"/{bucket}", change=change)[:2] == (403, "AccessDenied")


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE a [<!ENTITY b "c">]><Delete><Object><Key>&b;</Key></Object></Delete>',
        b'<?xml version="1.0" encoding="cp037"?><Delete/>',
        b"<Delete>" + b"<a>" * 50 + b"</a>" * 50 + b"</Delete>",
        b"<Delete>",
        b"\xff\xfe",
        b"",
        b"<Other/>",
        b"<Delete></Delete>",
        b"<Delete>" + b"<Object><Key>k</Key></Object>" * 1001 + b"</Delete>",
    ],
)
def test_documents_that_are_no_requests_are_refused(send, bucket, body):
    assert send("POST", f"/{bucket}?delete", body)[:2] == (400, "MalformedXML")


def test_a_document_too_long_is_refused_before_it_is_read(send, bucket):
    change = {"Content-Length": str(5 << 20)}
    assert send("POST", f"/{bucket}?delete", b"<Delete/>", change=change)[:2] == (400, "EntityTooLarge")


def test_paths_that_are_no_text_are_refused(send, bucket):
    assert send("GET", f"/{bucket}/%ff%fe")[:2] == (400, "InvalidURI")


def test_presigned_urls_hold_for_what_they_sign(door, bucket):
    s3 = door.client(signature_version="s3v4")
    s3.put_object(Bucket=bucket, Key="ä b", Body=b"data")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "ä b"}, ExpiresIn=60)
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"data"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(url.replace("Expires=60", "Expires=600"))
