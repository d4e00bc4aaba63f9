"""CloudWatch Logs by its unmodified clients: boto3, and the loops in which readers of logs go on."""

import json

import pytest
from botocore.exceptions import ClientError

import houses
import mean_jobs
import services
from gyropilot.control import automl_jobs

TRAININGS = "/aws/sagemaker/TrainingJobs"


@pytest.fixture(scope="module")
def logs(trained):
    return trained.client("logs")


@pytest.fixture(scope="module")
def stream(logs):
    """The name of the stream of a training step of the job `one`."""
    (found,) = logs.describe_log_streams(logGroupName=TRAININGS, logStreamNamePrefix="one-mean-1/")["logStreams"]
    return found["logStreamName"]


@pytest.fixture(scope="module")
def whole(trained):
    """The lines of the job's log."""
    return [line for line in mean_jobs.log_of(trained.house, "one").splitlines() if line]


def read_on(logs, stream, token=None, **request):
    """All events from the head or a token on, as the SageMaker SDK reads them: until a page is empty."""
    found, token = [], {"nextToken": token} if token else {}
    while True:
        page = logs.get_log_events(logGroupName=TRAININGS, logStreamName=stream, startFromHead=True, **request, **token)
        token = {"nextToken": page["nextForwardToken"]}
        if not page["events"]:
            return found, page
        found += page["events"]


def test_the_groups_and_streams_of_an_account_are_listed(logs, stream):
    (group,) = logs.describe_log_groups()["logGroups"]
    assert group["logGroupName"] == TRAININGS
    assert group["logGroupArn"] == f"arn:aws:logs:us-east-1:000000000000:log-group:{TRAININGS}"
    assert logs.describe_log_groups(logGroupNamePrefix="/aws/sagemaker/End")["logGroups"] == []
    pages = logs.get_paginator("describe_log_streams").paginate(
        logGroupName=TRAININGS, PaginationConfig={"PageSize": 1}
    )
    names = [one["logStreamName"] for page in pages for one in page["logStreams"]]
    assert [name.partition("/algo-1-")[0] for name in names] == ["broken-mean-0", "one-mean-0", "one-mean-1"]
    newest = logs.describe_log_streams(logGroupName=TRAININGS, orderBy="LastEventTime", descending=True, limit=1)
    (last,) = newest["logStreams"]
    assert last["firstEventTimestamp"] <= last["lastEventTimestamp"] <= last["lastIngestionTime"]


@pytest.mark.parametrize("limit", [1, 4, 10_000])
def test_a_reader_from_the_head_gets_the_whole_log_and_ends(logs, stream, whole, limit):
    found, last = read_on(logs, stream, limit=limit)
    assert [event["message"] for event in found] == whole
    times = [event["timestamp"] for event in found]
    assert times == sorted(times)
    again = logs.get_log_events(
        logGroupName=TRAININGS, logStreamName=stream, startFromHead=True, nextToken=last["nextForwardToken"]
    )
    assert again["nextForwardToken"] == last["nextForwardToken"]


def test_the_newest_lines_come_first_unless_asked_otherwise(logs, stream, whole):
    page = logs.get_log_events(logGroupName=TRAININGS, logStreamName=stream, limit=2)
    assert [event["message"] for event in page["events"]] == whole[-2:]
    before = logs.get_log_events(
        logGroupName=TRAININGS, logStreamName=stream, limit=3, nextToken=page["nextBackwardToken"]
    )
    assert [event["message"] for event in before["events"]] == whole[-5:-2]
    on = logs.get_log_events(
        logGroupName=TRAININGS, logStreamName=stream, limit=3, nextToken=before["nextForwardToken"]
    )
    assert [event["message"] for event in on["events"]] == whole[-2:]


