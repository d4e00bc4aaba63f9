"""Responses: what is written is what botocore reads back."""

import json
from datetime import UTC, datetime

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import JSONParser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gyropilot.wire import service_model
from gyropilot.wire.patterns import compiled
from gyropilot.wire.respond import render
from gyropilot.wire.validate import validated

NAMES = ["DescribeAutoMLJobV2", "ListAutoMLJobs", "ListCandidatesForAutoMLJob", "CreateAutoMLJobV2"]
MODEL = service_model.load("sagemaker", lambda name: name in {*NAMES, "StopAutoMLJob"})
THEIRS = ServiceModel(Loader().load_service_model("sagemaker", "service-2"), "sagemaker")
OURS = service_model.load("gyropilot", lambda name: True)


def values(shape):
    """Give a strategy of values of a shape, within its limits."""
    if shape.enum:
        return st.sampled_from(shape.enum)
    low, high = shape.minimum, shape.maximum
    match shape.kind:
        case "string" if "\\p{" in (shape.pattern or ""):
            return st.text("aZ9 é東_.:/=+-@", min_size=low or 0, max_size=min(high, 20))
        case "string" if shape.pattern:
            return st.from_regex(compiled(shape.pattern), fullmatch=True).filter(
                lambda text: (low or 0) <= len(text) <= (high or 4096)
            )
        case "string":
            return st.text(st.characters(exclude_categories=["Cs"]), min_size=low or 0, max_size=min(high or 20, 20))
        case "integer" | "long":
            return st.integers(low or 0, high or 2**31 - 1)
        case "float" | "double":
            return st.floats(low, high, allow_nan=False, allow_infinity=False, width=32)
        case "boolean":
            return st.booleans()
        case "timestamp":
            return st.datetimes(
                datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)
            ).map(lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000))  # fmt: skip
        case "list":
            return st.lists(values(shape.parts["member"]), min_size=low or 0, max_size=min(high or 2, 2))
        case "map":
            return st.dictionaries(
                values(shape.parts["key"]), values(shape.parts["value"]), min_size=low or 0, max_size=2
            )
    return structures(shape)


def structures(shape):
    if shape.is_union:
        one = [st.fixed_dictionaries({name: values(inner)}) for name, inner in shape.members.items()]
        return st.one_of(one)
    required = {name: values(inner) for name, inner in shape.members.items() if name in shape.required}
    optional = {name: values(inner) for name, inner in shape.members.items() if name not in shape.required}
    return st.fixed_dictionaries(required, optional=optional)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_botocore_reads_back_what_is_written(name, data):
    operation = MODEL.operations[name]
    response = data.draw(structures(operation.output))
    body = render(operation.output, response)
    output = THEIRS.operation_model(name).output_shape
    parsed = JSONParser().parse({"body": body, "headers": {}, "status_code": 200}, output)
    parsed.pop("ResponseMetadata")
    assert parsed == response


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_generated_requests_within_the_limits_hold(data):
    shape = MODEL.operations["CreateAutoMLJobV2"].input
    request = data.draw(structures(shape))
    assert validated(shape, json.loads(json.dumps(request))) == request


def test_times_are_epoch_seconds_and_nulls_are_left_out():
    shape = OURS.operations["ListJobEvents"].output
    at = datetime(2024, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC)
    event = {"Sequence": 1, "At": at, "Kind": "finding", "Message": "found", "Detail": None}
    assert json.loads(render(shape, {"Events": [event]})) == {
        "Events": [{"Sequence": 1, "At": 1704164645.679, "Kind": "finding", "Message": "found"}]
    }


def test_an_operation_without_output_has_an_empty_body():
    assert render(MODEL.operations["StopAutoMLJob"].output, None) == b""
    with pytest.raises(ValueError, match="without output"):
        render(None, {"A": 1})


AT = datetime(2024, 1, 1, tzinfo=UTC)
SUMMARY = {
    "AutoMLJobName": "a",
    "AutoMLJobArn": "arn",
    "AutoMLJobStatus": "InProgress",
    "AutoMLJobSecondaryStatus": "Starting",
    "CreationTime": AT,
    "LastModifiedTime": AT,
}


@pytest.mark.parametrize(
    "change",
    [{"Unknown": 1}, {"AutoMLJobName": None}, {"AutoMLJobName": 7}, {"CreationTime": 1.0},
     {"CreationTime": datetime(2024, 1, 1)}, {"PartialFailureReasons": {}}, {"PartialFailureReasons": [{"X": 1}]}],
)  # fmt: skip
def test_a_response_of_another_shape_is_a_fault_of_ours(change):
    shape = MODEL.operations["ListAutoMLJobs"].output
    assert render(shape, {"AutoMLJobSummaries": [SUMMARY]})
    with pytest.raises(ValueError, match="ListAutoMLJobsResponse"):
        render(shape, {"AutoMLJobSummaries": [SUMMARY | change]})


def test_numbers_that_json_lacks_are_refused_except_in_free_form():
    shape = MODEL.operations["ListCandidatesForAutoMLJob"].output
    times = {"CreationTime": datetime(2024, 1, 1, tzinfo=UTC), "LastModifiedTime": datetime(2024, 1, 1, tzinfo=UTC)}
    candidate = {
        "CandidateName": "a", "ObjectiveStatus": "Succeeded", "CandidateSteps": [], "CandidateStatus": "Completed",
        **times, "CandidateProperties": {"CandidateMetrics": [{"Value": float("nan")}]},
    }  # fmt: skip
    with pytest.raises(ValueError, match="JSON"):
        render(shape, {"Candidates": [candidate]})
    progress = {
        "AutoMLJobName": "a",
        "Status": "InProgress",
        "SecondaryStatus": "x",
        "Progress": {"loss": float("inf")},
    }
    assert b'"loss":"inf"' in render(OURS.operations["DescribeJobProgress"].output, progress)
