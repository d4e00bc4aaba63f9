"""Transform jobs from request to output, by a real client, on real replicas of the small problem type."""

from __future__ import annotations

import json

import botocore.exceptions
import pytest

import houses
import mean_transforms
import small_disks
from api_servers import serving
from gyropilot.serve.replicas import client as replica_client
from mean_problem import MEAN
from mean_transforms import (
    add_model,
    completed,
    ended,
    get,
    json_lines,
    keys,
    log_of,
    put,
    put_gzip,
    record,
    request,
    running,
)
from replica_houses import wait_until

LINES = {"split_type": "Line", "assemble_with": "Line"}


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    house = houses.build(tmp_path_factory.mktemp("h") / "h", (MEAN,), transforms_at_once=2)
    add_model(house)
    yield house
    house.db.close()


@pytest.fixture(scope="module")
def runner(house):
    with running(house) as runner:
        yield runner


@pytest.fixture(scope="module")
def sagemaker(house):
    with serving(house) as server:
        yield server.client()


def create(sagemaker, name, **chosen):
    sagemaker.create_transform_job(**request(name, **({"data": f"{name}/in/", "out": f"{name}/out"} | chosen)))


def has_folder(house, name):
    return (house.settings.transforms / record(house, name).id).exists()


def test_every_object_below_the_prefix_is_answered_under_its_own_name(house, runner, sagemaker):
    put(house, plain__in__a_csv="1\n2\n", plain__in__deep__b_csv="3\n", plain__in__empty_csv="")
    create(sagemaker, "plain", **LINES)
    waiter = sagemaker.get_waiter("transform_job_completed_or_stopped")
    waiter.wait(TransformJobName="plain", WaiterConfig={"Delay": 0.2, "MaxAttempts": 200})
    found = sagemaker.describe_transform_job(TransformJobName="plain")
    assert found["TransformJobStatus"] == "Completed"
    assert found["CreationTime"] <= found["TransformStartTime"] <= found["TransformEndTime"]
    assert keys(house, "plain/out/") == [
        "plain/out/a.csv.out",
        "plain/out/deep/b.csv.out",
        "plain/out/empty.csv.out",
    ]
    assert get(house, "plain/out/a.csv.out") == "2.0\n2.0\n"
    assert get(house, "plain/out/empty.csv.out") == ""
    wait_until(lambda: not has_folder(house, "plain"), "the job's folder to be gone")
    log = log_of(house, "plain")
    assert "gyropilot: s3://data/plain/in/a.csv: done, 2 records in " in log
    assert log.rstrip().endswith("gyropilot: Completed")
    state = record(house, "plain").state
    assert {"files": 3, "files_done": 3, "files_failed": 0, "records_done": 3}.items() <= state.items()


def test_the_documented_csv_job_keeps_the_id_beside_its_answer(house, runner, sagemaker):
    put(house, join__in__a_csv="".join(f"id-{number},{number},x\n" for number in range(50)))
    chosen = {"input_filter": "$[1]", "join_source": "Input", "output_filter": "$[0,-1]", "accept": "text/csv"}
    create(sagemaker, "join", concurrent=3, instances=2, strategy="SingleRecord", **LINES, **chosen)
    completed(house, "join")
    assert get(house, "join/out/a.csv.out") == "".join(f"id-{number},2.0\n" for number in range(50))


def test_json_lines_are_joined_in_their_order(house, runner, sagemaker):
    put(house, lines__in__a_jsonl="".join(f'{{"id": {number}, "q": [{number}]}}\n' for number in range(40)))
    chosen = {"content_type": "application/jsonlines", "accept": "application/jsonlines", "concurrent": 4}
    chosen |= {"input_filter": "$.q", "join_source": "Input", "output_filter": "$['id','SageMakerOutput']"}
    create(sagemaker, "lines", **LINES, **chosen)
    completed(house, "lines")
    answers = [{"id": number, "SageMakerOutput": {"mean": 2.0, "of": [number]}} for number in range(40)]
    assert json_lines(get(house, "lines/out/a.jsonl.out")) == answers


def test_a_manifest_and_gzip(house, runner, sagemaker):
    put_gzip(house, "packed/in/x/a.csv.gz", "1\n2\n")
    put_gzip(house, "packed/in/b.csv.gz", "3\n")
    put_gzip(house, "packed/in/unnamed.csv.gz", "4\n")
    manifest = [{"prefix": "s3://data/packed/in/"}, "x/a.csv.gz", "b.csv.gz"]
    put(house, packed__manifest=json.dumps(manifest))
    chosen = {"data": "packed/manifest", "kind": "ManifestFile", "out": "packed/out/", "compression": "Gzip"}
    sagemaker.create_transform_job(**request("packed", **LINES, **chosen))
    completed(house, "packed")
    assert keys(house, "packed/out/") == ["packed/out/b.csv.gz.out", "packed/out/x/a.csv.gz.out"]
    assert get(house, "packed/out/x/a.csv.gz.out") == "2.0\n2.0\n"


