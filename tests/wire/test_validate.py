"""Shape faults: all at once, in the service's wording, by the model's own limits."""

# ruff: noqa: E501 - the messages stand in one piece, as the service writes them
import re
import time
from datetime import UTC, datetime

import pytest

from gyropilot.errors import InvalidShape
from gyropilot.wire import service_model
from gyropilot.wire.validate import validated

MODEL = service_model.load("sagemaker", lambda name: "AutoMLJob" in name or name == "CreateTrainingJob")
CREATE = MODEL.operations["CreateAutoMLJobV2"].input
LIST = MODEL.operations["ListAutoMLJobs"].input
CANDIDATES = MODEL.operations["ListCandidatesForAutoMLJob"].input
TRAINING = MODEL.operations["CreateTrainingJob"].input

ROLE = "arn:aws:iam::000000000000:role/gyropilot"


def request(**changes):
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/train/"}}
    whole = {
        "AutoMLJobName": "a-job",
        "AutoMLJobInputDataConfig": [{"ChannelType": "training", "DataSource": source}],
        "OutputDataConfig": {"S3OutputPath": "s3://data/out/"},
        "AutoMLProblemTypeConfig": {"TextGenerationJobConfig": {}},
        "RoleArn": ROLE,
    }
    return {name: value for name, value in (whole | changes).items() if value is not ...}


def generation(**config):
    return request(AutoMLProblemTypeConfig={"TextGenerationJobConfig": config})


def faults(shape, value):
    with pytest.raises(InvalidShape) as error:
        validated(shape, value)
    text = str(error.value)
    count, _, rest = text.partition(" validation error")
    listed = rest.partition("detected: ")[2]
    return int(count), listed


def test_a_whole_request_passes_as_it_came():
    whole = generation(
        BaseModelName="SmolLM2-135M",
        TextGenerationHyperParameters={"epochCount": "2", "learningRate": "0.001"},
        ModelAccessConfig={"AcceptEula": True},
        CompletionCriteria={"MaxCandidates": 1},
    ) | {"Tags": [{"Key": "team", "Value": "Zürich 東京"}], "DataSplitConfig": {"ValidationFraction": 0.2}}
    assert validated(CREATE, whole) == whole


def test_nulls_mean_absence():
    assert validated(CREATE, request(Tags=None, SecurityConfig=None)) == request()
    assert faults(CREATE, request(RoleArn=None))[1] == (
        "Value null at 'roleArn' failed to satisfy constraint: Member must not be null"
    )


def test_timestamps_become_aware_times():
    found = validated(LIST, {"CreationTimeAfter": 1700000000, "CreationTimeBefore": 1700000000.25})
    assert found["CreationTimeAfter"] == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert found["CreationTimeBefore"].microsecond == 250_000


