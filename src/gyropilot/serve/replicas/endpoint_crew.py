"""The replicas of one endpoint: brings them to what the endpoint's row asks for, and says how that went.

    Creating   replicas of `wanted` all up --> serving := wanted, InService         one cannot be started --> Failed
    Updating   the same, beside those of `serving`, which answer meanwhile          one cannot be started --> InService
    InService  those of `serving`, started again for as long as it takes
    Deleting   none; when the last is gone, the row goes

A replica is known by variant, number and model: one that an update leaves as it is goes on answering, and is of the
generation before until the switch.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gyropilot.control.house import House
from gyropilot.serve.replicas.endpoint_replicas import Patience, Place, Replica
from gyropilot.serve.replicas.held_processes import HeldProcesses
from gyropilot.serve.replicas.model_files import ModelFiles
from gyropilot.serve.router import STREAM_SECONDS
from gyropilot.store import endpoints
from gyropilot.store import replicas as stored
from gyropilot.store.endpoints import EndpointRecord
from gyropilot.store.job_logs import JobLog

logger = logging.getLogger(__name__)

Json = Any
Key = tuple[str, int, str]
"""Variant, number, and digest of the model."""

_LONGEST_ASYNC_SECONDS = 3600.0
"""What InvocationTimeoutSeconds may be of an asynchronous call."""
_SPARE_SECONDS = 60.0
LONGEST_REASON = 1024
"""Characters of an endpoint's FailureReason."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the crews of all endpoints share."""

    house: House
    processes: HeldProcesses
    files: ModelFiles
    patience: Patience


