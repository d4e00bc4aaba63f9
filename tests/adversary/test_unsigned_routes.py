"""Every route of both doors, walked without a signature: refused, but for the health of the service."""

import itertools
import socket

import pytest

import raw_requests
from gyropilot.api import catalog
from raw_requests import JSON, Line, Raw

METHODS = (
    "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "LINK", "get", "PROPFIND",
)  # fmt: skip
PATHS = (
    "/", "//", "/data", "/data/", "/data/train/rows.csv", "/health/", "/Health", "/health/../", "/./health",
    "/%68ealth", "/metrics", "/favicon.ico", "/docs", "/openapi.json", "/.env", "/..", "/%2e%2e/", "/%00",
    "/credentials.json", "/data/..%2f..%2fcredentials.json", "/endpoints/e/invocations", "*",
    "/endpoints", "/endpoints/", "/endpoints/e", "/endpoints/e/invocations-response-stream",
    "/endpoints/e/async-invocations", "/endpoints/../health", "/%65ndpoints/e/invocations",
    "/?Action=GetCallerIdentity&Version=2011-06-15",
)  # fmt: skip
SUB_RESOURCES = (
    "acl", "attributes", "cors", "delete", "encryption", "legal-hold", "lifecycle", "list-type=2",
    "list-type=2&prefix=", "location", "logging", "notification", "object-lock", "partNumber=1&uploadId=a",
    "policy", "publicAccessBlock", "replication", "requestPayment", "restore", "retention", "select&select-type=2",
    "session", "tagging", "torrent", "uploadId=a", "uploads", "versionId=null", "versioning", "versions", "website",
)  # fmt: skip
REFUSED = {400, 403, 404, 405}


def unsigned(key, method, target, headers=(), body=b""):
    return Raw(method=method, target=target, headers=(("Host", key.host), *headers), body=body)


def test_every_method_and_path_is_refused(key):
    with Line(key.url) as line:
        for method, path in itertools.product(METHODS, PATHS):
            answer = line.ask(unsigned(key, method, path))
            assert answer.status == 403, (method, path, answer)
            assert b"rows.csv" not in answer.body.replace(path.encode(), b"")


def test_every_operation_is_refused(key):
    targets = [*catalog.read().entries, "SageMaker.CreateModel", "AWSSecurityTokenServiceV20110615.GetCallerIdentity"]
    with Line(key.url) as line:
        for target in targets:
            answer = line.ask(unsigned(key, "POST", "/", [("Content-Type", JSON), ("X-Amz-Target", target)], b"{}"))
            assert (answer.status, answer.code) == (403, "MissingAuthenticationTokenException"), target


@pytest.mark.parametrize("place", ["/", "/data", "/data/train/rows.csv", "/no-such-bucket", "/data/no-such-key"])
def test_every_sub_resource_of_the_object_store_is_refused(key, place):
    with Line(key.url) as line:
        for method, name in itertools.product(("GET", "HEAD", "PUT", "POST", "DELETE"), SUB_RESOURCES):
            answer = line.ask(unsigned(key, method, f"{place}?{name}"))
            assert answer.status == 403, (method, place, name, answer)


def test_a_runtime_call_is_refused_in_the_shape_of_its_door(key):
    for operation in ("invocations", "invocations-response-stream", "async-invocations"):
        answer = raw_requests.ask(key, unsigned(key, "POST", f"/endpoints/e/{operation}", body=b"{}"))
        assert (answer.status, answer.code) == (403, "MissingAuthenticationTokenException"), operation
        assert answer.headers["x-amzn-errortype"] == answer.code


def test_only_health_answers(key):
    for method in ("GET", "HEAD"):
        answer = raw_requests.ask(key, unsigned(key, method, "/health"))
        assert answer.status == 200
        assert not {"server", "access-control-allow-origin"} & answer.headers.keys()


def test_a_websocket_is_refused(key):
    wanted = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
    for path in ("/", "/health/ws", "/data"):
        asked = unsigned(key, "GET", path, [*wanted, ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")])
        assert raw_requests.ask(key, asked).status in REFUSED


def test_other_schemes_of_authorisation_are_refused(key):
    for given in (
        "Basic YWRtaW46YWRtaW4=",
        "Bearer token",
        f"AWS {key.access_key}:c2lnbmF0dXJl",
        "Negotiate x",
        "AWS4",
    ):
        with Line(key.url) as line:
            for path in ("/", "/data/train/rows.csv", "/endpoints/e/invocations"):
                asked = unsigned(key, "GET", path, [("Authorization", given)])
                assert line.ask(asked).status in REFUSED, given


HOSTS = (
    "evil.example", "evil.example:{port}", "127.0.0.1", "localhost", "localhost.:{port}", "127.0.0.1:1", "[::1]",
    "0.0.0.0:{port}", "127.1:{port}", "127.0.0.1:{port}.evil.example", "127.0.0.1@evil.example:{port}",
)  # fmt: skip
ORIGINS = (
    "null", "http://evil.example", "https://127.0.0.1:{port}", "http://127.0.0.1:1", "file://", "http://localhost",
)  # fmt: skip


@pytest.mark.parametrize("service", ["sagemaker", "s3"])
def test_a_signed_request_under_a_foreign_name_or_from_a_foreign_page_is_refused(key, service):
    port = key.url.rpartition(":")[2]
    target = "/" if service == "sagemaker" else "/data?list-type=2"
    given = {"Content-Type": JSON, "X-Amz-Target": "SageMaker.ListAutoMLJobs"} if service == "sagemaker" else {}
    method = "POST" if service == "sagemaker" else "GET"
    body = b"{}" if service == "sagemaker" else b""

    def answer_to(**changes):
        asked = raw_requests.signed(key, method, target, headers=given | changes, body=body, service=service)
        return raw_requests.ask(key, asked)

    assert answer_to().status == 200
    for host in HOSTS:
        assert answer_to(Host=host.format(port=port)).status in (400, 403), host
    for origin in ORIGINS:
        assert answer_to(Origin=origin.format(port=port)).status == 403, origin
    for name in ("127.0.0.1", "localhost"):
        own = answer_to(Host=f"{name}:{port}", Origin=f"http://{name}:{port}")
        assert own.status == 200
        assert not [header for header in own.headers if header.startswith("access-control-")]


@pytest.mark.parametrize("path", ["/", "/health", "/data", "/data/train/rows.csv", "/endpoints/e/invocations"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
def test_a_page_of_another_site_learns_nothing(key, method, path):
    page = (("Origin", "http://evil.example"), ("Access-Control-Request-Method", "POST"))
    asked = Raw(method=method, target=path, headers=(("Host", key.host), *page))
    answer = raw_requests.ask(key, asked)
    assert answer.status == 403
    assert not [header for header in answer.headers if header.startswith("access-control-")]
    rebound = Raw(method=method, target=path, headers=(("Host", "evil.example"),))
    assert raw_requests.ask(key, rebound).status == 403


def test_two_hosts_or_none_are_refused(key):
    for headers in ((), (("Host", key.host), ("Host", "evil.example")), (("Host", key.host), ("Host", key.host))):
        assert raw_requests.ask(key, Raw(method="GET", target="/health", headers=headers)).status in (400, 403)


def test_it_listens_on_loopback_only(key):
    port = int(key.url.rpartition(":")[2])
    for address in {found[4][0] for found in socket.getaddrinfo(socket.gethostname(), port, socket.AF_INET)}:
        if not address.startswith("127."):
            with pytest.raises(OSError, match=r"refused|unreachable|timed out"):
                socket.create_connection((address, port), 2)
