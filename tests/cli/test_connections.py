"""What a client reads of an answer that comes before its request was read to its end."""

from __future__ import annotations

import socket

import pytest

import houses
from api_servers import serving
from mean_problem import MEAN

SIZE = 32 * 2**20


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    house = houses.build(tmp_path_factory.mktemp("h") / "h", (MEAN,))
    with serving(house) as server:
        yield server
    house.db.close()


def ask(server, head, body):
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.sendall(head + body)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("_", range(3))
def test_a_refusal_is_read_whole_though_its_request_went_on(server, _):
    head = f"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Amz-Target: SageMaker.ListTags\r\nContent-Length: {SIZE}\r\n\r\n"
    answer = ask(server, head.encode(), bytes(SIZE))
    assert answer.startswith(b"HTTP/1.1 4")
    assert answer.endswith(b"}")


def test_a_refusal_of_what_is_no_http_is_read_whole(server):
    answer = ask(server, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", bytes(SIZE))
    assert answer.startswith(b"HTTP/1.1 400")


def test_a_client_that_neither_ends_nor_leaves_is_left(server):
    head = b"POST / HTTP/1.1\r\nHost: a\r\nX-Amz-Target: SageMaker.ListTags\r\nContent-Length: 9\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.sendall(head)
        assert connection.recv(65536).startswith(b"HTTP/1.1 4")
        with pytest.raises(ConnectionError):
            send_on(connection)


def send_on(connection):
    while True:
        connection.sendall(b"x" * 65536)