def test_times_bound_what_is_read(logs, stream, whole):
    found, _ = read_on(logs, stream)
    middle = found[len(found) // 2]["timestamp"]
    late, _ = read_on(logs, stream, startTime=middle)
    early, _ = read_on(logs, stream, endTime=middle)
    assert late == [event for event in found if event["timestamp"] >= middle]
    assert early == [event for event in found if event["timestamp"] < middle]
    none, _ = read_on(logs, stream, startTime=found[-1]["timestamp"] + 1)
    assert none == []


def test_lines_are_searched_over_the_streams_of_a_group(logs, stream, whole):
    paginator = logs.get_paginator("filter_log_events")

    def search(**request):
        pages = paginator.paginate(logGroupName=TRAININGS, **request)
        return [event for page in pages for event in page["events"]]

    everything = search(PaginationConfig={"PageSize": 3})
    assert len({event["eventId"] for event in everything}) == len(everything)
    mine = [event["message"] for event in everything if event["logStreamName"] == stream]
    assert mine == whole
    found = search(filterPattern='"phase TrainingModels"', logStreamNames=[stream])
    assert [event["message"] for event in found] == [line for line in whole if "phase TrainingModels" in line]
    assert search(filterPattern="phase -TrainingModels", logStreamNamePrefix="one-mean-1/") == [
        event
        for event in search(logStreamNames=[stream])
        if "phase" in event["message"] and "TrainingModels" not in event["message"]
    ]
    with pytest.raises(logs.exceptions.InvalidParameterException, match="is a kind of pattern that is not read here"):
        search(filterPattern="{ $.level = 1 }")


@pytest.mark.parametrize(
    ("call", "request_", "message"),
    [
        ("describe_log_streams", {"logGroupName": "/aws/none"}, "The specified log group does not exist."),
        ("filter_log_events", {"logGroupName": "/aws/sagemaker/Endpoints/none"}, "log group does not exist"),
        ("get_log_events", {"logGroupName": "/aws/none", "logStreamName": "a"}, "log group does not exist"),
        ("get_log_events", {"logGroupName": TRAININGS, "logStreamName": "a/b"}, "The specified log stream"),
    ],
)
def test_what_is_not_there_is_told_as_the_service_tells_it(logs, call, request_, message):
    with pytest.raises(logs.exceptions.ResourceNotFoundException, match=message):
        getattr(logs, call)(**request_)


@pytest.mark.parametrize(
    ("call", "request_", "message"),
    [
        ("get_log_events", {"logGroupName": TRAININGS, "nextToken": "x"}, "is no token of this stream"),
        ("get_log_events", {}, "0 groups are named"),
        ("get_log_events", {"logGroupName": TRAININGS, "limit": 10_001}, "less than or equal to 10000"),
        ("describe_log_streams", {"logGroupName": TRAININGS, "nextToken": "x"}, "is no token"),
        ("describe_log_groups", {"accountIdentifiers": ["111111111111"]}, "asks about logs of other accounts"),
    ],
)
def test_what_cannot_be_asked_is_an_invalid_parameter(logs, stream, call, request_, message):
    named = {"logStreamName": stream} if call == "get_log_events" else {}
    with pytest.raises(logs.exceptions.InvalidParameterException, match=message):
        getattr(logs, call)(**named, **request_)


def test_another_account_sees_none_of_it(trained, stream):
    house = trained.house
    other, secret = house.credentials.create(account_id="222222222222", kind="operator", name="other")
    logs = trained.client("logs", key=other.access_key_id, secret=secret)
    assert logs.describe_log_groups()["logGroups"] == []
    for call in ("get_log_events", "describe_log_streams"):
        named = {"logStreamName": stream} if call == "get_log_events" else {}
        with pytest.raises(ClientError, match="ResourceNotFoundException"):
            getattr(logs, call)(logGroupName=TRAININGS, **named)


def test_the_aws_cli_reads_them(trained, whole):
    environment = services.clean_environment() | {
        "AWS_ENDPOINT_URL": trained.url,
        "AWS_ACCESS_KEY_ID": trained.key,
        "AWS_SECRET_ACCESS_KEY": trained.secret,
        "AWS_DEFAULT_REGION": houses.REGION,
    }
    command = [services.SCRIPTS / "aws", "logs", "filter-log-events", "--log-group-name", TRAININGS, "--output", "json"]
    command += ["--log-stream-name-prefix", "one-mean-1/", "--query", "events[].message"]
    ran = services.run(command, env=environment)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == whole


def test_what_is_written_after_a_reader_reached_the_end_is_read_next(trained, logs):
    house = trained.house
    mean_jobs.create(house, name="long", tags={"steps": "10000", "step_seconds": "0.01"})
    mean_jobs.wait_until(lambda: mean_jobs.progress_of(house, "long").get("phase") == "training", "training")
    (found,) = logs.describe_log_streams(logGroupName=TRAININGS, logStreamNamePrefix="long-")["logStreams"]
    seen, last = read_on(logs, found["logStreamName"])
    automl_jobs.stop(house, houses.admin(house), houses.REGION, "long")
    mean_jobs.ended(house, "long")
    text = [line for line in mean_jobs.log_of(house, "long").splitlines() if line]
    assert len(seen) < len(text)
    more, _ = read_on(logs, found["logStreamName"], token=last["nextForwardToken"])
    assert [event["message"] for event in [*seen, *more]] == text