class EndpointCrew:
    """Used by the supervisor's thread alone."""

    def __init__(self, parts: Parts, endpoint_id: str) -> None:
        self._parts, self.endpoint_id = parts, endpoint_id
        self._replicas: dict[Key, Replica] = {}
        self._logs: dict[str, JobLog] = {}
        """By folder: an update may have two replicas of one name for a time."""
        self._drain_seconds = 0.0
        self._seen: EndpointRecord | None = None
        self._places: tuple[dict[Key, Place], dict[Key, Place]] = ({}, {})
        """Of what is served and of what is wanted by the record that was seen last."""
        self._published = 0
        """The generation whose replicas the router has been told of."""

    @property
    def is_empty(self) -> bool:
        """Whether it has no replica left."""
        return not self._replicas

    def tick(self, endpoint: EndpointRecord) -> bool:
        """Take the next steps; give whether files may be of no use any more.

        Raises:
            Unavailable: the database does not answer; what was not written will be.
        """
        if endpoint is not self._seen:
            self._drain_seconds = max(
                self._drain_seconds, longest_call(endpoint, self._parts.house.settings.invocation_seconds)
            )
            serving = _places(endpoint, endpoint.serving) if endpoint.status in {"InService", "Updating"} else {}
            wanted = _places(endpoint, endpoint.wanted) if endpoint.status in {"Creating", "Updating"} else {}
            self._seen, self._places = endpoint, (serving, wanted)
        serving, wanted = self._places
        for key, place in (serving | wanted).items():
            if key not in self._replicas:
                self._replicas[key] = self._new_replica(place)
        for replica in self._replicas.values():
            replica.look()
        if wanted:
            if self._decide(endpoint, wanted):
                serving = wanted
        else:
            for key in serving:
                self._replicas[key].settle()
        for key in self._replicas.keys() - serving.keys() - wanted.keys():
            self._let_leave(endpoint, self._replicas[key])
        self._tell(endpoint, serving)
        has_changed = self._forget_gone()
        if endpoint.status == "Deleting" and not self._replicas:
            self._remove(endpoint)
            return True
        return has_changed

    def leave(self) -> None:
        """End the replicas of an endpoint that is no more."""
        for replica in self._replicas.values():
            replica.leave(drain_seconds=self._drain_seconds)
            replica.look()
        self._forget_gone()

    def _new_replica(self, place: Place) -> Replica:
        settings = self._parts.house.settings
        name = f"{place.variant['name']}.{place.number}"
        if name not in self._logs:
            folder = settings.logs / "endpoints" / place.endpoint_id / name
            self._logs[name] = JobLog(folder, most_bytes=settings.log_mib_per_job * 2**20)
        return Replica(place, self._parts.processes, self._parts.files, self._logs[name], self._parts.patience)

    def _decide(self, endpoint: EndpointRecord, wanted: Mapping[Key, Place]) -> bool:
        """Switch to what is wanted once all of it is up, and say so; give it up where a part cannot be started."""
        crew = [self._replicas[key] for key in wanted]
        if all(one.state == "up" for one in crew):
            return self._switch(endpoint, wanted)
        broken = next((one for one in crew if one.gave_up), None)
        if broken is None:
            return False
        reason = f"Variant {broken.place.variant['name']}, replica {broken.place.number}: {broken.gave_up}"
        reason = reason if len(reason) <= LONGEST_REASON else reason[: LONGEST_REASON - 3] + "..."
        self._set_status(endpoint, "Failed" if endpoint.serving is None else "InService", failure_reason=reason)
        return False

    def _switch(self, endpoint: EndpointRecord, wanted: Mapping[Key, Place]) -> bool:
        """Have calls go to what is wanted, and to nothing else, from one moment to the next."""
        records = {}
        for key, one in self._replicas.items():
            if key in wanted:
                records[key] = one.record(endpoint.generation, is_serving=True)
            elif one.written is not None:
                records[key] = replace(one.written, status="Draining")
        switched = list(records.values())
        if not self._set_status(endpoint, "InService", serving=endpoint.wanted, switched=switched):
            return False
        self._published = endpoint.generation
        for key, record in records.items():
            self._replicas[key].written = record
        return True

    def _set_status(
        self,
        endpoint: EndpointRecord,
        status: endpoints.EndpointStatus,
        *,
        failure_reason: str | None = None,
        serving: Mapping[str, Json] | None = None,
        switched: Collection[stored.ReplicaRecord] = (),
    ) -> bool:
        is_written = endpoints.set_status(
            self._parts.house.db,
            endpoint.id,
            generation=endpoint.generation,
            status=status,
            failure_reason=failure_reason,
            serving=serving,
            switched=switched,
        )
        if is_written:
            told = f"{status}: {failure_reason}" if failure_reason else status
            logger.info("endpoint %s: %s, generation %d", endpoint.name, told, endpoint.generation)
        return is_written

    def _let_leave(self, endpoint: EndpointRecord, replica: Replica) -> None:
        if replica.state in {"leaving", "gone"}:
            return
        if replica.written is not None:  # first told to the router, then done
            self._put(replica, replace(replica.written, status="Draining"))
        replica.leave(drain_seconds=self._drain_seconds)

    def _tell(self, endpoint: EndpointRecord, serving: Mapping[Key, Place]) -> None:
        for key, replica in self._replicas.items():
            if replica.state in {"leaving", "gone"}:
                continue
            is_switched = self._published == endpoint.generation
            is_of_old = key in serving and endpoint.status == "Updating" and not is_switched
            self._write(replica, endpoint.generation - is_of_old, is_serving=key in serving or is_switched)

    def _write(self, replica: Replica, generation: int, *, is_serving: bool) -> None:
        self._put(replica, replica.record(generation, is_serving=is_serving))

    def _put(self, replica: Replica, record: stored.ReplicaRecord) -> None:
        if record != replica.written:
            stored.put(self._parts.house.db, record)
            replica.written = record

    def _forget_gone(self) -> bool:
        gone = [key for key, one in self._replicas.items() if one.state == "gone"]
        for key in gone:
            stored.remove(self._parts.house.db, self._replicas[key].id)
            del self._replicas[key]
        if gone:
            kept = {f"{variant}.{number}" for variant, number, _ in self._replicas}
            for name in self._logs.keys() - kept:
                self._logs[name].close()
        return bool(gone)

    def _remove(self, endpoint: EndpointRecord) -> None:
        endpoints.remove(self._parts.house.db, endpoint.id)
        shutil.rmtree(self._parts.house.settings.logs / "endpoints" / endpoint.id, ignore_errors=True)
        logger.info("endpoint %s: deleted", endpoint.name)


def longest_call(endpoint: EndpointRecord, invocation_seconds: float) -> float:
    """Give how long a call may be inside a replica of what is served or wanted, in seconds, and some to spare."""
    bounds = [invocation_seconds, STREAM_SECONDS]
    if any("async" in (asked or {}) for asked in (endpoint.serving, endpoint.wanted)):
        bounds.append(_LONGEST_ASYNC_SECONDS)
    return max(bounds) + _SPARE_SECONDS


def digests_of(endpoint: EndpointRecord) -> set[str]:
    """Give the digests of the model files that an endpoint may need."""
    if endpoint.status in {"Deleting", "Failed"}:
        return set()
    variants = [*endpoint.wanted["variants"], *(endpoint.serving or {"variants": []})["variants"]]
    return {container["sha256"] for variant in variants for container in variant["model"]["containers"]}


def _places(endpoint: EndpointRecord, asked: Mapping[str, Json] | None) -> dict[Key, Place]:
    """Give what a configuration asks for."""
    places = {}
    for variant in asked["variants"] if asked else []:
        digest = hashlib.sha256(json.dumps(variant["model"], sort_keys=True).encode()).hexdigest()
        for number in range(1, variant["instances"] + 1):
            places[variant["name"], number, digest] = Place(
                endpoint_id=endpoint.id,
                endpoint_name=endpoint.name,
                account_id=endpoint.account_id,
                variant=variant,
                number=number,
            )
    return places
