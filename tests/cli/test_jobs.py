import json
import os
import pty
import select
import signal
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

import services
from gyropilot.cli import job_page, jobs, watch
from gyropilot.problems.text_generation.tuning.parameters import PARAMETERS
from gyropilot.sdk.values import LogPart, Progress


@pytest.fixture(scope="module")
def completed(service):
    """A job that ended well."""
    service.sdk().create_job(services.request(service, "cli-done", TextGenerationHyperParameters={"epochCount": "1"}))
    job = service.sdk().wait("cli-done", timeout_seconds=120, poll_seconds=0.1)
    assert job["AutoMLJobStatus"] == "Completed", job.get("FailureReason")
    return "cli-done"


@pytest.mark.slow
def test_watching_a_job_that_completes_ends_with_0_and_its_metrics(service, tmp_path):
    config = {"TextGenerationHyperParameters": {"epochCount": "4", "batchSize": "1"}}
    (tmp_path / "request.json").write_text(json.dumps(services.request(service, "cli-watch", **config)))
    ran = service.gyropilot("jobs", "create", "--request", tmp_path / "request.json", "--watch")
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[0] == "Created cli-watch.  Follow it: gyropilot jobs watch cli-watch"
    assert "Serve it: gyropilot deploy cli-watch" in ran.stderr
    assert any(line.startswith("training") and "loss" in line and "tokens/s" in line for line in lines), ran.stdout
    assert any(line.startswith("ValidationLoss") for line in lines)
    assert any(line.startswith("Status") and "Completed" in line for line in lines)


@pytest.mark.slow
def test_the_exit_code_of_watch_says_how_the_job_ended(service):
    config = {"TextGenerationHyperParameters": {"epochCount": "10", "batchSize": "1"}}
    service.sdk().create_job(services.request(service, "cli-stopped", **config))
    stopped = service.gyropilot("jobs", "stop", "cli-stopped", "--wait")
    assert stopped.stdout == "cli-stopped is Stopped.\n", stopped.stderr
    assert service.gyropilot("jobs", "watch", "cli-stopped").returncode == 3

    service.boto3("s3").put_object(Bucket="data", Key="empty/rows.csv", Body=b"input,output\n")
    request = services.request(service, "cli-failed")
    request["AutoMLJobInputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] = "s3://data/empty/"
    service.sdk().create_job(request)
    failed = service.gyropilot("jobs", "watch", "cli-failed")
    assert failed.returncode == 1
    assert any(line.startswith("Reason") for line in failed.stdout.splitlines())


@pytest.mark.slow
def test_a_finished_job_is_listed_shown_and_its_log_printed(service, completed):
    listed = service.gyropilot("jobs", "list", "--status", "completed", "--name", completed)
    assert listed.stdout.splitlines()[0].split() == ["NAME", "STATUS", "PHASE", "CREATED", "TOOK"]
    assert listed.stdout.splitlines()[1].startswith("cli-done  Completed")
    as_json = json.loads(service.gyropilot("jobs", "list", "--json", "--name", completed).stdout)
    assert [one["AutoMLJobName"] for one in as_json] == [completed]

    shown = service.gyropilot("jobs", "show", completed).stdout
    for part in (
        "BaseModelName = Tiny",
        "epochCount = 1\n",
        "batchSize = 8 (default)",
        "model.tar.gz",
        "ValidationLoss",
        "Last events",
    ):
        assert part in shown
    assert json.loads(service.gyropilot("jobs", "show", completed, "--json").stdout)["AutoMLJobStatus"] == "Completed"
    assert service.gyropilot("jobs", "logs", completed).returncode == 0
    assert service.gyropilot("jobs", "logs", "-f", completed).returncode == 0


@pytest.mark.slow
def test_in_a_terminal_the_line_moves_and_ctrl_c_leaves_the_job_running(service):
    config = {"TextGenerationHyperParameters": {"epochCount": "10", "batchSize": "1"}}
    # A bucket of its own, with rows for thousands of steps, so that the job does not end before it is watched.
    services.put_rows(service, services.rows(1000), bucket="long", key="train/rows.csv")
    request = services.request(service, "cli-tty", **config)
    request["AutoMLJobInputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] = "s3://long/train/"
    service.sdk().create_job(request)
    ours, theirs = pty.openpty()
    command = [services.SCRIPTS / "gyropilot", "jobs", "watch", "cli-tty", "--home", service.home]
    watching = subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, env=services.clean_environment())
    os.close(theirs)
    seen = _read_until(ours, b"tokens/s")
    assert b"\r\x1b[K" in seen
    watching.send_signal(signal.SIGINT)
    _, said = watching.communicate(timeout=100)
    assert watching.returncode == 130
    assert b"the job goes on" in said
    assert service.sdk().describe("cli-tty")["AutoMLJobStatus"] == "InProgress"
    service.sdk().stop("cli-tty")
    os.close(ours)


def test_a_refused_request_is_one_line_with_every_fault(service, tmp_path):
    request = services.request(service, "cli-bad", BaseModelName="Nope", CompletionCriteria={"MaxCandidates": 9})
    (tmp_path / "request.json").write_text(json.dumps(request))
    ran = service.gyropilot("jobs", "create", "--request", tmp_path / "request.json")
    assert ran.returncode == 1
    assert len(ran.stderr.splitlines()) == 1
    assert "Nope" in ran.stderr
    assert "MaxCandidates" in ran.stderr


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "\ufeff{}", "[" * 100_000])
def test_a_request_file_that_is_no_json_object_is_a_usage_error(service, tmp_path, text):
    (tmp_path / "request.json").write_text(text)
    ran = service.gyropilot("jobs", "create", "--request", tmp_path / "request.json")
    assert ran.returncode == 2, ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert "request.json" in ran.stderr


