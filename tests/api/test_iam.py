"""GetRole and ListRoles, by clients of iam, which sign for us-east-1 wherever the service is."""

import pytest
from botocore.exceptions import ClientError

import houses
from api_servers import serving
from gyropilot.store import roles
from gyropilot.store.roles import Role
from mean_problem import MEAN

ELSEWHERE = "arn:aws:iam::111111111111:role/theirs"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    house = houses.build(tmp_path_factory.mktemp("house"), (MEAN,), region="eu-west-1")
    for arn in (*(f"arn:aws:iam::000000000000:role/r{number}" for number in range(3)), ELSEWHERE):
        roles.add(house.db, Role(arn=arn, read_prefixes=(), write_prefixes=(), passable_by=("*",)))
    with serving(house) as running:
        yield running
    house.db.close()


@pytest.fixture(scope="module", params=["us-east-1", "eu-west-1"])
def iam(request, server):
    return server.client("iam", region=request.param)


def test_a_role_is_told_by_its_name(iam):
    role = iam.get_role(RoleName="gyropilot")["Role"]
    assert role["Arn"] == houses.ROLE
    assert (role["Path"], role["RoleName"]) == ("/", "gyropilot")
    assert role["RoleId"] == iam.get_role(RoleName="gyropilot")["Role"]["RoleId"]
    assert role["RoleId"] != iam.get_role(RoleName="r1")["Role"]["RoleId"]
    assert role["CreateDate"].year >= 2026
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]  # botocore decodes the document
    assert statement["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert (statement["Effect"], statement["Action"]) == ("Allow", "sts:AssumeRole")


@pytest.mark.parametrize("name", ["none", "theirs"])
def test_a_role_that_is_not_there_or_anothers_is_no_such_entity(iam, name):
    with pytest.raises(iam.exceptions.NoSuchEntityException) as caught:
        iam.get_role(RoleName=name)
    assert caught.value.response["Error"]["Code"] == "NoSuchEntity"
    assert caught.value.response["Error"]["Message"] == f"The role with name {name} cannot be found."
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_the_roles_of_the_account_are_listed_a_page_at_a_time(iam):
    pages = list(iam.get_paginator("list_roles").paginate(PaginationConfig={"PageSize": 3}))
    assert [[role["RoleName"] for role in page["Roles"]] for page in pages] == [["gyropilot", "r0", "r1"], ["r2"]]
    assert iam.list_roles(PathPrefix="/service-role/")["Roles"] == []


def test_a_name_that_cannot_be_is_refused(iam):
    with pytest.raises(ClientError, match="failed to satisfy constraint") as caught:
        iam.get_role(RoleName="a/b")
    assert caught.value.response["Error"]["Code"] == "ValidationError"


def test_what_iam_does_besides_is_told_by_its_name(iam):
    with pytest.raises(ClientError, match="The operation CreateRole is not built here yet") as caught:
        iam.create_role(RoleName="a", AssumeRolePolicyDocument="{}")
    assert caught.value.response["Error"]["Code"] == "InvalidAction"


def test_only_services_without_regions_may_be_signed_for_another_one(server):
    with pytest.raises(ClientError, match="scoped to the region 'eu-west-1'"):
        server.client("sts", region="us-east-1").get_caller_identity()
