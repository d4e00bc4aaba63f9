from __future__ import annotations

import itertools
import time

import pytest

KEYS = ["a-b", "a/1", "a/2", "a/b/3", "a0", "b/1", "c", "ä/1", "ä/2", "\U0001f600"]


@pytest.fixture(scope="module")
def filled(s3):
    s3.create_bucket(Bucket="filled")
    for key in KEYS:
        s3.put_object(Bucket="filled", Key=key, Body=key.encode())
    return "filled"


def grouped(prefix, delimiter):
    """Say what a listing must give, in order."""
    found = []
    for key in sorted(KEYS, key=str.encode):
        if key.startswith(prefix):
            at = key.find(delimiter, len(prefix)) if delimiter else -1
            entry = key[: at + len(delimiter)] if at >= 0 else key
            if entry not in found:
                found.append(entry)
    return found


def entries(page):
    names = [one["Key"] for one in page.get("Contents", ())] + [one["Prefix"] for one in page.get("CommonPrefixes", ())]
    return sorted(names, key=str.encode)


@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2"])
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_pages_give_everything_once_in_order(s3, filled, operation, size):
    for prefix, delimiter in itertools.product(["", "a", "a/", "ä", "none"], ["", "/", "/b"]):
        pages = s3.get_paginator(operation).paginate(
            Bucket=filled, Prefix=prefix, Delimiter=delimiter, PaginationConfig={"PageSize": size}
        )
        found = [name for page in pages for name in entries(page)]
        assert found == grouped(prefix, delimiter)


def test_start_after_and_marker_leave_out_what_is_before(s3, filled):
    assert entries(s3.list_objects_v2(Bucket=filled, StartAfter="a/b/3", Prefix="a")) == ["a0"]
    assert entries(s3.list_objects(Bucket=filled, Marker="a/b/3", Prefix="a")) == ["a0"]
    assert entries(s3.list_objects_v2(Bucket=filled, StartAfter="a/", Delimiter="/", Prefix="a")) == ["a0"]


def test_a_listing_tells_size_etag_and_owner(s3, filled):
    one = s3.list_objects_v2(Bucket=filled, Prefix="a-b", FetchOwner=True)["Contents"][0]
    assert one["Size"] == 3
    assert one["ETag"] == s3.head_object(Bucket=filled, Key="a-b")["ETag"]
    assert one["Owner"]["ID"] == "000000000000"


def test_bad_arguments_are_refused(s3, filled, refused):
    assert refused(s3.list_objects_v2, Bucket=filled, ContinuationToken="?") == "InvalidArgument"
    assert refused(s3.list_objects_v2, Bucket=filled, MaxKeys=-1) == "InvalidArgument"
    assert s3.list_objects_v2(Bucket=filled, MaxKeys=0)["KeyCount"] == 0
    assert refused(s3.list_objects_v2, Bucket="no-such-bucket") == "NoSuchBucket"


@pytest.mark.slow
def test_ten_thousand_objects_are_paged_in_seconds(door, s3, bucket):
    folder = door.objects.root / bucket
    door.objects.put_bytes(bucket, "data/00000", b"x")
    record = (folder / "data" / "00000@object").read_text()
    for number in range(1, 10_000):
        text = record.replace("data/00000", f"data/{number:05d}")
        (folder / "data" / f"{number:05d}@object").write_text(text)
    started_at = time.monotonic()
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="data/", Delimiter="/")
    keys = [one["Key"] for page in pages for one in page["Contents"]]
    assert keys == [f"data/{number:05d}" for number in range(10_000)]
    assert time.monotonic() - started_at < 60
