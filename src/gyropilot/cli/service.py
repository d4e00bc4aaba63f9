"""The running service as commands find it: the notes that its processes leave in the home, and the keys beside them."""

from __future__ import annotations

import shlex
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from gyropilot.cli import notes
from gyropilot.settings import Settings
from gyropilot.store.principals import Credentials

_ANSWER_SECONDS = 3.0


class ServiceIsDown(click.ClickException):
    """No service answers for this home."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """Where a service answers, and the keys that open it."""

    url: str
    region: str
    role_arn: str
    s3_endpoint: str
    """URL of the external S3 store; empty when the service is its own."""
    access_key: str
    secret: str


def find(settings: Settings) -> Service:
    """Give the service that runs on this home; of several processes that answer, the newest.

    Raises:
        ServiceIsDown: none does, or it does not answer.
    """
    noted = notes.newest_first(settings)
    start = f"start it: gyropilot up{home_option(settings)}{_port_option(settings, noted)}"
    if not noted:
        raise ServiceIsDown(f"no service runs on {settings.home}; {start}")
    note = next((one for one in noted if answers(one["url"])), None)
    if note is None:
        tried = ", ".join(one["url"] for one in noted)
        raise ServiceIsDown(f"the service noted in {settings.addresses} does not answer at {tried}; {start}")
    access_key, secret = Credentials.open(settings.credentials, note["account_id"]).first_admin()
    return Service(
        url=note["url"],
        region=note["region"],
        role_arn=note["role_arn"],
        s3_endpoint=note.get("s3_endpoint", ""),
        access_key=access_key,
        secret=secret,
    )


def home_option(settings: Settings) -> str:
    """Give what a printed command needs to mean this home; empty for the usual one."""
    return "" if settings.home == Path.home() / ".gyropilot" else f" --home {shlex.quote(str(settings.home))}"


def _port_option(settings: Settings, noted: Sequence[Mapping[str, object]]) -> str:
    """Give what a start needs to answer where the newest one did; empty where it would anyway."""
    port = str(noted[0]["url"]).rpartition(":")[2] if noted else ""
    return f" --port {port}" if port.isdigit() and int(port) != settings.port else ""


def answers(url: str) -> bool:
    """Say whether a service answers at `url`."""
    # No proxy: the machine's proxy settings are for the world outside, the service is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/health", timeout=_ANSWER_SECONDS) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False
