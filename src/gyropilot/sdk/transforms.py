"""Batch transforms as the client starts, shows, follows and stops them, by the service's calls."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from gyropilot.sdk.connection import Connection
from gyropilot.sdk.errors import Refused
from gyropilot.sdk.values import ENDED

Json = Any

_GROUP = "/aws/sagemaker/TransformJobs"
_INSTANCE_TYPE = "ml.m5.2xlarge"


class Transforms:
    """Transform jobs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(self, name: str, model: str, request: Mapping[str, Json], *, instances: int = 1) -> str:
        """Create a transform job over a model; give its ARN.

        Args:
            name: the job's.
            model: the model's name.
            request: the other members of a CreateTransformJob request; TransformInput and TransformOutput at least.
            instances: how many processes answer.
        """
        resources = {"InstanceType": _INSTANCE_TYPE, "InstanceCount": instances}
        whole = {"TransformJobName": name, "ModelName": model, "TransformResources": resources, **request}
        return str(self._call("create_transform_job", **whole)["TransformJobArn"])

    def describe(self, name: str) -> dict[str, Json]:
        """Give a job as DescribeTransformJob does."""
        return self._call("describe_transform_job", TransformJobName=name)

    def summaries(self, **filters: Json) -> Iterator[dict[str, Json]]:
        """Give the jobs' summaries, page after page; `filters` as ListTransformJobs has them."""
        request = {"MaxResults": 100, **filters}
        while True:
            page = self._call("list_transform_jobs", **request)
            yield from page["TransformJobSummaries"]
            if "NextToken" not in page:
                return
            request["NextToken"] = page["NextToken"]

    def stop(self, name: str) -> None:
        """End a job; none of its output is stored."""
        self._call("stop_transform_job", TransformJobName=name)

    def states(self, name: str, *, poll_seconds: float = 0.5) -> Iterator[dict[str, Json]]:
        """Give the job again and again, the last one when it has ended."""
        while True:
            job = self.describe(name)
            yield job
            if job["TransformJobStatus"] in ENDED:
                return
            time.sleep(poll_seconds)

    def wait(self, name: str, *, timeout_seconds: float | None = None, poll_seconds: float = 0.5) -> dict[str, Json]:
        """Wait until the job has ended and give it.

        Raises:
            TimeoutError: it is still at work after `timeout_seconds`; it goes on.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        for job in self.states(name, poll_seconds=poll_seconds):
            if job["TransformJobStatus"] not in ENDED and deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"transform job {name} is {job['TransformJobStatus']} after {timeout_seconds} s")
        return job

    def log(self, name: str, *, token: str | None = None) -> tuple[list[str], str | None]:
        """Give the lines of a job's log after `token`, None for its beginning, and the token for what follows."""
        try:
            streams = self._logs("describe_log_streams", logStreamNamePrefix=f"{name}/")["logStreams"]
            if not streams:
                return [], token
            request = {"logStreamName": streams[0]["logStreamName"], "startFromHead": True}
            answer = self._logs("get_log_events", **request, **({"nextToken": token} if token else {}))
        except Refused as error:
            if error.code != "ResourceNotFoundException":
                raise
            return [], token
        return [one["message"] for one in answer["events"]], answer["nextForwardToken"]

    def _call(self, operation: str, **request: Json) -> dict[str, Json]:
        return self._connection.call("sagemaker", operation, request)

    def _logs(self, operation: str, **request: Json) -> dict[str, Json]:
        return self._connection.call("logs", operation, {"logGroupName": _GROUP, **request})
