"""Batch transforms from the terminal, against a service of the small problem type."""

from __future__ import annotations

import json

import pytest

import mean_gyropilot
import mean_transforms
import services

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    home = tmp_path_factory.mktemp("home") / "home"
    with services.running(home, program=mean_gyropilot.PROGRAM, cores=1, memory_gib=1) as running:
        mean_gyropilot.put_numbers(running)
        mean_transforms.train_model(running, "mean")
        s3 = running.boto3("s3")
        s3.put_object(Bucket="data", Key="in/a.csv", Body=b"a,1\nb,2\n")
        s3.put_object(Bucket="data", Key="lines/a.jsonl", Body=b'{"q": 1}\n{"q": 2}\n')
        s3.put_object(Bucket="data", Key="slow/a.csv", Body=b"1\nsleep 60\n")
        yield running


def ran(service, *arguments):
    done = service.gyropilot(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(service, *arguments, code=1):
    done = service.gyropilot(*arguments)
    assert done.returncode == code, done.stdout
    return done.stderr


def got(service, key):
    return service.boto3("s3").get_object(Bucket="data", Key=key)["Body"].read().decode()


def test_a_model_answers_and_a_job_becomes_a_model(service):
    csv = ("--input", "s3://data/in/a.csv", "--output", "s3://data/answers", "--join", "--accept", "text/csv")
    said = ran(service, "transform", "mean", *csv, "--input-filter", "$[1:]", "--name", "joined")
    assert said == "joined is Completed.\n"
    assert got(service, "answers/a.csv.out") == "a,1,2.0\nb,2,2.0\n"
    service.boto3("sagemaker").delete_model(ModelName="mean")
    lines = ("--input", "s3://data/lines/a.jsonl", "--output", "s3://data/answers/", "--output-filter", "$.of")
    described = json.loads(ran(service, "transform", "mean", *lines, "--json"))
    assert described["TransformJobName"].startswith("mean-2")
    assert described["ModelName"].startswith("mean-")
    assert described["MaxConcurrentTransforms"] == 8
    assert got(service, "answers/a.jsonl.out") == '{"q":1}\n{"q":2}\n'


def test_list_show_logs_and_stop(service):
    slow = ("--input", "s3://data/slow/a.csv", "--output", "s3://data/slow-answers", "--name", "slow", "--no-wait")
    assert ran(service, "transform", "mean", *slow) == "slow is InProgress.\n"
    transforms = service.sdk().transforms
    services.wait_until(lambda: "a.csv: begins" in str(transforms.log("slow")), seconds=30, what="it to begin")
    assert ran(service, "transforms", "stop", "slow", "--wait") == "slow is Stopped.\n"
    listed = ran(service, "transforms", "list", "--status", "Stopped").splitlines()
    assert [line.split()[:2] for line in listed] == [["NAME", "STATUS"], ["slow", "Stopped"]]
    assert ran(service, "transforms", "logs", "slow", "-f").rstrip().endswith("gyropilot: Stopped")
    shown = ran(service, "transforms", "show", "slow")
    assert "s3://data/slow/a.csv as text/csv" in shown
    assert "None" in shown


def test_what_is_wrong_is_told_in_a_line(service):
    assert "there is no batch transform slwo; did you mean slow?" in refused(service, "transforms", "show", "slwo")
    places = ("--input", "s3://data/in/a.csv", "--output", "s3://data/answers")
    assert "there is neither a model nor a job named none" in refused(service, "transform", "none", *places)
    assert "does not say what it holds" in refused(
        service, "transform", "mean", "--input", "s3://data/in/", "--output", "s3://data/answers", code=2
    )
    assert "cannot be read at character 1" in refused(service, "transform", "mean", *places, "--input-filter", "x")
