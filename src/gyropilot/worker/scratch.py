"""A job's working folder, one for each claim: <scratch>/<job id>.<epoch>; called by the worker.

A claim takes over the folder of the claim before it, by renaming it. What still runs for an owner that lost its lease,
on this machine or another, then finds its folder gone: it writes nothing into the work of its successor, and ends. An
owner that lost its lease before it had a folder takes none from its successor.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path


def take(scratch: Path, job_id: str, epoch: int) -> Path:
    """Give the folder of the claim with this epoch, with what earlier claims left in theirs; it may not exist yet."""
    folder = scratch / f"{job_id}.{epoch}"
    earlier = [one for one in _folders(scratch, job_id) if epoch_of(one) < epoch]
    for former in sorted(earlier, key=epoch_of, reverse=True):
        if folder.exists():
            break
        with contextlib.suppress(FileNotFoundError):
            former.rename(folder)
    return folder


def emptied(folder: Path) -> Path:
    """Make a folder that holds nothing, whatever lay there, and give it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def wipe(scratch: Path, job_id: str) -> None:
    """Remove every folder of a job that has ended."""
    for folder in _folders(scratch, job_id):
        shutil.rmtree(folder, ignore_errors=True)


def wipe_ended(scratch: Path, is_ended: Callable[[str], bool]) -> None:
    """Remove the folders of jobs that have ended, or are no more; those of others that run stay as they are."""
    for job_id in {one.name.partition(".")[0] for one in scratch.iterdir()}:
        if is_ended(job_id):
            wipe(scratch, job_id)


def epoch_of(folder: Path) -> int:
    """Give the epoch of the claim whose folder this is."""
    _, _, epoch = folder.name.partition(".")
    return int(epoch) if epoch.isdigit() else 0


def _folders(scratch: Path, job_id: str) -> list[Path]:
    return [one for one in scratch.glob(f"{job_id}*") if one.name.partition(".")[0] == job_id]
