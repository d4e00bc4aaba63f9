"""Learn to predict a column of a CSV, compare the candidates, and ask the best one: plain boto3, as against Autopilot.

    eval "$(gyropilot env)"
    python tools/tables.py data churn
    python examples/tabular.py data/churn/training.csv --target churn --ask data/churn/test.csv

The CSV has a header. The file to --ask about has the same columns; the endpoint that answers is deleted at the end.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
import time
from pathlib import Path
from typing import Any

import boto3

ENDED = {"Completed", "Failed", "Stopped"}
ASKED_ROWS = 5

Client = Any
"""boto3 makes its clients' classes at run time."""
Json = Any


def main() -> int:
    """Upload the data, create the job, wait for it, print the leaderboard, and ask the best candidate."""
    arguments = _arguments()
    s3, sagemaker = boto3.client("s3"), boto3.client("sagemaker")

    s3.create_bucket(Bucket=arguments.bucket)
    key = f"{arguments.name}/input/{arguments.data.name}"
    s3.upload_file(str(arguments.data), arguments.bucket, key)
    chosen = {"AlgorithmsConfig": [{"AutoMLAlgorithms": arguments.algorithms}]}
    algorithms = {"CandidateGenerationConfig": chosen} if arguments.algorithms else {}
    created = sagemaker.create_auto_ml_job_v2(
        AutoMLJobName=arguments.name,
        AutoMLJobInputDataConfig=[
            {
                "ChannelType": "training",
                "ContentType": "text/csv;header=present",
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{arguments.bucket}/{key}"}},
            }
        ],
        OutputDataConfig={"S3OutputPath": f"s3://{arguments.bucket}/{arguments.name}/output"},
        AutoMLProblemTypeConfig={
            "TabularJobConfig": {
                "TargetAttributeName": arguments.target,
                "Mode": arguments.mode,
                **algorithms,
                "CompletionCriteria": {
                    "MaxCandidates": arguments.candidates,
                    "MaxAutoMLJobRuntimeInSeconds": arguments.seconds,
                },
            }
        },
        RoleArn=os.environ["GYROPILOT_ROLE_ARN"],
    )
    print(f"created {created['AutoMLJobArn']}")

    job = _wait(sagemaker, arguments.name)
    if job["AutoMLJobStatus"] != "Completed":
        print(f"the job is {job['AutoMLJobStatus']}: {job.get('FailureReason', '')}", file=sys.stderr)
        return 1
    _print_result(sagemaker, job)
    if arguments.ask:
        _ask(sagemaker, arguments, job["BestCandidate"])
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="CSV file with a header")
    parser.add_argument("--target", required=True, help="the column to predict")
    parser.add_argument("--ask", type=Path, metavar="FILE", help="CSV file whose first rows the best candidate answers")
    parser.add_argument("--name", default=f"example-{time.strftime('%H%M%S')}", help="name of the job")
    parser.add_argument("--mode", default="ENSEMBLING", choices=["AUTO", "ENSEMBLING", "HYPERPARAMETER_TUNING"])
    parser.add_argument("--algorithms", nargs="+", help="of the mode, as lightgbm xgboost  [default: all of them]")
    parser.add_argument("--candidates", type=int, default=10, help="most candidates to train  [default: 10]")
    parser.add_argument("--seconds", type=int, default=600, help="most time for the whole job  [default: 600]")
    parser.add_argument("--bucket", default="gyropilot-example")
    arguments = parser.parse_args()
    for file in (arguments.data, arguments.ask):
        if file is not None and not file.is_file():
            parser.error(f"{file} is no file; give a CSV with a header")
    if "GYROPILOT_ROLE_ARN" not in os.environ:
        parser.error('GYROPILOT_ROLE_ARN is not set; run: eval "$(gyropilot env)"')
    return arguments


