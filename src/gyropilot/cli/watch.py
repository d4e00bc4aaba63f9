"""Follows a job in the terminal: one line that moves, or in a pipe a line now and then."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import click

from gyropilot import clock
from gyropilot.cli import job_page, leaderboard, service, texts
from gyropilot.log import printable
from gyropilot.sdk.client import Client
from gyropilot.sdk.errors import Unreachable
from gyropilot.sdk.values import Event, Progress
from gyropilot.sdk.watching import follow

EXIT_BY_STATUS = {"Completed": 0, "Failed": 1, "Stopped": 3}
"""The exit code of `watch` for each way a job can end."""

INTERRUPTED = 130
"""The exit code of who ends the watching."""

SILENCE = "the service does not answer; waiting for it"

_QUIET_KINDS = frozenset({"bounds", "checkpoint", "first_step", "forward"})
"""Events that only who looks into a job needs; `jobs show` has them."""
_POLL_SECONDS = 0.5
_PATIENCE_SECONDS = 300.0
_PIPE_SECONDS = 10.0


def connect(home: Path | None) -> Client:
    """Give a client of the service, by the key of the shell or of the home; see `service.find`."""
    found = service.find(home)
    return Client(
        url=found.url,
        access_key=found.access_key,
        secret=found.secret,
        region=found.region,
        s3_url=found.s3_endpoint,
        key_from=found.key_from,
    )


def watch(home: Path | None, name: str) -> int:
    """Follow the job to its end and print what came of it; give the exit code that says how it ended.

    Ctrl-C ends the watching only.
    """
    client = connect(home)
    client.describe(name)
    line = _MovingLine() if sys.stdout.isatty() else _PipeLines()
    try:
        status = _follow(lambda: _reconnect(home), name, line)
    except KeyboardInterrupt:
        line.close()
        click.echo(
            f"Stopped watching; the job goes on.  Watch again: gyropilot jobs watch {name}"
            f"  End it: gyropilot jobs stop {name}",
            err=True,
        )
        return INTERRUPTED
    line.close()
    return EXIT_BY_STATUS.get(status, 1)


def watch_and_print(home: Path | None, name: str) -> NoReturn:
    """Follow the job to its end, print it, and exit as it ended."""
    status = watch(home, name)
    if status != INTERRUPTED:
        client = connect(home)
        job = client.describe(name)
        job_page.print_job(job, client.progress(name))
        leaderboard.print_candidates(client.candidates(name), client.events(name))
        if status == EXIT_BY_STATUS["Completed"]:
            click.echo(job_page.what_next(job), err=True)
    sys.exit(status)


def followed(home: Path | None, name: str) -> Iterator[tuple[Client, Progress | None]]:
    """Give the job's progress until it has ended, with a client to ask; None while the service does not answer."""
    return _followed(lambda: _reconnect(home), name)


def _follow(reconnect: Callable[[], Client], name: str, line: _MovingLine | _PipeLines) -> str:
    seen = 0
    status = ""
    for client, progress in _followed(reconnect, name):
        if progress is None:
            line.wait(SILENCE)
            continue
        for event in _events(client, name, seen):
            seen = event.sequence
            if event.kind not in _QUIET_KINDS:
                line.tell(f"{event.at.astimezone():%H:%M:%S}  {texts.event_line(event)}")
        line.show(progress)
        status = progress.status
    return status


def _followed(reconnect: Callable[[], Client], name: str) -> Iterator[tuple[Client, Progress | None]]:
    client = reconnect()

    def asked() -> Client:
        nonlocal client
        client = reconnect()
        return client

    for progress in follow(asked, name, poll_seconds=_POLL_SECONDS, patience_seconds=_PATIENCE_SECONDS):
        yield client, progress


def _reconnect(home: Path | None) -> Client:
    try:
        return connect(home)
    except service.ServiceIsDown as error:
        raise Unreachable(error.format_message()) from error


def _events(client: Client, name: str, seen: int) -> list[Event]:
    try:
        return client.events(name, after=seen)
    except Unreachable:
        return []


class _MovingLine:
    """One line at the bottom of a terminal, written over; what is told stands above it."""

    def show(self, progress: Progress) -> None:
        self._write(texts.progress_line(progress, width=self._width()))

    def wait(self, reason: str) -> None:
        self._write(reason[: self._width()])

    def tell(self, text: str) -> None:
        click.echo(f"\r\x1b[K{printable(text)}")

    def close(self) -> None:
        click.echo("\r\x1b[K", nl=False)

    def _write(self, text: str) -> None:
        click.echo(f"\r\x1b[K{text}", nl=False)

    def _width(self) -> int:
        return shutil.get_terminal_size().columns - 1


class _PipeLines:
    """A line when the phase changes, and every few seconds if there is news; for logs and pipes."""

    def __init__(self) -> None:
        self._phase: object = None
        self._shown = ""
        self._due_at = 0.0

    def show(self, progress: Progress) -> None:
        phase = (progress.status, progress.secondary_status, progress.phase, progress.is_queued)
        if phase == self._phase and clock.monotonic() < self._due_at:
            return
        self._phase = phase
        self._due_at = clock.monotonic() + _PIPE_SECONDS
        line = texts.progress_line(progress, width=200)
        if line != self._shown:
            self._shown = line
            click.echo(line)

    def wait(self, reason: str) -> None:
        if self._phase != reason:
            self._phase = self._shown = reason
            click.echo(reason)

    def tell(self, text: str) -> None:
        click.echo(printable(text))

    def close(self) -> None:
        """Nothing is left to tidy."""
