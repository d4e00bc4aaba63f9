from __future__ import annotations

import hashlib
import threading
from dataclasses import replace

import pytest

import houses
from gyropilot import names
from gyropilot.control import models, tags
from gyropilot.errors import AlreadyExists, InvalidRequest, NotFound, Throttled
from gyropilot.store import roles
from gyropilot.store.folder_objects import FolderObjects
from gyropilot.store.principals import Principal
from gyropilot.store.role_objects import RoleStores
from gyropilot.store.roles import Role
from mean_problem import MEAN
from published_models import create_model, model_request, publish

OTHER = "111111111111"


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    house = houses.build(tmp_path_factory.mktemp("house"), (MEAN,))
    yield house
    house.db.close()


@pytest.fixture(scope="module")
def container(house):
    return publish(house, "tuned", data=b"a tuned model")


class HeldObjects(FolderObjects):
    """A store that notes what is streamed, and streams nothing before it may."""

    def __init__(self, root):
        super().__init__(root)
        self.streamed, self.is_asked, self.may_go_on = [], threading.Event(), threading.Event()

    def stream(self, bucket, key, *, etag, start=0):
        self.streamed.append(key)
        self.is_asked.set()
        assert self.may_go_on.wait(30)
        yield from super().stream(bucket, key, etag=etag, start=start)


def faults_of(house, *containers, **chosen):
    with pytest.raises(InvalidRequest) as caught:
        create_model(house, "refused", *containers, **chosen)
    return {one.where: one for one in caught.value.faults}


def snapshot(house, name, account=names.ACCOUNT_ID):
    return models.snapshot(house, account, houses.REGION, name)


def test_the_containers_of_a_candidate_are_taken_as_they_are(house, container):
    arn = create_model(house, "As-Is", container, EnableNetworkIsolation=True, Tags=[{"Key": "k", "Value": "v"}])
    assert arn == "arn:aws:sagemaker:us-east-1:000000000000:model/as-is"
    described = models.describe(house, houses.admin(house), houses.REGION, "As-Is")
    assert described.pop("CreationTime")
    assert described == {
        "ModelName": "As-Is",
        "ModelArn": arn,
        "PrimaryContainer": container,
        "ExecutionRoleArn": houses.ROLE,
        "EnableNetworkIsolation": True,
    }
    listed = tags.list_tags(house, houses.admin(house), houses.REGION, {"ResourceArn": arn.replace("as-is", "As-Is")})
    assert listed["Tags"] == [{"Key": "k", "Value": "v"}]


def test_a_snapshot_has_all_that_serving_takes(house, container):
    shared = publish(house, "shared", data=b"an adapter", shares="base-1", image="gyropilot/mean:0.9")
    create_model(house, "One", shared | {"Image": "gyropilot/mean"})
    assert snapshot(house, "One") == {
        "name": "One",
        "arn": "arn:aws:sagemaker:us-east-1:000000000000:model/one",
        "role_arn": houses.ROLE,
        "problem": "Tabular",
        "shares": "base-1",
        "containers": [
            {
                "uri": shared["ModelDataUrl"],
                "sha256": hashlib.sha256(b"an adapter").hexdigest(),
                "size_bytes": 10,
                "image": "gyropilot/mean",
                "environment": {"A": "b"},
            }
        ],
    }
    create_model(house, "Chain", shared, container | {"Environment": {}})
    chain = snapshot(house, "Chain")
    assert chain["shares"] == "", "a chain has a process of its own"
    assert [one["environment"] for one in chain["containers"]] == [{"A": "b"}, {}]


def test_a_name_is_taken_in_every_letter_case_and_found_in_its_own(house, container):
    arn = create_model(house, "Case", container)
    with pytest.raises(AlreadyExists, match=f'^Cannot create already existing model "{arn}".$'):
        create_model(house, "cASE", container)
    for call in (models.describe, models.delete):
        with pytest.raises(NotFound, match=f'^Could not find model "{arn}".$'):
            call(house, houses.admin(house), houses.REGION, "case")
    models.delete(house, houses.admin(house), houses.REGION, "Case")
    assert create_model(house, "cASE", container) == arn


def test_a_create_that_a_client_repeats_gives_its_first_model(house, container):
    given = {"region": houses.REGION, "invocation_id": "one-call"}
    request = model_request("Repeated", container)
    arn = models.create(house, houses.admin(house), request, **given)
    assert models.create(house, houses.admin(house), request, **given) == arn
    for changed in (request | {"EnableNetworkIsolation": True}, request | {"ModelName": "repeated"}):
        with pytest.raises(AlreadyExists):
            models.create(house, houses.admin(house), changed, **given)
    with pytest.raises(AlreadyExists):
        models.create(house, houses.admin(house), request, **given | {"invocation_id": "another"})


