"""Models, endpoint configurations and endpoints as the client makes, shows and ends them, by the service's calls."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from gyropilot.sdk.connection import Connection
from gyropilot.sdk.errors import NotDeployed, Refused

Json = Any

VARIANT = "AllTraffic"
"""The variant's name where `deploy` makes the configuration."""
_INSTANCE_TYPE = "ml.m5.2xlarge"
_MOVING = frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"})
_DIGITS = 8
_NAME_CHARACTERS = 63


class Endpoints:
    """Endpoints, and what they are made of."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def summaries(self, **filters: Json) -> Iterator[dict[str, Json]]:
        """Give the endpoints' summaries, page after page; `filters` as ListEndpoints has them."""
        request = dict(filters)
        while True:
            page = self._call("list_endpoints", **request)
            yield from page["Endpoints"]
            if "NextToken" not in page:
                return
            request["NextToken"] = page["NextToken"]

    def describe(self, name: str) -> dict[str, Json]:
        """Give an endpoint as DescribeEndpoint does."""
        return self._call("describe_endpoint", EndpointName=name)

    def find(self, name: str) -> dict[str, Json] | None:
        """Give an endpoint as DescribeEndpoint does; None where there is none of the name."""
        return _found(lambda: self.describe(name))

    def configuration(self, name: str) -> dict[str, Json]:
        """Give an endpoint configuration as DescribeEndpointConfig does."""
        return self._call("describe_endpoint_config", EndpointConfigName=name)

    def model(self, name: str) -> dict[str, Json]:
        """Give a model as DescribeModel does."""
        return self._call("describe_model", ModelName=name)

    def deploy(
        self,
        job: str,
        *,
        name: str | None = None,
        instances: int = 1,
        if_taken: Literal["refuse", "replace"] = "refuse",
    ) -> str:
        """Serve the best model of a job under an endpoint's name; give that, while the endpoint starts.

        Model and configuration get the endpoint's name and a digest of what they are, so that a deployment that was
        interrupted goes on when it is asked for again.

        Args:
            job: the job's name.
            name: the endpoint's; None: the job's.
            instances: how many processes answer.
            if_taken: what becomes of an endpoint of that name: with `replace` it goes over to the job's model, and
                answers on while it does.

        Raises:
            NotDeployed: the job has no model, or the name is taken.
        """
        endpoint = name or job
        containers, role = self._best(job)
        there = self.find(endpoint)
        if there is not None and if_taken == "refuse":
            raise NotDeployed(
                f"there is an endpoint {endpoint} already, which is {there['EndpointStatus']}; choose another name,"
                f" replace what it serves, or delete it first"
            )
        model = self._made_model(endpoint, containers, role)
        configuration = self._made_configuration(endpoint, model, instances)
        target = {"EndpointName": endpoint, "EndpointConfigName": configuration}
        self._call("create_endpoint" if there is None else "update_endpoint", **target)
        return endpoint

    def make_model(self, job: str) -> str:
        """Make a model of a job's best candidate, unless there is one; give its name, the job's and a digest.

        Raises:
            NotDeployed: the job has no model.
        """
        return self._made_model(job, *self._best(job))

    def states(self, name: str, *, poll_seconds: float = 0.5) -> Iterator[dict[str, Json]]:
        """Give the endpoint again and again, the last one when it moves no more: InService or Failed.

        Raises:
            Refused: there is no such endpoint, or none any more.
        """
        while True:
            endpoint = self.describe(name)
            yield endpoint
            if endpoint["EndpointStatus"] not in _MOVING:
                return
            time.sleep(poll_seconds)

    def wait(self, name: str, *, timeout_seconds: float | None = None, poll_seconds: float = 0.5) -> dict[str, Json]:
        """Wait until the endpoint moves no more and give it.

        Raises:
            TimeoutError: it still moves after `timeout_seconds`.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        for endpoint in self.states(name, poll_seconds=poll_seconds):
            if endpoint["EndpointStatus"] in _MOVING and deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"endpoint {name} is {endpoint['EndpointStatus']} after {timeout_seconds} s")
        return endpoint

    def delete(self, name: str) -> list[str]:
        """Delete an endpoint, and what `deploy` made for it; give what was deleted, in words."""
        self._call("delete_endpoint", EndpointName=name)
        return [f"endpoint {name}", *self._delete_made(name)]

    def log_streams(self, name: str) -> list[str]:
        """Give the names of an endpoint's log streams, one a replica."""
        request = {"logGroupName": _log_group(name)}
        streams: list[str] = []
        while True:
            page = self._connection.call("logs", "describe_log_streams", request)
            streams += [one["logStreamName"] for one in page["logStreams"]]
            if "nextToken" not in page:
                return streams
            request["nextToken"] = page["nextToken"]

    def log(self, name: str, stream: str, *, token: str | None = None) -> tuple[list[str], str]:
        """Give the lines of a log stream after `token`, None for its beginning, and the token for what follows."""
        request = {"logGroupName": _log_group(name), "logStreamName": stream, "startFromHead": True}
        answer = self._connection.call("logs", "get_log_events", request | ({"nextToken": token} if token else {}))
        return [one["message"] for one in answer["events"]], answer["nextForwardToken"]

    def _best(self, job: str) -> tuple[list[dict[str, Json]], str]:
        described = self._call("describe_auto_ml_job_v2", AutoMLJobName=job)
        containers = described.get("BestCandidate", {}).get("InferenceContainers")
        if not containers:
            status = described["AutoMLJobStatus"]
            why = f": {described['FailureReason']}" if "FailureReason" in described else ""
            mend = "wait until it has ended" if status in ("InProgress", "Stopping") else "run another job"
            raise NotDeployed(f"the job {job} is {status} and has no model to deploy{why}; {mend}")
        return containers, described["RoleArn"]

    def _made_model(self, endpoint: str, containers: list[dict[str, Json]], role: str) -> str:
        members = ("Image", "ModelDataUrl", "Environment")
        kept = [{name: one[name] for name in members if name in one} for one in containers]
        name = _name(endpoint, [kept, role])
        if _found(lambda: self.model(name)) is None:
            one_or_more = {"PrimaryContainer": kept[0]} if len(kept) == 1 else {"Containers": kept}
            self._call("create_model", ModelName=name, ExecutionRoleArn=role, **one_or_more)
        return name

    def _made_configuration(self, endpoint: str, model: str, instances: int) -> str:
        name = _name(endpoint, [model, instances])
        if _found(lambda: self.configuration(name)) is None:
            variant = {
                "VariantName": VARIANT,
                "ModelName": model,
                "InitialInstanceCount": instances,
                "InstanceType": _INSTANCE_TYPE,
                "InitialVariantWeight": 1.0,
            }
            self._call("create_endpoint_config", EndpointConfigName=name, ProductionVariants=[variant])
        return name

    def _delete_made(self, endpoint: str) -> Iterator[str]:
        kinds = [("endpoint_config", "EndpointConfig", "endpoint configuration"), ("model", "Model", "model")]
        for operation, member, told in kinds:
            for name in self._made(f"list_{operation}s", f"{member}s", f"{member}Name", endpoint):
                self._call(f"delete_{operation}", **{f"{member}Name": name})
                yield f"{told} {name}"

    def _made(self, operation: str, listed: str, member: str, endpoint: str) -> list[str]:
        """Give the names of what `deploy` made for an endpoint, also for what it served before."""
        request, names = {"NameContains": _stem(endpoint)}, []
        while True:
            page = self._call(operation, **request)
            names += [str(one[member]) for one in page[listed]]
            if "NextToken" not in page:
                return [name for name in names if _is_made_for(endpoint, name)]
            request["NextToken"] = page["NextToken"]

    def _call(self, operation: str, **request: Json) -> dict[str, Json]:
        return self._connection.call("sagemaker", operation, request)


def is_missing(error: Refused) -> bool:
    """Say whether the service refused since what was named is not there."""
    return error.code == "ResourceNotFound" or (
        error.code == "ValidationException" and error.message.startswith("Could not find ")
    )


def _found(ask: Json) -> dict[str, Json] | None:
    try:
        found: Mapping[str, Json] = ask()
    except Refused as error:
        if not is_missing(error):
            raise
        return None
    return dict(found)


def _name(endpoint: str, content: Json) -> str:
    return f"{_stem(endpoint)}-{_digest(content)}"


def _is_made_for(endpoint: str, name: str) -> bool:
    stem, _, digest = name.rpartition("-")
    return stem == _stem(endpoint) and len(digest) == _DIGITS and set(digest) <= set("0123456789abcdef")


def _stem(endpoint: str) -> str:
    """Give how the names begin of what is made for an endpoint: no other endpoint's begin so."""
    room = _NAME_CHARACTERS - _DIGITS - 1
    if len(endpoint) <= room:
        return endpoint
    return f"{endpoint[: room - _DIGITS - 1].rstrip('-')}-{_digest(endpoint)}"


def _digest(content: Json) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:_DIGITS]


def _log_group(name: str) -> str:
    return f"/aws/sagemaker/Endpoints/{name}"
