"""The first phases of a job: its input objects are pinned and staged, and profile reads them in a child."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gyropilot import clock
from gyropilot.control import roles
from gyropilot.control.house import House
from gyropilot.errors import TrainingFailed
from gyropilot.problems import tasks
from gyropilot.problems.contract import Problem, ProfileTask
from gyropilot.store.jobs import JobChanges
from gyropilot.worker import children, publishing, scratch, staging
from gyropilot.worker.children import Call, Children, Share, Work
from gyropilot.worker.job_book import JobBook
from gyropilot.worker.time_limits import TimeLimits
from gyropilot.worker.watching import Grace

Json = Any
PART = "profile"
_INPUTS = "inputs"
_GRACE = Grace(seconds=2.0, longest_seconds=2.0)
"""What profile gave when its time is up is of no use."""


class Profiling:
    """The phases for one job."""

    def __init__(
        self,
        house: House,
        book: JobBook,
        children: Children,
        problem: Problem,
        folder: Path,
        *,
        share: Share,
        limits: TimeLimits,
    ) -> None:
        self._house, self._book, self._children = house, book, children
        self._problem, self._folder, self._share, self._limits = problem, folder, share, limits

    def pin(self) -> None:
        """List what the job reads, unless that was done."""
        if self._book.output(_INPUTS) is not None:
            self._book.event("resumed", "The job goes on after an interruption.")
            return
        self._book.write(JobChanges(started_at=clock.now()))
        spec = self._problem.read_spec(self._book.job.spec)
        inputs = staging.pin(self._house, self._book.job.request, self._problem.extra_inputs(spec))
        self._book.put_output(_INPUTS, digests={}, result=inputs)
        self._book.event("inputs", f"Pinned input objects: {staging.count(inputs)}.", {"inputs": inputs["channels"]})

    def findings(self) -> Mapping[str, Json]:
        """Give what profile found; its files lie in the folder `prepared` then.

        Raises:
            TrainingFailed: profile failed, or was stopped.
        """
        prepared, is_whole = self._folder / "prepared", self._folder / "prepared.whole"
        kept: Mapping[str, Json] | None = self._book.result_of(PART)
        if kept is not None and is_whole.exists():
            return kept
        self._book.enter(self._problem.profile_status)
        prepared.mkdir(parents=True, exist_ok=True)
        output = scratch.emptied(self._folder / "output" / PART)
        arguments = self._arguments(prepared, output)
        work = Work(
            function=self._problem.profile,
            what=PART,
            share=self._share,
            grace=_GRACE,
            on_stop="kill",
            tell=self._book.progress,
        )
        ending = self._children.run(
            work, lambda: Call(arguments=arguments, seconds_left=self._limits.job_seconds_left())
        )
        if children.is_cut_off(ending):
            raise TrainingFailed("The time limit ended the job while its data was read; raise the limit.")
        if ending.outcome != "result":
            raise TrainingFailed(children.failure_reason(ending))
        found = dict(ending.result)
        self._publish(output, found)
        is_whole.touch()
        return found

    def _arguments(self, prepared: Path, output: Path) -> Json:
        inputs = self._folder / "inputs"
        pinned = self._book.result_of(_INPUTS)
        channels, extra = staging.fetch(self._house, self._book.job.request, pinned, inputs)
        task = ProfileTask(
            job_name=self._book.job.name,
            spec=self._book.job.spec,
            channels=channels,
            base_models=self._house.settings.base_models,
            prepared=prepared,
            output=output,
            output_uri=publishing.output_uri(self._book.job.request),
            cores=self._share.cores,
            memory_bytes=self._share.memory_bytes,
            extra_files=extra,
            source_prompts=self._house.settings.source_prompts,
        )
        return tasks.to_json(task)

    def _publish(self, output: Path, found: Mapping[str, Json]) -> None:
        """Put what profile left for the bucket, and say of the job what is known now."""
        job, uri = self._book.job, publishing.output_uri(self._book.job.request)
        self._book.expect_output(PART, publishing.names_in(output))
        objects = roles.objects_of_job(self._house, job.request["RoleArn"])
        digests = publishing.publish(objects, output, uri, before_each=self._book.check_lease)
        artifacts = {name: f"{uri}/{path}" for name, path in found.get("artifacts", {}).items()}
        resolved = None
        if self._problem.resolved_by_profile is not None:
            spec = self._problem.read_spec(job.spec)
            resolved = {**job.resolved, **self._problem.resolved_by_profile(spec, found)}
        if artifacts or resolved is not None:
            self._book.write(JobChanges(artifacts={**job.artifacts, **artifacts}, resolved=resolved))
        self._book.put_output(PART, digests=digests, result=found)
