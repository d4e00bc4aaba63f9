"""Bodies that are signed chunk by chunk, as SDKs of other languages send them, against the real server."""

from __future__ import annotations

import base64
import hashlib
import http.client
import zlib

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

EMPTY = hashlib.sha256().hexdigest()
CHUNK = 64 * 1024


class Streaming(S3SigV4Auth):
    """Signs a request whose body has a payload type in place of a digest."""

    kind = ""

    def payload(self, request):
        return self.kind


@pytest.fixture
def put(door, bucket):
    """Put `data` in chunks of one payload type; `spoil` changes the body on its way."""

    def sent(kind, data, *, checksum=None, spoil=lambda body: body):
        signer = Streaming(Credentials(door.key, door.secret), "s3", "us-east-1")
        signer.kind = kind
        headers = {"x-amz-decoded-content-length": str(len(data)), "content-encoding": "aws-chunked"}
        trailer = b""
        if kind.endswith("TRAILER"):
            headers["x-amz-trailer"] = "x-amz-checksum-crc32"
            value = checksum or base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
            trailer = f"x-amz-checksum-crc32:{value}".encode()
        request = AWSRequest(method="PUT", url=f"{door.url}/{bucket}/k", headers=headers)
        signer.add_auth(request)
        previous = request.headers["Authorization"].rpartition("Signature=")[2]
        body = b""
        for at in [*range(0, len(data), CHUNK), len(data)]:
            chunk = data[at : at + CHUNK]
            previous, extension = sign(signer, request, kind, "PAYLOAD", previous, chunk)
            body += f"{len(chunk):x}{extension}\r\n".encode() + chunk + (b"\r\n" if chunk else b"")
        if trailer:
            body += trailer + b"\r\n"
            if "HMAC" in kind:
                signature, _ = sign(signer, request, kind, "TRAILER", previous, trailer + b"\n")
                body += f"x-amz-trailer-signature:{signature}\r\n".encode()
        body = spoil(body + b"\r\n")
        connection = http.client.HTTPConnection(door.url.removeprefix("http://"), timeout=30)
        try:
            connection.request("PUT", f"/{bucket}/k", body, dict(request.headers.items()))
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        return answer.status, text.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()

    return sent


def sign(signer, request, kind, part, previous, data):
    if "HMAC" not in kind:
        return previous, ""
    digest = hashlib.sha256(data).hexdigest()
    lines = [f"AWS4-HMAC-SHA256-{part}", request.context["timestamp"], signer.credential_scope(request), previous]
    lines += [EMPTY, digest] if part == "PAYLOAD" else [digest]
    signature = signer.signature("\n".join(lines), request)
    return signature, f";chunk-signature={signature}"


KINDS = [
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size_bytes", [0, 10, 300_000])
def test_a_streamed_body_is_stored(s3, bucket, put, kind, size_bytes):
    data = bytes(range(256)) * (size_bytes // 256) + b"x" * (size_bytes % 256)
    assert put(kind, data) == (200, "")
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == data
    assert "ContentEncoding" not in got


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_body_is_not_stored(s3, bucket, put, kind, refused):
    spoiled = put(kind, b"0123456789", spoil=lambda body: body.replace(b"345", b"354"))
    assert spoiled == ((403, "SignatureDoesNotMatch") if "HMAC" in kind else (400, "BadDigest"))
    assert refused(s3.get_object, Bucket=bucket, Key="k") == "NoSuchKey"


def test_a_wrong_trailing_checksum_is_refused(put):
    assert put(KINDS[1], b"data", checksum="AAAAAA==") == (400, "BadDigest")
    assert put(KINDS[2], b"data", checksum="no base64") == (400, "InvalidDigest")
    assert put(KINDS[2], b"data", spoil=lambda body: body.replace(b"crc32:", b"sha1:")) == (400, "InvalidRequest")
