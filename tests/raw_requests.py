"""Requests as an adversary makes them: signed by botocore, changed at will, sent by hand, answers read to their end."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode, urlsplit

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

JSON = "application/x-amz-json-1.1"
FORM = "application/x-www-form-urlencoded; charset=utf-8"
SECONDS = 5.0
"""No answer may take longer."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """What a caller signs with, and for which address."""

    url: str
    access_key: str
    secret: str
    region: str = "us-east-1"

    @property
    def host(self):
        return urlsplit(self.url).netloc


def key_of(service):
    """Give the admin's key of a `services.Service`."""
    given = service.variables
    return Key(
        url=given["AWS_ENDPOINT_URL"],
        access_key=given["AWS_ACCESS_KEY_ID"],
        secret=given["AWS_SECRET_ACCESS_KEY"],
        region=given["AWS_REGION"],
    )


@dataclass(frozen=True, kw_only=True)
class Raw:
    """A request as it goes over the wire; `target` is path and query, headers stand in order, twice where they do."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""

    def with_header(self, name, *values):
        kept = tuple((one, value) for one, value in self.headers if one.lower() != name.lower())
        return replace(self, headers=kept + tuple((name, value) for value in values))

    def header(self, name):
        return next((value for one, value in self.headers if one.lower() == name.lower()), None)

    def header_names(self):
        return {name.lower() for name, _ in self.headers}

    def written(self):
        """Give the bytes; Content-Length is added unless a header frames the body already."""
        headers = list(self.headers)
        if not self.header_names() & {"content-length", "transfer-encoding"}:
            headers.append(("Content-Length", str(len(self.body))))
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    body: bytes
    headers: dict[str, str] = field(repr=False, compare=False)
    seconds: float = field(compare=False)

    @property
    def code(self):
        """The error's code, of a header, of JSON or of XML; empty where there is none."""
        if "x-amzn-errortype" in self.headers:
            return self.headers["x-amzn-errortype"]
        if self.body.startswith(b"{"):
            return json.loads(self.body).get("__type", "")
        return self.body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()

    @property
    def message(self):
        if self.body.startswith(b"{"):
            said = json.loads(self.body)
            return said.get("message", said.get("Message", ""))
        return self.body.partition(b"<Message>")[2].partition(b"</Message>")[0].decode()


def signed(key, method="POST", target="/", *, headers=None, body=b"", service="sagemaker", signer=None):
    """Give the request that a botocore client sends for these parts."""
    request = AWSRequest(method, key.url + target, dict(headers or {}), body)
    if signer is None:
        kind = S3SigV4Auth if service == "s3" else SigV4Auth
        signer = kind(Credentials(key.access_key, key.secret), service, key.region)
    signer.add_auth(request)
    sent = [(name, str(value)) for name, value in request.headers.items()]
    if "host" not in {name.lower() for name, _ in sent}:
        sent.insert(0, ("Host", key.host))
    parts = urlsplit(request.url)
    return Raw(
        method=method,
        target=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        headers=tuple(sent),
        body=body,
    )


def call(key, operation, body, **headers):
    """Give a signed call of an operation, `SageMaker.X` or `X`; `body` is bytes, or what is written as JSON."""
    target = operation if "." in operation else f"SageMaker.{operation}"
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"Content-Type": JSON, "X-Amz-Target": target}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    return signed(key, headers=given, body=text, service="logs" if target.startswith("Logs_") else "sagemaker")


def query_call(key, service, version, action, **members):
    """Give a signed call of an operation of the query protocol, as iam's."""
    body = urlencode({"Action": action, "Version": version} | members).encode()
    return signed(key, headers={"Content-Type": FORM}, body=body, service=service)


class Line:
    """A connection kept open; made again where the other side closed it."""

    def __init__(self, url):
        parts = urlsplit(url)
        self._address = (parts.hostname, parts.port)
        self._socket = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def ask(self, request):
        """Send a `Raw` or bytes and give the answer; one that takes longer than it may raises TimeoutError."""
        data = request if isinstance(request, bytes) else request.written()
        method = data.partition(b" ")[0].decode("latin-1")
        is_fresh = self._socket is None
        started = time.monotonic()
        try:
            return self._ask(data, method, started)
        except (ConnectionError, http.client.BadStatusLine):
            # Between two requests a server may close; on a fresh connection it may not.
            self.close()
            if is_fresh:
                raise
            return self._ask(data, method, started)

    def _ask(self, data, method, started):
        if self._socket is None:
            self._socket = socket.create_connection(self._address, SECONDS)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Refused before it was read to its end, it breaks off; the answer may lie there already.
        with contextlib.suppress(ConnectionError):
            self._socket.sendall(data)
        response = http.client.HTTPResponse(self._socket, method=method)
        response.begin()
        body = response.read()
        headers = {name.lower(): value for name, value in response.getheaders()}
        if response.will_close:
            self.close()
        return Answer(status=response.status, body=body, headers=headers, seconds=time.monotonic() - started)


def ask(key, request):
    """Send one request on a connection of its own."""
    with Line(key.url) as line:
        return line.ask(request)
