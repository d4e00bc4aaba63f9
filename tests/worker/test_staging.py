"""Inputs as they were pinned, and none but the role's."""

import pytest

import houses


def test_an_input_that_changes_after_it_was_pinned_fails_the_job(house):
    from gyropilot.errors import InvalidData
    from gyropilot.worker import staging

    request = houses.mean_request()
    pinned = staging.pin(house, request)
    house.objects.put_bytes("data", "numbers/a.csv", b"9\n9\n9\n", "text/csv")
    with pytest.raises(InvalidData, match=r"s3://data/numbers/a\.csv"):
        staging.fetch(house, request, pinned, house.settings.scratch / "x")


def test_an_object_that_only_shares_the_prefix_text_is_not_read_outside_the_role(house):
    from gyropilot.store import roles
    from gyropilot.store.roles import Role
    from gyropilot.worker import staging

    house.objects.put_bytes("data", "numbers2/secret.csv", b"7\n", "text/csv")
    narrow = houses.ROLE + "-narrow"
    role = Role(arn=narrow, read_prefixes=("s3://data/numbers",), write_prefixes=("s3://data/out",), passable_by=("*",))
    roles.add(house.db, role)
    channel = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/numbers"}}}
    pinned = staging.pin(house, houses.mean_request(AutoMLJobInputDataConfig=[channel], RoleArn=narrow))
    assert [one["key"] for one in pinned[0]] == ["numbers/a.csv"]
