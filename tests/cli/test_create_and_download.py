import csv
import hashlib
import json

import pytest

import services


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "questions.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("input", "output"), *services.rows(30)])
    return path


@pytest.fixture(scope="module")
def made(service, rows):
    """A job made of options that ended well."""
    ran = service.gyropilot("jobs", "create", "--data", rows, "--name", "flags", *_options(), "--watch")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.startswith("Created flags.  Follow it: gyropilot jobs watch flags\n")
    next_steps = "Serve it: gyropilot deploy flags  Fetch it: gyropilot jobs download flags\n"
    assert ran.stderr == f"uploading questions.csv ...\n{next_steps}"
    return "flags"


def _options():
    return ("--base-model", services.TINY, "--epochs", "1", "--batch-size", "4", "--set", "learningRateWarmupSteps=0")


@pytest.mark.slow
def test_a_job_made_of_options_is_the_one_that_dry_run_prints(service, rows, made):
    printed = service.gyropilot("jobs", "create", "--data", rows, "--name", "flags", *_options(), "--dry-run")
    request = json.loads(printed.stdout)
    described = service.sdk().describe(made)
    for field in ("AutoMLJobInputDataConfig", "OutputDataConfig", "AutoMLProblemTypeConfig", "RoleArn"):
        assert described[field] == request[field]
    again = service.gyropilot(
        "jobs", "create", "--request", "-", "--json", input=printed.stdout.replace("flags", "twin")
    )
    assert json.loads(again.stdout)["AutoMLJobArn"].endswith("/twin"), again.stderr
    service.sdk().stop("twin")


@pytest.mark.slow
def test_the_same_data_is_uploaded_once(service, rows, made):
    ran = service.gyropilot("jobs", "create", "--data", rows, "--base-model", services.TINY, "--name", "again")
    assert (ran.returncode, ran.stderr) == (0, "")
    service.sdk().stop("again")


@pytest.mark.slow
def test_what_a_job_made_is_fetched_whole_and_again_for_nothing(service, made, tmp_path):
    ran = service.gyropilot("jobs", "download", made, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    folder = tmp_path / made
    assert f"in {made}/" in ran.stdout
    manifest = json.loads((folder / "manifest.json").read_text())["files"]
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert files.keys() == manifest.keys() | {"manifest.json"}
    for name, one in manifest.items():
        assert hashlib.sha256(files[name].read_bytes()).hexdigest() == one["sha256"]
    again = service.gyropilot("jobs", "download", made, cwd=tmp_path)
    assert (again.stdout, again.stderr) == (ran.stdout, "")


@pytest.mark.slow
def test_a_changed_file_is_kept_until_it_is_given_up(service, made, tmp_path):
    (tmp_path / "report.html").write_text("mine")
    refused = service.gyropilot("jobs", "download", made, tmp_path)
    assert refused.returncode == 1
    assert "report.html" in refused.stderr
    assert "--overwrite" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    ran = service.gyropilot("jobs", "download", made, tmp_path, "--only", "report.html", "--overwrite")
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "report.html").read_text().startswith("<!doctype")


@pytest.mark.slow
def test_a_folder_that_cannot_be_is_told_in_one_line(service, made, tmp_path):
    (tmp_path / "file").write_text("mine")
    ran = service.gyropilot("jobs", "download", made, tmp_path / "file" / "folder")
    assert ran.returncode == 1
    assert "Not a directory; make room, or choose another folder" in ran.stderr.splitlines()[-1]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.slow
def test_an_object_changed_after_the_job_is_told_and_not_kept(service, made, tmp_path):
    s3 = service.boto3("s3")
    bucket, key = "gyropilot-000000000000", f"output/{made}/training.jsonl"
    body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    for other in (body[::-1], body + b"more", body[:-1]):
        s3.put_object(Bucket=bucket, Key=key, Body=other)
        ran = service.gyropilot("jobs", "download", made, tmp_path, "--only", "training.jsonl")
        assert ran.returncode == 1
        assert "is not what the job wrote" in ran.stderr.splitlines()[-1]
        assert not list(tmp_path.rglob("*.jsonl*"))
    s3.put_object(Bucket=bucket, Key=key, Body=body)
    manifest = f"output/{made}/manifest.json"
    kept = s3.get_object(Bucket=bucket, Key=manifest)["Body"].read()
    s3.put_object(Bucket=bucket, Key=manifest, Body=b'{"files": {"../../evil": {"sha256": "", "size_bytes": 1}}}')
    ran = service.gyropilot("jobs", "download", made, tmp_path)
    assert "was changed after the job wrote it" in ran.stderr
    s3.put_object(Bucket=bucket, Key=manifest, Body=kept)


