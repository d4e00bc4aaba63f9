"""Runs one transform job: pins its objects, has the model answer them one after the other, then stores the output.

    pin --> start replicas --> each object: fetch, split, filter, ask, join, assemble --> store all outputs --> end
                                   an object that fails leaves no output; the others go on, and the job fails

It can be ended at any moment and run again: it goes on from the marks in its folder.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import suppress
from typing import Any, Literal

from gyropilot import clock
from gyropilot.control import roles, transform_plans
from gyropilot.control.house import House
from gyropilot.control.transform_plans import TransformPlan
from gyropilot.data import transform_inputs
from gyropilot.data.transform_inputs import TransformObject
from gyropilot.engine import trouble
from gyropilot.errors import GyropilotError, InvalidData
from gyropilot.log import printable
from gyropilot.names import split_s3_uri
from gyropilot.serve.replicas import calls as replica_calls
from gyropilot.serve.replicas.endpoint_replicas import Patience
from gyropilot.serve.replicas.held_processes import HeldProcesses
from gyropilot.serve.replicas.model_files import ModelFiles
from gyropilot.serve.transforms import inputs
from gyropilot.serve.transforms.answering import Answering, Containers, NoReplica
from gyropilot.serve.transforms.object_run import ObjectRun
from gyropilot.serve.transforms.work_folder import WorkFolder
from gyropilot.store import transform_jobs
from gyropilot.store.job_logs import JobLog
from gyropilot.store.objects import DEFAULT_CONTENT_TYPE, Objects
from gyropilot.store.statuses import Status
from gyropilot.store.transform_jobs import TransformJobRecord

logger = logging.getLogger(__name__)

Json = Any
End = Literal["ended", "handed back", "waits"]

_NOTE_SECONDS = 1.0
"""How often progress goes into the job's row."""
_LOOK_SECONDS = 0.2
_LONGEST_REASON = 1024


