"""Fine-tune a language model on a CSV of prompts and answers: plain boto3, as it would run against SageMaker Autopilot.

    eval "$(gyropilot env)"
    python examples/text_generation.py data.csv

The CSV has a header and two columns, `input` and `output`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import boto3

ENDED = {"Completed", "Failed", "Stopped"}


def main() -> int:
    """Upload the data, create the job, wait for it, say what came of it."""
    arguments = _arguments()
    s3 = boto3.client("s3")
    sagemaker = boto3.client("sagemaker")

    s3.create_bucket(Bucket=arguments.bucket)
    key = f"{arguments.name}/input/{arguments.data.name}"
    s3.upload_file(str(arguments.data), arguments.bucket, key)
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
            "TextGenerationJobConfig": {
                "BaseModelName": arguments.base_model,
                "TextGenerationHyperParameters": {"epochCount": str(arguments.epochs)},
            }
        },
        RoleArn=os.environ["GYROPILOT_ROLE_ARN"],
    )
    print(f"created {created['AutoMLJobArn']}")

    job = _wait(sagemaker, arguments.name)
    if job["AutoMLJobStatus"] != "Completed":
        print(f"the job is {job['AutoMLJobStatus']}: {job.get('FailureReason', '')}", file=sys.stderr)
        return 1
    _print_result(job)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="CSV file with the columns input and output")
    parser.add_argument("--name", default=f"example-{time.strftime('%H%M%S')}", help="name of the job")
    parser.add_argument("--base-model", default="SmolLM2-135M-Instruct")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--bucket", default="gyropilot-example")
    arguments = parser.parse_args()
    if not arguments.data.is_file():
        parser.error(f"{arguments.data} is no file; give a CSV with the columns input and output")
    if "GYROPILOT_ROLE_ARN" not in os.environ:
        parser.error('GYROPILOT_ROLE_ARN is not set; run: eval "$(gyropilot env)"')
    return arguments


def _wait(sagemaker: Any, name: str) -> dict[str, Any]:  # noqa: ANN401 - boto3 makes its clients' classes at run time
    said = ""
    while True:
        job: dict[str, Any] = sagemaker.describe_auto_ml_job_v2(AutoMLJobName=name)
        if job["AutoMLJobSecondaryStatus"] != said:
            said = job["AutoMLJobSecondaryStatus"]
            print(said)
        if job["AutoMLJobStatus"] in ENDED:
            return job
        time.sleep(1)


def _print_result(job: dict[str, Any]) -> None:
    candidate = job["BestCandidate"]
    for metric in candidate["CandidateProperties"]["CandidateMetrics"]:
        print(f"{metric['Set']:<12}{metric['StandardMetricName']:<16}{metric['Value']:.4f}")
    print(f"model:     {candidate['InferenceContainers'][0]['ModelDataUrl']}")
    print(f"artifacts: {job['OutputDataConfig']['S3OutputPath']}/{job['AutoMLJobName']}/")


if __name__ == "__main__":
    sys.exit(main())
