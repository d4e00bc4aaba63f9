"""What a request for a transform job may say; every fault of one is told at once."""

import pytest

from gyropilot.control import transform_plans
from gyropilot.errors import InvalidRequest
from mean_transforms import plan, request

LINES = {"split_type": "Line", "assemble_with": "Line"}


def faults(**chosen):
    with pytest.raises(InvalidRequest) as refused:
        transform_plans.read(request(**chosen))
    return [str(fault) for fault in refused.value.faults]


def test_what_a_request_leaves_out_is_filled_in():
    given = transform_plans.read(request(out="out/"))
    assert (given.split, given.assemble, given.is_gzip, given.output_uri) == ("None", "None", False, "s3://data/out")
    assert (given.payload_bytes, given.calls_at_once, given.replicas) == (6 * 2**20, 1, 1)
    assert (given.timeout_seconds, given.retries) == (600, 3)
    assert not given.processing.takes_records_apart


@pytest.mark.parametrize(
    ("chosen", "strategy"),
    [
        ({}, "MultiRecord"),
        ({"content_type": "application/jsonlines"}, "MultiRecord"),
        ({"content_type": "application/json; charset=utf-8"}, "SingleRecord"),
        ({"content_type": "application/json", "strategy": "MultiRecord"}, "MultiRecord"),
        ({"strategy": "SingleRecord"}, "SingleRecord"),
    ],
)
def test_json_lines_are_sent_alone_unless_asked_otherwise(chosen, strategy):
    assert plan(split_type="Line", **chosen).strategy == strategy


@pytest.mark.parametrize(
    ("payload", "concurrent", "is_taken"),
    [
        (100, 1, True),
        (101, None, False),
        (50, 2, True),
        (50, 3, False),
        (None, 16, True),
        (None, 17, False),
        (1, 100, True),
        (0, 100, True),
        (0, 101, False),
        (100, 0, True),
    ],
)
def test_payload_times_concurrent_transforms_is_bounded(payload, concurrent, is_taken):
    given = {"payload": payload, "concurrent": concurrent}
    chosen = {name: value for name, value in given.items() if value is not None}
    if is_taken:
        assert plan(**chosen).calls_at_once == (concurrent or 1)
    else:
        (fault,) = faults(**chosen)
        assert fault.startswith("Max")


def test_zero_is_as_large_as_may_be():
    assert plan(payload=0).payload_bytes == transform_plans.WHOLE_OBJECT_BYTES


def test_an_image_is_one_record_also_where_that_is_said():
    assert plan(content_type="application/x-image", strategy="SingleRecord", split_type="None").split == "None"


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"strategy": "MultiRecord"}, "BatchStrategy: needs a SplitType"),
        ({"split_type": "RecordIO"}, "TransformInput.SplitType: is not split here"),
        ({"split_type": "TFRecord"}, "TransformInput.SplitType: is not split here"),
        ({"kind": "AugmentedManifestFile"}, "TransformInput.DataSource.S3DataSource.S3DataType: is not read here"),
        ({"kind": "Converse"}, "TransformInput.DataSource.S3DataSource.S3DataType: is not read here"),
        ({"content_type": "text/csv; name=\u20ac"}, "TransformInput.ContentType: is no media type"),
        ({"accept": "text/csv\x01"}, "TransformOutput.Accept: is no media type"),
        ({"accept": " text/csv"}, "TransformOutput.Accept: is no media type"),
        ({"instances": 101}, "TransformResources.InstanceCount: is more than 100"),
        ({"input_filter": "features"}, "DataProcessing.InputFilter: cannot be read at character 1"),
        ({"output_filter": "$..x"}, "DataProcessing.OutputFilter: cannot be read at character 2"),
        ({"input_filter": "$.features"}, "DataProcessing.InputFilter: names members of objects"),
        ({"output_filter": "$.x", "accept": "text/csv"}, "DataProcessing.OutputFilter: names members of objects"),
        ({"output_filter": "$['id','x']", "join_source": "Input"}, "DataProcessing.OutputFilter: names members"),
        ({"content_type": "image/png", "input_filter": "$[1:]"}, "TransformInput.ContentType: must say what the"),
        ({"content_type": "image/png", "join_source": "Input"}, "TransformInput.ContentType: must say what the"),
        ({"accept": "image/png", "output_filter": "$[0]"}, "TransformOutput.Accept: must be of records"),
        (
            {"accept": "application/json", "join_source": "Input"},
            "TransformOutput.Accept: text/csv and application/json",
        ),
        ({"split_type": "Line", "join_source": "Input"}, "TransformOutput.AssembleWith: must be Line"),
        (
            {"split_type": "Line", "output_filter": "$[0]", "assemble_with": "None"},
            "TransformOutput.AssembleWith: must",
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(chosen, said):
    (fault,) = faults(**chosen)
    assert fault.startswith(said)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("TransformOutput", "KmsKeyId", "key"),
        ("TransformResources", "VolumeKmsKeyId", "key"),
        ("TransformResources", "TransformAmiVersion", "ami"),
        (None, "DataCaptureConfig", {"DestinationS3Uri": "s3://data/c"}),
        (None, "ExperimentConfig", {"TrialName": "t"}),
    ],
)
def test_members_that_mean_nothing_here_are_refused_by_name(part, name, value):
    given = request()
    (given[part] if part else given)[name] = value
    with pytest.raises(InvalidRequest, match=f"^{part + '.' if part else ''}{name}: "):
        transform_plans.read(given)


def test_an_empty_key_is_none():
    given = request()
    given["TransformOutput"]["KmsKeyId"] = ""
    transform_plans.read(given)


def test_all_faults_are_told_at_once():
    told = faults(
        split_type="RecordIO", payload=101, instances=200, kind="Converse", input_filter="$[", output_filter="x"
    )
    assert [one.partition(":")[0].rpartition(".")[2] for one in told] == [
        "SplitType",
        "S3DataType",
        "MaxPayloadInMB",
        "InstanceCount",
        "InputFilter",
        "OutputFilter",
    ]
