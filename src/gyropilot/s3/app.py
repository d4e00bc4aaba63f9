"""The object door: one ASGI app, S3's REST protocol over the embedded store; put into a process by `cli/processes.py`.

request -> source -> signature -> operation -> permission -> bucket -> audit line -> answer
any step raises -> errors.py
"""

from __future__ import annotations

import logging

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gyropilot import clock
from gyropilot.names import new_id
from gyropilot.s3 import bodies, routes, xml
from gyropilot.s3.buckets import check_bucket, create_bucket
from gyropilot.s3.details import refuse_what_is_not_done
from gyropilot.s3.errors import S3Error, as_s3_error
from gyropilot.s3.requests import Door, S3Request, read_path, read_query
from gyropilot.s3.routes import Operation, Target
from gyropilot.settings import Settings
from gyropilot.store import audit
from gyropilot.store.audit import AuditLine
from gyropilot.store.folder_objects import FolderObjects
from gyropilot.store.folder_uploads import FolderUploads
from gyropilot.store.principals import Credentials, Principal
from gyropilot.wire.hosts import check_source
from gyropilot.wire.signature import SignedRequest, VerifiedSignature, verify

_KINDS = ("admin", "operator")
_MOST_HEADER_BYTES = 16 * 1024

logger = logging.getLogger(__name__)


def make_app(objects: FolderObjects, credentials: Credentials, settings: Settings) -> ASGIApp:
    """Give the app that serves the embedded store to the keys of `credentials`, except invokers'."""
    door = Door(objects=objects, uploads=FolderUploads(objects), settings=settings)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(f"this app has no part in {scope['type']}")
        await _answer(door, credentials, Request(scope, receive), send)

    return app


async def _answer(door: Door, credentials: Credentials, request: Request, send: Send) -> None:
    request_id, started_at = new_id()[:16].upper(), clock.monotonic()
    try:
        response = await _operated(door, credentials, request, request_id)
    except ClientDisconnect:
        return
    except Exception as error:  # the one place where errors become answers
        response = _error_answer(_told(error), request, request_id)
    response.headers["x-amz-request-id"] = request_id
    milliseconds = (clock.monotonic() - started_at) * 1000
    path = request.scope["raw_path"].decode("latin-1")
    logger.info("%s %s %s %d %.0f ms", request_id, request.method, path, response.status_code, milliseconds)
    await response(request.scope, request.receive, send)


async def _operated(door: Door, credentials: Credentials, request: Request, request_id: str) -> Response:
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in request.headers.raw]
    if sum(len(name) + len(value) for name, value in headers) > _MOST_HEADER_BYTES:
        raise S3Error("InvalidRequest", f"The headers are longer than {_MOST_HEADER_BYTES} bytes.")
    server = request.scope.get("server") or ("", door.settings.port)
    check_source(headers, listening_host=door.settings.host, port=server[1])
    path, query = request.scope["raw_path"].decode("latin-1"), request.scope["query_string"].decode("latin-1")
    # In a thread: a key that was not asked for of late is read from the database.
    signature, principal = await run_in_threadpool(_proven, credentials, request.method, path, query, headers)
    bucket, key = read_path(path)
    asked = S3Request(
        method=request.method,
        bucket=bucket,
        key=key,
        query=read_query(query),
        headers=_joined(headers),
        signature=signature,
        principal=principal,
        stream=request.stream,
    )
    target, operation = routes.find(asked)
    if operation not in routes.AUDITED:
        return await _permitted(door, asked, target, operation)
    result = "OK"
    try:
        return await _permitted(door, asked, target, operation)
    except ClientDisconnect:
        result = "ClientDisconnect"
        raise
    except Exception as error:
        fault = _told(error)
        result = fault.code
        raise fault from error
    finally:
        await run_in_threadpool(_note, door, asked, operation, result, request_id)


async def _permitted(door: Door, asked: S3Request, target: Target, operation: Operation) -> Response:
    if asked.principal.kind not in _KINDS:
        raise S3Error("AccessDenied", "This key may not use the object store.")
    refuse_what_is_not_done(asked.headers, asked.principal.account_id)
    if operation not in routes.READS_BODY:
        await bodies.check_unread(asked)
    # After a body that is not used: who sends it slowly could see the bucket become another's meanwhile.
    if target != "service" and operation is not create_bucket:
        await check_bucket(door, asked, asked.bucket)
    return await operation(door, asked)


def _note(door: Door, asked: S3Request, operation: Operation, result: str, request_id: str) -> None:
    line = AuditLine(
        principal=asked.principal,
        action=f"s3:{operation.__name__.title().replace('_', '')}",
        resource=f"s3://{asked.bucket}",
        result=result,
        request_id=request_id,
    )
    audit.append(door.settings.audit, line)


def _proven(
    credentials: Credentials, method: str, path: str, query: str, headers: list[tuple[str, str]]
) -> tuple[VerifiedSignature, Principal]:
    signed = SignedRequest(method=method, path=path, query=query, headers=headers, body_sha256=None)
    signature = verify(signed, credentials.find_secret, now=clock.now(), service="s3")
    found = credentials.find(signature.access_key_id)
    if found is None:
        raise S3Error("AccessDenied", "This key was withdrawn.")
    return signature, found[0]


def _told(error: Exception) -> S3Error:
    if isinstance(error, xml.Malformed):
        return S3Error("MalformedXML", f"The XML you provided was malformed: {error}.")
    return as_s3_error(error)


def _joined(headers: list[tuple[str, str]]) -> dict[str, str]:
    """Give one value a name: what stands twice is joined, which is how it was signed."""
    joined: dict[str, str] = {}
    for name, value in headers:
        joined[name] = f"{joined[name]},{value.strip()}" if name in joined else value.strip()
    return joined


def _error_answer(error: S3Error, request: Request, request_id: str) -> Response:
    has_body = request.method != "HEAD" and error.status != 304
    body = error.body(request.scope["path"], request_id) if has_body else b""
    headers = {**error.headers, "Connection": "close"} if request.method in ("PUT", "POST") else error.headers
    return Response(body, status_code=error.status, headers=headers, media_type="application/xml")
