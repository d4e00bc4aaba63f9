"""Trains one candidate in a child, publishes what that gives and stores the candidate as it ended."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gyropilot import clock
from gyropilot.control import roles
from gyropilot.control.house import House
from gyropilot.engine.engine import Ending
from gyropilot.problems import tasks
from gyropilot.problems.contract import Problem, TrainTask
from gyropilot.store import outputs
from gyropilot.store.candidates import CandidateRecord
from gyropilot.worker import children, outcomes, publishing, scratch
from gyropilot.worker.children import Call, Children, Share, Work
from gyropilot.worker.job_book import JobBook
from gyropilot.worker.job_progress import JobProgress
from gyropilot.worker.time_limits import TimeLimits
from gyropilot.worker.watching import Grace, Signals

Json = Any
ENDED_BY_JOB_LIMIT = "ended_by_job_limit"
"""Noted in the job's state once its time limit has ended a candidate."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """What the runs of a job's candidates have in common."""

    house: House
    book: JobBook
    children: Children
    signals: Signals
    problem: Problem
    folder: Path
    """The job's working folder."""
    limits: TimeLimits
    progress: JobProgress
    profile: Mapping[str, Json]
    share: Share
    """What of the machine one candidate may use."""
    at_once: int
    """How many candidates may be trained side by side."""


def output_of(folder: Path, name: str) -> Path:
    """Give the folder into which a candidate is trained."""
    return folder / "output" / name


def train(training: Training, proposal: Mapping[str, Json]) -> CandidateRecord:
    """Train what `search` proposed and give its record as it ended.

    Raises:
        Trouble: something is missing that may be there again soon.
        LeaseLost: another worker owns the job.
        HandedBack: the service goes down; a later run goes on.
    """
    book, name = training.book, proposal["name"]
    proposal = _kept(training, proposal)
    record = book.candidate(name) or outcomes.in_progress(book.job, name, clock.now(), proposal.get("steps", ()))
    book.put_candidate(record)
    book.got_further(name, 0)
    book.used.begin(name)
    training.progress.begun(name)
    work = Work(
        function=training.problem.train,
        what=name,
        share=training.share,
        grace=Grace(seconds=training.problem.grace_seconds, longest_seconds=training.problem.longest_grace_seconds),
        on_stop="ask",
        tell=lambda body: training.progress.heard(name, body),
        label=name if training.at_once > 1 else "",
    )
    ending = _checked(training, name, training.children.run(work, lambda: _call(training, proposal)))
    is_by_job = _is_ended_by_job_limit(training, name, ending)
    if is_by_job:
        book.note(ENDED_BY_JOB_LIMIT, name)
    ended = (
        _published(training, record, ending.result) if ending.outcome == "result" else _lost(training, record, ending)
    )
    _end(training, ended)
    if ending.outcome == "result" and ending.result["ended_by"] == "time limit":
        limit = "MaxAutoMLJobRuntimeInSeconds" if is_by_job else "MaxRuntimePerTrainingJobInSeconds"
        told = f"{name} has what was trained of it by then: its time was up ({limit})."
        book.event("cut_off", told, {"candidate": name, "limit": limit})
    return ended


def leave(training: Training, name: str, reason: str) -> None:
    """End a candidate in progress that is not trained any further; `reason` says why."""
    record = training.book.candidate(name)
    if record is not None:
        _end(training, outcomes.ended_without_model(record, "Stopped", reason))


def _end(training: Training, ended: CandidateRecord) -> None:
    training.book.put_candidate(ended)
    training.book.candidate_ended(ended.name)
    training.book.forget_output(_proposal_of(ended.name))
    shutil.rmtree(_checkpoints(training, ended.name), ignore_errors=True)


def _kept(training: Training, proposal: Mapping[str, Json]) -> Mapping[str, Json]:
    """Give what was proposed when the candidate was begun: search may think otherwise after an interruption."""
    part = _proposal_of(proposal["name"])
    kept: Mapping[str, Json] | None = training.book.result_of(part)
    if kept is None:
        training.book.put_output(part, digests={}, result=proposal)
    return kept or proposal


def _proposal_of(name: str) -> str:
    return f"proposal:{name}"


def _call(training: Training, proposal: Mapping[str, Json]) -> Call:
    settings, job, name = training.house.settings, training.book.job, proposal["name"]
    checkpoints = _checkpoints(training, name)
    checkpoints.mkdir(parents=True, exist_ok=True)
    seconds_left = training.limits.candidate_seconds_left(name)
    task = TrainTask(
        job_name=job.name,
        spec=job.spec,
        candidate=proposal,
        profile=training.profile,
        base_models=settings.base_models,
        prepared=training.folder / "prepared",
        checkpoints=checkpoints,
        output=scratch.emptied(output_of(training.folder, name)),
        output_uri=publishing.output_uri(job.request),
        cores=training.share.cores,
        memory_bytes=training.share.memory_bytes,
        seconds_left=seconds_left,
        checkpoint_seconds=settings.checkpoint_seconds,
        evaluation_seconds=settings.evaluation_seconds,
        source_prompts=settings.source_prompts,
    )
    return Call(arguments=tasks.to_json(task), seconds_left=seconds_left)


def _checked(training: Training, name: str, ending: Ending) -> Ending:
    """Give the ending; a failure where the model files that it names are not there."""
    if ending.outcome != "result":
        return ending
    there = set(publishing.names_in(output_of(training.folder, name)))
    missing = [one["model_path"] for one in ending.result["containers"] if one["model_path"] not in there]
    if not missing:
        return ending
    message = f"Training did not leave the model files that it names: {', '.join(missing)}"
    return Ending(outcome="failure", error="TrainingFailed", message=message)


def _published(training: Training, record: CandidateRecord, result: Mapping[str, Json]) -> CandidateRecord:
    book, name = training.book, record.name
    training.progress.heard(name, {"phase": "uploading", "done": 0, "total": 1, "unit": "candidates", "values": {}})
    output, uri = output_of(training.folder, name), publishing.output_uri(book.job.request)
    # Expected first: the write proves that the lease holds, and tells a later run what may have been put.
    book.expect_output(outputs.of_candidate(name), publishing.names_in(output))
    objects = roles.objects_of_job(training.house, book.job.request["RoleArn"])
    digests = publishing.publish(objects, output, uri, before_each=book.check_lease)
    book.put_model_data(outcomes.model_data(book.job, name, result, uri, digests))
    book.put_output(outputs.of_candidate(name), digests=digests, result=result)
    return outcomes.completed(record, book.job, result, uri)


def _lost(training: Training, record: CandidateRecord, ending: Ending) -> CandidateRecord:
    shutil.rmtree(output_of(training.folder, record.name), ignore_errors=True)
    is_stopped = training.signals.stop_requested.is_set() or children.is_cut_off(ending)
    return outcomes.ended_without_model(record, "Stopped" if is_stopped else "Failed", children.failure_reason(ending))


def _is_ended_by_job_limit(training: Training, name: str, ending: Ending) -> bool:
    """Say whether the job's bound, rather than the candidate's own, or Stop, ended it."""
    is_out_of_time = (
        ending.result["ended_by"] == "time limit" if ending.outcome == "result" else children.is_cut_off(ending)
    )
    is_stopped = training.signals.stop_requested.is_set()
    return is_out_of_time and not is_stopped and training.limits.is_bound_by_job(name)


def _checkpoints(training: Training, name: str) -> Path:
    return training.folder / "checkpoints" / name
