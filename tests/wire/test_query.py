"""The query protocol: botocore's own serializer writes what is read here, and its parser reads what is written."""

import contextlib
from datetime import UTC, datetime

import botocore.loaders
import botocore.model
import botocore.parsers
import botocore.serialize
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gyropilot.errors import InvalidShape, MalformedRequest
from gyropilot.wire import query, service_model
from gyropilot.wire.service_model import Shape
from gyropilot.wire.validate import validated


def shape(kind, name="Shape", members=None, parts=None, required=()):
    return Shape(
        name=name, kind=kind, members=members or {}, parts=parts or {}, required=frozenset(required),
        minimum=None, maximum=None, pattern=None, enum=(), is_union=False, is_sensitive=False,
    )  # fmt: skip


def botocore_model(service, operation):
    model = botocore.model.ServiceModel(botocore.loaders.Loader().load_service_model(service, "service-2"))
    return model, model.operation_model(operation)


def test_a_form_that_botocore_writes_is_read():
    model, operation = botocore_model("iam", "GetRole")
    written = botocore.serialize.create_serializer("query").serialize_to_request({"RoleName": "a b&é="}, operation)
    body = "&".join(f"{botocore.compat.quote(k)}={botocore.compat.quote(v)}" for k, v in written["body"].items())
    form = query.read_form(body.encode())
    assert (form.action, form.version) == ("GetRole", model.api_version)
    assert query.request(shape("structure", members={"RoleName": shape("string")}), form) == {"RoleName": "a b&é="}


def test_structures_lists_numbers_and_booleans_are_read_by_their_shapes():
    item = shape("structure", members={"Key": shape("string"), "Count": shape("integer")})
    whole = shape(
        "structure",
        members={"Items": shape("list", parts={"member": item}), "On": shape("boolean"), "No": shape("long")},
    )
    form = query.read_form(
        b"Action=A&Version=1&Items.member.10.Key=j&Items.member.2.Key=b&Items.member.2.Count=-3&On=true&No=x&Other.y=1"
    )
    assert query.request(whole, form) == {
        "Items": [{"Key": "b", "Count": -3}, {"Key": "j"}],
        "On": True,
        "No": "x",
        "Other": {"y": "1"},
    }


@pytest.mark.parametrize(
    "body",
    [b"", b"Action=A", b"Version=1", b"Action=A&Version=1&Action=B", b"{}", "Action=é&Version=1".encode(),
     b"Action=%ff&Version=1", b"Action=A&Version=1" + b"&a=1" * 1000, b"Action=A&Version=1&a=1&a=2"],
)  # fmt: skip
def test_what_is_no_form_is_refused(body):
    with pytest.raises(MalformedRequest):
        query.read_form(body)


@pytest.mark.parametrize("pairs", [b"a=1&a.b=2", b"a.b=1&a=2", b"a.b=1&a.b.c=2", b".".join([b"a"] * 40) + b"=1"])
def test_names_that_contradict_each_other_or_nest_too_deeply_are_refused(pairs):
    with pytest.raises(MalformedRequest):
        query.request(shape("structure"), query.read_form(b"Action=A&Version=1&" + pairs))


def test_an_answer_of_iam_is_read_by_botocore():
    """The protocol is that of iam too, whose GetRole is richer than what sts gives."""
    _, operation = botocore_model("iam", "GetRole")
    ours = service_model.load("iam", lambda name: name == "GetRole")
    role = {
        "Path": "/",
        "RoleName": "<a>&",
        "RoleId": "R" * 16,
        "Arn": "arn:aws:iam::000000000000:role/a",
        "CreateDate": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "MaxSessionDuration": 3600,
        "Tags": [{"Key": "k", "Value": "v"}, {"Key": "l", "Value": ""}],
    }
    body = query.render(ours.operations["GetRole"], ours.xml_namespace, {"Role": role}, "id-1")
    response = {"status_code": 200, "headers": {}, "body": body}
    parsed = botocore.parsers.create_parser("query").parse(response, operation.output_shape)
    assert parsed["Role"] == role
    assert parsed["ResponseMetadata"]["RequestId"] == "id-1"
    with pytest.raises(ValueError, match="lacks"):
        query.render(ours.operations["GetRole"], "", {}, "id-1")


NAMES = st.lists(st.sampled_from(["a", "member", "1", "-1", "Key", "", "Items"]), max_size=6).map(".".join)
FORMS = st.dictionaries(NAMES, st.text(st.characters(codec="utf-8"), max_size=8), max_size=8)


@settings(max_examples=300, deadline=None)
@given(FORMS)
def test_any_form_is_a_request_of_some_shape_or_refused(pairs):
    item = shape("structure", members={"Key": shape("string"), "a": shape("boolean")})
    items = shape("list", parts={"member": item})
    whole = shape("structure", members={"Items": items, "a": shape("integer"), "Key": shape("structure")})
    form = query.Form(action="A", version="1", parameters=pairs)
    with contextlib.suppress(MalformedRequest, InvalidShape):
        assert validated(whole, query.request(whole, form)).keys() <= {"Items", "a", "Key"}


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.sampled_from([b"", b"Action=A&Version=1", b"Action=A&Version=1&"]))
def test_any_body_is_a_form_or_refused(tail, head):
    with contextlib.suppress(MalformedRequest):
        assert query.read_form(head + tail).action
