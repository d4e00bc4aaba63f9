import json
from dataclasses import dataclass

import pytest

from gyropilot.data import channels, manifests
from gyropilot.errors import InvalidData
from gyropilot.store.objects import FolderObjects


@dataclass(frozen=True)
class Request:
    s3_uri: str
    s3_data_type: str = "S3Prefix"


@pytest.fixture
def objects(tmp_path):
    store = FolderObjects(tmp_path)
    store.create_bucket("data")
    return store


def keys(objects, uri):
    return [info.key for info in channels.resolve(objects, Request(uri))]


def test_a_prefix_covers_its_keys_in_order_and_skips_markers(objects):
    for key in ("set/b.csv", "set/a.csv", "set/sub/c.csv", "settings.csv", "other.csv"):
        objects.put_bytes("data", key, b"x", "text/csv")
    for key in ("set/", "set/_SUCCESS"):
        objects.put_bytes("data", key, b"", "text/csv")
    assert keys(objects, "s3://data/set/") == ["set/a.csv", "set/b.csv", "set/sub/c.csv"]
    assert keys(objects, "s3://data/set") == ["set/a.csv", "set/b.csv", "set/sub/c.csv", "settings.csv"]
    assert keys(objects, "s3://data/other.csv") == ["other.csv"]
    assert len(keys(objects, "s3://data")) == 5


def test_an_empty_data_file_is_listed_so_that_reading_can_name_it(objects):
    objects.put_bytes("data", "empty.csv", b"", "text/csv")
    assert keys(objects, "s3://data/empty.csv") == ["empty.csv"]


@pytest.mark.parametrize(
    ("uri", "kind", "told"),
    [
        ("s3://absent/x", "S3Prefix", "bucket does not exist"),
        ("s3://data/x", "S3Prefix", "no object lies under this prefix"),
        ("s3://data/x", "AugmentedManifestFile", "use S3Prefix or ManifestFile"),
        ("s3://data/x", "ManifestFile", "there is no such object"),
        ("file:///etc/passwd", "S3Prefix", "not an s3:// URI"),
        ("http://169.254.169.254/", "S3Prefix", "not an s3:// URI"),
        ("s3://", "S3Prefix", "not an s3:// URI"),
        ("s3:///key", "S3Prefix", "not an s3:// URI"),
    ],
)
def test_what_cannot_be_found_is_named(objects, uri, kind, told):
    with pytest.raises(InvalidData, match=told):
        channels.resolve(objects, Request(uri, kind))


def test_a_listing_beyond_the_limit_is_refused(objects, monkeypatch):
    monkeypatch.setattr(manifests, "MAX_FILES", 2)
    for key in "abc":
        objects.put_bytes("data", key, b"x", "text/csv")
    with pytest.raises(InvalidData, match="more than 2 objects"):
        keys(objects, "s3://data/")


def manifest(objects, *lines, key="m.json"):
    objects.put_bytes("data", key, json.dumps(lines).encode(), "application/json")
    return Request(f"s3://data/{key}", "ManifestFile")


def test_a_manifest_names_its_objects_in_its_order(objects):
    for key in ("set/a.csv", "set/b.csv", "set/c.csv"):
        objects.put_bytes("data", key, b"x", "text/csv")
    found = channels.resolve(objects, manifest(objects, {"prefix": "s3://data/set/"}, "c.csv", "a.csv"))
    assert [info.key for info in found] == ["set/c.csv", "set/a.csv"]


def test_a_manifest_of_what_is_not_there_or_twice_is_refused_with_every_fault(objects):
    objects.put_bytes("data", "set/a.csv", b"x", "text/csv")
    request = manifest(objects, {"prefix": "s3://data/set/"}, "b.csv", "a.csv", "a.csv")
    with pytest.raises(InvalidData) as caught:
        channels.resolve(objects, request)
    assert "[1]: there is no object s3://data/set/b.csv" in str(caught.value)
    assert "[3]: is named twice" in str(caught.value)