ONE_FAULT = [
    (CREATE, request(AutoMLJobName=...), "null", "autoMLJobName", "Member must not be null"),
    (
        CREATE,
        request(AutoMLJobName="a" * 33),
        "'" + "a" * 33 + "'",
        "autoMLJobName",
        "Member must have length less than or equal to 32",
    ),
    (
        CREATE,
        request(AutoMLJobName="a_b"),
        "'a_b'",
        "autoMLJobName",
        "Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,31}",
    ),
    (CREATE, request(AutoMLJobName=7), "'7'", "autoMLJobName", "Member must be a string"),
    (
        CREATE,
        request(AutoMLJobInputDataConfig=[]),
        "'[]'",
        "autoMLJobInputDataConfig",
        "Member must have length greater than or equal to 1",
    ),
    (
        CREATE,
        request(AutoMLJobInputDataConfig=[{}, {}, {}]),
        "'[{}, {}, {}]'",
        "autoMLJobInputDataConfig",
        "Member must have length less than or equal to 2",
    ),
    (
        CREATE,
        request(AutoMLJobInputDataConfig=[{"ChannelType": "test"}]),
        "'test'",
        "autoMLJobInputDataConfig.1.member.channelType",
        "Member must satisfy enum value set: [training, validation]",
    ),
    (
        CREATE,
        request(AutoMLJobInputDataConfig=[{"DataSource": {}}]),
        "null",
        "autoMLJobInputDataConfig.1.member.dataSource.s3DataSource",
        "Member must not be null",
    ),
    (
        CREATE,
        request(AutoMLJobInputDataConfig=[None]),
        "null",
        "autoMLJobInputDataConfig.1.member",
        "Member must not be null",
    ),
    (
        CREATE,
        request(OutputDataConfig={"S3OutputPath": "file:///etc"}),
        "'file:///etc'",
        "outputDataConfig.s3OutputPath",
        "Member must satisfy regular expression pattern: (https|s3)://([^/]+)/?(.*)",
    ),
    (
        CREATE,
        request(AutoMLProblemTypeConfig={}),
        "'{}'",
        "autoMLProblemTypeConfig",
        "Member must have exactly one of these members set: [ImageClassificationJobConfig, TextClassificationJobConfig, TimeSeriesForecastingJobConfig, TabularJobConfig, TextGenerationJobConfig]",
    ),
    (
        CREATE,
        request(DataSplitConfig={"ValidationFraction": 1.5}),
        "'1.5'",
        "dataSplitConfig.validationFraction",
        "Member must have value less than or equal to 1",
    ),
    (
        CREATE,
        generation(CompletionCriteria={"MaxCandidates": 0}),
        "'0'",
        "autoMLProblemTypeConfig.textGenerationJobConfig.completionCriteria.maxCandidates",
        "Member must have value greater than or equal to 1",
    ),
    (
        CREATE,
        generation(TextGenerationHyperParameters={"epochCount": "a b"}),
        "'{epochCount=a b}'",
        "autoMLProblemTypeConfig.textGenerationJobConfig.textGenerationHyperParameters",
        "Map value must satisfy constraint: [Member must have length less than or equal to 16, Member must have length greater than or equal to 0, Member must satisfy regular expression pattern: [a-zA-Z0-9._-]+]",
    ),
    (
        CREATE,
        generation(TextGenerationHyperParameters={"epoch count": "1"}),
        "'{epoch count=1}'",
        "autoMLProblemTypeConfig.textGenerationJobConfig.textGenerationHyperParameters",
        "Map keys must satisfy constraint: [Member must have length less than or equal to 32, Member must have length greater than or equal to 0, Member must satisfy regular expression pattern: [a-zA-Z0-9._-]+]",
    ),
    (
        CREATE,
        generation(TextGenerationHyperParameters={"epochCount": 1}),
        "'1'",
        "autoMLProblemTypeConfig.textGenerationJobConfig.textGenerationHyperParameters.epochCount.member",
        "Member must be a string",
    ),
    (
        CREATE,
        generation(ModelAccessConfig={"AcceptEula": "true"}),
        "'true'",
        "autoMLProblemTypeConfig.textGenerationJobConfig.modelAccessConfig.acceptEula",
        "Member must be true or false",
    ),
    (
        CREATE,
        request(SecurityConfig={"VpcConfig": {"SecurityGroupIds": ["sg_1", "sg-2"], "Subnets": ["s-1"]}}),
        "'[sg_1, sg-2]'",
        "securityConfig.vpcConfig.securityGroupIds",
        "Member must satisfy constraint: [Member must have length less than or equal to 32, Member must have length greater than or equal to 0, Member must satisfy regular expression pattern: [-0-9a-zA-Z]+]",
    ),
    (
        CREATE,
        request(Tags=[{"Key": "", "Value": "x"}]),
        "''",
        "tags.1.member.key",
        "Member must have length greater than or equal to 1",
    ),
    (
        CREATE,
        request(Tagz=[]),
        "'[]'",
        "tagz",
        "Member must be known: CreateAutoMLJobV2Request has none of this name; did you mean 'Tags'?",
    ),
    (LIST, {"MaxResults": 101}, "'101'", "maxResults", "Member must have value less than or equal to 100"),
    (LIST, {"MaxResults": True}, "'true'", "maxResults", "Member must be a 32-bit integer"),
    (LIST, {"MaxResults": 2**40}, "'1099511627776'", "maxResults", "Member must be a 32-bit integer"),
    (LIST, {"MaxResults": 5.5}, "'5.5'", "maxResults", "Member must be a 32-bit integer"),
    (
        LIST,
        {"CreationTimeAfter": "2024-01-01"},
        "'2024-01-01'",
        "creationTimeAfter",
        "Member must be a timestamp in seconds since 1970",
    ),
    (
        LIST,
        {"CreationTimeAfter": 1e300},
        "'1e+300'",
        "creationTimeAfter",
        "Member must be a timestamp in seconds since 1970",
    ),
    (CREATE, request(RoleArn=[]), "'[]'", "roleArn", "Member must be a string"),
]


