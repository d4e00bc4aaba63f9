"""The Python client for those who do not want AWS habits: create a job, follow it, fetch or deploy what it made.

client = Client.from_environment()
client.create_job(request)
for progress in client.watch("my-job"):
    print(progress.phase, progress.done, progress.total)
client.download("my-job", Path("my-job"))
client.endpoints.wait(client.endpoints.deploy("my-job"))
print(client.invoke("my-job", b'{"inputs": "Hello"}').body)
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gyropilot.sdk.chat import Chat
from gyropilot.sdk.connection import Connection
from gyropilot.sdk.downloads import Download, OnFile, picked, read_manifest
from gyropilot.sdk.endpoints import Endpoints
from gyropilot.sdk.errors import NotDownloaded
from gyropilot.sdk.invocations import JSON_TYPE, Answer, Invocations, StreamedAnswer
from gyropilot.sdk.objects import Objects, OnBytes
from gyropilot.sdk.transforms import Transforms
from gyropilot.sdk.values import ENDED, Event, LogPart, Progress
from gyropilot.sdk.watching import follow

Json = Any


class Client:
    """One service, seen by one principal. Every method may raise `sdk.errors.Refused` and `sdk.errors.Unreachable`."""

    def __init__(
        self, *, url: str, access_key: str, secret: str, region: str, s3_url: str = "", key_from: str = ""
    ) -> None:
        self._connection = Connection(
            url=url, access_key=access_key, secret=secret, region=region, s3_url=s3_url, key_from=key_from
        )

    @classmethod
    def from_environment(cls) -> Client:
        """Give a client of the service that AWS_ENDPOINT_URL names; raises NotConfigured when it names none."""
        client = cls.__new__(cls)
        client._connection = Connection.from_environment()
        return client

    @property
    def endpoints(self) -> Endpoints:
        """Give the endpoints of the service, and what they are made of."""
        return Endpoints(self._connection)

    @property
    def transforms(self) -> Transforms:
        """Give the batch transforms of the service."""
        return Transforms(self._connection)

    def invoke(self, endpoint: str, body: bytes, *, content_type: str = JSON_TYPE, accept: str = "") -> Answer:
        """Give an endpoint's answer to `body`."""
        return Invocations(self._connection).invoke(endpoint, body, content_type=content_type, accept=accept)

    def invoke_stream(
        self, endpoint: str, body: bytes, *, content_type: str = JSON_TYPE, accept: str = ""
    ) -> StreamedAnswer:
        """Give an endpoint's answer to `body` part by part, as it comes."""
        return Invocations(self._connection).stream(endpoint, body, content_type=content_type, accept=accept)

    def chat(self, endpoint: str, *, system: str = "", options: Mapping[str, Json] | None = None) -> Chat:
        """Give a conversation with a text endpoint; `options` are members of a request, as temperature, max_tokens."""
        return Chat(self._connection, endpoint, system=system, options=options)

    def bearer_token(self) -> str:
        """Give the token of the key, for programs that speak OpenAI's API."""
        return self._connection.bearer_token()

    def account_id(self) -> str:
        """Give the account of the key: what it makes belongs to that."""
        return str(self._connection.call("sts", "get_caller_identity", {})["Account"])

    def create_job(self, request: Mapping[str, Json]) -> str:
        """Create a job from a CreateAutoMLJobV2 request; give its ARN."""
        return str(self._connection.call("sagemaker", "create_auto_ml_job_v2", request)["AutoMLJobArn"])

    def describe(self, name: str) -> dict[str, Json]:
        """Give the job as DescribeAutoMLJobV2 does."""
        return self._connection.call("sagemaker", "describe_auto_ml_job_v2", {"AutoMLJobName": name})

    def jobs(self, **filters: Json) -> Iterator[dict[str, Json]]:
        """Give the jobs' summaries, page after page; `filters` as ListAutoMLJobs has them."""
        request = dict(filters)
        while True:
            page = self._connection.call("sagemaker", "list_auto_ml_jobs", request)
            yield from page["AutoMLJobSummaries"]
            if "NextToken" not in page:
                return
            request["NextToken"] = page["NextToken"]

    def candidates(self, name: str) -> list[dict[str, Json]]:
        """Give the job's candidates as ListCandidatesForAutoMLJob does."""
        request: dict[str, Json] = {"AutoMLJobName": name}
        found: list[dict[str, Json]] = []
        while True:
            page = self._connection.call("sagemaker", "list_candidates_for_auto_ml_job", request)
            found.extend(page["Candidates"])
            if "NextToken" not in page:
                return found
            request["NextToken"] = page["NextToken"]

    def stop(self, name: str) -> None:
        """Ask the job to end gracefully; what was trained so far is evaluated and kept."""
        self._connection.call("sagemaker", "stop_auto_ml_job", {"AutoMLJobName": name})

    def progress(self, name: str) -> Progress:
        """Give how far the job is."""
        answer = self._connection.call("gyropilot", "describe_job_progress", {"AutoMLJobName": name})
        said = answer.get("Progress") or {}
        return Progress(
            status=answer["Status"],
            secondary_status=answer["SecondaryStatus"],
            phase=said.get("phase", ""),
            done=said.get("done", 0.0),
            total=said.get("total", 0.0),
            unit=said.get("unit", ""),
            values=said.get("values") or {},
            is_queued=answer.get("Queued", False),
            started_at=answer.get("StartedAt"),
            used=answer.get("Resolved") or {},
        )

    def events(self, name: str, *, after: int = 0) -> list[Event]:
        """Give what happened to the job since the event numbered `after`."""
        found: list[Event] = []
        while True:
            request = {"AutoMLJobName": name, "AfterSequence": found[-1].sequence if found else after}
            page = self._connection.call("gyropilot", "list_job_events", request)["Events"]
            if not page:
                return found
            found.extend(_event(one) for one in page)

    def log(self, name: str, *, offset: int = 0) -> LogPart:
        """Give the job's log from `offset` on; the text is empty when there is no more yet."""
        answer = self._connection.call("gyropilot", "get_job_log", {"AutoMLJobName": name, "Offset": offset})
        return LogPart(text=answer.get("Text", ""), next_offset=answer["NextOffset"])

    def base_models(self) -> list[dict[str, Json]]:
        """Give the base models that a job may name; StandIn says which model is trained in place of one."""
        found: list[dict[str, Json]] = self._connection.call("gyropilot", "list_base_models", {})["BaseModels"]
        return found

    def make_bucket(self, bucket: str) -> None:
        """Make a bucket; one that is there and ours stays as it is."""
        Objects(self._connection).make_bucket(bucket)

    def size_of(self, uri: str) -> int | None:
        """Give the size in bytes of the object at `uri`; None if it is not there."""
        return Objects(self._connection).size_of(uri)

    def upload(self, path: Path, uri: str, on_bytes: OnBytes = lambda done, total: None) -> None:
        """Store a file as the object `uri`, in bounded memory; it is there whole or not at all."""
        Objects(self._connection).upload(path, uri, on_bytes)

    def download(
        self,
        name: str,
        folder: Path,
        *,
        only: Sequence[str] = (),
        overwrite: bool = False,
        on_file: OnFile = lambda name, done, total: None,
    ) -> list[Path]:
        """Fetch a job's artifacts into `folder`, checked against the job's manifest; give where they lie.

        What is there already is not fetched again, and what an interrupted download left is gone on with.

        Args:
            name: the job's.
            folder: made where it is not there.
            only: patterns of names, as `model/*`; none means all.
            overwrite: replace files that have another content; without it nothing is changed then.
            on_file: hears how many bytes of how many of which artifact are here.

        Raises:
            NotDownloaded: the job has no artifacts, or they are not those that it wrote, or something is in the way.
        """
        described = self._connection.call("gyropilot", "describe_job_progress", {"AutoMLJobName": name})
        found = described.get("Artifacts") or {}
        if "manifest" not in found:
            raise NotDownloaded(
                f"{name} has no artifacts: it is {described['Status']}; they come when a job has ended well"
            )
        objects = Objects(self._connection)
        artifacts = picked(read_manifest(objects, found), only)
        download = Download(objects, found["output"], folder)
        for one in download.missing(artifacts, overwrite=overwrite):
            download.fetch(one, on_file)
        return [folder / one.name for one in artifacts]

    def wait(self, name: str, *, timeout_seconds: float | None = None, poll_seconds: float = 2.0) -> dict[str, Json]:
        """Wait until the job has ended and give it as `describe` does.

        Raises:
            TimeoutError: the job is still at work after `timeout_seconds`; it goes on.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while (job := self.describe(name))["AutoMLJobStatus"] not in ENDED:
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"job {name} is {job['AutoMLJobStatus']} after {timeout_seconds} s")
            time.sleep(poll_seconds)
        return job

    def watch(self, name: str, *, poll_seconds: float = 0.5, patience_seconds: float = 300.0) -> Iterator[Progress]:
        """Give the job's progress again and again, the last one when it has ended.

        A service that restarts in between is waited for, up to `patience_seconds`; the job goes on when it is back.
        """
        for progress in follow(lambda: self, name, poll_seconds=poll_seconds, patience_seconds=patience_seconds):
            if progress is not None:
                yield progress


def _event(one: Mapping[str, Json]) -> Event:
    return Event(
        sequence=one["Sequence"],
        at=one["At"],
        kind=one["Kind"],
        message=one["Message"],
        detail=one.get("Detail") or {},
    )
