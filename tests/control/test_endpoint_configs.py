from __future__ import annotations

from dataclasses import replace

import pytest

import houses
from gyropilot.control import endpoint_configs
from gyropilot.errors import AlreadyExists, InvalidRequest, NotFound
from gyropilot.store import roles
from gyropilot.store.roles import Role
from mean_problem import MEAN
from published_models import create_config, create_model, publish, variant

MISSING = 'Could not find model "arn:aws:sagemaker:us-east-1:000000000000:model/nowhere".'


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    house = houses.build(tmp_path_factory.mktemp("house"), (MEAN,))
    create_model(house, "A-Model", publish(house))
    yield house
    house.db.close()


def faults_of(house, *variants, **chosen):
    with pytest.raises(InvalidRequest) as caught:
        create_config(house, "refused", *variants, **chosen)
    return {one.where: one for one in caught.value.faults}


def find(house, name):
    return endpoint_configs.find(house, "000000000000", houses.REGION, name)


def test_a_configuration_is_kept_with_its_defaults_and_told_as_it_came(house):
    one, two = variant("A-Model", "one"), variant("A-Model", "two", InitialVariantWeight=0.5, InitialInstanceCount=2)
    two |= {"ContainerStartupHealthCheckTimeoutInSeconds": 90, "ModelDataDownloadTimeoutInSeconds": 120}
    two |= {"EnableSSMAccess": False, "RoutingConfig": {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}}
    answers = {"OutputConfig": {"S3OutputPath": "s3://data/answers"}, "ClientConfig": {}}
    arn = create_config(house, "Kept", one, two, AsyncInferenceConfig=answers)
    described = endpoint_configs.describe(house, houses.admin(house), houses.REGION, "Kept")
    assert described.pop("CreationTime")
    assert described == {
        "EndpointConfigName": "Kept",
        "EndpointConfigArn": arn,
        "ProductionVariants": [one, two],
        "AsyncInferenceConfig": answers,
    }
    common = {"model_name": "A-Model", "instance_type": "ml.m5.large"}
    assert find(house, "Kept").variants == [
        common | {"name": "one", "weight": 1.0, "instances": 1, "startup_seconds": 600, "download_seconds": 3600},
        common | {"name": "two", "weight": 0.5, "instances": 2, "startup_seconds": 90, "download_seconds": 120},
    ]


def test_a_name_is_taken_in_every_letter_case_and_found_in_its_own(house):
    arn = create_config(house, "Case", variant("A-Model"))
    assert arn == "arn:aws:sagemaker:us-east-1:000000000000:endpoint-config/case"
    taken = f'^Cannot create already existing endpoint configuration "{arn}".$'
    with pytest.raises(AlreadyExists, match=taken):
        create_config(house, "cASE", variant("A-Model"))
    for call in (endpoint_configs.describe, endpoint_configs.delete):
        with pytest.raises(NotFound, match=f'^Could not find endpoint configuration "{arn}".$'):
            call(house, houses.admin(house), houses.REGION, "case")
    endpoint_configs.delete(house, houses.admin(house), houses.REGION, "Case")
    assert create_config(house, "cASE", variant("A-Model")) == arn


def test_a_missing_model_is_told_as_such_and_among_other_faults(house):
    with pytest.raises(NotFound) as caught:
        create_config(house, "refused", variant("nowhere"), variant("A-Model", "b"))
    assert str(caught.value) == f"{MISSING[:-1]} (in ProductionVariants[0].ModelName)."
    with pytest.raises(NotFound, match="model/a-model"):
        create_config(house, "refused", variant("a-model"))
    faults = faults_of(house, variant("nowhere", InitialInstanceCount=99))
    assert faults.keys() == {"ProductionVariants[0].ModelName", "ProductionVariants[0].InitialInstanceCount"}
    assert MISSING.rstrip(".") in str(faults["ProductionVariants[0].ModelName"])


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"AcceleratorType": "ml.eia1.medium"}, "AcceleratorType"),
        ({"CoreDumpConfig": {}}, "CoreDumpConfig"),
        ({"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}, "ServerlessConfig"),
        ({"VolumeSizeInGB": 1}, "VolumeSizeInGB"),
        ({"EnableSSMAccess": True}, "EnableSSMAccess"),
        ({"ManagedInstanceScaling": {"Status": "DISABLED"}}, "ManagedInstanceScaling"),
        ({"RoutingConfig": {"RoutingStrategy": "RANDOM"}}, "RoutingConfig.RoutingStrategy"),
        ({"InstancePools": [{}]}, "InstancePools"),
        ({"VariantInstanceProvisionTimeoutInSeconds": 300}, "VariantInstanceProvisionTimeoutInSeconds"),
        ({"InferenceAmiVersion": "al2-ami-sagemaker-inference-gpu-2"}, "InferenceAmiVersion"),
        ({"CapacityReservationConfig": {}}, "CapacityReservationConfig"),
        ({"InitialInstanceCount": 17}, "InitialInstanceCount"),
        ({"InitialInstanceCount": 0}, "InitialInstanceCount"),
    ],
)
def test_what_cannot_be_honoured_in_a_variant_is_refused_by_name(house, changes, where):
    faults = faults_of(house, variant("A-Model", "a"), variant("A-Model", "b", **changes))
    assert faults.keys() == {f"ProductionVariants[1].{where}"}