def test_an_unchanged_copy_elsewhere_is_the_same_model_data(house, container):
    house.objects.put_bytes("data", "copies/m.tar.gz", b"a tuned model")
    create_model(house, "Copy", container | {"ModelDataUrl": "s3://data/copies/m.tar.gz"})
    (kept,) = snapshot(house, "Copy")["containers"]
    original = models.find(house, names.ACCOUNT_ID, houses.REGION, "As-Is").containers[0]
    assert kept["uri"] == "s3://data/copies/m.tar.gz"
    assert (kept["sha256"], kept["size_bytes"]) == (original["sha256"], original["size_bytes"])
    assert list(house.settings.scratch.iterdir()) == []


def test_a_copy_is_read_once_and_one_of_an_account_at_a_time(tmp_path):
    house = houses.build(tmp_path, (MEAN,))
    container = publish(house, "tuned", data=b"a tuned model")
    copies = [container | {"ModelDataUrl": f"s3://data/copies/{name}"} for name in ("one", "two")]
    for name in ("one", "two"):
        house.objects.put_bytes("data", f"copies/{name}", b"a tuned model")
    objects = HeldObjects(house.objects.root)
    house = replace(house, role_stores=RoleStores(objects, house.seal))
    call = threading.Thread(target=create_model, args=(house, "First", copies[0]))
    call.start()
    assert objects.is_asked.wait(30)
    with pytest.raises(Throttled, match="one at a time"):
        create_model(house, "Second", copies[1])
    create_model(house, "In-Place", container)  # is not read
    objects.may_go_on.set()
    call.join()
    for name in ("Again", "And-Again"):
        create_model(house, name, copies[0])
    create_model(house, "Second", copies[1])
    assert objects.streamed == ["copies/one", "copies/two"]
    house.db.close()


@pytest.mark.parametrize("data", [b"a tuned mode1", b"a tuned model, and more", b""])
def test_what_no_job_wrote_is_refused(house, container, data):
    house.objects.put_bytes("data", "foreign/m.tar.gz", data)
    faults = faults_of(house, container | {"ModelDataUrl": "s3://data/foreign/m.tar.gz"})
    assert faults.keys() == {"PrimaryContainer.ModelDataUrl"}
    assert "is no model data that a job of this account wrote" in str(faults["PrimaryContainer.ModelDataUrl"])


def test_model_data_that_was_replaced_or_removed_is_refused(house):
    container = publish(house, "replaced", data=b"replaced one")
    house.objects.put_bytes("data", "out/replaced/model.tar.gz", b"longer than it was")
    assert "18 bytes" in str(faults_of(house, container)["PrimaryContainer.ModelDataUrl"])
    house.objects.delete("data", "out/replaced/model.tar.gz")
    assert "there is no such object" in str(faults_of(house, container)["PrimaryContainer.ModelDataUrl"])


def test_another_account_s_model_data_is_as_foreign_as_any(house, container):
    house.objects.create_bucket("others", OTHER)
    role = Role(arn=f"arn:aws:iam::{OTHER}:role/all", read_prefixes=("s3://*",), write_prefixes=(), passable_by=("*",))
    roles.add(house.db, role)
    stranger = Principal(access_key_id="GYROSTRANGER", account_id=OTHER, kind="admin", name="stranger")
    house.objects.put_bytes("others", "stolen.tar.gz", b"a tuned model")
    stolen = container | {"ModelDataUrl": "s3://others/stolen.tar.gz"}
    for given, told in (
        ({"ExecutionRoleArn": houses.ROLE}, "no such role"),
        ({"ExecutionRoleArn": role.arn}, "there is no bucket 'data'"),
    ):
        assert told in str(faults_of(house, container, principal=stranger, **given))
    faults = faults_of(house, stolen, principal=stranger, ExecutionRoleArn=role.arn)
    assert "is no model data" in str(faults["PrimaryContainer.ModelDataUrl"])
    own = publish(house, "own", data=b"of their own", account=OTHER, bucket="others")
    arn = create_model(house, "As-Is", own, principal=stranger, ExecutionRoleArn=role.arn)
    assert arn == f"arn:aws:sagemaker:us-east-1:{OTHER}:model/as-is"
    with pytest.raises(NotFound):
        snapshot(house, "One", OTHER)


