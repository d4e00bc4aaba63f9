"""What a role reaches of a store: its account's buckets, below its prefixes, compared on whole segments."""

from __future__ import annotations

import pytest

import doors
from gyropilot.errors import NotAllowed, NotFound, SealBroken
from gyropilot.store.folder_objects import FolderObjects
from gyropilot.store.role_objects import RoleObjects, RoleStores, sealed_keys
from gyropilot.store.roles import Role
from gyropilot.store.seals import Seal

MINE, THEIRS = "000000000000", "111111111111"


def role(account=MINE, *, read=("s3://data/in",), write=("s3://data/out",), **chosen):
    arn = f"arn:aws:iam::{account}:role/r"
    return Role(arn=arn, read_prefixes=read, write_prefixes=write, passable_by=("*",), **chosen)


@pytest.fixture
def store(tmp_path):
    made = FolderObjects(tmp_path / "objects")
    made.create_bucket("data")
    made.create_bucket("theirs", THEIRS)
    for key in ("in/a.csv", "in2/b.csv", "in", "inner", "out/o"):
        made.put_bytes("data", key, key.encode())
    made.put_bytes("theirs", "in/x", b"x")
    return made


@pytest.fixture
def objects(store):
    return RoleObjects(store, role())


def test_a_listing_holds_what_lies_below_the_prefix_alone(objects):
    assert [one.key for one in objects.list("data", "")] == ["in", "in/a.csv"]
    assert [one.key for one in objects.list("data", "in2")] == []


@pytest.mark.parametrize(
    "key", ["in2/b.csv", "inner", "out/o", "in/../out/o", "..", "/in/a.csv", "In/a.csv", "in%2fa.csv", "in\\a.csv", ""]
)
def test_what_lies_elsewhere_is_not_read(objects, tmp_path, key):
    with pytest.raises(NotAllowed, match=r"role/r may not read .*only s3://data/in;"):
        objects.read("data", key)
    with pytest.raises(NotAllowed):
        objects.head("data", key)
    with pytest.raises(NotAllowed):
        objects.fetch("data", key, tmp_path / "to", etag="e")
    with pytest.raises(NotAllowed):
        objects.stream("data", key, etag="e")
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("key", ["in/a.csv", "out2/o", "out/../in/a.csv", "in/"])
def test_what_lies_elsewhere_is_not_written(objects, store, tmp_path, key):
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(NotAllowed, match="may not write"):
        objects.put_bytes("data", key, b"x")
    with pytest.raises(NotAllowed, match="may not write"):
        objects.put_file("data", key, tmp_path / "file")
    with pytest.raises(NotAllowed, match="may not write"):
        objects.delete("data", key)
    assert store.read("data", "in/a.csv") == b"in/a.csv"


def test_what_lies_below_is_read_and_written(objects, store):
    assert objects.read("data", "in/a.csv") == b"in/a.csv"
    objects.put_bytes("data", "out/new", b"n")
    assert store.read("data", "out/new") == b"n"
    objects.delete("data", "out/new")
    assert store.head("data", "out/new") is None


def test_another_account_s_bucket_is_as_missing_as_none(store):
    everywhere = RoleObjects(store, role(read=("s3://*",), write=("s3://*",)))
    for bucket in ("theirs", "none"):
        assert not everywhere.bucket_exists(bucket)
        assert everywhere.head(bucket, "in/x") is None
        for call in (
            lambda b=bucket: list(everywhere.list(b, "")),
            lambda b=bucket: everywhere.read(b, "in/x"),
            lambda b=bucket: everywhere.put_bytes(b, "in/x", b"mine"),
        ):
            with pytest.raises(NotFound) as caught:
                call()
            assert str(caught.value) in (f"s3://{bucket}: there is no such bucket", f"s3://{bucket}/in/x: none")
        everywhere.delete(bucket, "in/x")
    assert store.read("theirs", "in/x") == b"x"
    assert RoleObjects(store, role(THEIRS, read=("s3://*",))).read("theirs", "in/x") == b"x"


def test_a_role_without_prefixes_reaches_nothing(store):
    nothing = RoleObjects(store, role(read=(), write=()))
    assert list(nothing.list("data", "")) == []
    with pytest.raises(NotAllowed, match="only nothing"):
        nothing.read("data", "in/a.csv")


def test_a_role_with_a_store_of_its_own_works_there_alone(store, tmp_path):
    seal = Seal.open(tmp_path / "seal.key")
    with doors.running(tmp_path / "outside") as door:
        door.objects.create_bucket("data")
        door.objects.put_bytes("data", "in/far", b"far away")
        arn = role().arn
        own = {"s3_endpoint": door.url, "s3_region": "us-east-1"}
        stores = RoleStores(store, seal)
        far = stores.of(role(sealed_s3_keys=sealed_keys(seal, arn, door.key, door.secret), **own))
        assert [one.key for one in far.list("data", "in")] == ["in/far"]
        assert far.read("data", "in/far") == b"far away"
        with pytest.raises(NotAllowed):
            far.read("data", "in2/b.csv")
        far.put_bytes("data", "out/x", b"x")
        assert door.objects.read("data", "out/x") == b"x"
        assert store.head("data", "out/x") is None

        wrong = stores.of(role(sealed_s3_keys=sealed_keys(seal, arn, door.key, "wrong" * 8), **own))
        with pytest.raises(NotAllowed, match="refuses access"):
            wrong.read("data", "in/far")


def test_sealed_keys_of_one_role_do_not_open_for_another(store, tmp_path):
    seal = Seal.open(tmp_path / "seal.key")
    moved = sealed_keys(seal, "arn:aws:iam::000000000000:role/other", "key", "secret")
    with pytest.raises(SealBroken):
        RoleStores(store, seal).of(role(s3_endpoint="http://127.0.0.1:9", s3_region="r", sealed_s3_keys=moved))
