"""Models, endpoint configurations and endpoints as the client makes, shows and ends them, by the service's calls."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from gyropilot.sdk.answers import chosen
from gyropilot.sdk.connection import Connection
from gyropilot.sdk.errors import NotDeployed, Refused, ServiceError

Json = Any

VARIANT = "AllTraffic"
"""The variant's name where `deploy` makes the configuration."""
MADE_FOR_TAG = "gyropilot:made-for"
"""Bears the name of the endpoint that a model or configuration was made for, and goes with."""
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
        answers: Sequence[str] = (),
        if_taken: Literal["refuse", "replace"] = "refuse",
    ) -> str:
        """Serve the best model of a job under an endpoint's name; give that, while the endpoint starts.

        Model and configuration get the endpoint's name and a digest of what they are, so that a deployment that was
        interrupted goes on when it is asked for again. Both bear the tag `gyropilot:made-for`, by which `delete` knows
        them. Where the service refuses a step, what this call made before is deleted again.

        Args:
            job: the job's name.
            name: the endpoint's; None: the job's.
            instances: how many processes answer.
            answers: what the model answers with, as predicted_label and probability; none: as it does by itself.
            if_taken: what becomes of an endpoint of that name: with `replace` it goes over to the job's model, and
                answers on while it does.

        Raises:
            NotDeployed: the job has no model, it cannot give those answers, or the name is taken.
            Refused: the service does not take it.
        """
        endpoint = name or job
        containers, role = self._best(job, answers)
        there = self.find(endpoint)
        if there is not None and if_taken == "refuse":
            raise NotDeployed(
                f"there is an endpoint {endpoint} already, which is {there['EndpointStatus']}; choose another name,"
                f" replace what it serves, or delete it first"
            )
        made: list[tuple[str, dict[str, Json]]] = []
        try:
            model = self._made_model(endpoint, containers, role, made, **_made_for(endpoint))
            configuration = self._made_configuration(endpoint, model, instances, made)
            target = {"EndpointName": endpoint, "EndpointConfigName": configuration}
            self._call("create_endpoint" if there is None else "update_endpoint", **target)
        except Refused:
            for operation, request in reversed(made):
                with contextlib.suppress(ServiceError):  # the refusal is what is told
                    self._call(operation, **request)
            raise
        return endpoint

    def make_model(self, job: str, *, answers: Sequence[str] = ()) -> str:
        """Make a model of a job's best candidate, unless there is one; give its name, the job's and a digest.

        Raises:
            NotDeployed: the job has no model, or it cannot give those answers.
        """
        return self._made_model(job, *self._best(job, answers), [])

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
        """Delete an endpoint, and what `deploy` or a job made for it; give what was deleted, in words.

        What was made for it bears its name in the tag `gyropilot:made-for`; everything else stays.
        """
        endpoint = self.find(name) or {}
        self._call("delete_endpoint", EndpointName=name)
        return [f"endpoint {name}", *self._delete_made(name, endpoint.get("EndpointConfigName", ""))]

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

    def _best(self, job: str, answers: Sequence[str]) -> tuple[list[dict[str, Json]], str]:
        described = self._call("describe_auto_ml_job_v2", AutoMLJobName=job)
        containers = described.get("BestCandidate", {}).get("InferenceContainers")
        if not containers:
            status = described["AutoMLJobStatus"]
            why = f": {described['FailureReason']}" if "FailureReason" in described else ""
            mend = "wait until it has ended" if status in ("InProgress", "Stopping") else "run another job"
            raise NotDeployed(f"the job {job} is {status} and has no model to deploy{why}; {mend}")
        return chosen(containers, answers), described["RoleArn"]

    def _made_model(
        self,
        endpoint: str,
        containers: list[dict[str, Json]],
        role: str,
        made: list[tuple[str, dict[str, Json]]],
        **members: Json,
    ) -> str:
        """Give the name of the model, after making it where there is none; `made` gets the call that undoes that."""
        kept_names = ("Image", "ModelDataUrl", "Environment")
        kept = [{name: one[name] for name in kept_names if name in one} for one in containers]
        name = _name(endpoint, [kept, role])
        if _found(lambda: self.model(name)) is None:
            one_or_more = {"PrimaryContainer": kept[0]} if len(kept) == 1 else {"Containers": kept}
            self._call("create_model", ModelName=name, ExecutionRoleArn=role, **one_or_more, **members)
            made.append(("delete_model", {"ModelName": name}))
        return name

    def _made_configuration(
        self, endpoint: str, model: str, instances: int, made: list[tuple[str, dict[str, Json]]]
    ) -> str:
        name = _name(endpoint, [model, instances])
        if _found(lambda: self.configuration(name)) is None:
            variant = {
                "VariantName": VARIANT,
                "ModelName": model,
                "InitialInstanceCount": instances,
                "InstanceType": _INSTANCE_TYPE,
                "InitialVariantWeight": 1.0,
            }
            request = {"EndpointConfigName": name, "ProductionVariants": [variant], **_made_for(endpoint)}
            self._call("create_endpoint_config", **request)
            made.append(("delete_endpoint_config", {"EndpointConfigName": name}))
        return name

    def _delete_made(self, endpoint: str, configuration: str) -> Iterator[str]:
        """Delete what bears the tag, of all that can be the endpoint's: what is named so, or what it serves."""
        named = {"NameContains": _stem(endpoint)}
        names = [configuration, *self._listed("endpoint_config", "EndpointConfig", **named)]
        configurations = self._tagged(self.configuration, "EndpointConfigArn", names, endpoint)
        variants = [one for found in configurations.values() for one in found["ProductionVariants"]]
        names = [*(str(one["ModelName"]) for one in variants), *self._listed("model", "Model", **named)]
        models = self._tagged(self.model, "ModelArn", names, endpoint)
        for name in configurations:
            self._call("delete_endpoint_config", EndpointConfigName=name)
            yield f"endpoint configuration {name}"
        for name in models:
            self._call("delete_model", ModelName=name)
            yield f"model {name}"

    def _listed(self, kind: str, member: str, **request: Json) -> Iterator[str]:
        while True:
            page = self._call(f"list_{kind}s", **request)
            yield from (str(one[f"{member}Name"]) for one in page[f"{member}s"])
            if "NextToken" not in page:
                return
            request["NextToken"] = page["NextToken"]

    def _tagged(
        self, describe: Callable[[str], dict[str, Json]], arn: str, names: Iterable[str], endpoint: str
    ) -> dict[str, dict[str, Json]]:
        """Give, by name, what there is of `names` and was made for the endpoint."""
        there = {name: _found(partial(describe, name)) for name in dict.fromkeys(names) if name}
        return {
            name: one for name, one in there.items() if one is not None and self._purpose_of(str(one[arn])) == endpoint
        }

    def _purpose_of(self, arn: str) -> str:
        """Give the name of the endpoint that something was made for; empty where it was made otherwise."""
        request = {"ResourceArn": arn}
        while True:
            page = self._call("list_tags", **request)
            for tag in page["Tags"]:
                if tag["Key"] == MADE_FOR_TAG:
                    return str(tag["Value"])
            if "NextToken" not in page:
                return ""
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


def _made_for(endpoint: str) -> dict[str, Json]:
    return {"Tags": [{"Key": MADE_FOR_TAG, "Value": endpoint}]}


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
