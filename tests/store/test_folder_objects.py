from __future__ import annotations

import hashlib
import os
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gyropilot.errors import InvalidRequest, NotAllowed, NotFound
from gyropilot.store.folder_objects import FolderObjects
from gyropilot.store.object_info import ObjectDetails

WRITER = """
import sys
from pathlib import Path
from gyropilot.store.folder_objects import FolderObjects
objects = FolderObjects(Path(sys.argv[1]))
print("ready", flush=True)
number = int(sys.argv[2])
while True:
    number += 1
    objects.put_bytes("bucket", "dir/k", (b"%08d" % number) * (40_000 + number % 7), f"type/{number}")
"""


@pytest.fixture
def objects(tmp_path):
    made = FolderObjects(tmp_path / "objects")
    made.create_bucket("bucket")
    return made


def files(objects):
    return sorted(str(path.relative_to(objects.root)) for path in objects.root.rglob("*") if path.is_file())


def test_a_killed_writer_leaves_one_whole_object(objects):
    objects.put_bytes("bucket", "dir/k", b"%08d" % 0 * 40_000, "type/0")
    for attempt in range(12):
        number = attempt * 100_000
        command = [sys.executable, "-c", WRITER, str(objects.root), str(number)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout.readline() == "ready\n"
            time.sleep(0.01 + attempt * 0.007)  # any moment of a put is as good
            writer.send_signal(signal.SIGKILL)
        info, data = objects.head("bucket", "dir/k"), objects.read("bucket", "dir/k")
        number = int(info.content_type.removeprefix("type/"))
        assert data == (b"%08d" % number) * (40_000 + number % 7 if number else 40_000)
        assert (info.size_bytes, info.etag) == (len(data), hashlib.md5(data).hexdigest())
        assert [one.etag for one in objects.list("bucket", "")] == [info.etag]
    objects.put_bytes("bucket", "dir/k", b"end")
    again = FolderObjects(objects.root)
    assert again.read("bucket", "dir/k") == b"end"
    left = [name for name in files(again) if not name.startswith(".locks/")]
    assert len(left) == 3, "the record, its bytes, and the bucket: nothing of the killed writers"


def test_a_commit_cut_short_is_cleared_by_the_next(objects, monkeypatch):
    objects.put_bytes("bucket", "k", b"old")

    def fail(path, data):
        raise KeyboardInterrupt

    with monkeypatch.context() as cut:
        cut.setattr(objects, "write_whole", fail)
        with pytest.raises(KeyboardInterrupt):
            objects.put_bytes("bucket", "k", b"new")
    assert objects.read("bucket", "k") == b"old"
    assert sum(name.startswith("bucket/k@") for name in files(objects)) == 3
    objects.put_bytes("bucket", "other", b"x")
    assert sum(name.startswith("bucket/k@") for name in files(objects)) == 2
    assert objects.read("bucket", "k") == b"old"


def test_nothing_is_readable_by_others(objects):
    objects.put_bytes("bucket", "a/b/c", b"x")
    for path in [objects.root, *objects.root.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_links_are_not_followed(objects, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "k@object").write_text("{}")
    bucket = objects.root / "bucket"
    (bucket / "link").symlink_to(outside)
    (bucket / "file@object").symlink_to(outside / "k@object")
    for call in (
        lambda: objects.read("bucket", "link/k"),
        lambda: objects.put_bytes("bucket", "link/new", b"x"),
        lambda: list(objects.list("bucket", "link/")),
    ):
        with pytest.raises(NotAllowed):
            call()
    with pytest.raises(OSError, match="symbolic links"):
        objects.head("bucket", "file")
    assert [path.name for path in outside.iterdir()] == ["k@object"]


@pytest.mark.parametrize(
    "bucket", ["", ".", "..", "../x", ".locks", ".drafts", "a/b", "A", "ab", "x" * 64, "1.2.3.4", "é"]
)
def test_a_name_that_is_no_bucket_reaches_nothing(objects, bucket):
    assert not objects.bucket_exists(bucket)
    assert objects.head(bucket, "k") is None
    with pytest.raises(InvalidRequest):
        objects.create_bucket(bucket)
    with pytest.raises(NotFound):
        objects.put_bytes(bucket, "k", b"x")
    with pytest.raises(NotFound):
        list(objects.list(bucket, ""))


@pytest.mark.parametrize("key", ["", "x" * 1025, "\ud800"])
def test_a_text_that_is_no_key_is_refused(objects, key):
    with pytest.raises(InvalidRequest):
        objects.put_bytes("bucket", key, b"x")
    assert objects.head("bucket", key) is None


def test_deleting_leaves_no_empty_folders(objects):
    objects.put_bytes("bucket", "a/b/c", b"x")
    objects.put_bytes("bucket", "a/d", b"x")
    objects.delete("bucket", "a/b/c")
    assert [path.name for path in (objects.root / "bucket" / "a").iterdir() if path.is_dir()] == []
    assert objects.read("bucket", "a/d") == b"x"
    objects.delete("bucket", "a/d")
    assert objects.delete_bucket("bucket") == "deleted"
    assert objects.buckets() == []


def test_drafts_of_the_dead_are_swept_and_those_of_the_living_kept(objects):
    with objects.draft() as draft:
        draft.write(b"x")
        (objects.drafts / "dead").write_bytes(b"left by a killed process")
        FolderObjects(objects.root)
        assert [path.name for path in objects.drafts.iterdir()] == [draft.path.name]
    assert list(objects.drafts.iterdir()) == []


def test_a_large_file_is_not_held_in_memory(objects, tmp_path):
    import resource

    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(200 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    objects.put_file("bucket", "big", sparse)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 64 * 1024


def test_of_many_writers_that_find_nothing_one_wins(objects):
    def only_if_absent(current):
        if current:
            raise FileExistsError

    def write(number):
        with objects.draft() as draft:
            draft.write(b"%d" % number)
            try:
                objects.commit(draft, "bucket", "k", ObjectDetails(), check=only_if_absent)
            except FileExistsError:
                return None
            return number

    with ThreadPoolExecutor(8) as pool:
        winners = [number for number in pool.map(write, range(16)) if number is not None]
    assert [b"%d" % number for number in winners] == [objects.read("bucket", "k")]


def test_a_long_put_reaches_no_bucket_that_became_another_s(objects, tmp_path):
    slow = tmp_path / "slow"
    os.mkfifo(slow)
    with ThreadPoolExecutor(1) as pool:
        put = pool.submit(objects.put_file, "bucket", "k", slow)
        with slow.open("wb") as file:
            file.write(bytes(1 << 20))  # more than a pipe holds: the put is under way when this returns
            objects.delete_bucket("bucket")
            objects.create_bucket("bucket", "111111111111")
        with pytest.raises(NotFound):
            put.result(10)
    assert list(objects.list("bucket", "")) == []


def test_parts_join_also_where_the_system_cannot_copy_by_itself(objects, monkeypatch):
    monkeypatch.delattr(os, "copy_file_range")
    (objects.root / "part").write_bytes(bytes(3 << 20))
    with objects.draft() as draft:
        draft.append(objects.root / "part")
        draft.append(objects.root / "part")
        objects.commit(draft, "bucket", "k", ObjectDetails(), check=lambda current: None, etag="x-2")
    assert objects.head("bucket", "k").size_bytes == len(objects.read("bucket", "k")) == 6 << 20