def _wait(sagemaker: Client, name: str) -> dict[str, Json]:
    said = ""
    while True:
        job: dict[str, Json] = sagemaker.describe_auto_ml_job_v2(AutoMLJobName=name)
        if job["AutoMLJobSecondaryStatus"] != said:
            said = job["AutoMLJobSecondaryStatus"]
            print(said)
        if job["AutoMLJobStatus"] in ENDED:
            return job
        time.sleep(1)


def _print_result(sagemaker: Client, job: dict[str, Json]) -> None:
    best = job["BestCandidate"]
    is_higher_better = best["FinalAutoMLJobObjectiveMetric"]["Type"] == "Maximize"
    listed = sagemaker.list_candidates_for_auto_ml_job(
        AutoMLJobName=job["AutoMLJobName"],
        StatusEquals="Completed",
        SortBy="FinalObjectiveMetricValue",
        SortOrder="Descending" if is_higher_better else "Ascending",
    )["Candidates"]
    print("candidates, the best first:")
    for one in listed:
        metric = one["FinalAutoMLJobObjectiveMetric"]
        print(f"  {one['CandidateName']:<40}{metric['StandardMetricName']:<18}{metric['Value']:.4f}")
    print(f"best: {best['CandidateName']}")
    for metric in best["CandidateProperties"]["CandidateMetrics"]:
        print(f"  {metric['Set']:<12}{metric['StandardMetricName']:<18}{metric['Value']:.4f}")
    for container in best["InferenceContainers"]:
        print(f"model:     {container['ModelDataUrl']}")
    print(f"artifacts: {job['OutputDataConfig']['S3OutputPath']}/{job['AutoMLJobName']}/")


def _ask(sagemaker: Client, arguments: argparse.Namespace, best: dict[str, Json]) -> None:
    """Deploy the best candidate, ask it about the first rows of the file, and delete what was deployed."""
    name = arguments.name
    containers = _answering(best["InferenceContainers"], ["predicted_label", "probability"])
    _deploy(sagemaker, name, containers)
    try:
        with arguments.ask.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))[:ASKED_ROWS]
        truths = [row.pop(arguments.target) for row in rows]
        body = io.StringIO()
        csv.writer(body, lineterminator="\n").writerows(row.values() for row in rows)
        answered = boto3.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=name, ContentType="text/csv", Accept="text/csv", Body=body.getvalue()
        )
        said = answered["Body"].read().decode().splitlines()
        for truth, answer in zip(truths, said, strict=True):
            print(f"  {truth} was answered with {answer}")
    finally:
        _delete(sagemaker, name)


def _answering(containers: list[dict[str, Json]], keys: list[str]) -> list[dict[str, Json]]:
    """Give containers that answer with these keys, as far as they can; those of regression answer with a number."""
    before = ""
    for container in containers:
        supported = container["Environment"].get("SAGEMAKER_INFERENCE_SUPPORTED", "")
        chosen = ",".join(key for key in keys if key in [one.strip() for one in supported.split(",")])
        if chosen:
            container["Environment"]["SAGEMAKER_INFERENCE_OUTPUT"] = chosen
        if chosen and before:
            container["Environment"]["SAGEMAKER_INFERENCE_INPUT"] = before
        before = chosen
    return containers


def _deploy(sagemaker: Client, name: str, containers: list[dict[str, Json]]) -> None:
    sagemaker.create_model(ModelName=name, Containers=containers, ExecutionRoleArn=os.environ["GYROPILOT_ROLE_ARN"])
    variant = {"VariantName": "AllTraffic", "ModelName": name, "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(
        EndpointConfigName=name, ProductionVariants=[variant | {"InstanceType": "ml.m5.12xlarge"}]
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig={"Delay": 1})
    print(f"asked at the endpoint {name}:")


def _delete(sagemaker: Client, name: str) -> None:
    sagemaker.delete_endpoint(EndpointName=name)
    sagemaker.delete_endpoint_config(EndpointConfigName=name)
    sagemaker.delete_model(ModelName=name)


if __name__ == "__main__":
    sys.exit(main())