def test_no_match_for_a_name_is_said_so(service):
    ran = service.gyropilot("jobs", "list", "--name", "zzz")
    assert (ran.returncode, ran.stdout) == (0, "")
    assert ran.stderr == "No job has zzz in its name.\n"


def test_members_that_the_service_does_not_know_are_named(service):
    ran = service.gyropilot("jobs", "create", "--request", "-", input='{"AutoMLJobNam": "x"}')
    assert ran.returncode == 1
    assert len(ran.stderr.splitlines()) == 1
    assert "AutoMLJobNam" in ran.stderr


@pytest.mark.parametrize("command", ["show", "watch", "logs", "stop"])
def test_a_job_that_is_not_there_is_named(service, command):
    ran = service.gyropilot("jobs", command, "nobody")
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert "nobody" in ran.stderr


def test_a_job_takes_no_time_before_a_worker_begins_with_it():
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    queued = {"AutoMLJobStatus": "InProgress", "AutoMLJobSecondaryStatus": "Starting"}
    queued |= {"CreationTime": at, "LastModifiedTime": at}
    waits = Progress(status="InProgress", secondary_status="Starting", is_queued=True)
    assert (job_page.phase(queued), job_page.took(queued, waits)) == ("waiting", "")
    begun = queued | {"LastModifiedTime": at + timedelta(seconds=1)}
    assert job_page.phase(begun) == "Starting"
    works = Progress(status="Completed", secondary_status="Completed", started_at=at + timedelta(minutes=10))
    assert job_page.took(begun | {"EndTime": at + timedelta(minutes=11)}, works) == "1 min 0 s"


def test_a_completed_job_that_serves_an_endpoint_is_talked_to_and_not_deployed_again():
    job = {"AutoMLJobName": "first", "AutoMLProblemTypeConfigName": "TextGeneration"}
    assert "gyropilot deploy first" in job_page.what_next(job)
    said = job_page.what_next(job | {"ModelDeployResult": {"EndpointName": "shop"}})
    assert "gyropilot try shop" in said
    assert "deploy" not in said


def test_a_pipe_gets_each_line_of_a_watched_job_once(monkeypatch, capsys):
    monkeypatch.setattr(watch, "_PIPE_SECONDS", 0.0)
    said = {"status": "InProgress", "secondary_status": "Training"}
    reading = Progress(**said, phase="reading data", done=3, total=3, unit="rows")
    training = Progress(**said, phase="training", done=1, total=2, unit="step")
    deploying = Progress(status="InProgress", secondary_status="DeployingModel")
    lines = watch._PipeLines()
    for progress in (reading, reading, reading, training, training, deploying, deploying):
        lines.show(progress)
    told = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in told] == ["reading data", "training", "InProgress: DeployingModel"]


def test_a_followed_log_goes_on_after_the_service_was_silent(monkeypatch, capsys):
    class Answering:
        def log(self, name, *, offset):
            return LogPart(text="late\n" if offset == 0 else "", next_offset=5)

    ended = Progress(status="Completed", secondary_status="Completed")
    seen = [(Answering(), None), (Answering(), None), (Answering(), ended)]
    monkeypatch.setattr(watch, "followed", lambda home, name: iter(seen))
    assert jobs._follow_log("job", None, 0) == 5
    told = capsys.readouterr()
    assert (told.out, told.err) == ("late\n", "the service does not answer; waiting for it\n")


def _read_until(terminal, wanted, seconds=90):
    seen = b""

    def read():
        nonlocal seen
        if select.select([terminal], [], [], 0)[0]:
            seen += os.read(terminal, 65536)
        return wanted in seen

    services.wait_until(read, seconds=seconds, what=lambda: f"{wanted!r} in {seen!r}")
    return seen


def test_the_page_knows_every_parameter_of_tuning_by_the_name_that_a_request_gives_it():
    known = {one.kept_as: one.shown_as for one in PARAMETERS if one.name != "silence_progress_bars"}
    assert known == job_page._HYPERPARAMETERS


def test_what_a_job_tunes_by_is_shown_with_what_was_left_to_the_service():
    spec = {"epochs": 3, "learning_rate": None, "defaulted": ["learningRate", "outputModelTypes"]}
    spec["method"] = {"tuning_type": "PROMPT_TUNING", "num_virtual_tokens": 8, "output_model_types": ["DECODER"]}
    spec["method"] |= {"verbalizer": "Say\n{{input}}\x1b", "prompt_tuning_init_text": None}
    assert sorted(job_page._used(spec)) == [
        "epochCount = 3",
        "learningRate = found by a probe (default)",
        "numVirtualTokens = 8",
        "outputModelTypes = DECODER (default)",
        "tuningType = PROMPT_TUNING",
        "verbalizer = Say\\n{{input}}\\x1b",
    ]
    assert job_page._used({"tuning": "LORA", "defaulted": ["tuningType"]}) == ["tuningType = LORA (default)"]
