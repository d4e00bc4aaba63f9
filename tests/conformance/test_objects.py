"""What `Objects` promises, held by every implementation; the remote one speaks to our own door."""

from __future__ import annotations

import hashlib
import os
import threading

import pytest

import doors
from gyropilot.errors import InvalidData, NotFound
from gyropilot.store.objects import FolderObjects, RemoteObjects

KEYS = ["a", "a-b", "a/", "a/1", "a//b", "a0", "../x", "ä/ü b+c.csv", "日本", "x" * 1024]


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    with doors.running(tmp_path_factory.mktemp("door") / "home") as running:
        yield running


@pytest.fixture(params=["folder", "remote"])
def objects(request, tmp_path):
    if request.param == "folder":
        made = FolderObjects(tmp_path / "objects")
        made.create_bucket("bucket")
        return made
    door = request.getfixturevalue("door")
    door.objects.create_bucket("bucket")
    for info in list(door.objects.list("bucket", "")):
        door.objects.delete("bucket", info.key)
    return RemoteObjects(endpoint_url=door.url, region="us-east-1", key=door.key, secret=door.secret)


def test_every_key_gives_back_its_bytes_in_order(objects):
    for key in KEYS:
        objects.put_bytes("bucket", key, key.encode())
    assert [objects.read("bucket", key) for key in KEYS] == [key.encode() for key in KEYS]
    for prefix in ("", "a", "a/", "ä/ü ", "none", "x" * 1000):
        found = [info.key for info in objects.list("bucket", prefix)]
        assert found == sorted((key for key in KEYS if key.startswith(prefix)), key=str.encode)
    for key in KEYS:
        objects.delete("bucket", key)
    assert list(objects.list("bucket", "")) == []


def test_an_object_is_known_by_size_etag_and_type(objects):
    put = objects.put_bytes("bucket", "k", b"data", "text/csv")
    assert put == objects.head("bucket", "k")
    assert (put.size_bytes, put.etag, put.content_type) == (4, hashlib.md5(b"data").hexdigest(), "text/csv")
    listed = next(objects.list("bucket", "k"))
    assert (listed.key, listed.size_bytes, listed.etag) == ("k", 4, put.etag)
    assert abs((listed.modified_at - put.modified_at).total_seconds()) <= 1
    assert put.modified_at.tzinfo is not None


def test_what_is_not_there_is_absent(objects):
    assert objects.bucket_exists("bucket")
    assert not objects.bucket_exists("no-such-bucket")
    assert objects.head("bucket", "k") is None
    assert objects.head("no-such-bucket", "k") is None
    objects.delete("bucket", "k")
    with pytest.raises(NotFound):
        objects.read("bucket", "k")
    with pytest.raises(NotFound):
        objects.put_bytes("no-such-bucket", "k", b"")
    with pytest.raises(NotFound):
        list(objects.list("no-such-bucket", ""))


@pytest.mark.parametrize("size_bytes", [0, 5, 40 << 20])
def test_a_file_goes_in_and_comes_out_whole(objects, tmp_path, size_bytes):
    sent, received = tmp_path / "sent", tmp_path / "received"
    sent.write_bytes(os.urandom(size_bytes))
    info = objects.put_file("bucket", "dir/file", sent, "text/csv")
    assert (info.size_bytes, info.content_type) == (size_bytes, "text/csv")
    objects.fetch("bucket", "dir/file", received, etag=info.etag)
    assert sent.read_bytes() == received.read_bytes()
    assert received.stat().st_mode & 0o077 == 0
    blocks = list(objects.stream("bucket", "dir/file", etag=info.etag))
    assert b"".join(blocks) == sent.read_bytes()
    assert max(map(len, blocks), default=0) <= 16 << 20
    for start in (1, size_bytes // 2, size_bytes):
        assert b"".join(objects.stream("bucket", "dir/file", etag=info.etag, start=start)) == sent.read_bytes()[start:]


def test_an_object_that_changed_is_not_fetched(objects, tmp_path):
    etag = objects.put_bytes("bucket", "k", b"old").etag
    objects.put_bytes("bucket", "k", b"new")
    with pytest.raises(InvalidData, match="s3://bucket/k: changed while the job ran"):
        objects.fetch("bucket", "k", tmp_path / "to", etag=etag)
    with pytest.raises(InvalidData, match="s3://bucket/k: changed while the job ran"):
        next(objects.stream("bucket", "k", etag=etag))
    assert not (tmp_path / "to").exists()
    objects.delete("bucket", "k")
    with pytest.raises(InvalidData, match="s3://bucket/k: is gone"):
        objects.fetch("bucket", "k", tmp_path / "to", etag=etag)


def test_many_pages_are_listed(objects, door):
    store = objects if isinstance(objects, FolderObjects) else door.objects
    store.create_bucket("crowd")
    store.put_bytes("crowd", "many/0000", b"x")
    folder = store.root / "crowd" / "many"
    record = (folder / "0000@object").read_text()
    for number in range(1, 2100):
        (folder / f"{number:04d}@object").write_text(record.replace("many/0000", f"many/{number:04d}"))
    assert [info.key for info in objects.list("crowd", "many/")] == [f"many/{number:04d}" for number in range(2100)]


def test_readers_see_one_whole_version_while_writers_write(objects):
    versions = [bytes([letter]) * 300_000 for letter in b"abc"]
    objects.put_bytes("bucket", "k", versions[0])
    done = threading.Event()

    def write():
        for _ in range(5):
            for version in versions:
                objects.put_bytes("bucket", "k", version)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert objects.read("bucket", "k") in versions
    writer.join()