def test_an_object_that_is_not_split_is_sent_whole(house, runner, sagemaker):
    put(house, whole__in__a_csv="1\n2\n3")
    create(sagemaker, "whole", payload=0)
    completed(house, "whole")
    assert get(house, "whole/out/a.csv.out") == "2.0\n2.0\n2.0\n"


def test_a_record_that_the_model_refuses_fails_the_job_and_the_other_objects_are_stored(house, runner, sagemaker):
    put(house, refused__in__a_csv="1\n2\nrefuse me\n4\nrefuse too\n", refused__in__b_csv="5\n")
    put(house, refused__in__c_csv="1\nbreak\n")
    create(sagemaker, "refused", strategy="SingleRecord", concurrent=4, retries=1, **LINES)
    waiter = sagemaker.get_waiter("transform_job_completed_or_stopped")
    with pytest.raises(botocore.exceptions.WaiterError, match="Failed"):
        waiter.wait(TransformJobName="refused", WaiterConfig={"Delay": 0.2, "MaxAttempts": 200})
    found = sagemaker.describe_transform_job(TransformJobName="refused")
    assert found["FailureReason"].startswith(
        "s3://data/refused/in/a.csv line 3: the model refused it with status 400: row: is the fault asked for"
    )
    assert found["FailureReason"].endswith("(1 more of 3 objects failed; the log has each)")
    assert "c.csv line 2: the model refused it with status 500: The model broke on this call" in log_of(
        house, "refused"
    )
    assert keys(house, "refused/out/") == ["refused/out/b.csv.out"]


def test_of_several_records_at_fault_the_first_is_told(house, runner, sagemaker):
    put(house, first__in__a_csv="1\n2\n3,4\nrefuse\n")
    chosen = {"join_source": "Input", "output_filter": "$[2]", "accept": "text/csv", "concurrent": 4, "retries": 0}
    create(sagemaker, "first", strategy="SingleRecord", **LINES, **chosen)
    found = ended(house, "first")
    assert found.failure_reason.startswith("s3://data/first/in/a.csv line 1: DataProcessing.OutputFilter '$[2]' picks")


def test_a_record_that_ends_its_replica_is_told_and_its_neighbours_are_not(house, runner, sagemaker):
    put(house, dies__in__a_csv="".join(f"{row}\n" for row in [1, 2, 3, "die", 5, 6, 7]), dies__in__b_csv="1\n")
    create(sagemaker, "dies", strategy="SingleRecord", concurrent=5, retries=1, **LINES)
    found = ended(house, "dies")
    assert found.status == "Failed"
    assert found.failure_reason.startswith("s3://data/dies/in/a.csv line 4: its replica ended on it: ")
    assert "(asked 2 times)" in found.failure_reason
    assert keys(house, "dies/out/") == ["dies/out/b.csv.out"]


def test_an_answer_that_takes_too_long_is_told(house, runner, sagemaker):
    put(house, slow__in__a_csv="1\nsleep 30\n")
    create(sagemaker, "slow", strategy="SingleRecord", retries=0, seconds=1, **LINES)
    found = ended(house, "slow")
    assert found.failure_reason.startswith("s3://data/slow/in/a.csv line 2: the model did not answer within 1 s;")


def test_an_answer_that_is_too_long_is_told_and_not_asked_for_again(house, runner, sagemaker, monkeypatch):
    monkeypatch.setattr(replica_client, "MOST_ANSWER_BYTES", 3)
    put(house, long__in__a_csv="1\n")
    create(sagemaker, "long", strategy="SingleRecord", retries=3, **LINES)
    found = ended(house, "long")
    assert found.failure_reason.startswith("s3://data/long/in/a.csv line 1: the model's answer is longer than 3 bytes")
    assert "asked" not in found.failure_reason


def test_a_model_that_cannot_be_loaded_fails_the_job(house, runner, sagemaker):
    put(house, unloadable__in__a_csv="1\n")
    create(sagemaker, "unloadable", environment={"fault": "bad environment"}, **LINES)
    found = ended(house, "unloadable")
    assert (found.status, keys(house, "unloadable/out/")) == ("Failed", [])
    assert found.failure_reason.startswith("The model cannot be started: Environment.fault: is not to be had")


def test_a_job_that_is_stopped_midway_stores_nothing(house, runner, sagemaker):
    put(house, stopped__in__a_csv="1\n", stopped__in__b_csv="2\nsleep 60\n")
    create(sagemaker, "stopped", strategy="SingleRecord", **LINES)
    wait_until(lambda: record(house, "stopped").state.get("records_done") == 2, "two records to be answered")
    sagemaker.stop_transform_job(TransformJobName="stopped")
    assert sagemaker.describe_transform_job(TransformJobName="stopped")["TransformJobStatus"] in ("Stopping", "Stopped")
    assert ended(house, "stopped").status == "Stopped"
    assert keys(house, "stopped/out/") == []
    wait_until(lambda: not has_folder(house, "stopped"), "the job's folder to be gone")
    with pytest.raises(botocore.exceptions.ClientError, match="is in status Stopped and cannot be stopped") as refused:
        sagemaker.stop_transform_job(TransformJobName="stopped")
    assert refused.value.response["Error"]["Code"] == "ValidationException"


