"""Signed requests changed after the signature, or signed for what a door must not take; none may be answered well.

    mutations(draw, request) --> (what was done, Raw) ...    one part changed, at random
    missigned(key, ...)      --> (what was done, Raw) ...    signed in good order, but not for this door, time or key

Left out is what means the same request: letter case of header names, spaces around values, percent signs for characters
that need none.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime

from botocore.auth import S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.credentials import Credentials

from gyropilot import clock
from raw_requests import Raw, signed

_ODD = "0123456789abcdefXYZ-/=;,._~%+"
_METHODS = ("GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH")
_TAILS = (
    "x",
    "/x",
    "/../x",
    "%2e",
    "a/b",
    "?x",
    "?x=1",
    "?acl",
    "?uploads",
    "?Action=StopAutoMLJob",
    "?X-Amz-Expires=9",
)
_ADDED = ("x-amz-acl", "x-amz-copy-source", "x-amz-meta-a", "x-amz-security-token", "x-amz-target", "x-amz-date",
          "x-amz-content-sha256", "x-amz-decoded-content-length", "authorization", "host", "content-type")  # fmt: skip


def mutations(draw, request):
    """Give endless changes of a signed request, each in one part that its signature covers."""
    kinds = (_method, _target, _body, _header_character, _header_character, _authorisation, _dropped, _doubled, _added)
    while True:
        kind = draw.choice(kinds)
        changed = kind(draw, request)
        if changed is not None and changed != request:
            yield kind.__name__.strip("_"), changed


def _method(draw, request):
    return replace(request, method=draw.choice(_METHODS))


def _target(draw, request):
    if draw.random() < 0.5:
        path, mark, query = request.target.partition("?")
        # An empty path segment more or less names another object.
        return replace(request, target=path + draw.choice(("x", "/x", "//", "%00", "%2Fx")) + mark + query)
    added = draw.choice(_TAILS)
    return replace(request, target=request.target + (added.replace("?", "&") if "?" in request.target else added))


def _body(draw, request):
    body = request.body
    if request.header("x-amz-content-sha256") == "UNSIGNED-PAYLOAD" or "X-Amz-Signature" in request.target:
        return None
    at = draw.randrange(len(body) + 1)
    changed = draw.choice(
        (body[:at] + b" " + body[at:], body[:at], body[at:], body[:at] + b"\x00" + body[at + 1 :], b"")
    )
    return None if changed == body else replace(request, body=changed).with_header("Content-Length", str(len(changed)))


def _header_character(draw, request):
    name = draw.choice([name for name in _signed_names(request) if name.lower() != "content-length"])
    return _with_changed_value(draw, request, name)


def _authorisation(draw, request):
    if request.header("authorization") is not None:
        return _with_changed_value(draw, request, "Authorization")
    path, _, query = request.target.partition("?")
    changed = _changed(draw, query)
    return (
        None
        if changed is None or "&&" in changed or changed[-1:] == "&"
        else replace(request, target=f"{path}?{changed}")
    )


def _with_changed_value(draw, request, name):
    changed = _changed(draw, request.header(name))
    return None if changed is None else request.with_header(name, changed)


def _changed(draw, value):
    """Give a value with one character more, fewer or other; letter case counts as other."""
    at = draw.randrange(len(value))
    odd = draw.choice(_ODD)
    head, tail = value[:at], value[at + 1 :]
    given = (head + odd + tail, head + odd + value[at:], head + tail, head + value[at].swapcase() + tail)
    changed = draw.choice(given)
    plain, before = changed.replace(" ", ""), value.replace(" ", "")
    means_the_same = plain == before or ("%" in value and plain.upper() == before.upper())
    return None if means_the_same or not plain else changed


def _dropped(draw, request):
    name = draw.choice([*_signed_names(request), "Authorization"])
    if request.header(name) is None:
        return None
    return request.with_header(name)


def _doubled(draw, request):
    name = draw.choice([*_signed_names(request), "Authorization"])
    value = request.header(name)
    if value is None:
        return None
    other = draw.choice((value, "x", "*", f"{value}, {value}"))
    return request.with_header(name, *draw.sample((value, other), 2))


def _added(draw, request):
    name = draw.choice(_ADDED)
    # Which type an object is said to have need not be signed.
    is_free = name == "content-type" and "x-amz-target" not in request.header_names()
    if request.header(name) is not None or is_free:
        return None
    return request.with_header(name, draw.choice(("1", "x", "*", "/data/train/rows.csv", "0" * 64)))


def _signed_names(request):
    given = request.header("authorization")
    if given is None:
        return ["Host"]
    return given.split("SignedHeaders=")[1].split(",")[0].split(";")


def missigned(key, method, target, headers, body, service):
    """Give requests of which the signature is right in itself, and that must be refused all the same."""
    given = {"headers": headers, "body": body}

    def by(
        access_key=key.access_key, secret=key.secret, *, name=service, region=key.region, token=None, kind=SigV4Auth
    ):
        return kind(Credentials(access_key, secret, token), name, region)

    pairs = (
        (key.access_key, "not the secret"),
        (key.access_key, ""),
        (key.access_key.lower(), key.secret),
        ("GYROUNKNOWN", key.secret),
        ("", ""),
        ("x/y", "z"),
        ("a" * 200, "b"),
    )
    for access_key, secret in pairs:
        yield f"key {access_key[:20]!r}", signed(key, method, target, signer=by(access_key, secret), **given)
    for name in (
        "sts",
        "iam",
        "sagemaker-runtime",
        "SAGEMAKER",
        "es",
        "",
        "s3express",
        "sagemaker " if service == "s3" else "s3",
    ):
        yield f"service {name!r}", signed(key, method, target, signer=by(name=name), **given)
    for region in ("eu-west-1", "", "us-east-2", "US-EAST-1", "us-east-1/x", "aws-global") if service != "s3" else ():
        yield f"region {region!r}", signed(key, method, target, signer=by(region=region), **given)
    yield "session token", signed(key, method, target, signer=by(token="a token"), **given)
    yield (
        "session token",
        signed(key, method, target, signer=by(token=""), **given).with_header("X-Amz-Security-Token", ""),
    )
    for seconds in (-301, 301, -3600, 3600, -86400, 86400, 10**8):
        yield f"clock {seconds:+} s", signed(key, method, target, signer=_at(by(), seconds), **given)
        dated = headers | {"Date": format_datetime(clock.now())}
        yield f"date {seconds:+} s", signed(key, method, target, headers=dated, body=body, signer=_at(by(), seconds))
    for fewer in ("host", "x-amz-date", "x-amz-target", "content-type", "x-amz-content-sha256"):
        signer = _Without(by(), fewer)
        request = signed(key, method, target, signer=signer, **given)
        if request.header(fewer) is not None and (service, fewer) != ("s3", "content-type"):
            yield f"{fewer} not signed", request
    if service != "s3":
        yield from _misbound(key, method, target, headers, body, by)


def _misbound(key, method, target, headers, body, by):
    """Give requests of the JSON API whose body is not bound to the signature."""
    marks = (
        "UNSIGNED-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
        "",
        "0" * 64,
    )
    for mark in marks:
        named = headers | {"X-Amz-Content-SHA256": mark}
        yield f"payload {mark!r}", signed(key, method, target, headers=named, body=body, signer=by())
    for kind in (SigV4QueryAuth, S3SigV4QueryAuth):
        yield "presigned", signed(key, method, target, headers=headers, body=body, signer=by(kind=kind))
        plain = signed(key, "GET", "/?Action=ListAutoMLJobs", signer=by(kind=kind))
        yield "presigned GET", plain
    both = signed(key, method, target, headers=headers, body=body, signer=by(kind=SigV4QueryAuth))
    alone = signed(key, method, target, headers=headers, body=body, signer=by())
    yield "signed in both places", replace(both, headers=alone.headers)


def _at(signer, seconds):
    """Give the signer with its clock set off."""
    moment = (clock.now() + timedelta(seconds=seconds)).strftime("%Y%m%dT%H%M%SZ")
    plain = signer._modify_request_before_signing

    def modify(request):
        request.context["timestamp"] = moment
        plain(request)

    signer._modify_request_before_signing = modify
    return signer


class _Without:
    """A signer that leaves one header out of what it signs, and sends it all the same."""

    def __init__(self, signer, name):
        self._signer = signer
        self._name = name
        plain = signer.headers_to_sign

        def headers_to_sign(request):
            kept = plain(request)
            del kept[name]
            return kept

        signer.headers_to_sign = headers_to_sign

    def add_auth(self, request):
        self._signer.add_auth(request)


def framed_otherwise(request):
    """Give the request with a body whose length is told in ways that two readers could take differently."""
    length = str(len(request.body))
    chunked = f"{len(request.body):x}\r\n".encode() + request.body + b"\r\n0\r\n\r\n"
    bare = request.with_header("Content-Length")
    smuggled = Raw(method="GET", target="/", headers=(("Host", "evil.example"),)).written()
    for name, headers, body in (
        ("two lengths", (("Content-Length", length), ("Content-Length", "0")), request.body),
        ("a list of lengths", (("Content-Length", f"{length}, 0"),), request.body),
        ("a signed length", (("Content-Length", f"+{length}"),), request.body),
        ("a negative length", (("Content-Length", "-1"),), request.body),
        ("a length in hex", (("Content-Length", f"0x{len(request.body):x}"),), request.body),
        ("a huge length", (("Content-Length", "9" * 30),), request.body),
        ("length and chunks", (("Content-Length", length), ("Transfer-Encoding", "chunked")), chunked + smuggled),
        ("chunks and length", (("Transfer-Encoding", "chunked"), ("Content-Length", "4")), chunked),
        ("chunks twice", (("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")), chunked),
        ("chunks, identity", (("Transfer-Encoding", "chunked, identity"),), chunked),
        ("gzip, chunks", (("Transfer-Encoding", "gzip, chunked"),), chunked),
        ("odd chunks", (("Transfer-Encoding", "xchunked"),), chunked),
        ("bad chunk size", (("Transfer-Encoding", "chunked"),), b"zz\r\n" + request.body + b"\r\n0\r\n\r\n"),
        ("folded header", (("X-A", "a\r\n b: c"), ("Content-Length", length + "\r\n 0")), request.body),
        ("space before colon", (("Content-Length ", length),), request.body),
        ("bare newline", (("Content-Length", f"{length}\nX-Amz-Target: SageMaker.StopAutoMLJob"),), request.body),
        ("NUL in a header", (("X-A", "a\x00b"), ("Content-Length", length)), request.body),
    ):
        yield name, replace(bare, headers=bare.headers + headers, body=body)
