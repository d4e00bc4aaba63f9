"""Log groups of endpoints and transform jobs, whose rows and logs are written as their runners write them."""

import houses
from gyropilot import names
from gyropilot.control import log_events
from gyropilot.store import endpoints, transform_jobs
from gyropilot.store.job_logs import JobLog
from gyropilot.store.named_rows import NewRow


def row(name, kind):
    arn = names.arn(region=houses.REGION, account_id=names.ACCOUNT_ID, kind=kind, name=name)
    return {"account_id": names.ACCOUNT_ID, "region": houses.REGION, "name": name, "arn": arn}


def write(folder, *lines):
    log = JobLog(folder, most_bytes=2**20)
    log.write("".join(f"{line}\n" for line in lines).encode())
    log.close()


def read(house, admin, group, stream):
    asked = {"logGroupName": group, "logStreamName": stream}
    return [one["message"] for one in log_events.events(house, admin, houses.REGION, asked)["events"]]


def streams(house, admin, group, **asked):
    found = log_events.streams(house, admin, houses.REGION, {"logGroupName": group} | asked)["logStreams"]
    return [one["logStreamName"] for one in found]


def test_an_endpoint_has_a_group_and_each_replica_a_stream(house, admin):
    wanted = {"config_name": "c", "variants": []}
    endpoint = endpoints.create(house.db, NewRow(**row("Mine", "endpoint")), principal="G", wanted=wanted, tags={})
    group = "/aws/sagemaker/Endpoints/Mine"
    assert streams(house, admin, group) == []
    for replica in ("blue.1", "blue.2", "a.b.1"):
        write(house.settings.logs / "endpoints" / endpoint.id / replica, f"hello of {replica}")
    assert streams(house, admin, group) == ["a.b/1", "blue/1", "blue/2"]
    assert streams(house, admin, group, logStreamNamePrefix="blue/") == ["blue/1", "blue/2"]
    assert read(house, admin, group, "blue/2") == ["hello of blue.2"]
    asked = {"logGroupIdentifier": f"arn:aws:logs:us-east-1:000000000000:log-group:{group}:*", "limit": 1}
    assert len(log_events.streams(house, admin, houses.REGION, asked)["logStreams"]) == 1
    (listed,) = log_events.groups(house, admin, houses.REGION, {})["logGroups"]
    assert listed["logGroupName"] == group


def test_a_transform_job_has_one_stream_which_its_name_finds(house, admin):
    for name in ("job", "job-2"):
        new = {"principal": "G", "request": {}, "model": {}, "tags": {}, "most_open": 10, "call": None}
        made = transform_jobs.create(house.db, NewRow(**row(name, "transform-job")), **new)
        write(house.settings.logs / "transforms" / made.id, f"transforming for {name}")
    group = "/aws/sagemaker/TransformJobs"
    (stream,) = streams(house, admin, group, logStreamNamePrefix="job/", limit=1)
    assert stream == f"job/algo-1-{int(transform_jobs.find(house.db, *place('job')).created_at.timestamp())}"
    assert read(house, admin, group, stream) == ["transforming for job"]
    assert len(streams(house, admin, group)) == 2
    found = log_events.search(house, admin, houses.REGION, {"logGroupName": group, "filterPattern": "transforming"})
    assert {one["message"] for one in found["events"]} == {"transforming for job", "transforming for job-2"}


def place(name):
    return names.ACCOUNT_ID, houses.REGION, name