@pytest.mark.parametrize(("shape", "value", "shown", "path", "constraint"), ONE_FAULT)
def test_a_fault_is_told_in_the_service_s_words(shape, value, shown, path, constraint):
    assert faults(shape, value) == (1, f"Value {shown} at '{path}' failed to satisfy constraint: {constraint}")


def test_two_members_of_a_union_are_one_too_many():
    both = {"TextGenerationJobConfig": {}, "ImageClassificationJobConfig": {}}
    count, text = faults(CREATE, request(AutoMLProblemTypeConfig=both))
    assert count == 1
    assert "Member must have exactly one of these members set" in text


def test_all_faults_of_a_request_are_told_at_once():
    wrong = request(
        AutoMLJobName="-bad-",
        RoleArn="role",
        OutputDataConfig={},
        AutoMLJobObjective={"MetricName": "Speed"},
        DataSplitConfig={"ValidationFraction": -1},
        Tags=[{"Key": "k"}, {"Key": "!", "Value": "v"}],
        Unknown=1,
    )
    count, text = faults(CREATE, wrong)
    assert count == 9
    expected = ["unknown", "autoMLJobName", "roleArn", "outputDataConfig.s3OutputPath", "autoMLJobObjective.metricName",
                "dataSplitConfig.validationFraction", "tags.1.member.value", "tags.2.member.key"]  # fmt: skip
    assert [path for path in expected if f" at '{path}' " not in text] == []
    assert text.count(" at 'roleArn' ") == 2
    with pytest.raises(InvalidShape, match=r"^9 validation errors detected: "):
        validated(CREATE, wrong)


def test_of_many_values_the_nearest_is_told_and_how_many_there_are():
    _, listed = faults(TRAINING, {"ResourceConfig": {"InstanceType": "ml.m5.larg"}})
    told = [one for one in listed.split("; Value") if "instanceType" in one]
    assert len(told) == 1
    assert re.search(
        r"enum value set: TrainingInstanceType, which has \d\d+ values; did you mean 'ml\.m5\.large'\?$", told[0]
    )


def test_an_operation_without_input_takes_none():
    assert validated(None, {}) == {}
    assert faults(None, {"A": 1})[0] == 1


def test_sensitive_values_are_not_shown():
    secret = "s" * 5000
    shapes = service_model.shapes_below([TRAINING])
    sensitive = [shape for shape in shapes.values() if shape.is_sensitive and shape.maximum]
    for shape in sensitive:
        wrapper = service_model.Shape(
            name="Wrapper", kind="structure", members={"Secret": shape}, parts={}, required=frozenset(), minimum=None,
            maximum=None, pattern=None, enum=(), is_union=False, is_sensitive=False,
        )  # fmt: skip
        assert secret[:10] not in faults(wrapper, {"Secret": secret})[1]


def test_a_flood_of_faults_is_answered_shortly_and_soon():
    started_at = time.perf_counter()
    many = {f"Unknown{number}": number for number in range(50_000)}
    with pytest.raises(InvalidShape) as error:
        validated(LIST, many)
    assert time.perf_counter() - started_at < 5
    assert str(error.value).startswith("50000 validation errors detected: ")
    assert str(error.value).endswith("and 49900 more")
    assert len(str(error.value)) < 30_000


def test_overlong_values_are_cut_in_the_message():
    text = faults(CREATE, request(RoleArn="x" * 100_000))[1]
    assert len(text) < 1000


def test_a_list_beyond_its_length_is_not_walked():
    count, _ = faults(CREATE, request(AutoMLJobInputDataConfig=[{"ChannelType": "x"}] * 100_000))
    assert count == 1


def test_paths_of_candidates_read_as_the_service_writes_them():
    count, text = faults(CANDIDATES, {"SortBy": "Score"})
    assert count == 2
    assert "Value null at 'autoMLJobName'" in text
    assert "[CreationTime, Status, FinalObjectiveMetricValue]" in text