def test_the_role_must_read_the_model_data(house, container):
    narrow = Role(
        arn="arn:aws:iam::000000000000:role/narrow",
        read_prefixes=("s3://data/numbers",),
        write_prefixes=(),
        passable_by=("*",),
    )
    roles.add(house.db, narrow)
    faults = faults_of(house, container, ExecutionRoleArn=narrow.arn)
    assert "lies outside what the role may read" in str(faults["PrimaryContainer.ModelDataUrl"])


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"Image": "763104351884.dkr.ecr.us-east-1.amazonaws.com/djl-inference:0.22"}, "Image"),
        ({"Image": "gyropilot/mean/evil"}, "Image"),
        ({"Image": "gyropilot/mean@sha256:abc"}, "Image"),
        ({"Image": "registry:5000/gyropilot/mean"}, "Image"),
        ({"ModelDataUrl": "https://data/out/tuned/model.tar.gz"}, "ModelDataUrl"),
        ({"ModelDataUrl": "s3://data/out/../out/tuned/model.tar.gz"}, "ModelDataUrl"),
        ({"ModelDataUrl": "s3://no-such-bucket/a"}, "ModelDataUrl"),
        ({"ModelDataUrl": "s3://data"}, "ModelDataUrl"),
        ({"Mode": "MultiModel"}, "Mode"),
        ({"MultiModelConfig": {"ModelCacheSetting": "Disabled"}}, "MultiModelConfig"),
        ({"ModelPackageName": "package"}, "ModelPackageName"),
        ({"ImageConfig": {"RepositoryAccessMode": "Vpc"}}, "ImageConfig.RepositoryAccessMode"),
        ({"AdditionalModelDataSources": [{}]}, "AdditionalModelDataSources"),
        ({"ModelDataSource": {"S3DataSource": {}}}, "ModelDataSource"),
    ],
)
def test_what_cannot_be_honoured_in_a_container_is_refused_by_name(house, container, changes, where):
    assert faults_of(house, container | changes).keys() == {f"PrimaryContainer.{where}"}
    assert faults_of(house, container, container | changes).keys() == {f"Containers[1].{where}"}


def test_no_more_containers_are_chained_than_understand_each_other(house, container):
    alone = replace(house, problems=(replace(MEAN, most_containers=1),))
    assert faults_of(alone, container, container).keys() == {"Containers"}
    told = str(faults_of(alone, container, container)["Containers"])
    assert "a model of Tabular has 1 at most" in told
    assert "found '2 containers'" in told


def test_all_faults_of_a_model_are_told_at_once(house, container):
    faults = faults_of(
        house,
        {"ContainerHostname": "a"},
        container | {"ContainerHostname": "a", "Mode": "MultiModel"},
        VpcConfig={"Subnets": ["s"], "SecurityGroupIds": ["g"]},
        InferenceExecutionConfig={"Mode": "Direct"},
        ExecutionRoleArn="arn:aws:iam::000000000000:role/missing",
        Tags=[{"Key": "aws:a", "Value": ""}],
    )
    assert faults.keys() == {
        "Containers[0].Image",
        "Containers[0].ModelDataUrl",
        "Containers[1].ContainerHostname",
        "Containers[1].Mode",
        "VpcConfig",
        "InferenceExecutionConfig.Mode",
        "ExecutionRoleArn",
        "Tags",
    }


def test_a_model_has_one_container_or_several_and_a_role(house, container):
    admin = houses.admin(house)
    for request, where in (
        (
            {"PrimaryContainer": container, "Containers": [container], "ExecutionRoleArn": houses.ROLE},
            "PrimaryContainer, Containers",
        ),
        ({"Containers": [], "ExecutionRoleArn": houses.ROLE}, "PrimaryContainer, Containers"),
        ({"PrimaryContainer": container}, "ExecutionRoleArn"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            models.create(house, admin, {"ModelName": "m"} | request, region=houses.REGION)
        assert [one.where for one in caught.value.faults] == [where]


def test_an_image_goes_with_the_model_data_of_its_own_problem_type(house):
    text = publish(house, "text", data=b"text", problem="TextGeneration", image="gyropilot/text-generation:1")
    faults = faults_of(house, text | {"Image": "gyropilot/mean"})
    assert "is for gyropilot/text-generation:1" in str(faults["PrimaryContainer.Image"])
