"""The running service as commands find it, and the key that they use: of the shell, or of the home.

A shell whose AWS variables hold a key of this service means that key, and the service that AWS_ENDPOINT_URL names.
Otherwise the notes that processes leave in the home tell where the service is, and the file beside them its first key.
"""

from __future__ import annotations

import shlex
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from gyropilot import settings as settings_file
from gyropilot.cli import notes
from gyropilot.errors import GyropilotError
from gyropilot.settings import Settings, ShellKey
from gyropilot.store import first_keys

Json = Any

_ANSWER_SECONDS = 3.0
_SHELL = "of AWS_ACCESS_KEY_ID in the environment"


class ServiceIsDown(click.ClickException):
    """No service answers for this home."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """Where a service answers, and the key that opens it."""

    url: str
    region: str
    s3_endpoint: str
    """URL of the external S3 store; empty when the service is its own."""
    access_key: str
    secret: str = field(repr=False)
    key_from: str
    """Where the key was found, as a refusal tells it."""
    role_arn: str = ""
    """Default role of the home's account; empty where no home was asked."""


def find(home: Path | None) -> Service:
    """Give the service and the key that a command in this shell means; `home` is what --home says.

    The shell's key goes to the service that AWS_ENDPOINT_URL names, and to the home's where that is the same or none
    is named; a home that --home names and that is another service's keeps to its own first admin.

    Raises:
        ServiceIsDown: no service answers for the home.
        InvalidRequest: the shell's key lacks its secret, or the home cannot be read.
    """
    shell = settings_file.shell_key()
    if shell is not None and shell.url and home is None and not _is_of_home(shell):
        return _named_by(shell)
    settings = settings_file.read({"home": home})
    if shell is None or _is_of_home(shell, home) or not _means(shell, settings):
        return of_home(settings)
    return _noted(_answering(settings), access_key=shell.access_key, secret=shell.secret, key_from=_SHELL)


def of_home(settings: Settings) -> Service:
    """Give the service that runs on this home, opened by its first admin; of several processes the newest.

    Raises:
        ServiceIsDown: none does, or it does not answer.
    """
    note = _answering(settings)
    access_key, secret = first_keys.first_admin(first_keys.open_file(settings.credentials, note["account_id"]))
    return _noted(note, access_key=access_key, secret=secret, key_from=f"the first admin of {settings.home}")


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


def _answering(settings: Settings) -> Mapping[str, Json]:
    noted = notes.newest_first(settings)
    start = f"start it: gyropilot up{home_option(settings)}{_port_option(settings, noted)}"
    if not noted:
        raise ServiceIsDown(f"no service runs on {settings.home}; {start}")
    note = next((one for one in noted if answers(one["url"])), None)
    if note is None:
        tried = ", ".join(one["url"] for one in noted)
        raise ServiceIsDown(f"the service noted in {settings.addresses} does not answer at {tried}; {start}")
    return note


def _noted(note: Mapping[str, Json], *, access_key: str, secret: str, key_from: str) -> Service:
    return Service(
        url=note["url"],
        region=note["region"],
        role_arn=note["role_arn"],
        s3_endpoint=note.get("s3_endpoint", ""),
        access_key=access_key,
        secret=secret,
        key_from=key_from,
    )


def _named_by(shell: ShellKey) -> Service:
    return Service(
        url=shell.url,
        region=shell.region,
        s3_endpoint=shell.s3_endpoint,
        access_key=shell.access_key,
        secret=shell.secret,
        key_from=_SHELL,
    )


def _is_of_home(shell: ShellKey, home: Path | None = None) -> bool:
    """Say whether the key is the home's own, as `gyropilot env` exports it: the notes tell then where the service is.

    A service that starts again may answer at another port, which the shell does not know.
    """
    try:
        settings = settings_file.read({"home": home})
        if not settings.credentials.exists():
            return False
        keys = first_keys.open_file(settings.credentials, settings.account_id)
        return shell.access_key in keys and keys[shell.access_key][1] == shell.secret
    except (GyropilotError, OSError):
        return False


def _means(shell: ShellKey, settings: Settings) -> bool:
    """Say whether the shell's variables are about the service of this home."""
    places = {_place(note["url"]) for note in notes.newest_first(settings)}
    return not shell.url or _place(shell.url) in places


def _place(url: str) -> str:
    return url.rstrip("/").replace("//localhost", "//127.0.0.1")
