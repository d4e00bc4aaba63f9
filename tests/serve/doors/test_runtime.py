"""The runtime door as boto3 sees it, over stand-in replicas that do as they are told."""

import http.client
import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, EventStreamError

import houses
import runtime_servers
from api_servers import serving
from gyropilot.serve.doors import call_bodies, knocks
from gyropilot.serve.doors import runtime as door
from gyropilot.wire.rest import MAX_BODY_BYTES
from runtime_servers import put_endpoint, put_replica, variant

OTHER_ACCOUNT = "111111111111"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A door, an endpoint `plain` with one replica, and where both lie."""
    folder = tmp_path_factory.mktemp("r")
    with runtime_servers.running(folder, ["a"], invocation_seconds=1) as server:
        put_replica(server.house, put_endpoint(server.house, "plain", [variant("main")]), folder / "a")
        yield SimpleNamespace(
            folder=folder, server=server, house=server.house, runtime=server.client("sagemaker-runtime")
        )


def invoke(place, body, **more):
    return place.runtime.invoke_endpoint(
        EndpointName=more.pop("endpoint", "plain"), Body=body if isinstance(body, bytes) else json.dumps(body), **more
    )


def stream(place, body, **more):
    return place.runtime.invoke_endpoint_with_response_stream(EndpointName="plain", Body=json.dumps(body), **more)


def wait_for(path):
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.01)


def test_an_answer_comes_back_as_the_model_gave_it(place):
    body = bytes(range(256)) * 100
    response = invoke(place, body, ContentType="application/x-image")
    assert response["Body"].read() == body
    assert response["InvokedProductionVariant"] == "main"
    assert "CustomAttributes" not in response
    response = invoke(place, {"answer": "1,2", "type": "text/csv; charset=utf-8", "attributes": "trace=1"})
    assert response["Body"].read() == b"1,2"
    assert response["ContentType"] == "text/csv; charset=utf-8"
    assert response["CustomAttributes"] == "trace=1"
    assert response["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]


def test_an_asynchronous_call_stands_in_the_audit_log_with_what_came_of_it(place):
    audit = place.house.settings.audit
    taken = {"async": {"OutputConfig": {"S3OutputPath": "s3://data/answers"}}}
    put_endpoint(place.house, "later", [variant("main")], **taken)
    before = audit.read_text().count("\n") if audit.exists() else 0
    invoke(place, b"x")
    told = place.runtime.invoke_endpoint_async(EndpointName="later", Body=b"x")
    for name in ("plain", "nowhere"):
        with pytest.raises(ClientError):
            place.runtime.invoke_endpoint_async(EndpointName=name, Body=b"x")
    lines = [json.loads(line) for line in audit.read_text().splitlines()[before:]]
    assert [(one["resource"], one["result"]) for one in lines] == [
        ("later", "OK"),
        ("plain", "ValidationError"),
        ("nowhere", "ValidationError"),
    ]
    assert {one["action"] for one in lines} == {"sagemaker:InvokeEndpointAsync"}
    assert lines[0]["request_id"] == told["ResponseMetadata"]["RequestId"]
    assert lines[0]["principal"] == place.server.key


def test_an_asynchronous_call_that_cannot_be_noted_is_not_acknowledged(place):
    audit = place.house.settings.audit
    audit.rename(audit.with_suffix(".kept"))
    audit.mkdir()
    try:
        with pytest.raises(ClientError) as caught:
            place.runtime.invoke_endpoint_async(EndpointName="plain", Body=b"x")
    finally:
        audit.rmdir()
        audit.with_suffix(".kept").rename(audit)
    assert caught.value.response["Error"]["Code"] == "ServiceUnavailable"


def test_what_a_model_says_and_no_client_could_read_is_left_out(place):
    response = invoke(place, {"answer": "x", "type": "t" * 1025, "attributes": "a" * 1025})
    assert "CustomAttributes" not in response
    assert "ContentType" not in response
    assert response["Body"].read() == b"x"


def test_the_model_hears_what_the_caller_said(place):
    response = invoke(
        place,
        {"headers": True},
        ContentType="application/json; a=b",
        Accept="text/csv",
        CustomAttributes="trace=1",
        InferenceId="id 1",
        TargetVariant="main",
    )
    told = json.loads(response["Body"].read())
    expected = {
        "content-type": "application/json; a=b",
        "accept": "text/csv",
        "x-amzn-sagemaker-custom-attributes": "trace=1",
        "x-amzn-sagemaker-inference-id": "id 1",
        "x-gyropilot-style": "invoke",
        "x-gyropilot-stream": "0",
        "x-gyropilot-model": "plain",
        "model": "m",
    }
    assert expected.items() <= told.items()
    assert not [name for name in told if "authorization" in name or name.startswith("x-amz-")]


@pytest.mark.parametrize(("status", "at_fault"), [(400, "client"), (422, "client"), (500, "server")])
def test_a_refusal_of_the_model_is_a_model_error(place, status, at_fault):
    with pytest.raises(place.runtime.exceptions.ModelError) as caught:
        invoke(place, {"status": status, "error": "row 3 is no number"})
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == status
    assert response["OriginalMessage"] == "row 3 is no number"
    log_stream = "arn:aws:logs:us-east-1:000000000000:log-group:/aws/sagemaker/Endpoints/plain:log-stream:main/1"
    assert response["LogStreamArn"] == log_stream
    assert response["Error"]["Message"] == (
        f'Received {at_fault} error ({status}) from primary with message "row 3 is no number". '
        f"See {log_stream} in account 000000000000 for more information."
    )


def test_a_model_that_takes_too_long_is_a_model_error_and_hears_of_it(place):
    with pytest.raises(place.runtime.exceptions.ModelError, match="timed out") as caught:
        invoke(place, {"wait": str(place.folder / "never")})
    assert caught.value.response["OriginalStatusCode"] == 500
    wait_for(place.folder / "gone.1")


def test_a_crowded_replica_is_worth_a_retry(place):
    with pytest.raises(place.runtime.exceptions.ModelNotReadyException, match=r"no room.*Try again"):
        invoke(place, {"status": 503, "error": "no room"})


def test_an_endpoint_without_replicas_is_not_ready(place):
    put_endpoint(place.house, "starting", status="Creating")
    put_endpoint(place.house, "empty", [variant("main")])
    for name, told in (("starting", "it is Creating, and DescribeEndpoint"), ("empty", "CurrentInstanceCount of")):
        with pytest.raises(place.runtime.exceptions.ModelNotReadyException, match=told) as caught:
            invoke(place, b"", endpoint=name)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429


def refused(place, pattern, **asked):
    with pytest.raises(place.runtime.exceptions.ValidationError, match=pattern) as caught:
        invoke(place, b"", **asked)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_endpoints_that_there_are_not(place):
    put_endpoint(place.house, "theirs", [variant("main")], account=OTHER_ACCOUNT)
    put_endpoint(place.house, "leaving", [variant("main")], status="Deleting")
    for name in ("nothing", "Plain", "theirs", "leaving"):
        refused(place, f"Endpoint {name} of account 000000000000 not found", endpoint=name)
    put_endpoint(place.house, "failed", status="Failed", reason="the model data is gone")
    refused(place, r"Failed.*the model data is gone.*delete it", endpoint="failed")


def test_a_call_that_cannot_be_honoured_is_refused_with_all_faults(place):
    refused(place, r"TargetVariant: is no variant of endpoint plain \(found 'blue'\); .*main", TargetVariant="blue")
    refused(
        place,
        r"TargetModel: .* \| TargetContainerHostname: .* \| EnableExplanations: .* \| .* \| SessionId: .*",
        TargetModel="a",
        TargetContainerHostname="b",
        EnableExplanations="`true`",
        InferenceComponentName="d",
        SessionId="e",
    )
    refused(place, "2 validation errors detected", endpoint="-x", CustomAttributes="a" * 1025)


def test_a_part_of_a_stream_goes_out_as_it_comes(place):
    gate = place.folder / "gate"
    response = stream(place, {"parts": ["one", "two", "three"], "gate": str(gate), "type": "text/plain"}, Accept="*/*")
    assert response["ContentType"] == "text/plain"
    assert response["InvokedProductionVariant"] == "main"
    events = iter(response["Body"])
    assert next(events) == {"PayloadPart": {"Bytes": b"one"}}
    gate.touch()
    assert b"".join(event["PayloadPart"]["Bytes"] for event in events) == b"twothree"


def test_a_stream_that_breaks_off_says_so(place):
    told, body = [], stream(place, {"parts": ["a", "b"], "cut": True})["Body"]
    with closing(body), pytest.raises(EventStreamError, match=r"ModelStreamError.*broke its answer off") as caught:
        told.extend(event["PayloadPart"]["Bytes"] for event in body)
    assert b"".join(told) == b"ab"
    assert caught.value.response["Error"]["Code"] == "ModelStreamError"


def test_a_stream_that_falls_silent_says_so(place):
    body = stream(place, {"parts": ["one", "two"], "gate": str(place.folder / "never")})["Body"]
    with closing(body):
        events = iter(body)
        assert next(events) == {"PayloadPart": {"Bytes": b"one"}}
        with pytest.raises(EventStreamError, match="sent nothing for 1 seconds"):
            next(events)


def test_a_stream_that_the_end_of_the_service_cuts_says_so(place, caplog):
    house = replace(place.house, settings=replace(place.house.settings, invocation_seconds=60))
    with serving(house, make_app=door.make_app, patience=0) as server:
        runtime = server.client("sagemaker-runtime")
        body = json.dumps({"parts": ["one", "two"], "gate": str(place.folder / "never")})
        answer = runtime.invoke_endpoint_with_response_stream(EndpointName="plain", Body=body)["Body"]
        events = iter(answer)
        assert next(events) == {"PayloadPart": {"Bytes": b"one"}}
    with closing(answer), pytest.raises(EventStreamError, match="InternalStreamFailure"):
        next(events)
    assert "Traceback" not in caplog.text


def test_a_refusal_before_a_stream_is_an_error_of_the_call(place):
    with pytest.raises(place.runtime.exceptions.ModelError) as caught:
        stream(place, {"status": 400, "error": "no"})
    assert caught.value.response["OriginalStatusCode"] == 400
    with pytest.raises(place.runtime.exceptions.ValidationError, match="TargetVariant"):
        stream(place, {}, TargetVariant="blue")


def test_a_model_hears_that_the_reader_of_its_stream_left(place):
    before = len(list(place.folder.glob("gone.*")))
    response = stream(place, {"parts": ["one", "two"], "gate": str(place.folder / "never")})
    next(iter(response["Body"]))
    response["Body"].close()
    wait_for(place.folder / f"gone.{before + 1}")


def test_keys_of_every_kind_may_invoke_and_those_of_others_see_nothing(place):
    credentials = place.house.credentials
    for kind in ("admin", "operator", "invoker"):
        principal, secret = credentials.create(account_id="000000000000", kind=kind, name=kind)
        runtime = place.server.client("sagemaker-runtime", key=principal.access_key_id, secret=secret)
        assert runtime.invoke_endpoint(EndpointName="plain", Body=b"x")["Body"].read() == b"x"
    principal, secret = credentials.create(account_id=OTHER_ACCOUNT, kind="admin", name="other")
    other = place.server.client("sagemaker-runtime", key=principal.access_key_id, secret=secret)
    with pytest.raises(other.exceptions.ValidationError, match=f"Endpoint plain of account {OTHER_ACCOUNT} not found"):
        other.invoke_endpoint(EndpointName="plain", Body=b"x")
    credentials.revoke(principal.access_key_id)
    with pytest.raises(ClientError, match="InvalidSignatureException"):
        other.invoke_endpoint(EndpointName="plain", Body=b"x")


def signed(
    place,
    path="/endpoints/plain/invocations",
    body=b"x",
    method="POST",
    service="sagemaker",
    key=None,
    secret=None,
    **headers,
):
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    request = AWSRequest(method, place.server.url + path, given, body)
    SigV4Auth(Credentials(key or place.server.key, secret or place.server.secret), service, houses.REGION).add_auth(
        request
    )
    return dict(request.headers.items())


def ask(place, path="/endpoints/plain/invocations", body=b"x", method="POST", headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", place.server.port, timeout=20)
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    answer = response.status, response.headers["x-amzn-errortype"], response.read()
    connection.close()
    return answer


def test_the_door_takes_calls_signed_for_it_alone(place):
    assert ask(place, headers=signed(place))[::2] == (200, b"x")
    assert ask(place)[:2] == (403, "MissingAuthenticationTokenException")
    assert ask(place, headers=signed(place, service="sts"))[:2] == (403, "InvalidSignatureException")
    assert ask(place, body=b"y", headers=signed(place))[:2] == (403, "InvalidSignatureException")
    for path in ("/endpoints/plain", "/endpoints/plain/invocations/", "/endpoints//invocations"):
        assert ask(place, path, headers=signed(place, path))[:2] == (404, "UnknownOperationException")
    assert ask(place, method="GET", headers=signed(place, method="GET"))[:2] == (404, "UnknownOperationException")
    added = signed(place) | {"X-Amzn-SageMaker-Target-Variant": "main"}
    assert ask(place, headers=added)[:2] == (403, "IncompleteSignatureException")
    coded = signed(place, Content_Encoding="gzip")
    assert ask(place, headers=coded)[:2] == (400, "SerializationException")
    foreign = signed(place, Origin="http://evil.example")
    assert ask(place, headers=foreign)[:2] == (403, "AccessDeniedException")


def test_a_body_may_be_large_and_not_larger(place):
    body = b"x" * MAX_BODY_BYTES
    assert invoke(place, body)["Body"].read() == body
    with pytest.raises(ClientError, match="longer than 26214400 bytes") as caught:
        invoke(place, body + b"x")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413


def answer_without_body(place, headers):
    """The answer to a request that says to have a body of a million bytes, of which none is sent."""
    given = {"Host": f"127.0.0.1:{place.server.port}", **headers, "Content-Length": "1000000"}
    lines = ["POST /endpoints/plain/invocations HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    with socket.create_connection(("127.0.0.1", place.server.port), 10) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return connection.recv(4096)


def test_what_is_not_signed_by_a_key_of_ours_is_refused_before_its_body_is_read(place):
    principal, secret = place.house.credentials.create(account_id="000000000000", kind="invoker", name="gone")
    place.house.credentials.revoke(principal.access_key_id)
    of_nobody = signed(place, key="GYROAAAAAAAAAAAAAAAA", secret="b" * 40)
    withdrawn = signed(place, key=principal.access_key_id, secret=secret)
    late = signed(place) | {"X-Amz-Date": "20200101T000000Z"}
    late["Authorization"] = re.sub(r"/2\d{7}/", "/20200101/", late["Authorization"])
    for headers in ({}, of_nobody, withdrawn, late):
        answer = answer_without_body(place, headers)
        assert answer.startswith(b"HTTP/1.1 403"), headers
        assert b"connection: close" in answer.lower()


def test_the_calls_of_one_key_leave_room_for_those_of_others(place, monkeypatch):
    monkeypatch.setattr(call_bodies, "MOST_BYTES_OF_KEY", 1000)
    monkeypatch.setattr(call_bodies, "MOST_BYTES_AT_ONCE", 1900)
    gate, reached = place.folder / "room.gate", place.folder / "room.reached"
    principal, secret = place.house.credentials.create(account_id="000000000000", kind="invoker", name="full")
    mine = place.server.client("sagemaker-runtime", key=principal.access_key_id, secret=secret)
    waits = json.dumps({"wait": str(gate), "reached": str(reached), "filler": "x" * 600})
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(mine.invoke_endpoint, EndpointName="plain", Body=waits)
        wait_for(reached)
        with pytest.raises(ClientError, match="too many large calls of this key"):
            mine.invoke_endpoint(EndpointName="plain", Body=b"x" * 500)
        assert invoke(place, b"x" * 900)["Body"].read() == b"x" * 900
        gate.touch()
        assert running.result()["Body"].read()
    assert mine.invoke_endpoint(EndpointName="plain", Body=b"x" * 500)["Body"].read() == b"x" * 500


def test_a_client_that_does_not_read_its_stream_lets_the_replica_go(place, monkeypatch):
    monkeypatch.setattr(knocks, "STREAM_SECONDS", 0.1)
    monkeypatch.setattr(knocks, "READING_SECONDS", 1)  # enough for the call to reach the replica
    before = len(list(place.folder.glob("gone.*")))
    body = json.dumps({"parts": ["x" * 2**24, "y"], "gate": str(place.folder / "never")}).encode()
    path = "/endpoints/plain/invocations-response-stream"
    head = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in signed(place, path, body).items())]
    with socket.create_connection(("127.0.0.1", place.server.port), 10) as connection:
        host = f"Host: 127.0.0.1:{place.server.port}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall("\r\n".join([*head, host]).encode() + body)
        wait_for(place.folder / f"gone.{before + 1}")
