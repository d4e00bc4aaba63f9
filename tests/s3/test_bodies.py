"""Bodies that come slowly: given up in time, and nothing is kept of them."""

from __future__ import annotations

import http.client
import select
import socket
import time

import pytest

import raw_requests
from gyropilot.s3 import bodies


@pytest.fixture
def sent_slowly(door):
    """Send a signed request, its body byte by byte until it is answered; give status and body of the answer."""

    def send(method, target, body, *, pause_seconds):
        key = raw_requests.Key(url=door.url, access_key=door.key, secret=door.secret)
        request = raw_requests.signed(key, method, target, body=body, service="s3").written()
        head, rest = request[: -len(body)], request[-len(body) :]
        deadline = time.monotonic() + 10
        with socket.create_connection(("127.0.0.1", door.settings.port), 10) as line:
            line.sendall(head)
            while rest and not select.select([line], [], [], pause_seconds)[0]:
                assert time.monotonic() < deadline, "never given up"
                line.sendall(rest[:1])
                rest = rest[1:]
            answer = http.client.HTTPResponse(line, method=method)
            answer.begin()
            return answer.status, answer.read()

    return send


def test_a_put_that_stalls_is_given_up_and_stores_nothing(door, s3, bucket, sent_slowly, monkeypatch):
    monkeypatch.setattr(bodies, "_PATIENCE_SECONDS", 0.05)
    status, said = sent_slowly("PUT", f"/{bucket}/k", b"some bytes", pause_seconds=5)
    assert (status, b"RequestTimeout" in said) == (400, True)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    assert list(door.objects.drafts.iterdir()) == []


@pytest.mark.parametrize(("method", "query"), [("POST", "?delete"), ("GET", "?list-type=2")])
def test_a_document_that_trickles_is_given_up_however_steadily(bucket, sent_slowly, monkeypatch, method, query):
    monkeypatch.setattr(bodies, "_DOCUMENT_SECONDS", 0.3)
    status, said = sent_slowly(method, f"/{bucket}{query}", b"x" * 1000, pause_seconds=0.02)
    assert (status, b"RequestTimeout" in said) == (400, True)