def test_what_is_wrong_with_the_options_is_one_line(service, rows, tmp_path):
    (tmp_path / "request.json").write_text("{}")
    for arguments, said in (
        ([], "Give --data with the rows to train on, or --request"),
        (["--request", tmp_path / "request.json", "--epochs", "1"], "--request holds the whole request"),
        (["--data", tmp_path / "nowhere.csv"], "does not exist"),
        (["--data", ""], "an empty text is no place"),
        (["--data", rows, "--home", ""], "an empty text is no folder"),
        (["--data", rows, "--validation", rows, "--validation-fraction", "0.5"], "not both"),
        (["--data", rows, "--epochs", "1", "--set", "epochCount=2"], "say the same"),
        (["--data", rows, "--set", "epochCount"], "is not KEY=VALUE"),
        (["--data", rows, "--tag", "a=1", "--tag", "a=2"], "is given twice"),
        (["--data", rows, "--time-limit", "soon"], "is no time"),
        (["--data", rows, "--validation-fraction", "1"], "0<x<1"),
        (["--data", rows, "--mode", "auto"], "--mode: of tables; say with --target which column is to be predicted"),
        (["--data", rows, "--target", "output", "--set", "a=1"], "a job on a table, --set one on a language model"),
        (["--data", rows, "--target", "output", "--objective", "loss"], "'loss' is not one of"),
        (["--data", rows, "--target", "output", "--candidate-time-limit", "soon"], "is no time"),
    ):
        ran = service.gyropilot("jobs", "create", *arguments)
        assert ran.returncode == 2, ran.stderr
        assert said in ran.stderr
        assert len(ran.stderr.splitlines()) == 1


def test_the_options_of_a_table_make_a_request_for_one(service, rows):
    options = ("--target", "output", "--mode", "ensembling", "--objective", "auc", "--algorithm", "lightgbm")
    ran = service.gyropilot("jobs", "create", "--data", rows, *options, "--max-candidates", "2", "--dry-run")
    assert ran.returncode == 0, ran.stderr
    request = json.loads(ran.stdout)
    assert request["AutoMLJobObjective"] == {"MetricName": "AUC"}
    assert request["AutoMLProblemTypeConfig"]["TabularJobConfig"] == {
        "TargetAttributeName": "output",
        "Mode": "ENSEMBLING",
        "CandidateGenerationConfig": {"AlgorithmsConfig": [{"AutoMLAlgorithms": ["lightgbm"]}]},
        "CompletionCriteria": {"MaxCandidates": 2},
    }


def test_a_table_without_a_target_is_asked_for_it(service, tmp_path):
    table = tmp_path / "bc.csv"
    table.write_text("radius, texture,class\n1,2,b\n")
    ran = service.gyropilot("jobs", "create", "--data", table)
    assert ran.returncode == 2
    assert "has the columns 'radius', 'texture', 'class': say with --target" in ran.stderr
    table.write_text("input,output\na,b\n")
    assert service.gyropilot("jobs", "create", "--data", table, "--dry-run").returncode == 0


def test_wrong_values_are_refused_by_the_service_all_at_once(service, rows):
    ran = service.gyropilot(
        "jobs", "create", "--data", rows, "--base-model", "Tinny", "--epochs", "eleven", "--set", "epochs=3"
    )
    assert ran.returncode == 1
    last = ran.stderr.splitlines()[-1]
    for said in ("did you mean Tiny?", "epochCount", "is no hyperparameter of text generation"):
        assert said in last


def test_a_job_without_artifacts_is_told(service):
    service.sdk().create_job(services.request(service, "unmade"))
    service.sdk().stop("unmade")
    service.sdk().wait("unmade", timeout_seconds=60, poll_seconds=0.1)
    ran = service.gyropilot("jobs", "download", "unmade")
    assert ran.returncode == 1
    assert "unmade has no artifacts: it is Stopped" in ran.stderr
