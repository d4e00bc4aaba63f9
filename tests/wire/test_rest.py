"""REST messages, judged by botocore's serializer and parser."""

import botocore.loaders
import pytest
from botocore.awsrequest import HeadersDict
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from gyropilot.errors import InvalidShape, UnknownOperation
from gyropilot.wire import rest
from gyropilot.wire.rest import RestService


@pytest.fixture(scope="module")
def runtime():
    return RestService("sagemaker-runtime")


@pytest.fixture(scope="module")
def theirs():
    return ServiceModel(botocore.loaders.Loader().load_service_model("sagemaker-runtime", "service-2"))


def sent(theirs, operation, members):
    """Give what a botocore client sends: method, path, headers, body."""
    request = create_serializer("rest-json", include_validation=False).serialize_to_request(
        members, theirs.operation_model(operation)
    )
    headers = [(name.lower(), str(value)) for name, value in request["headers"].items()]
    return request["method"], request["url_path"], headers, bytes(request["body"] or b"")


def read(runtime, theirs, operation, **members):
    method, path, headers, body = sent(theirs, operation, members)
    found, labels = runtime.find(method, path)
    assert found.name == operation
    return rest.read_request(found, labels, headers, body)


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("InvokeEndpoint", {"EndpointName": "a", "Body": b""}),
        (
            "InvokeEndpoint",
            {
                "EndpointName": "An-Endpoint9",
                "Body": b"\x00\xff",
                "ContentType": "text/csv; charset=utf-8",
                "Accept": "*/*",
                "CustomAttributes": "trace=1, more",
                "TargetVariant": "blue",
                "InferenceId": "id one",
                "SessionId": "NEW_SESSION",
            },
        ),
        ("InvokeEndpointWithResponseStream", {"EndpointName": "a", "Body": b"x", "Accept": "text/plain"}),
        (
            "InvokeEndpointAsync",
            {
                "EndpointName": "a",
                "InputLocation": "s3://bucket/key",
                "RequestTTLSeconds": 60,
                "InvocationTimeoutSeconds": 3600,
                "Filename": "a.out",
            },
        ),
        ("InvokeEndpointAsync", {"EndpointName": "a", "Body": b"inline", "ContentType": "text/csv"}),
    ],
)
def test_a_request_is_read_as_it_was_meant(runtime, theirs, operation, members):
    assert read(runtime, theirs, operation, **members) == members


def test_all_faults_are_told_at_once(runtime, theirs):
    with pytest.raises(InvalidShape) as caught:
        read(
            runtime,
            theirs,
            "InvokeEndpointAsync",
            EndpointName="-" * 64,
            InputLocation="ftp://x/y",
            RequestTTLSeconds=1,
            InvocationTimeoutSeconds=4000,
            CustomAttributes="a" * 1025,
            InferenceId=" x",
            Body=b"x" * 128_001,
        )
    message = str(caught.value)
    assert message.startswith("6 validation errors detected: ")
    for path in ("endpointName", "inputLocation", "requestTTLSeconds", "invocationTimeoutSeconds", "body"):
        assert f"'{path}'" in message
    assert "a" * 20 not in message  # custom attributes are sensitive
    operation, labels = runtime.find("POST", "/endpoints/a/async-invocations")
    with pytest.raises(InvalidShape, match=r"'many' at 'requestTTLSeconds' .* must be a 32-bit integer"):
        rest.read_request(operation, labels, [("x-amzn-sagemaker-requestttlseconds", "many")], b"")


def test_a_header_that_stands_twice_is_read_as_it_was_signed(runtime):
    operation, labels = runtime.find("POST", "/endpoints/a/invocations")
    header = "x-amzn-sagemaker-target-variant"
    with pytest.raises(InvalidShape, match="'a,b' at 'targetVariant'"):
        rest.read_request(operation, labels, [(header, "a"), (header, "b")], b"")


def test_a_body_may_have_25_mib(runtime):
    operation, labels = runtime.find("POST", "/endpoints/a/invocations")
    assert rest.read_request(operation, labels, [], bytes(rest.MAX_BODY_BYTES))
    with pytest.raises(InvalidShape, match=r"'body' .* length less than or equal to 26214400"):
        rest.read_request(operation, labels, [], bytes(rest.MAX_BODY_BYTES + 1))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/endpoints/a/invocations"),
        ("POST", "/endpoints/a"),
        ("POST", "/endpoints//invocations"),
        ("POST", "/endpoints/a/b/invocations"),
        ("POST", "/endpoints/a/invocations/"),
        ("POST", "/Endpoints/a/invocations"),
    ],
)
def test_other_methods_and_paths_are_unknown(runtime, method, path):
    with pytest.raises(UnknownOperation, match=r"POST /endpoints/\{EndpointName\}/invocations"):
        runtime.find(method, path)


@pytest.mark.parametrize(
    ("operation", "response"),
    [
        (
            "InvokeEndpoint",
            {
                "Body": b"[1]",
                "ContentType": "application/json",
                "InvokedProductionVariant": "main",
                "CustomAttributes": "x",
            },
        ),
        (
            "InvokeEndpointAsync",
            {"InferenceId": "i", "OutputLocation": "s3://b/o", "FailureLocation": "s3://b/f"},
        ),
    ],
)
def test_a_response_is_read_back_by_botocore(runtime, theirs, operation, response):
    answer = rest.write_response(runtime.operations[operation], response)
    parser = create_parser("rest-json")
    parsed = parser.parse(
        {
            "status_code": answer.status,
            "headers": HeadersDict(answer.headers),
            "body": answer.body,
        },
        theirs.operation_model(operation).output_shape,
    )
    if "Body" in parsed:
        parsed["Body"] = parsed["Body"].encode()
    assert {name: value for name, value in parsed.items() if name != "ResponseMetadata"} == response
    assert answer.status == (202 if operation == "InvokeEndpointAsync" else 200)


def test_what_no_header_can_carry_is_not_written(runtime):
    operation = runtime.operations["InvokeEndpoint"]
    assert rest.fits(operation.output, "CustomAttributes", "a" * 1024)
    assert not rest.fits(operation.output, "CustomAttributes", "a" * 1025)
    assert not rest.fits(operation.output, "CustomAttributes", "a\r\nSet: b")
    with pytest.raises(ValueError, match="cannot be the value of a header"):
        rest.write_response(operation, {"Body": b"", "CustomAttributes": "a\nb"})
    with pytest.raises(ValueError, match="no such members"):
        rest.write_response(operation, {"Nothing": "b"})
