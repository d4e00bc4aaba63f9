"""Says whether a request comes from where this service is used from: by its own address, and from no foreign web page.

A page in a browser can reach a loopback port under a name of its own (DNS rebinding) or from its own origin; both show
in headers that the page cannot forge. Every door asks here first, before it reads anything else.
"""

from __future__ import annotations

from collections.abc import Sequence

from gyropilot.errors import NotAllowed

_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
_HTTP_PORT = 80


def check_source(headers: Sequence[tuple[str, str]], *, listening_host: str, port: int) -> None:
    """Check Host and Origin of a request.

    Args:
        headers: of the request, names in lower case.
        listening_host: the address that the service listens on, beside the loopback names.
        port: the port that it listens on.

    Raises:
        NotAllowed: Host is not an address of this service, or Origin is another site (`null` is one).
    """
    own = _own_hosts(listening_host, port)
    hosts = [value.strip().lower() for name, value in headers if name == "host"]
    if len(hosts) != 1 or hosts[0] not in own:
        raise NotAllowed(f"The Host header must name this service: {', '.join(sorted(own))}.")
    origins = [value.strip().lower() for name, value in headers if name == "origin"]
    if any(origin.removeprefix("http://") not in own or not origin.startswith("http://") for origin in origins):
        raise NotAllowed("Requests of web pages of another origin are refused.")


def _own_hosts(listening_host: str, port: int) -> frozenset[str]:
    listening = f"[{listening_host}]" if ":" in listening_host else listening_host.lower()
    names = {*_LOOPBACK_NAMES, listening}
    with_port = {f"{name}:{port}" for name in names}
    return frozenset(with_port | names if port == _HTTP_PORT else with_port)
