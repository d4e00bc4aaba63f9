"""Errors as callers see them."""

import json
from xml.etree import ElementTree

import pytest

from gyropilot import errors
from gyropilot.wire.errors import wire_error

MODELLED = {"ResourceNotFound", "ResourceInUse", "ResourceLimitExceeded"}


def family(kind=errors.GyropilotError):
    for inner in kind.__subclasses__():
        yield inner
        yield from family(inner)


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (errors.InvalidRequest(where="A.B", problem="is wrong"), "ValidationException", 400),
        (errors.InvalidShape("1 validation error detected: ..."), "ValidationException", 400),
        (errors.InvalidData(where="s3://b/k row 2", problem="is ragged"), "ValidationException", 400),
        (errors.MalformedRequest("no JSON"), "SerializationException", 400),
        (errors.RequestTooLarge("long"), "RequestEntityTooLargeException", 413),
        (errors.NotFound("no job"), "ResourceNotFound", 400),
        (errors.AlreadyExists("taken"), "ResourceInUse", 400),
        (errors.LimitExceeded("full"), "ResourceLimitExceeded", 400),
        (errors.NotAuthentic("missing", "m"), "MissingAuthenticationTokenException", 403),
        (errors.NotAuthentic("incomplete", "m"), "IncompleteSignatureException", 403),
        (errors.NotAuthentic("wrong", "m"), "InvalidSignatureException", 403),
        (errors.NotAuthentic("expired", "m"), "InvalidSignatureException", 403),
        (errors.Unavailable("the database is away"), "ServiceUnavailable", 503),
        (errors.NotAllowed("no"), "AccessDeniedException", 403),
        (errors.Throttled("slow down"), "ThrottlingException", 400),
        (errors.UnknownOperation("none"), "UnknownOperationException", 404),
        (errors.MissingExtra("llm", "training"), "ValidationException", 400),
    ],
)
def test_each_error_has_its_code_and_status(error, code, status):
    told = wire_error(error, request_id="id", modelled=MODELLED)
    assert (told.code, told.status) == (code, status)
    body = json.loads(told.body())
    assert body["__type"] == code
    assert body["Message" if code in MODELLED else "message"] == str(error)


def test_where_the_model_does_not_name_the_code_it_is_a_validation_error():
    for error in (errors.NotFound("no endpoint"), errors.AlreadyExists("taken")):
        assert wire_error(error, request_id="id").code == "ValidationException"


@pytest.mark.parametrize("error", [RuntimeError("secret /path"), KeyError("x"), errors.LeaseLost("epoch 3")])
def test_an_error_that_is_not_the_caller_s_tells_only_the_request_id(error):
    told = wire_error(error, request_id="the-id")
    assert (told.code, told.status) == ("InternalFailure", 500)
    assert "the-id" in told.message
    assert str(error.args[0]) not in told.message


def test_every_error_of_the_family_is_told_or_meant_to_be_internal():
    internal = {errors.LeaseLost, errors.TrainingFailed, errors._FaultyInput}
    # An error that another module derives for itself never leaves the process that raises it.
    for kind in {kind for kind in family() if kind.__module__ == errors.__name__} - internal:
        arguments = {
            errors.InvalidRequest: {"where": "a", "problem": "b"},
            errors.InvalidData: {"where": "a", "problem": "b"},
            errors.NotAuthentic: {"reason": "wrong", "message": "m"},
            errors.MissingExtra: {"extra": "e", "needed_for": "n"},
            errors.ModelFailed: {"message": "m", "status": 400, "answer": "a", "log_stream_arn": "arn"},
        }.get(kind)
        error = kind(**arguments) if arguments else kind("text")
        assert wire_error(error, request_id="id").code != "InternalFailure", kind


def test_the_runtime_service_has_its_own_codes():
    modelled = {"ValidationError", "ModelError", "ModelNotReadyException", "InternalFailure", "ServiceUnavailable"}

    def told(error):
        return wire_error(error, request_id="id", modelled=modelled)

    for error, code, status in (
        (errors.InvalidShape("text"), "ValidationError", 400),
        (errors.NotFound("text"), "ValidationError", 400),
        (errors.ModelNotReady("text"), "ModelNotReadyException", 429),
        (errors.Unavailable("text"), "ServiceUnavailable", 503),
        (RuntimeError("text"), "InternalFailure", 500),
    ):
        assert (told(error).code, told(error).status) == (code, status)
        assert json.loads(told(error).rest_body()).keys() == {"Message"}
    assert json.loads(told(errors.NotAllowed("text")).rest_body()) == {"message": "text"}
    failed = errors.ModelFailed("text", status=400, answer="its own", log_stream_arn="arn:a")
    assert (told(failed).code, told(failed).status) == ("ModelError", 424)
    assert json.loads(told(failed).rest_body()) == {
        "Message": "text",
        "OriginalStatusCode": 400,
        "OriginalMessage": "its own",
        "LogStreamArn": "arn:a",
    }


def test_control_characters_are_escaped():
    told = wire_error(errors.InvalidShape("Value '\x1b[31m\r\u202e' is wrong"), request_id="id")
    assert told.message == "Value '\\x1b[31m\\r\\u202e' is wrong"


@pytest.mark.parametrize(
    ("error", "code", "status", "at_fault"),
    [
        (errors.InvalidShape("a < b"), "ValidationError", 400, "Sender"),
        (errors.NotAuthentic("wrong", "m"), "SignatureDoesNotMatch", 403, "Sender"),
        (errors.UnknownOperation("none"), "InvalidAction", 400, "Sender"),
        (errors.Throttled("slow"), "Throttling", 400, "Sender"),
        (errors.NotFound("gone"), "ResourceNotFound", 400, "Sender"),
        (RuntimeError("secret"), "InternalFailure", 500, "Receiver"),
    ],
)
def test_clients_of_the_query_protocol_read_their_own_codes_in_xml(error, code, status, at_fault):
    told = wire_error(error, request_id="id", modelled=MODELLED).in_query_protocol()
    assert (told.code, told.status) == (code, status)
    read = ElementTree.fromstring(told.xml_body("id"))
    assert (read.findtext("Error/Code"), read.findtext("Error/Type")) == (code, at_fault)
    assert read.findtext("Error/Message") == told.message
    assert read.findtext("RequestId") == "id"
