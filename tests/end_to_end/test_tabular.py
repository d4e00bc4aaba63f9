"""Jobs on tables as clients of other makers see them: boto3 by the example, the SageMaker SDK by both its classes."""

import csv
import io
import json
import subprocess
import sys
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

import botocore.exceptions
import pytest
from sklearn.metrics import roc_auc_score

import services

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]
BINARY = {"Accuracy", "AUC", "BalancedAccuracy", "F1", "InferenceLatency", "LogLoss", "Precision", "Recall"}
LABELS = ["No", "Yes"]
CHURN_COLUMNS = ("churn", "tenure", "internet_service", "contract", "monthly_charges")


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A folder with the tables of ship passengers and of telephone customers."""
    folder = tmp_path_factory.mktemp("tables")
    ran = services.run([sys.executable, TOP / "tools" / "tables.py", folder, "titanic", "churn"])
    assert ran.returncode == 0, ran.stderr
    return folder


@pytest.fixture(scope="module")
def churn(tables, tmp_path_factory):
    """A folder with training.csv and test.csv of telephone customers, with few rows and columns."""
    folder = tmp_path_factory.mktemp("churn")
    for name in ("training.csv", "test.csv"):
        with (tables / "churn" / name).open(newline="") as file:
            rows = [{column: row[column] for column in CHURN_COLUMNS} for row in islice(csv.DictReader(file), 300)]
        with (folder / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, CHURN_COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    return folder


@pytest.fixture(scope="module")
def shown(service, tables):
    """What examples/tabular.py printed of its job, by which the tests here look at one that ended well."""
    folder = tables / "titanic"
    arguments = [folder / "training.csv", "--target", "survived", "--ask", folder / "test.csv"]
    options = ["--name", "table", "--candidates", "2", "--algorithms", "lightgbm"]
    ran = services.run(
        [sys.executable, TOP / "examples" / "tabular.py", *arguments, *options],
        env=services.clean_environment() | service.variables,
        timeout=400,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.slow
def test_the_example_trains_compares_and_asks(service, shown):
    for said in ("GeneratingExplainabilityReport", "GeneratingModelInsightsReport", "F1", "LogLoss"):
        assert said in shown
    answers = [line.partition(" was answered with ")[2] for line in shown.splitlines() if "was answered" in line]
    assert len(answers) == 5
    for answer in answers:
        label, probability = answer.split(",")
        assert label in ("0", "1")
        # Of the predicted label: below a half where the threshold that F1 wants is not in the middle.
        assert 0 < float(probability) <= 1
    deleted = service.boto3("sagemaker").get_waiter("endpoint_deleted")
    deleted.wait(EndpointName="table", WaiterConfig={"Delay": 1})


@pytest.mark.slow
def test_a_small_ensemble_answers_rows_it_has_not_seen_above_the_floor(service, tables, shown):
    with (tables / "titanic" / "test.csv").open(newline="") as file:
        rows = list(csv.reader(file))[1:]  # the target is the last column
    s3 = service.boto3("s3")
    body = io.StringIO()
    csv.writer(body, lineterminator="\n").writerows(row[:-1] for row in rows)
    s3.put_object(Bucket="data", Key="floors/titanic.csv", Body=body.getvalue().encode())
    places = ("--input", "s3://data/floors/titanic.csv", "--output", "s3://data/answers")
    ran = service.gyropilot("transform", "table", *places, "--answers", "probabilities")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    answers = s3.get_object(Bucket="data", Key="answers/titanic.csv.out")["Body"].read().decode()
    survival = [json.loads(cells[0])[1] for cells in csv.reader(io.StringIO(answers))]
    floor = json.loads((tables / "titanic" / "table.json").read_text())["floor"]
    assert roc_auc_score([row[-1] == "1" for row in rows], survival) >= floor


@pytest.mark.slow
def test_a_finished_job_is_described_whole(service, shown):
    job = service.boto3("sagemaker").describe_auto_ml_job_v2(AutoMLJobName="table")
    assert job["AutoMLProblemTypeConfigName"] == "Tabular"
    resolved = job["ResolvedAttributes"]
    assert resolved["AutoMLJobObjective"] == {"MetricName": "F1"}
    kind = resolved["AutoMLProblemTypeResolvedAttributes"]["TabularResolvedAttributes"]
    assert kind == {"ProblemType": "BinaryClassification"}
    best = job["BestCandidate"]
    metrics = best["CandidateProperties"]["CandidateMetrics"]
    assert {one["StandardMetricName"] for one in metrics} == BINARY
    assert {one["StandardMetricName"] for one in metrics if one["Set"] == "Validation"} == BINARY
    final = best["FinalAutoMLJobObjectiveMetric"]
    assert (final["Type"], final["StandardMetricName"]) == ("Maximize", "F1")
    assert len(best["InferenceContainers"]) == 1


@pytest.mark.slow
def test_the_reports_of_a_finished_job_lie_where_describe_says(service, shown):
    job = service.boto3("sagemaker").describe_auto_ml_job_v2(AutoMLJobName="table")
    notebook = json.loads(_read(service, job["AutoMLJobArtifacts"]["DataExplorationNotebookLocation"]))
    assert notebook["cells"]
    places = job["BestCandidate"]["CandidateProperties"]["CandidateArtifactLocations"]
    (analysis,) = [key for key in _below(service, places["Explainability"]) if key.endswith("analysis.json")]
    shap = json.loads(_read(service, analysis))["explanations"]["kernel_shap"]
    assert all(one["global_shap_values"]["gender"] > 0 for one in shap.values())
    insights = [key for key in _below(service, places["ModelInsights"]) if key.endswith(".json")]
    assert any("binary_classification_metrics" in json.loads(_read(service, key)) for key in insights)


@pytest.mark.slow
def test_the_job_shows_its_candidates_in_the_terminal(service, shown):
    ran = service.gyropilot("jobs", "show", "table")
    assert ran.returncode == 0, ran.stderr
    assert "BinaryClassification" in ran.stdout
    assert "table-trial-t1-1" in ran.stdout.split("RANK")[1]


def test_a_target_that_no_column_bears_is_refused_at_once(service, churn):
    s3 = service.boto3("s3")
    s3.upload_file(str(churn / "training.csv"), "data", "tables/churn.csv")
    request = {
        "AutoMLJobName": "no-column",
        "AutoMLJobInputDataConfig": [
            {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/tables/churn.csv"}}}
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://data/out"},
        "AutoMLProblemTypeConfig": {"TabularJobConfig": {"TargetAttributeName": "Churn"}},
        "RoleArn": service.variables["GYROPILOT_ROLE_ARN"],
    }
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        service.boto3("sagemaker").create_auto_ml_job_v2(**request)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert "Target attribute name Churn does not exist in header." in caught.value.response["Error"]["Message"]


@pytest.mark.slow
def test_the_sagemaker_sdk_fits_deploys_predicts_and_transforms_by_both_of_its_classes(service, churn, tmp_path):
    command = [_sdk_python(), HERE / "sagemaker_sdk" / "tabular.py", "sdk-table", "gyropilot"]
    environment = services.clean_environment() | service.variables | {"HOME": str(tmp_path)}
    ran = services.run([*command, churn / "training.csv", churn / "test.csv", "churn"], env=environment, timeout=600)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    seen = json.loads(ran.stdout.splitlines()[-1])
    for one in seen.values():
        assert one["status"] == "Completed"
        assert one["best"] == one["candidates"][0] == one["attached"]
        assert 1 <= len(one["candidates"]) <= 2
        for answer in one["answers"]:
            _check_answer(answer)
        assert [line.partition(",")[0] for line in one["transformed"]] == [answer[0] for answer in one["answers"]]
    assert (seen["v2"]["containers"], seen["v1"]["containers"]) == (3, 1)
    assert seen["v2"]["steps"] == ["ProcessingJob", "TrainingJob", "TransformJob", "TrainingJob"]
    assert seen["v2"]["described"] == ["TrainingJob", "TransformJob", "TrainingJob"]


def _check_answer(answer):
    """Hold an answer to its four fields: the label, how likely it is, how likely each class is, the classes."""
    label, probability, probabilities, labels = answer
    assert label in LABELS
    assert json.loads(labels.replace("'", '"')) == LABELS
    both = json.loads(probabilities)
    assert sum(both) == pytest.approx(1, abs=1e-4)
    assert float(probability) in [pytest.approx(one, abs=1e-4) for one in both]


def _sdk_python():
    command = [sys.executable, TOP / "tools" / "clients.py", "sagemaker-sdk"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stderr
    return Path(ran.stdout.strip()) / "bin" / "python"


def _read(service, uri):
    place = urlsplit(uri)
    return service.boto3("s3").get_object(Bucket=place.netloc, Key=place.path.lstrip("/"))["Body"].read()


def _below(service, uri):
    place = urlsplit(uri)
    listed = service.boto3("s3").list_objects_v2(Bucket=place.netloc, Prefix=place.path.lstrip("/"))
    return [f"s3://{place.netloc}/{one['Key']}" for one in listed["Contents"]]
