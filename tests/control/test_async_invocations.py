"""Asynchronous invocations as they are taken: what a caller may have read and written by the role of the model."""

from dataclasses import replace

import pytest

import houses
from gyropilot.control import async_invocations
from gyropilot.errors import InvalidRequest
from gyropilot.names import ACCOUNT_ID
from gyropilot.store import endpoints, roles
from gyropilot.store.principals import Principal
from runtime_servers import put_endpoint, variant

KEPT = "arn:aws:iam::000000000000:role/kept"
PASSER = Principal(access_key_id="GYROPASSER", account_id=ACCOUNT_ID, kind="operator", name="passer")
OTHER = replace(PASSER, access_key_id="GYROOTHER")
INVOKER = replace(PASSER, access_key_id="GYROINVOKER", kind="invoker")


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    house = houses.build(tmp_path_factory.mktemp("house"), ())
    everywhere = {"read_prefixes": ("s3://*",), "write_prefixes": ("s3://*",)}
    roles.add(house.db, roles.Role(arn=KEPT, passable_by=(PASSER.access_key_id,), **everywhere))
    output = {"S3OutputPath": "s3://data/answers/", "S3FailurePath": "s3://data/failures"}
    for name, role_arn in (("kept", KEPT), ("open", houses.ROLE)):
        put_endpoint(house, name, [variant("main", role_arn=role_arn)], **{"async": {"OutputConfig": output}})
    for key in ("secret/x", "answers/in/x", "answers-of-others/x"):
        house.objects.put_bytes("data", key, b"x")
    yield house
    house.db.close()


def accept(house, principal, name="kept", **request):
    endpoint = endpoints.find(house.db, ACCOUNT_ID, houses.REGION, name)
    return async_invocations.accept(house, principal, endpoint, request)


def test_who_may_pass_the_role_names_any_input_that_it_reads(house):
    assert accept(house, PASSER, InputLocation="s3://data/secret/x")
    assert accept(house, OTHER, "open", InputLocation="s3://data/secret/x")


@pytest.mark.parametrize(("principal", "name"), [(OTHER, "kept"), (INVOKER, "kept"), (INVOKER, "open")])
def test_who_may_not_names_input_of_the_endpoint_s_folder_alone(house, principal, name):
    for key in ("secret/x", "secret/not-there", "answers-of-others/x", "answers/../secret/x"):
        with pytest.raises(InvalidRequest, match=r"InputLocation: lies outside the endpoint's S3OutputPath, .*as Body"):
            accept(house, principal, name, InputLocation=f"s3://data/{key}")
    assert accept(house, principal, name, InputLocation="s3://data/answers/in/x")
    assert accept(house, principal, name, Body=b"x")


@pytest.mark.parametrize(
    ("chosen", "ending"),
    [
        ({}, ".out"),
        ({"InferenceId": "mine"}, ".out"),
        ({"InferenceId": "mine", "Filename": "x", "S3OutputPathExtension": "in"}, "/x"),
    ],
)
def test_no_two_invocations_share_a_place_and_none_takes_the_place_of_an_object(house, chosen, ending):
    told = [accept(house, INVOKER, Body=b"x", **chosen) for _ in range(2)]
    assert len({one["OutputLocation"] for one in told} | {one["FailureLocation"] for one in told}) == 4
    folder = "/".join(("s3://data/answers", *[chosen[one] for one in ("S3OutputPathExtension",) if one in chosen], ""))
    for one in told:
        assert one["OutputLocation"].startswith(folder)
        assert one["OutputLocation"].endswith(ending)
        assert house.objects.head("data", one["OutputLocation"].removeprefix("s3://data/")) is None
        if "InferenceId" in chosen:
            assert one["InferenceId"] == "mine"