class TransformRun:
    """One run of one job, in a thread of its own."""

    def __init__(
        self,
        house: House,
        job: TransformJobRecord,
        processes: HeldProcesses,
        files: ModelFiles,
        patience: Patience,
        going_down: threading.Event,
    ) -> None:
        self._house, self._job = house, job
        self._processes, self._files, self._patience = processes, files, patience
        self._going_down = going_down
        self._folder = WorkFolder(house.settings.transforms / job.id)
        most_bytes = house.settings.log_mib_per_job * 2**20
        self._log = JobLog(house.settings.logs / "transforms" / job.id, most_bytes=most_bytes)
        self._state: dict[str, Json] = {}
        self._is_storing = bool(job.state.get("is_storing"))
        self._is_stopped = False
        self.trouble = ""
        """What the job waits for to pass."""

    def fail(self, reason: str) -> None:
        """End the job, for what did not pass.

        Raises:
            Unavailable: the database does not answer.
        """
        self._failed(reason)
        self._log.close()

    def run(self) -> End:
        """Work until the job has ended, is to be handed back, or has to wait for what may pass: see `trouble`.

        Raises:
            Unavailable: the database, or the object store, does not answer.
        """
        try:
            if self._job.status == "Stopping" and not self._is_storing:
                return self._end("Stopped")
            return asyncio.run(self._watched())
        except NoReplica as error:
            return self._failed(f"The model cannot be started: {error}")
        except GyropilotError as error:
            if trouble.may_pass(error):
                raise
            return self._failed(str(error))
        except Exception as error:
            if trouble.may_pass(error):
                self.trouble = trouble.told(error)
                self._say(f"waits: {self.trouble}")
                return "waits"
            logger.exception("transform job %s: its run broke", self._job.name)
            broken = type(error).__name__
            return self._failed(f"InternalFailure: an error of this service ended the job ({broken}).")
        finally:
            self._log.close()

    async def _watched(self) -> End:
        work = asyncio.create_task(self._work())
        watcher = asyncio.create_task(self._watch(work))
        try:
            return await work
        except asyncio.CancelledError:
            return await asyncio.to_thread(self._end, "Stopped") if self._is_stopped else "handed back"
        finally:
            watcher.cancel()

    async def _watch(self, work: asyncio.Task[End]) -> None:
        """End the work when the service goes down or the job is to stop; note its progress meanwhile."""
        noted_at, noted = 0.0, dict(self._job.state)
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if self._going_down.is_set():
                work.cancel()
                return
            if clock.monotonic() - noted_at < _NOTE_SECONDS:
                continue
            noted_at = clock.monotonic()
            with suppress(Exception):  # the database is away for a moment: noted the next time
                status = await asyncio.to_thread(self._note_or_look, noted)
                if status != "InProgress" and not self._is_storing:
                    self._is_stopped = True
                    work.cancel()
                    return

    def _note_or_look(self, noted: dict[str, Json]) -> Status | None:
        if self._state and noted != self._state:
            noted.clear()
            noted.update(self._state)
            return transform_jobs.note(self._house.db, self._job.id, noted)
        found = transform_jobs.get(self._house.db, self._job.id)
        return None if found is None else found.status

    async def _work(self) -> End:
        plan = transform_plans.read(self._job.request)
        objects = roles.objects_of_job(self._house, self._job.model["role_arn"])
        self._folder.make()
        pinned = self._folder.inputs()
        if pinned is None:
            pinned = await asyncio.to_thread(transform_inputs.resolve, objects, plan.source)
            self._folder.pin(pinned)
        self._begin_count(len(pinned))
        try:
            if not all(self._folder.is_done(number) for number in range(len(pinned))):
                await self._answer_all(plan, pinned, objects)
        except NoReplica as error:
            return await self._store(plan, pinned, objects, f"The model cannot be started: {error}")
        return await self._store(plan, pinned, objects, self._reason(pinned))

    async def _answer_all(self, plan: TransformPlan, pinned: list[TransformObject], objects: Objects) -> None:
        model = self._job.model
        with self._files.held(model):
            answering = Answering(
                plan=plan,
                name=self._job.name,
                key=f"transform {self._job.id}",
                problem=model["problem"],
                containers=_with(await asyncio.to_thread(self._files.fetch, model), plan),
                processes=self._processes,
                log=self._log.write,
                say=self._say,
                patience=self._patience,
            )
            try:
                await answering.start()
                for number, one in enumerate(pinned):
                    if not self._folder.is_done(number):
                        await self._answer_object(plan, answering, objects, one, number)
            finally:
                await answering.close()

    async def _answer_object(
        self, plan: TransformPlan, answering: Answering, objects: Objects, pinned: TransformObject, number: int
    ) -> None:
        """Make the output of one object, or note why there is none."""
        began_at = clock.monotonic()
        progress = self._folder.progress(number)
        self._say(f"{pinned.uri}: {f'goes on after line {progress.mark.line}' if progress.written else 'begins'}")
        try:
            await asyncio.to_thread(inputs.fetch, objects, pinned, self._folder.source)
            with (
                inputs.opened(self._folder.source, is_gzip=plan.is_gzip, uri=pinned.uri) as source,
                self._folder.open_part(number, progress) as part,
            ):
                object_run = ObjectRun(plan, answering, self._folder, part, number, progress, self._count)
                await object_run.run(source, pinned.uri)
        except InvalidData as error:
            self._folder.fail(number, str(error))
            self._count("files_failed", 1)
            self._say(f"{pinned.uri}: no output: {error}")
            return
        self._folder.finish(number)
        self._count("files_done", 1)
        self._say(f"{pinned.uri}: done, {object_run.records} records in {clock.monotonic() - began_at:.1f} s")

    async def _store(self, plan: TransformPlan, pinned: list[TransformObject], objects: Objects, reason: str) -> End:
        """Put the whole outputs into their bucket; from here on it is too late to stop."""
        self._state["is_storing"] = True
        status = await asyncio.to_thread(transform_jobs.note, self._house.db, self._job.id, self._state)
        if status == "Stopping" and not self._is_storing:
            return await asyncio.to_thread(self._end, "Stopped")
        self._is_storing = True
        bucket, start = split_s3_uri(plan.output_uri)
        wanted = plan.accept.partition(",")[0].strip()
        content_type = wanted if wanted and "*" not in wanted else DEFAULT_CONTENT_TYPE
        for number, one in enumerate(pinned):
            if self._folder.output(number).exists():
                key = f"{start}/{one.output}" if start else one.output
                await asyncio.to_thread(objects.put_file, bucket, key, self._folder.output(number), content_type)
        return await asyncio.to_thread(self._failed if reason else self._completed, reason)

    def _completed(self, _reason: str) -> End:
        return self._end("Completed")

    def _failed(self, reason: str) -> End:
        own = f"`gyropilot transforms logs {self._job.name}` has the whole of it"
        return self._end("Failed", reason.replace(replica_calls.IN_ITS_LOG, own))

    def _end(self, status: Status, reason: str | None = None) -> End:
        text = None if reason is None else reason if len(reason) <= _LONGEST_REASON else f"{reason[:1021]}..."
        self._say(f"{status}{f': {reason}' if reason else ''}")
        transform_jobs.end(self._house.db, self._job.id, status, failure_reason=text)
        self._folder.remove()
        return "ended"

    def _reason(self, pinned: list[TransformObject]) -> str:
        reasons = [text for number in range(len(pinned)) if (text := self._folder.failure(number)) is not None]
        if not reasons:
            return ""
        more = f" ({len(reasons) - 1} more of {len(pinned)} objects failed; the log has each)" if reasons[1:] else ""
        return f"{reasons[0]}{more}"

    def _begin_count(self, files: int) -> None:
        """Count what earlier runs did."""
        counts = {"files": files, "files_done": 0, "files_failed": 0, "records_done": 0}
        for number in range(files):
            counts["records_done"] += self._folder.progress(number).mark.records
            counts["files_done"] += self._folder.output(number).exists()
            counts["files_failed"] += self._folder.failure(number) is not None
        self._state = {**self._job.state, **counts}

    def _count(self, what: str, more: int) -> None:
        self._state[what] += more

    def _say(self, what: str) -> None:
        line = printable(what).replace("\n", "\\n")
        logger.info("transform job %s: %s", self._job.name, line)
        self._log.write(f"{clock.now():%Y-%m-%dT%H:%M:%SZ} gyropilot: {line}\n".encode())


def _with(containers: Containers, plan: TransformPlan) -> Containers:
    """Give containers with the job's own environment over theirs."""
    return [(folder, {**environment, **plan.environment}) for folder, environment in containers]
