"""Makes the endpoints in the store so: keeps their replicas, and tells the router where they answer.

It looks at the endpoints five times a second; what each of them needs is for its crew to do. One process of a home
runs it at a time: who holds the lock `serve` (standby.py).
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
from collections.abc import Sequence

from gyropilot import clock
from gyropilot.control.house import House
from gyropilot.errors import Unavailable
from gyropilot.serve.replica.main import LEAVE_SECONDS
from gyropilot.serve.replicas.endpoint_crew import EndpointCrew, Parts, digests_of
from gyropilot.serve.replicas.endpoint_replicas import Patience
from gyropilot.serve.replicas.held_processes import HeldProcesses
from gyropilot.serve.replicas.model_files import ModelFiles
from gyropilot.store import endpoints, replicas
from gyropilot.store.endpoints import EndpointHead, EndpointRecord

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2
_AWAY_SECONDS = 1.0
_LONGEST_REST_SECONDS = 30.0


class Supervisor:
    """The supervisor of this process; `stop` ends every replica."""

    def __init__(
        self,
        house: House,
        processes: HeldProcesses,
        files: ModelFiles,
        *,
        patience: Patience | None = None,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._db, self._poll_seconds = house.db, poll_seconds
        self._processes, self._files = processes, files
        self._parts = Parts(house=house, processes=processes, files=files, patience=patience or Patience())
        self._crews: dict[str, _Watched] = {}
        self._going_down = threading.Event()
        self._must_sweep = True
        self._thread = threading.Thread(target=self._run, name="supervisor")

    def start(self) -> None:
        """Begin; replicas of endpoints that were in service are started again."""
        self._thread.start()

    def stop(self) -> None:
        """End the replicas; calls inside them may take some seconds. Endpoints keep their status."""
        self._going_down.set()
        self._thread.join()
        with contextlib.suppress(Unavailable):
            replicas.clear_all(self._db)
        self._processes.close(seconds=LEAVE_SECONDS + 2.0)

    def _run(self) -> None:
        is_away, is_prepared, told = False, False, ""
        while not self._going_down.is_set():
            try:
                if not is_prepared:
                    self._prepare()
                    is_prepared = True
                self._tick()
                is_away, told = False, ""
            except Unavailable as error:
                if not is_away:
                    logger.warning("endpoints cannot be looked after, trying again: %s", error)
                is_away = True
            except Exception as error:
                if repr(error) != told:
                    logger.exception("looking after endpoints failed; trying again")
                is_away, told = True, repr(error)
            self._going_down.wait(_AWAY_SECONDS if is_away else self._poll_seconds)

    def _prepare(self) -> None:
        """Clear away what a killed service left: its replicas ended with it."""
        replicas.clear_all(self._db)
        self._files.clear_partial()
        self._processes.prepare()  # last: transform jobs wait for it

    def _tick(self) -> None:
        there = endpoints.heads_of(self._db)
        for endpoint_id, head in there.items():
            self._must_sweep |= self._ticked(
                self._crews.setdefault(endpoint_id, _Watched(self._parts, endpoint_id)), head
            )
        for endpoint_id in self._crews.keys() - there.keys():
            self._crews[endpoint_id].crew.leave()
            if self._crews[endpoint_id].crew.is_empty:
                del self._crews[endpoint_id]
        if self._must_sweep:
            self._sweep(endpoints.all_of(self._db))
            self._must_sweep = False

    def _sweep(self, there: Sequence[EndpointRecord]) -> None:
        """Remove model files and logs that no endpoint needs."""
        self._files.sweep(digest for one in there for digest in digests_of(one))
        logs, ids = self._parts.house.settings.logs / "endpoints", {one.id for one in there}
        for folder in logs.iterdir() if logs.is_dir() else ():
            if folder.name not in ids:
                shutil.rmtree(folder, ignore_errors=True)

    def _ticked(self, watched: _Watched, head: EndpointHead) -> bool:
        """Give what the crew's tick gives; a fault in one endpoint leaves the others as they are."""
        if head == watched.stumbled_at and clock.monotonic() < watched.not_before:
            return False
        try:
            if watched.head != head:
                watched.endpoint = endpoints.get(self._db, watched.crew.endpoint_id)
                watched.head = head
            has_changed = watched.endpoint is not None and watched.crew.tick(watched.endpoint)
        except Unavailable:
            raise
        except Exception as error:
            watched.stumble(head, error)
            return False
        watched.fault, watched.faults = "", 0
        return has_changed


class _Watched:
    """A crew, the endpoint as it was read last, and the fault that keeps it from its work."""

    def __init__(self, parts: Parts, endpoint_id: str) -> None:
        self.crew = EndpointCrew(parts, endpoint_id)
        self.head: EndpointHead | None = None
        self.endpoint: EndpointRecord | None = None
        self.stumbled_at: EndpointHead | None = None
        self.fault, self.faults, self.not_before = "", 0, 0.0

    def stumble(self, head: EndpointHead, error: Exception) -> None:
        """Note a fault: tell it where it is another one, and try again later each time."""
        self.stumbled_at, self.head = head, None  # it is read again
        self.faults += 1
        self.not_before = clock.monotonic() + min(_LONGEST_REST_SECONDS, POLL_SECONDS * 2 ** min(self.faults, 16))
        if self.fault != (fault := repr(error)):
            self.fault = fault
            logger.error("endpoint %s: looking after it failed; trying again", self.crew.endpoint_id, exc_info=error)
