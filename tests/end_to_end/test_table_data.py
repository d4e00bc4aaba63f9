"""What a service makes of tables in their several forms: jobs that end once their candidates are defined."""

import gzip
import json

import pytest

import services
from bad_tables import amount, colour, parquet, table

PARQUET = "x-application/vnd.amazon+parquet"
DEFINED = {"Mode": "HYPERPARAMETER_TUNING", "GenerateCandidateDefinitionsOnly": True}


@pytest.fixture(scope="module")
def run(service):
    """Give a function that puts objects, runs a job over channels and gives its description."""

    def run(name, objects, *channels, **config):
        for key, content in objects.items():
            service.boto3("s3").put_object(Bucket="data", Key=f"{name}/{key}", Body=content)
        client = service.boto3("sagemaker")
        client.create_auto_ml_job_v2(
            AutoMLJobName=name,
            AutoMLJobInputDataConfig=[_channel(name, **one) for one in channels],
            OutputDataConfig={"S3OutputPath": "s3://data/out"},
            AutoMLProblemTypeConfig={"TabularJobConfig": {"TargetAttributeName": "y", **DEFINED, **config}},
            RoleArn=service.variables["GYROPILOT_ROLE_ARN"],
        )

        def ended():
            job = client.describe_auto_ml_job_v2(AutoMLJobName=name)
            return job if job["AutoMLJobStatus"] in {"Completed", "Failed", "Stopped"} else None

        return services.wait_until(ended, seconds=120, what=f"the end of {name}")

    return run


def _channel(name, *, key, kind="S3Prefix", **channel):
    return {"DataSource": {"S3DataSource": {"S3DataType": kind, "S3Uri": f"s3://data/{name}/{key}"}}, **channel}


def test_gzip_files_and_a_feature_specification_are_read_under_the_job_s_role(service, run):
    rows = table({"size": amount, "colour": colour, "note": "x"}, 60)
    said = {"FeatureAttributeNames": ["size", "colour"], "FeatureDataTypes": {"colour": "text"}}
    job = run(
        "packed",
        {"rows/1.csv.gz": gzip.compress(rows), "rows/2.csv.gz": gzip.compress(rows), "said.json": json.dumps(said)},
        {"key": "rows/", "CompressionType": "Gzip"},
        FeatureSpecificationS3Uri="s3://data/packed/said.json",
    )
    assert (job["AutoMLJobStatus"], job["AutoMLJobSecondaryStatus"]) == ("Completed", "CandidateDefinitionsGenerated")
    assert set(job["AutoMLJobArtifacts"]) == {
        "CandidateDefinitionNotebookLocation",
        "DataExplorationNotebookLocation",
    }
    place = job["AutoMLJobArtifacts"]["DataExplorationNotebookLocation"].removeprefix("s3://data/")
    notebook = service.boto3("s3").get_object(Bucket="data", Key=place)["Body"].read().decode()
    assert "colour" in notebook
    assert "note" not in json.loads(notebook)["cells"][0]["source"]


def test_parquet_channels_and_a_manifest_are_read(run):
    columns = {"size": [float(amount(row)) for row in range(60)], "y": [row % 3 for row in range(60)]}
    manifest = json.dumps([{"prefix": "s3://data/parted/rows/"}, "b.parquet", "a.parquet"])
    objects = {f"rows/{name}.parquet": parquet(columns) for name in "abc"}
    job = run(
        "parted",
        {**objects, "all.manifest": manifest},
        {"key": "all.manifest", "kind": "ManifestFile", "ContentType": PARQUET},
        {"key": "rows/c.parquet", "ContentType": PARQUET, "ChannelType": "validation"},
    )
    assert job["AutoMLJobStatus"] == "Completed", job.get("FailureReason")
    resolved = job["ResolvedAttributes"]["AutoMLProblemTypeResolvedAttributes"]["TabularResolvedAttributes"]
    assert resolved == {"ProblemType": "MulticlassClassification"}


def test_a_job_on_bad_rows_fails_with_their_place(run):
    rows = table({"size": amount, "colour": colour}, 60) + b"1,red\n"
    job = run("ragged-table", {"rows.csv": rows}, {"key": "rows.csv"})
    assert job["AutoMLJobStatus"] == "Failed"
    assert "s3://data/ragged-table/rows.csv: row 61 (line 62)" in job["FailureReason"]
    assert "has 2 fields where the header has 3" in job["FailureReason"]
