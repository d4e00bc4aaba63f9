"""Checks of the home folder: who can read what, the database, the base models."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from gyropilot.base_models import records
from gyropilot.base_models.store import BaseModelStore
from gyropilot.cli import texts
from gyropilot.cli.checkups.finding import Finding, fail, ok, warn
from gyropilot.cli.service import home_option
from gyropilot.errors import Fault, InvalidData, InvalidRequest
from gyropilot.settings import Settings
from gyropilot.store import database_look, sealed_rows
from gyropilot.store.database_look import Depth
from gyropilot.store.seals import Seal

_GONE = "is not there, and secrets in the database were sealed under it"
_SMALLEST = "SmolLM2-135M-Instruct"


def check(settings: Settings, depth: Depth) -> Iterator[Finding]:
    """Give the state of the home; `deep` reads every byte of the base models and of an SQLite database."""
    yield from _modes(settings)
    database = _database(settings, depth)
    yield database
    if database.level != "fail":
        yield from _secrets(settings)
    yield from _base_models(settings, depth)


def _modes(settings: Settings) -> Iterator[Finding]:
    home = settings.home
    if not home.exists():
        yield ok("home", f"{home} is not there yet; the first start makes it")
        return
    private = [home, settings.credentials, settings.seal, settings.audit, home / "gyropilot.db"]
    faults = [fault for path in private if (fault := _mode_fault(path, refused=0o077))]
    # Others may read the settings, unless they hold a password: reading them has refused that by now.
    faults += [fault for path in (home / "settings.toml",) if (fault := _mode_fault(path, refused=0o022))]
    for path, said in faults:
        mode = "700" if path == home else "600"
        yield fail("modes", said, f"chmod {mode} {shlex.quote(str(path))}; new keys, if others may have read them")
    if not os.access(home, os.W_OK | os.X_OK):
        yield fail("home", f"{home} cannot be written to", "choose a folder of your own with --home or GYROPILOT_HOME")
    elif not faults:
        yield ok("home", f"{home}, yours alone, as are the files of keys and settings in it")


def _mode_fault(path: Path, *, refused: int) -> tuple[Path, str] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    if stat.S_ISLNK(status.st_mode):
        return path, f"{path} is a link"
    if status.st_uid != os.geteuid():
        return path, f"{path} belongs to user {status.st_uid}"
    mode = stat.S_IMODE(status.st_mode)
    return (path, f"{path} can be reached by others (mode {mode:04o})") if mode & refused else None


def _database(settings: Settings, depth: Depth) -> Finding:
    found = database_look.look(settings.database, depth)
    if found.trouble:
        mend = "restore it from a copy" if found.kind == "SQLite" else "mend the server, or the setting database_url"
        return fail("database", found.trouble, mend)
    if found.danger:
        return warn(
            "database", f"{found.about}; {found.danger}", "acknowledged work may be lost; see docs/operations.md"
        )
    return ok("database", found.about)


def _secrets(settings: Settings) -> Iterator[Finding]:
    rows = database_look.secrets_in(settings.database)
    if not rows:
        return
    try:
        seal = Seal.read(settings.seal)
    except FileNotFoundError:
        seal = None
    except OSError as error:
        yield fail("seal key", f"{settings.seal} cannot be read: {error.strerror}", "restore the file from a copy")
        return
    except InvalidRequest as error:
        yield fail("seal key", f"{settings.seal} {error.faults[0].problem}", error.faults[0].fix)
        return
    if lost := sealed_rows.lost(rows, seal):
        fault = sealed_rows.fault(lost, settings.seal)
        yield fail("seal key", f"{fault.where} {fault.problem if seal else _GONE}", fault.fix)
    else:
        yield ok("seal key", f"it opens every secret in the database ({len(rows)})")


def _base_models(settings: Settings, depth: Depth) -> Iterator[Finding]:
    of_home = home_option(settings)
    store = BaseModelStore(settings.base_models, settings.allow_downloads)
    folders = sorted(path for path in settings.base_models.glob("[!.]*") if path.is_dir())
    if not folders:
        mend = f"gyropilot models pull {_SMALLEST}{of_home}"
        yield warn("base models", "none is installed, so no fine-tuning job can run", mend)
    damaged = set()
    for folder in folders:
        faults = _faults(store, folder, depth)
        if faults:
            damaged.add(folder.name)
            mend = f"gyropilot models remove {folder.name}{of_home}, then install it again"
            yield fail("base models", "; ".join(f"{one.where}: {one.problem}" for one in faults), mend)
    whole = [one for one in store.installed() if one.name not in damaged]
    for one in whole:
        told = "every digest right" if depth == "deep" else "whole by name and size"
        yield ok("base models", f"{one.name}, {texts.size(one.size_bytes)}, {told}")
    for made in store.stand_ins():
        if any(one.name == made.loaded for one in whole):
            yield ok("stand-ins", f"{made.loaded} stands in for {made.name}")
        else:
            mend = f"install {made.loaded} again, or: gyropilot models stand-in --remove {made.name}{of_home}"
            yield fail("stand-ins", f"{made.loaded}, which stands in for {made.name}, cannot be used", mend)


def _faults(store: BaseModelStore, folder: Path, depth: Depth) -> tuple[Fault, ...]:
    try:
        if depth == "deep":
            store.verify(folder.name)
            return ()
        return tuple(records.size_faults(records.read(folder)))
    except InvalidData as error:
        return error.faults
