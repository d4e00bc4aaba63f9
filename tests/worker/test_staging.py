"""Inputs as they were pinned, and none but the role's."""

import pytest

import houses
from gyropilot.errors import InvalidData
from gyropilot.store import roles
from gyropilot.store.role_objects import RoleObjects
from gyropilot.store.roles import Role
from gyropilot.worker import staging


def test_an_input_that_changes_after_it_was_pinned_fails_the_job(house):
    request = houses.mean_request()
    pinned = staging.pin(house, request, ())
    house.objects.put_bytes("data", "numbers/a.csv", b"9\n9\n9\n", "text/csv")
    with pytest.raises(InvalidData, match=r"s3://data/numbers/a\.csv"):
        staging.fetch(house, request, pinned, house.settings.scratch / "x")


def test_half_of_an_input_never_lies_under_its_name(house, monkeypatch):
    def cut_off(self, bucket, key, to, *, etag):
        to.write_bytes(b"1\n")
        raise ConnectionResetError

    request, folder = houses.mean_request(), house.settings.scratch / "x"
    pinned = staging.pin(house, request, ())
    with monkeypatch.context() as patch:
        patch.setattr(RoleObjects, "fetch", cut_off)
        with pytest.raises(ConnectionResetError):
            staging.fetch(house, request, pinned, folder)
    assert not (folder / "0-0").exists()
    (channel,), _ = staging.fetch(house, request, pinned, folder)
    assert channel.files[0].path.read_bytes() == house.objects.read("data", "numbers/a.csv")
    assert [one.name for one in folder.iterdir()] == ["0-0"]


def test_an_object_that_only_shares_the_prefix_text_is_not_read_outside_the_role(house):
    house.objects.put_bytes("data", "numbers2/secret.csv", b"7\n", "text/csv")
    narrow = houses.ROLE + "-narrow"
    role = Role(arn=narrow, read_prefixes=("s3://data/numbers",), write_prefixes=("s3://data/out",), passable_by=("*",))
    roles.add(house.db, role)
    channel = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/numbers"}}}
    pinned = staging.pin(house, houses.mean_request(AutoMLJobInputDataConfig=[channel], RoleArn=narrow), ())
    assert [one["key"] for one in pinned["channels"][0]] == ["numbers/a.csv"]
