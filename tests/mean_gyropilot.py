"""The program `gyropilot` with the small problem type of the tests alone: its jobs take a second.

services.running_apart(home, program=mean_gyropilot.PROGRAM, ...)
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import services

PROGRAM = (sys.executable, __file__)
BUCKET = "data"


def mean_request(service, name, *, steps=3, step_seconds=0.0, **tags):
    """A request for a job that learns the mean of s3://data/numbers/."""
    chosen = {"steps": steps, "step_seconds": step_seconds} | tags
    return {
        "AutoMLJobName": name,
        "AutoMLJobInputDataConfig": [
            {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/numbers/"}}}
        ],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out/"},
        "AutoMLProblemTypeConfig": {"TabularJobConfig": {"TargetAttributeName": "y"}},
        "RoleArn": service.variables["GYROPILOT_ROLE_ARN"],
        "Tags": [{"Key": key, "Value": str(value)} for key, value in chosen.items()],
    }


def put_numbers(service):
    s3 = service.boto3("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="numbers/a.csv", Body=b"1\n2\n3\n")


def put_endpoint(service, name, **config):
    """Train the mean of 1, 2 and 3 and bring it into service, by boto3 alone.

    `config` is what else its configuration says.
    """
    service.sdk().create_job(mean_request(service, name))
    sagemaker = service.boto3("sagemaker")
    describe = {"AutoMLJobName": name}
    services.wait_until(
        lambda: sagemaker.describe_auto_ml_job_v2(**describe)["AutoMLJobStatus"] == "Completed",
        seconds=60,
        what=f"{name} to end",
    )
    containers = sagemaker.describe_auto_ml_job_v2(**describe)["BestCandidate"]["InferenceContainers"]
    role = service.variables["GYROPILOT_ROLE_ARN"]
    sagemaker.create_model(ModelName=name, Containers=containers, ExecutionRoleArn=role)
    variant = {"VariantName": "main", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], **config)
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    waiter = sagemaker.get_waiter("endpoint_in_service")
    waiter.wait(EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def _main():
    folder = Path(__file__).parent
    sys.path.insert(0, str(folder))
    from gyropilot.cli import main, processes
    from gyropilot.engine.local_process import LocalProcessEngine
    from mean_problem import MEAN

    processes.PROBLEMS = (MEAN,)
    processes.SERVER_PREFIXES = ("mean_problem:",)
    processes.LocalProcessEngine = partial(
        LocalProcessEngine, allowed_prefixes=("mean_problem:",), python_path=(folder,)
    )
    main.main()


if __name__ == "__main__":
    _main()
