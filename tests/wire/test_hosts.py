"""Requests under a foreign name or from a foreign page are refused."""

import pytest

from gyropilot.errors import NotAllowed
from gyropilot.wire.hosts import check_source


def check(*headers, listening_host="127.0.0.1", port=8747):
    check_source(list(headers), listening_host=listening_host, port=port)


@pytest.mark.parametrize("host", ["127.0.0.1:8747", "localhost:8747", "LOCALHOST:8747", "[::1]:8747"])
def test_the_own_addresses_hold(host):
    check(("host", host))
    check(("host", host), ("origin", f"http://{host}"))


@pytest.mark.parametrize(
    "host",
    ["", "localhost", "localhost:80", "localhost.:8747", "evil.example:8747", "127.0.0.1.evil.example:8747",
     "localhost:8747@evil.example", "127.0.0.2:8747", "0.0.0.0:8747", "[::]:8747", "evil.example"],
)  # fmt: skip
def test_foreign_hosts_are_refused(host):
    with pytest.raises(NotAllowed):
        check(("host", host))


def test_a_host_must_stand_once():
    with pytest.raises(NotAllowed):
        check()
    with pytest.raises(NotAllowed):
        check(("host", "localhost:8747"), ("host", "localhost:8747"))


@pytest.mark.parametrize(
    "origin", ["null", "", "http://evil.example", "https://localhost:8747", "http://localhost:9999", "localhost:8747"]
)
def test_foreign_origins_are_refused(origin):
    with pytest.raises(NotAllowed):
        check(("host", "localhost:8747"), ("origin", origin))


def test_the_listening_address_and_the_default_port_hold():
    check(("host", "127.0.0.9:8747"), listening_host="127.0.0.9")
    check(("host", "localhost"), port=80)
    check(("host", "[fd00::1]:8747"), listening_host="fd00::1")
