"""Which objects a transform job reads, and under which names their answers go."""

import json

import pytest

from gyropilot.data import transform_inputs
from gyropilot.data.transform_inputs import TransformSource
from gyropilot.errors import InvalidData
from gyropilot.store.folder_objects import FolderObjects


@pytest.fixture
def objects(tmp_path):
    store = FolderObjects(tmp_path / "s3")
    store.create_bucket("data")
    for key in ("in/a.csv", "in/x/b.csv", "in2/c.csv", "single.csv"):
        store.put_bytes("data", key, b"1\n")
    store.put_bytes("data", "in/", b"")
    return store


def outputs(objects, key, kind="S3Prefix"):
    source = TransformSource(s3_data_type=kind, s3_uri=f"s3://data/{key}")
    return {one.key: one.output for one in transform_inputs.resolve(objects, source)}


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("in/", {"in/a.csv": "a.csv.out", "in/x/b.csv": "x/b.csv.out"}),
        ("in/x", {"in/x/b.csv": "b.csv.out"}),
        ("in", {"in/a.csv": "a.csv.out", "in/x/b.csv": "x/b.csv.out", "in2/c.csv": "in2/c.csv.out"}),
        ("in/a", {"in/a.csv": "a.csv.out"}),
        ("single.csv", {"single.csv": "single.csv.out"}),
        ("s", {"single.csv": "single.csv.out"}),
    ],
)
def test_an_answer_goes_under_the_name_below_the_prefix(objects, key, expected):
    assert outputs(objects, key) == expected


def test_two_objects_that_would_go_to_one_place_are_refused(objects):
    objects.put_bytes("data", "in/in2/c.csv", b"1\n")
    with pytest.raises(
        InvalidData, match=r"in/in2/c\.csv and s3://data/in2/c\.csv would both be answered in in2/c\.csv\.out"
    ):
        outputs(objects, "in")


def put_manifest(objects, value):
    objects.put_bytes("data", "manifest", value if isinstance(value, bytes) else json.dumps(value).encode())


def test_a_manifest_names_its_objects_in_its_order(objects):
    put_manifest(objects, [{"prefix": "s3://data/in/"}, "x/b.csv", "a.csv"])
    assert list(outputs(objects, "manifest", "ManifestFile").items()) == [
        ("in/x/b.csv", "x/b.csv.out"),
        ("in/a.csv", "a.csv.out"),
    ]


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (b"{", "manifest: is no JSON"),
        ({"prefix": "s3://data/in/"}, "manifest: is no manifest"),
        ([{"prefix": "s3://data/in/"}], "manifest: is no manifest"),
        ([{"prefix": "https://data"}, "a.csv"], r"manifest \[0\]: is no prefix"),
        ([{"prefix": "s3://data/in/", "more": 1}, "a.csv"], r"manifest \[0\]: is no prefix"),
        ([{"prefix": "s3://data/in/"}, "a.csv", 7], r"manifest \[2\]: is no key"),
        ([{"prefix": "s3://data/in/"}, "../a.csv"], r"manifest \[1\]: is no key"),
        (
            [{"prefix": "s3://data/in/"}, "no.csv", "nor.csv"],
            r"\[1\]: there is no object .*no\.csv.*\[2\]: there is no",
        ),
        ([{"prefix": "s3://data/in/"}, "a.csv", "a.csv"], "would both be answered in a.csv.out"),
    ],
)
def test_what_is_no_manifest_is_told(objects, manifest, said):
    put_manifest(objects, manifest)
    with pytest.raises(InvalidData, match=said):
        outputs(objects, "manifest", "ManifestFile")


def test_a_manifest_that_is_not_there_is_told(objects):
    with pytest.raises(InvalidData, match=r"^s3://data/in: there is no such object.*S3Prefix"):
        outputs(objects, "in", "ManifestFile")
