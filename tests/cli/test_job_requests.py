import json
import os

import click
import pytest

from gyropilot.cli import job_requests
from gyropilot.cli.job_requests import TableWishes, Wishes

ROLE = "arn:aws:iam::123456789012:role/gyropilot"
BUCKET = "gyropilot-123456789012"


@pytest.fixture
def rows(tmp_path):
    (tmp_path / "My rows.csv").write_text("input,output\na,b\n")
    return tmp_path / "My rows.csv"


def plan(data, **wishes):
    return job_requests.plan(Wishes(data=str(data), bucket=BUCKET, role_arn=ROLE, **wishes))


def source(channel):
    return channel["DataSource"]["S3DataSource"]["S3Uri"]


def test_a_file_alone_makes_the_smallest_request(rows):
    planned = plan(rows)
    request = planned.request
    (channel,) = request.pop("AutoMLJobInputDataConfig")
    assert channel == {
        "ChannelType": "training",
        "ContentType": "text/csv;header=present",
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": source(channel)}},
    }
    (upload,) = planned.uploads
    assert source(channel).startswith(f"s3://{BUCKET}/data/")
    assert upload.uri == f"{source(channel)}My rows.csv"
    assert planned.bucket == BUCKET
    name = request.pop("AutoMLJobName")
    assert name.startswith("My-rows-")
    assert len(name) <= 32
    assert request == {
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/output"},
        "AutoMLProblemTypeConfig": {"TextGenerationJobConfig": {}},
        "RoleArn": ROLE,
    }


def test_every_wish_has_its_place(rows):
    request = plan(
        rows,
        validation="s3://mine/valid.csv",
        name="named",
        base_model="Llama2-7B",
        accepts_eula=True,
        hyperparameters={"epochCount": "2"},
        job_seconds=90,
        output="s3://mine/out",
        tags={"team": "a"},
    ).request
    assert request["AutoMLJobName"] == "named"
    assert [one["ChannelType"] for one in request["AutoMLJobInputDataConfig"]] == ["training", "validation"]
    assert source(request["AutoMLJobInputDataConfig"][1]) == "s3://mine/valid.csv"
    assert request["OutputDataConfig"] == {"S3OutputPath": "s3://mine/out"}
    assert request["Tags"] == [{"Key": "team", "Value": "a"}]
    assert request["AutoMLProblemTypeConfig"]["TextGenerationJobConfig"] == {
        "BaseModelName": "Llama2-7B",
        "ModelAccessConfig": {"AcceptEula": True},
        "TextGenerationHyperParameters": {"epochCount": "2"},
        "CompletionCriteria": {"MaxAutoMLJobRuntimeInSeconds": 90},
    }
    assert plan(rows, validation_fraction=0.1).request["DataSplitConfig"] == {"ValidationFraction": 0.1}


def test_a_target_makes_a_job_on_a_table(rows):
    request = plan(rows, table=TableWishes(target="churn")).request
    assert request["AutoMLProblemTypeConfig"] == {"TabularJobConfig": {"TargetAttributeName": "churn"}}
    assert "AutoMLJobObjective" not in request


def test_every_wish_for_a_table_has_its_place(rows):
    table = TableWishes(
        target="churn",
        problem_type="BinaryClassification",
        objective="AUC",
        mode="ENSEMBLING",
        algorithms=("lightgbm", "xgboost"),
        max_candidates=3,
        candidate_seconds=60,
        weights="weight",
        features="s3://mine/features.json",
    )
    request = plan(rows, table=table, job_seconds=90).request
    assert request["AutoMLJobObjective"] == {"MetricName": "AUC"}
    assert request["AutoMLProblemTypeConfig"]["TabularJobConfig"] == {
        "TargetAttributeName": "churn",
        "ProblemType": "BinaryClassification",
        "Mode": "ENSEMBLING",
        "CandidateGenerationConfig": {"AlgorithmsConfig": [{"AutoMLAlgorithms": ["lightgbm", "xgboost"]}]},
        "CompletionCriteria": {
            "MaxCandidates": 3,
            "MaxRuntimePerTrainingJobInSeconds": 60,
            "MaxAutoMLJobRuntimeInSeconds": 90,
        },
        "SampleWeightAttributeName": "weight",
        "FeatureSpecificationS3Uri": "s3://mine/features.json",
    }