def test_a_job_that_is_stopped_while_its_model_loads_waits_for_nothing(house, runner, sagemaker):
    put(house, loading__in__a_csv="1\n")
    create(sagemaker, "loading", environment={"fault": "slow to load"}, **LINES)
    wait_until(
        lambda: record(house, "loading").started_at and "replica 0 starts" in log_of(house, "loading"), "a start"
    )
    sagemaker.stop_transform_job(TransformJobName="loading")
    assert ended(house, "loading").status == "Stopped"
    assert "could not be started" not in log_of(house, "loading")


def test_a_deleted_model_and_a_changed_object(house, runner, sagemaker, tmp_path):
    add_model(house, "leaving")
    put(house, left__in__a_csv=f"1\nwait {tmp_path}/go\n", left__in__b_csv="2\n")
    create(sagemaker, "left", model="leaving", strategy="SingleRecord", **LINES)
    wait_until(lambda: record(house, "left").state.get("records_done"), "a record to be answered")
    mean_transforms.models.remove(house.db, record(house, "left").account_id, houses.REGION, "leaving")
    put(house, left__in__b_csv="3\n")
    (tmp_path / "go").touch()
    found = ended(house, "left")
    assert found.status == "Failed"
    assert found.failure_reason.startswith("s3://data/left/in/b.csv: changed while the job ran")
    assert get(house, "left/out/a.csv.out") == "2.0\n2.0\n"


def test_a_runner_that_comes_after_another_goes_on_where_that_one_was(tmp_path):
    """Handed back in the midst of an object, then run to its end: the bytes are those of a run without a break."""
    house = houses.build(tmp_path / "h", (MEAN,))
    add_model(house)
    rows = [*(f"echo {number}" for number in range(30)), "sleep 2", *(f"echo {number}" for number in range(30, 60))]
    put(house, on__in__a_csv="echo a\n", on__in__b_csv="".join(f"{row}\n" for row in rows))
    with serving(house) as server:
        create(server.client(), "on", strategy="SingleRecord", **LINES)
    with running(house):
        wait_until(lambda: record(house, "on").state.get("records_done", 0) > 1, "records to be answered")
    assert record(house, "on").status == "InProgress"
    folder = house.settings.transforms / record(house, "on").id
    assert (folder / "0.out").exists()
    marked = json.loads((folder / "1.mark").read_text())["mark"]["records"]
    assert 0 < marked <= 60
    with (folder / "1.part").open("ab") as part:
        part.write(b"what a kill leaves behind the mark")
    with running(house):
        completed(house, "on")
    assert get(house, "on/out/a.csv.out") == "2.0,echo a\n"
    wanted = [f"2.0,{row}" if row.startswith("echo") else "2.0" for row in rows]
    assert get(house, "on/out/b.csv.out").splitlines() == wanted
    assert record(house, "on").state["records_done"] == 62
    log = log_of(house, "on")
    assert log.count("in/a.csv: begins") == 1
    assert f"in/b.csv: goes on after line {marked}" in log
    house.db.close()


def test_jobs_run_in_the_order_they_were_created(tmp_path):
    house = houses.build(tmp_path / "h", (MEAN,))
    add_model(house)
    with serving(house) as server:
        for name in ("one", "two"):
            put(house, **{f"{name}__in__a_csv": "1\n"})
            create(server.client(), name)
        create(server.client(), "three", data="one/in/")
        server.client().stop_transform_job(TransformJobName="three")
    assert record(house, "three").status == "Stopped"
    with running(house):
        first, second = completed(house, "one"), completed(house, "two")
    assert first.ended_at <= second.started_at
    house.db.close()


def test_a_full_disk_is_waited_for_and_one_that_stays_full_is_told(tmp_path):
    house = houses.build(tmp_path / "h", (MEAN,))
    add_model(house)
    put(house, full__in__a_csv="1\n")
    with (
        small_disks.mounted(house.settings.transforms, mib=1) as disk,
        serving(house) as server,
        running(house, wait_seconds=[0.2] * 50),
    ):
        disk.fill()
        create(server.client(), "full")
        wait_until(lambda: record(house, "full").started_at and "waits: there is no space" in log_of(house, "full"), "")
        disk.free()
        completed(house, "full")
        assert get(house, "full/out/a.csv.out") == "2.0\n"
    with (
        small_disks.mounted(house.settings.transforms, mib=1) as disk,
        serving(house) as server,
        running(house, wait_seconds=[0.1, 0.1]),
    ):
        disk.fill()
        create(server.client(), "fuller", data="full/in/")
        found = ended(house, "fuller")
    assert found.status == "Failed"
    assert found.failure_reason.startswith("there is no space left on a disk of the service")
    assert found.failure_reason.endswith("; it did not pass in 2 tries")
    house.db.close()
