"""Who may hand which role to a job, and who may make roles and keys."""

from __future__ import annotations

from dataclasses import replace

import pytest

import houses
from gyropilot import names
from gyropilot.control import automl_jobs, keys, roles
from gyropilot.errors import AlreadyExists, InvalidRequest, NotAllowed, NotFound
from gyropilot.store import roles as stored

OTHER = "111111111111"
ROLE = {"RoleName": "r", "ReadPrefixes": ["s3://data/numbers"], "WritePrefixes": ["s3://data/out"]}
STORE = {"Endpoint": "http://127.0.0.1:9", "Region": "r", "AccessKeyId": "AKID", "SecretAccessKey": "canary"}


@pytest.fixture
def other_admin(house):
    return house.credentials.create(account_id=OTHER, kind="admin", name="other")[0]


def create_job(house, principal, **changed):
    request = houses.mean_request(**changed)
    return automl_jobs.create(house, principal, request, invocation_id=None, region=houses.REGION)


def refused(house, principal, **changed):
    with pytest.raises(InvalidRequest) as caught:
        create_job(house, principal, **{"AutoMLJobName": "refused"} | changed)
    return str(caught.value)


def test_a_role_is_passed_by_those_it_names(house, admin):
    ann, _ = house.credentials.create(account_id=names.ACCOUNT_ID, kind="operator", name="ann")
    arn = roles.create(house, admin, ROLE | {"PassableBy": [ann.access_key_id]})["RoleArn"]
    create_job(house, ann, RoleArn=arn)
    unknown = refused(house, admin, RoleArn=f"{arn}x").replace(f"{arn}x", arn)
    assert refused(house, admin, RoleArn=arn) == unknown
    assert "no such role" in unknown


def test_a_role_of_another_account_is_as_missing_as_none(house, admin, other_admin):
    arn = roles.create(house, other_admin, ROLE)["RoleArn"]
    assert arn == names.role_arn(OTHER, "r")
    foreign, missing = refused(house, admin, RoleArn=arn), refused(house, admin, RoleArn=f"{arn}x")
    assert foreign == missing.replace(f"{arn}x", arn)
    assert "no such role" in refused(house, other_admin, RoleArn=houses.ROLE)


def test_without_a_role_nothing_is_told_of_the_store(house, other_admin):
    there = refused(house, other_admin)
    elsewhere = {"S3OutputPath": "s3://no-such-bucket/out"}
    assert refused(house, other_admin, OutputDataConfig=elsewhere) == there
    assert "bucket" not in there


def test_another_account_s_bucket_reads_as_a_missing_one(house, admin, other_admin):
    everywhere = {"ReadPrefixes": ["s3://*"], "WritePrefixes": ["s3://*"]}
    arn = roles.create(house, other_admin, ROLE | everywhere)["RoleArn"]
    foreign = refused(house, other_admin, RoleArn=arn)
    house.objects.create_bucket("mine", OTHER)
    house.objects.put_bytes("mine", "a.csv", b"1\n")
    assert "there is no bucket 'data'" in foreign
    request = houses.mean_request(RoleArn=arn)
    missing = refused(
        house,
        other_admin,
        RoleArn=arn,
        AutoMLJobInputDataConfig=[
            {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://none/numbers/"}}}
        ],
        OutputDataConfig={"S3OutputPath": "s3://none/out/"},
    )
    assert missing.replace("none", "data") == foreign
    channel = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://mine/"}}}
    own = request | {"AutoMLJobInputDataConfig": [channel], "OutputDataConfig": {"S3OutputPath": "s3://mine/out"}}
    automl_jobs.create(house, other_admin, own, invocation_id=None, region=houses.REGION)


def test_a_place_outside_the_role_is_refused_with_the_field(house, admin):
    arn = roles.create(house, admin, ROLE)["RoleArn"]
    told = refused(house, admin, RoleArn=arn, OutputDataConfig={"S3OutputPath": "s3://data/out2"})
    assert "OutputDataConfig.S3OutputPath: lies outside what the role may write: s3://data/out" in told


def test_a_store_that_does_not_answer_is_a_fault_of_the_field(house, admin):
    arn = roles.create(house, admin, ROLE | {"S3Store": STORE})["RoleArn"]
    told = refused(house, admin, RoleArn=arn)
    assert "OutputDataConfig.S3OutputPath: the role's object store cannot be used" in told
    assert "127.0.0.1:9" not in told


def test_an_admin_of_another_account_manages_that_account_alone(house, admin, other_admin):
    ann, _ = house.credentials.create(account_id=names.ACCOUNT_ID, kind="operator", name="ann")
    for call in (
        lambda: roles.create(house, other_admin, ROLE | {"AccountId": names.ACCOUNT_ID}),
        lambda: roles.describe(house, other_admin, {"RoleName": "gyropilot", "AccountId": names.ACCOUNT_ID}),
        lambda: roles.delete(house, other_admin, {"RoleName": "gyropilot", "AccountId": names.ACCOUNT_ID}),
        lambda: keys.create(house, other_admin, {"Kind": "admin", "Name": "x", "AccountId": names.ACCOUNT_ID}),
        lambda: roles.create(house, other_admin, ROLE | {"S3Store": STORE}),
    ):
        with pytest.raises(NotAllowed):
            call()
    for key in (ann.access_key_id, admin.access_key_id, "GYRONOBODY"):
        with pytest.raises(NotFound) as caught:
            keys.delete(house, other_admin, key)
        assert (
            str(caught.value).replace(key, "K")
            == "There is no valid key 'K'; `gyropilot keys list` shows what there is."
        )
    listed = keys.list_keys(house, other_admin)["Keys"]
    assert [one["AccessKeyId"] for one in listed] == [other_admin.access_key_id]
    assert roles.list_roles(house, other_admin) == {"Roles": []}
    with pytest.raises(InvalidRequest, match="no valid key of account"):
        roles.create(house, other_admin, ROLE | {"PassableBy": [ann.access_key_id]})


def test_an_admin_of_the_service_s_account_manages_every_account(house, admin, other_admin):
    made = keys.create(house, admin, {"Kind": "operator", "Name": "x", "AccountId": OTHER})
    roles.create(house, admin, ROLE | {"AccountId": OTHER, "S3Store": STORE})
    assert {one["AccountId"] for one in keys.list_keys(house, admin)["Keys"]} == {names.ACCOUNT_ID, OTHER}
    assert {one["AccountId"] for one in roles.list_roles(house, admin)["Roles"]} == {names.ACCOUNT_ID, OTHER}
    keys.delete(house, admin, made["AccessKeyId"])
    keys.delete(house, admin, other_admin.access_key_id)
    roles.delete(house, admin, {"RoleName": "r", "AccountId": OTHER})


def test_where_the_service_s_store_is_external_its_own_admins_make_the_roles(house, other_admin):
    external = replace(house, settings=replace(house.settings, s3_endpoint="http://127.0.0.1:9"))
    with pytest.raises(NotAllowed, match="external store"):
        roles.create(external, other_admin, ROLE)


def test_a_taken_role_is_replaced_only_when_asked(house, admin):
    roles.create(house, admin, ROLE)
    with pytest.raises(AlreadyExists):
        roles.create(house, admin, ROLE)
    roles.create(house, admin, ROLE | {"ReadPrefixes": [], "Replace": True})
    assert stored.find(house.db, names.role_arn(names.ACCOUNT_ID, "r")).read_prefixes == ()