@pytest.mark.parametrize("missing", ["ModelName", "InitialInstanceCount"])
def test_a_variant_names_its_model_and_how_many_replicas_it_has(house, missing):
    given = variant("A-Model")
    del given[missing]
    assert faults_of(house, given).keys() == {f"ProductionVariants[0].{missing}"}


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"DataCaptureConfig": {"EnableCapture": False}}, "DataCaptureConfig"),
        ({"KmsKeyId": "key"}, "KmsKeyId"),
        ({"ExplainerConfig": {}}, "ExplainerConfig"),
        ({"ShadowProductionVariants": [variant("A-Model")]}, "ShadowProductionVariants"),
        ({"ExecutionRoleArn": houses.ROLE}, "ExecutionRoleArn"),
        ({"VpcConfig": {}}, "VpcConfig"),
        ({"MetricsConfig": {}}, "MetricsConfig"),
        ({"Tags": [{"Key": "a", "Value": ""}] * 2}, "Tags"),
    ],
)
def test_what_cannot_be_honoured_in_a_configuration_is_refused_by_name(house, changes, where):
    assert faults_of(house, variant("A-Model"), **changes).keys() == {where}


@pytest.mark.parametrize(
    ("names", "weights", "where"),
    [
        (("a", "A"), (1, 1), "ProductionVariants[1].VariantName"),
        (("a", "b"), (0, 0.0), "ProductionVariants"),
        (("a", "b"), (1, 1e300), "ProductionVariants"),
    ],
)
def test_variants_have_names_of_their_own_and_weights_that_can_be_drawn_by(house, names, weights, where):
    given = [variant("A-Model", name, InitialVariantWeight=one) for name, one in zip(names, weights, strict=True)]
    assert faults_of(house, *given).keys() == {where}


@pytest.mark.parametrize(
    ("output", "where"),
    [
        ({}, "S3OutputPath"),
        ({"S3OutputPath": "s3://no-such-bucket/a"}, "S3OutputPath"),
        ({"S3OutputPath": "s3://data/a", "S3FailurePath": "https://data/a"}, "S3FailurePath"),
        ({"S3OutputPath": "s3://data/a", "KmsKeyId": "k"}, "KmsKeyId"),
        ({"S3OutputPath": "s3://data/a", "NotificationConfig": {"ErrorTopic": "t"}}, "NotificationConfig"),
    ],
)
def test_asynchronous_answers_go_where_a_model_s_role_may_write(house, output, where):
    faults = faults_of(house, variant("A-Model"), AsyncInferenceConfig={"OutputConfig": output})
    assert faults.keys() == {f"AsyncInferenceConfig.OutputConfig.{where}"}


def test_the_role_of_each_model_must_write_asynchronous_answers(house):
    arn = "arn:aws:iam::000000000000:role/reader"
    reader = Role(arn=arn, read_prefixes=("s3://data",), write_prefixes=(), passable_by=("*",))
    roles.add(house.db, reader)
    create_model(house, "Reader", publish(house, "read"), ExecutionRoleArn=arn)
    answers = {"OutputConfig": {"S3OutputPath": "s3://data/answers"}}
    faults = faults_of(house, variant("A-Model"), variant("Reader", "r"), AsyncInferenceConfig=answers)
    assert "lies outside what the role may write" in str(faults["AsyncInferenceConfig.OutputConfig.S3OutputPath"])
    roles.remove(house.db, arn)
    faults = faults_of(house, variant("Reader"), AsyncInferenceConfig=answers)
    assert "no such role" in str(faults["AsyncInferenceConfig.OutputConfig: the ExecutionRoleArn of model Reader"])


def test_who_may_not_pass_a_model_s_role_chooses_no_place_that_it_writes_to(house):
    arn = "arn:aws:iam::000000000000:role/kept"
    kept = Role(arn=arn, read_prefixes=("s3://data",), write_prefixes=("s3://data",), passable_by=("GYROCHOSEN",))
    roles.add(house.db, kept)
    chosen, other = (replace(houses.admin(house), access_key_id=key) for key in ("GYROCHOSEN", "GYROOTHER"))
    create_model(house, "Kept", publish(house, "kept"), principal=chosen, ExecutionRoleArn=arn)
    answers = {"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://data/answers"}}}
    faults = faults_of(house, variant("Kept"), principal=other, **answers)
    assert faults.keys() == {"AsyncInferenceConfig.OutputConfig: the ExecutionRoleArn of model Kept"}
    assert create_config(house, "by-passer", variant("Kept"), principal=chosen, **answers)
    assert create_config(house, "without-a-place", variant("Kept"), principal=other)
