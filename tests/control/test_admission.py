import gzip
import io
import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import houses
from gyropilot.control import admission
from gyropilot.errors import InvalidRequest, MissingExtra
from gyropilot.problems.tabular.problem import TABULAR
from gyropilot.store.folder_objects import FolderObjects
from gyropilot.store.role_objects import RoleStores
from mean_problem import MEAN


def test_a_problem_whose_packages_are_not_installed_is_refused_before_a_job_exists(tmp_path):
    needy = replace(MEAN, extra="numbers", modules=("json", "no_such_module"))
    house = houses.build(tmp_path, (needy,))
    try:
        with pytest.raises(MissingExtra, match=r"no_such_module.*gyropilot\[numbers\]"):
            admission.admit(house, houses.admin(house), houses.mean_request(), region=houses.REGION)
    finally:
        house.db.close()


def test_a_problem_whose_packages_are_installed_is_taken(tmp_path):
    house = houses.build(tmp_path, (replace(MEAN, modules=("json",)),))
    try:
        problem, _ = admission.admit(house, houses.admin(house), houses.mean_request(), region=houses.REGION)
        assert problem.modules == ("json",)
    finally:
        house.db.close()


def test_a_channel_without_a_place_is_refused_by_name(tmp_path):
    house = houses.build(tmp_path, (MEAN,))
    request = houses.mean_request(AutoMLJobInputDataConfig=[{"ChannelType": "training"}])
    try:
        with pytest.raises(InvalidRequest, match=r"AutoMLJobInputDataConfig\[0\].DataSource: is missing"):
            admission.admit(house, houses.admin(house), request, region=houses.REGION)
    finally:
        house.db.close()


@pytest.fixture
def tables(tmp_path):
    house = houses.build(tmp_path, (TABULAR,))
    yield house
    house.db.close()


def ask(house, *, kind="S3Prefix", key="table.csv", **channel):
    source = {"S3DataSource": {"S3DataType": kind, "S3Uri": f"s3://data/{key}"}}
    request = houses.mean_request(AutoMLJobInputDataConfig=[{"DataSource": source, **channel}])
    return admission.admit(house, houses.admin(house), request, region=houses.REGION)


@pytest.mark.parametrize("is_packed", [False, True])
def test_the_target_is_sought_in_the_header_of_the_first_object(tables, is_packed):
    pack, channel = (gzip.compress, {"CompressionType": "Gzip"}) if is_packed else (bytes, {})
    tables.objects.put_bytes("data", "table.csv", pack(b"\xef\xbb\xbfx, y\n1,2\n"), "text/csv")
    assert ask(tables, **channel)[1].target == "y"
    tables.objects.put_bytes("data", "table.csv", pack(b"x,Y\n1,2\n"), "text/csv")
    with pytest.raises(InvalidRequest, match=r"Target attribute name y does not exist in header."):
        ask(tables, **channel)


def test_what_a_manifest_names_is_looked_for_and_its_first_header_read(tables):
    tables.objects.put_bytes("data", "set/one.csv", b"x,z\n1,2\n", "text/csv")
    manifest = [{"prefix": "s3://data/set/"}, "one.csv"]
    tables.objects.put_bytes("data", "m.json", json.dumps(manifest).encode(), "application/json")
    with pytest.raises(InvalidRequest, match=r"Target attribute name y does not exist in header."):
        ask(tables, kind="ManifestFile", key="m.json")
    tables.objects.put_bytes("data", "m.json", json.dumps([*manifest, "two.csv"]).encode(), "application/json")
    with pytest.raises(InvalidRequest, match=r"S3Uri: there is no object s3://data/set/two.csv"):
        ask(tables, kind="ManifestFile", key="m.json")


def test_a_header_that_cannot_be_read_yet_is_left_to_the_job(tables):
    tables.objects.put_bytes("data", "table.csv", b"x,\xff\n1,2\n", "text/csv")
    assert ask(tables)[1].target == "y"


def test_the_target_is_sought_in_the_columns_of_parquet(tables):
    target = io.BytesIO()
    pq.write_table(pa.table({"x": [1.5], "Y": ["a"]}), target)
    tables.objects.put_bytes("data", "table.parquet", target.getvalue(), "text/csv")
    with pytest.raises(InvalidRequest, match=r"does not exist in header. It is no column .* did you mean 'Y'\?"):
        ask(tables, key="table.parquet", ContentType="x-application/vnd.amazon+parquet")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", r"DataSource.S3DataSource.S3Uri: s3://data/table.csv: is empty"),
        (b"x;y\n1;2\n", "S3Uri: s3://data/table.csv: header: is one column; the fields look separated by ';'"),
        (b"a,b;x;y\n1;2;3\n", "does not exist in header. .* its fields look separated by ';'"),
        (b"39,State-gov,77516,no\n50,Private,83311,yes\n", "does not exist in header. .* looks like a row of data"),
        (b"0,0,no\n1,0,yes\n", "S3Uri: s3://data/table.csv: header: looks like a row of data"),
    ],
)
def test_what_no_job_could_read_is_refused_at_once(tables, content, told):
    tables.objects.put_bytes("data", "table.csv", content, "text/csv")
    with pytest.raises(InvalidRequest, match=told) as caught:
        ask(tables)
    assert len(caught.value.faults) == 1


def test_a_feature_specification_is_one_object_and_no_prefix(tables):
    tables.objects.put_bytes("data", "table.csv", b"x,y\n1,2\n", "text/csv")
    tables.objects.put_bytes("data", "kinds/features.json", b"{}", "application/json")
    request = houses.mean_request(
        AutoMLJobInputDataConfig=[
            {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/table.csv"}}}
        ]
    )
    config = request["AutoMLProblemTypeConfig"]["TabularJobConfig"]
    for uri, is_taken in (("s3://data/kinds/features.json", True), ("s3://data/kinds", False)):
        config["FeatureSpecificationS3Uri"] = uri
        if is_taken:
            admission.admit(tables, houses.admin(tables), request, region=houses.REGION)
        else:
            with pytest.raises(InvalidRequest, match=r"FeatureSpecificationS3Uri: there is no such object"):
                admission.admit(tables, houses.admin(tables), request, region=houses.REGION)


def test_each_object_of_a_manifest_is_asked_for_once(tables):
    tables.objects.put_bytes("data", "set/one.csv", b"x,y\n1,2\n", "text/csv")
    tables.objects.put_bytes("data", "m.json", b'[{"prefix": "s3://data/set/"}, "one.csv"]', "application/json")
    asked = []

    class Counted(FolderObjects):
        def head(self, bucket, key):
            asked.append(key)
            return super().head(bucket, key)

    counted = replace(tables, role_stores=RoleStores(Counted(tables.objects.root), tables.seal))
    ask(counted, kind="ManifestFile", key="m.json")
    assert asked == ["m.json", "set/one.csv"]
