"""The entrance of the doors that take signed calls: who calls, from where, and how often; used by `api` and `serve`.

Every door asks in this order: `check_source` before it reads a body, then `prove`, then `check_rate`. One that takes
large bodies asks `check_claim` before it reads one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from gyropilot import clock, names
from gyropilot.control.rates import Rates
from gyropilot.errors import NotAuthentic, RequestTooLarge
from gyropilot.settings import Settings
from gyropilot.store.principals import Credentials, Principal
from gyropilot.wire import claim, signature
from gyropilot.wire.hosts import check_source
from gyropilot.wire.signature import SignedRequest

MAX_HEADER_BYTES = 16 * 1024
BODY_SECONDS = 10.0
"""A small body is there by then; a door that takes large ones adds to it."""

_INVOCATION_ID = re.compile(r"[A-Za-z0-9-]{8,64}")
_INVOCATION_HEADER = "amz-sdk-invocation-id"
_REGION_BY_SERVICE: Mapping[str, str] = {"iam": "us-east-1"}
"""Services without regions, whose clients sign for this one wherever they are."""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who calls, proven by the signature; `invocation_id` names one call over its retries."""

    principal: Principal
    invocation_id: str | None
    region: str


class Entrance:
    """What the doors of one process share to let callers in; safe for threads."""

    def __init__(self, credentials: Credentials, settings: Settings) -> None:
        self._credentials = credentials
        self._settings = settings
        self._rates = Rates(clock.monotonic, settings.calls_per_second)

    def check_source(self, headers: Sequence[tuple[str, str]], server: tuple[str, int] | None) -> None:
        """Let pass what is asked under a name of this service and from no foreign page, with a head of bounded length.

        Args:
            headers: of the request, names in lower case.
            server: the address that was called, as ASGI tells it.

        Raises:
            RequestTooLarge: the headers are a flood.
            NotAllowed: the request comes under a foreign name, or from a foreign page.
        """
        if sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
            raise RequestTooLarge(f"The headers are longer than {MAX_HEADER_BYTES} bytes.")
        port = server[1] if server else self._settings.port
        check_source(headers, listening_host=self._settings.host, port=port)

    def check_claim(self, request: SignedRequest, service: str) -> None:
        """Refuse a request whose signature cannot hold, whatever its body is: `prove` says whether it does.

        Raises:
            NotAuthentic: it is out of time, for another service, or of a key that is unknown or was withdrawn.
        """
        with self._foreign_keys_told(request):
            signature.check_claim(request, self._credentials.find_secret, now=clock.now(), service=service)

    def prove(self, request: SignedRequest, service: str) -> Caller:
        """Give who signed a request for a service.

        Raises:
            NotAuthentic: the signature does not hold, is for another service or region, or its key was withdrawn.
        """
        with self._foreign_keys_told(request):
            verified = signature.verify(request, self._credentials.find_secret, now=clock.now(), service=service)
        region = self._settings.region
        if verified.region not in (region, _REGION_BY_SERVICE.get(service)):
            raise NotAuthentic("wrong", f"Credential should be scoped to the region '{region}'.")
        found = self._credentials.find(verified.access_key_id)
        if found is None:
            raise NotAuthentic("wrong", "The key was withdrawn.")
        told = next((value for name, value in request.headers if name.lower() == _INVOCATION_HEADER), "")
        return Caller(principal=found[0], invocation_id=told if _INVOCATION_ID.fullmatch(told) else None, region=region)

    def check_rate(self, caller: Caller) -> None:
        """Count a call of a caller.

        Raises:
            Throttled: the caller calls too often.
        """
        self._rates.check(caller.principal.access_key_id)

    @contextmanager
    def _foreign_keys_told(self, request: SignedRequest) -> Iterator[None]:
        """Say of a refused signature that its key cannot be one of this service, where its id tells that."""
        try:
            yield
        except NotAuthentic as error:
            if error.reason != "wrong":
                raise
            key = claim.read(request).access_key_id
            if names.is_access_key_id(key) or self._credentials.find_secret(key) is not None:
                raise
            raise NotAuthentic(
                "wrong",
                f"{key} is no access key of this service, whose keys begin with GYRO; take one of its own:"
                ' eval "$(gyropilot env)".',
            ) from error