def test_compressed_rows_are_sent_as_such(tmp_path):
    (tmp_path / "rows.csv.gz").write_bytes(b"any")
    planned = plan(tmp_path / "rows.csv.gz")
    (channel,) = planned.request["AutoMLJobInputDataConfig"]
    assert (channel["ContentType"], channel["CompressionType"]) == ("text/csv;header=present", "Gzip")
    assert planned.request["AutoMLJobName"].startswith("rows-")
    (stored,) = plan("s3://mine/rows.csv.gz").request["AutoMLJobInputDataConfig"]
    assert stored["CompressionType"] == "Gzip"


def test_the_same_content_has_the_same_place_and_other_content_another(rows, tmp_path):
    first = plan(rows).uploads[0].uri
    assert plan(rows).uploads[0].uri == first
    rows.write_text("input,output\na,c\n")
    assert plan(rows).uploads[0].uri != first


def test_a_folder_gives_its_files_but_not_hidden_ones(tmp_path):
    folder = tmp_path / "set"
    (folder / "more").mkdir(parents=True)
    for name in ("b.parquet", "more/a.parquet", ".DS_Store"):
        (folder / name).write_bytes(name.encode())
    planned = plan(folder)
    (channel,) = planned.request["AutoMLJobInputDataConfig"]
    assert channel["ContentType"] == "x-application/vnd.amazon+parquet"
    assert [one.uri.removeprefix(source(channel)) for one in planned.uploads] == ["b.parquet", "more/a.parquet"]


def test_data_in_the_store_is_named_as_it_is_and_nothing_is_uploaded():
    planned = plan("s3://mine/set/rows.parquet", output="s3://mine/out")
    (channel,) = planned.request["AutoMLJobInputDataConfig"]
    assert source(channel) == "s3://mine/set/rows.parquet"
    assert channel["ContentType"] == "x-application/vnd.amazon+parquet"
    assert (planned.uploads, planned.bucket) == ((), "")
    assert plan("s3://mine/set/").request["AutoMLJobInputDataConfig"][0]["ContentType"] == "text/csv;header=present"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "holds no files"),
        (["a.jsonl"], "neither .csv nor .parquet"),
        (["a.csv", "b.parquet"], "give a folder of one kind"),
        (["a.csv", "b.csv.gz"], "holds compressed and plain files"),
    ],
)
def test_a_folder_of_something_else_is_refused(tmp_path, files, said):
    for name in files:
        (tmp_path / name).write_text("x")
    with pytest.raises(click.BadParameter, match=said):
        plan(tmp_path)


def test_a_file_of_another_name_is_taken_when_its_format_is_said(tmp_path):
    (tmp_path / "rows.txt").write_text("input,output\n")
    planned = plan(tmp_path / "rows.txt", format="csv")
    assert planned.request["AutoMLJobInputDataConfig"][0]["ContentType"] == "text/csv;header=present"
    with pytest.raises(click.BadParameter, match="does not exist"):
        plan(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("text", "wanted"), [("90", 90), ("90s", 90), ("15m", 900), ("1h30m", 5400), ("1D12h", 129_600), ("31d", 2_678_400)]
)
def test_a_time_is_read_with_its_unit(text, wanted):
    assert job_requests.seconds(text, "--time-limit") == wanted


@pytest.mark.parametrize("text", ["", "0", "0h", "-5", "2w", "1.5h", "h", "1h30", "30m1h", "²", "9" * 20])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(click.BadParameter, match="is no time"):
        job_requests.seconds(text, "--time-limit")


def test_an_empty_place_and_one_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(click.BadParameter, match="an empty text is no place"):
        plan("")
    with pytest.raises(click.BadParameter, match="File name too long"):
        plan(tmp_path / ("a" * 300 + ".csv"))


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_folder_with_a_part_that_may_not_be_read_is_refused(rows):
    (rows.parent / "closed").mkdir(mode=0)
    with pytest.raises(click.BadParameter, match="closed: Permission denied"):
        plan(rows.parent)


@pytest.mark.parametrize("data", ["---.csv", "数据.csv", "s3://bucket/prefix/", "a" * 99 + ".csv", "/"])
def test_a_generated_name_fits_the_services_pattern(data):
    import re

    name = job_requests._generated_name(data)
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,31}", name), name


def test_the_request_is_plain_json(rows):
    request = plan(rows, hyperparameters={"epochCount": "1"}).request
    assert json.loads(json.dumps(request)) == request
