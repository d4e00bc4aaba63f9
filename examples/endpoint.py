"""Deploy the best candidate of a finished job and ask it: plain boto3, as it would run against SageMaker.

    eval "$(gyropilot env)"
    python examples/endpoint.py my-job "What is a neural network?"

The endpoint is deleted at the end; --keep leaves it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

import boto3

Client = Any
"""boto3 makes its clients' classes at run time."""


def main() -> int:
    """Create model, configuration and endpoint, ask twice, and delete all three."""
    arguments = _arguments()
    sagemaker, runtime = boto3.client("sagemaker"), boto3.client("sagemaker-runtime")

    job = sagemaker.describe_auto_ml_job_v2(AutoMLJobName=arguments.job)
    if "BestCandidate" not in job:
        print(f"{arguments.job} is {job['AutoMLJobStatus']} and has no model to deploy", file=sys.stderr)
        return 1
    name = arguments.name or arguments.job
    _deploy(sagemaker, name, job["BestCandidate"]["InferenceContainers"])
    try:
        _ask(runtime, name, arguments.question)
    finally:
        if not arguments.keep:
            _delete(sagemaker, name)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", help="name of a finished job")
    parser.add_argument("question", nargs="?", default="What is a neural network?")
    parser.add_argument("--name", help="name of the endpoint  [default: the job's]")
    parser.add_argument("--keep", action="store_true", help="leave the endpoint there")
    arguments = parser.parse_args()
    if "GYROPILOT_ROLE_ARN" not in os.environ:
        parser.error('GYROPILOT_ROLE_ARN is not set; run: eval "$(gyropilot env)"')
    return arguments


def _deploy(sagemaker: Client, name: str, containers: list[dict[str, Any]]) -> None:
    sagemaker.create_model(ModelName=name, Containers=containers, ExecutionRoleArn=os.environ["GYROPILOT_ROLE_ARN"])
    sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[
            {
                "VariantName": "AllTraffic",
                "ModelName": name,
                "InitialInstanceCount": 1,
                "InstanceType": "ml.g5.12xlarge",
                "ModelDataDownloadTimeoutInSeconds": 3600,
                "ContainerStartupHealthCheckTimeoutInSeconds": 3600,
            }
        ],
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    print(f"deploying {name}")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig={"Delay": 1})


def _ask(runtime: Client, name: str, question: str) -> None:
    payload = {"inputs": question, "parameters": {"max_new_tokens": 32}}
    call = {"EndpointName": name, "ContentType": "application/json"}
    answered = runtime.invoke_endpoint(**call, Body=json.dumps(payload))
    print(f"answer:   {json.loads(answered['Body'].read())[0]['generated_text']}")

    body = json.dumps(payload | {"stream": True})
    streamed = runtime.invoke_endpoint_with_response_stream(**call, Body=body)
    print("streamed: ", end="")
    lines = b"".join(event["PayloadPart"]["Bytes"] for event in streamed["Body"]).decode().splitlines()
    for line in lines:
        if line.startswith("data:"):
            print(json.loads(line.removeprefix("data:"))["token"]["text"], end="", flush=True)
    print()


def _delete(sagemaker: Client, name: str) -> None:
    sagemaker.delete_endpoint(EndpointName=name)
    sagemaker.delete_endpoint_config(EndpointConfigName=name)
    sagemaker.delete_model(ModelName=name)
    print(f"deleted {name}")


if __name__ == "__main__":
    sys.exit(main())
