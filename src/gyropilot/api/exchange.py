"""One call on its way through the chain: what is known of it so far, and what is to be answered."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from gyropilot.api import protocols
from gyropilot.api.catalog import Entry
from gyropilot.api.protocols import WireProtocol
from gyropilot.control.entrance import Caller
from gyropilot.wire import signature

Json = Any
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

NAMING_MEMBERS = (
    "AutoMLJobName",
    "TransformJobName",
    "EndpointName",
    "EndpointConfigName",
    "ModelName",
    "TrainingJobName",
    "ProcessingJobName",
    "ResourceArn",
)
"""Members that tell what a request is about; the first that stands there does, as what else it names it only uses."""

_LOGGED_NAME = re.compile(r"[A-Za-z0-9-]{1,64}|arn:[a-z0-9:-]+/[A-Za-z0-9-]{1,64}")


@dataclass(kw_only=True)
class Exchange:
    """A call; each step of the chain fills in what the next ones need."""

    scope: Scope
    receive: Receive
    request_id: str
    headers: list[tuple[str, str]]
    """In order, names in lower case, values as Latin-1."""
    body: bytes = b""
    status: int = 200
    error_code: str = ""
    answer: bytes = b""
    content_type: str = protocols.JSON_TYPE
    is_answered: bool = False
    """Set by a step that needs no further ones."""
    is_cut_off: bool = False
    """Whether the body was given up before its end, so that nothing can follow on the connection."""
    caller: Caller = field(init=False)
    service: str = field(init=False)
    """The service that the signature is for, proven."""
    entry: Entry = field(init=False)
    request: dict[str, Json] = field(init=False)
    response: dict[str, Json] | None = field(init=False)

    @property
    def method(self) -> str:
        """The HTTP method."""
        return str(self.scope["method"])

    @property
    def path(self) -> str:
        """The path as it came, undecoded."""
        raw = self.scope.get("raw_path")
        return str(self.scope["path"]) if raw is None else raw.decode("latin-1")

    @property
    def query(self) -> str:
        """The query string as it came."""
        return str(self.scope.get("query_string", b"").decode("latin-1"))

    @property
    def operation_name(self) -> str:
        """The operation's name once it is known, for the log."""
        return self.entry.operation.name if hasattr(self, "entry") else "-"

    @property
    def caller_name(self) -> str:
        """The caller's access key id once it is proven, for the log."""
        return self.caller.principal.access_key_id if hasattr(self, "caller") else "-"

    @property
    def resource_name(self) -> str:
        """What the request is about, by its name or ARN, for the log; "?" for what can be neither."""
        request = self.request if hasattr(self, "request") else {}
        name = next((request[member] for member in NAMING_MEMBERS if member in request), None)
        if name is None:
            return "-"
        return name if isinstance(name, str) and _LOGGED_NAME.fullmatch(name) else "?"

    @cached_property
    def signed_service(self) -> str | None:
        """The service that the signature names, unproven."""
        return signature.service_of(self.scope["headers"], self.scope.get("query_string", b""))

    @cached_property
    def protocol(self) -> WireProtocol:
        """How the call is written and wants to be answered."""
        return protocols.spoken(self.first_headers, self.signed_service)

    @cached_property
    def first_headers(self) -> Mapping[str, str]:
        """The first value of each header, by its lower-case name."""
        return dict(reversed(self.headers))

    def header(self, name: str) -> str | None:
        """Give the first value of a header, by its lower-case name."""
        return self.first_headers.get(name)
