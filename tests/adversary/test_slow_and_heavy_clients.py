"""Clients that send slowly, endlessly or too much: cut off in time, memory flat, and others served meanwhile."""

import itertools
import select
import socket
import time
from pathlib import Path

import pytest

import raw_requests
from new_jobs import in_threads
from raw_requests import Line, call, signed

CUT_SECONDS = 10
ROUNDS = 5
MEBIBYTE = 1024 * 1024


def opened(key):
    host, _, port = key.host.partition(":")
    return socket.create_connection((host, int(port)), 30)


def resident_mib(service):
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def seconds_until_closed(connection, drip=None, *, most):
    """Give how long the other side keeps the connection, while a byte is sent every half second."""
    started = time.monotonic()
    while (taken := time.monotonic() - started) < most:
        if select.select([connection], [], [], 0.5)[0]:
            try:
                if not connection.recv(65536):
                    return time.monotonic() - started
            except ConnectionError:
                return time.monotonic() - started
        elif drip is not None:
            try:
                connection.sendall(drip)
            except ConnectionError:
                return time.monotonic() - started
    raise AssertionError(f"still open after {taken:.0f} s")


@pytest.mark.slow
def test_a_slow_client_is_cut_off(key):
    request = call(key, "ListAutoMLJobs", {}).written()
    begun = {
        "nothing": (b"", None),
        "half a request line": (b"POS", None),
        "endless headers": (b"POST / HTTP/1.1\r\nHost: " + key.host.encode() + b"\r\n", b"X-A: b\r\n"),
        "half a body": (request[:-1], None),
        "half a second request": (request + b"POS", None),
        "half a payload": (signed(key, target="/endpoints/e/invocations", body=b"12").written()[:-1], None),
    }

    def kept(number):
        begin, drip = list(begun.values())[number]
        with opened(key) as connection:
            connection.sendall(begin)
            return seconds_until_closed(connection, drip, most=CUT_SECONDS + 15)

    for kind, seconds in zip(begun, in_threads(len(begun), kept), strict=True):
        assert isinstance(seconds, float), (kind, seconds)
        assert seconds < CUT_SECONDS + 3, kind


@pytest.mark.slow
def test_many_slow_clients_do_not_keep_others_waiting(key):
    lines = [opened(key) for _ in range(200)]
    try:
        for connection in lines:
            connection.sendall(call(key, "ListAutoMLJobs", {}).written()[:-1])
        answer = raw_requests.ask(key, call(key, "ListAutoMLJobs", {}))
        assert answer.status == 200
        assert answer.seconds < 2
    finally:
        for connection in lines:
            connection.close()


def test_too_much_is_refused_without_being_kept(quiet_service, key):
    before = resident_mib(quiet_service)
    with Line(key.url) as line:
        for _ in range(ROUNDS):
            heavy = call(key, "ListAutoMLJobs", b'{"a":"' + b"x" * (MEBIBYTE + 10) + b'"}')
            assert line.ask(heavy).status == 413
            deep = call(key, "ListAutoMLJobs", b"[" * 500_000)
            assert line.ask(deep).status == 400
            wide = call(key, "CreateAutoMLJobV2", b"{" + b",".join(b'"k%d":0' % n for n in range(80_000)) + b"}")
            assert line.ask(wide).status == 400
            headers = call(key, "ListAutoMLJobs", {}).with_header("X-Long", "x" * 20_000)
            assert line.ask(headers).status in (400, 413, 431)
            many = call(key, "ListAutoMLJobs", {})
            for number in range(2000):
                many = many.with_header(f"X-{number}", "value")
            assert line.ask(many).status in (400, 413, 431)
            document = b"<Delete>" + b"<Object><Key>k</Key></Object>" * 200_000 + b"</Delete>"
            assert line.ask(signed(key, "POST", "/data?delete", body=document, service="s3")).status == 400
            bomb = (
                b'<!DOCTYPE a [<!ENTITY b "'
                + b"b" * 1000
                + b'"><!ENTITY c "'
                + b"&b;" * 1000
                + b'">]><Delete>&c;</Delete>'
            )
            assert line.ask(signed(key, "POST", "/data?delete", body=bomb, service="s3")).status == 400
    assert resident_mib(quiet_service) < before + 60


def test_a_body_without_end_is_cut_at_its_cap(quiet_service, key):
    before = resident_mib(quiet_service)
    asked = call(key, "ListAutoMLJobs", {}).with_header("Transfer-Encoding", "chunked")
    head = asked.written().partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    chunk = b"%x\r\n" % 65536 + b"x" * 65536 + b"\r\n"
    with opened(key) as connection:
        connection.sendall(head)
        try:
            for sent in itertools.count(1):
                connection.sendall(chunk)
                assert sent < 2000, "128 MiB were taken"
                if select.select([connection], [], [], 0)[0]:
                    break
        except ConnectionError:
            return
        assert connection.recv(64).startswith(b"HTTP/1.1 413")
    assert resident_mib(quiet_service) < before + 30
