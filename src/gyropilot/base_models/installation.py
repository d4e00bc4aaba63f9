"""How a model gets its place in the store: alone under its name, whole or not at all; called by the store."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gyropilot import clock
from gyropilot.base_models import catalog, records
from gyropilot.base_models.catalog import BaseModel
from gyropilot.base_models.folder import CleanCopy
from gyropilot.base_models.records import InstalledModel
from gyropilot.errors import InvalidData, LimitExceeded
from gyropilot.files import sync

MAX_ROWS = 10_000
CONTEXT_TOKENS = 2048
"""Context limit of an added model whose configuration names none."""
_SPARE_BYTES = 64 * 2**20
_SIZE_LEEWAY = (0.7, 1.4)
"""Counted over documented parameters; documents round, and some leave embeddings out."""


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What the operator says of a model that the catalog does not know; None leaves it to the configuration."""

    licence: str
    context_tokens: int | None
    max_rows: int | None


@contextlib.contextmanager
def locked(root: Path, name: str) -> Iterator[None]:
    """Wait for, then hold, the right to change this name; the system takes it back when the process ends."""
    with (root / f".{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def incoming(root: Path, name: str) -> Iterator[Path]:
    """Give a folder that is gone afterwards, and wipe those that crashed installations of this name left."""
    for leftover in root.glob(f".incoming-{name}-????????"):
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f".incoming-{name}-", dir=root) as folder:
        yield Path(folder)


@contextlib.contextmanager
def full_disk_told(root: Path) -> Iterator[None]:
    """Turn the system's word that a disk is full into LimitExceeded."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise LimitExceeded(f"the disk that holds {root} is full; make room and try again") from error


def check_space(folder: Path, root: Path) -> None:
    """Raise LimitExceeded if the weights of `folder` do not fit beside `root`."""
    needed = sum(path.stat().st_size for path in folder.glob("*.safetensors")) + _SPARE_BYTES
    free = shutil.disk_usage(root).free
    if needed > free:
        raise LimitExceeded(f"{needed} bytes are needed in {root} and {free} are free")


def record(name: str, folder: Path, copied: CleanCopy, *, source: str, revision: str, stated: Stated) -> InstalledModel:
    """Write the record of a copied model, synced, the last file of its folder; give what it says.

    Raises:
        InvalidData: the name is the catalog's and the model is another.
    """
    facts = catalog.find(name)
    if facts is not None:
        _check_is(facts, copied)
    files, digest = records.describe_files(folder)
    model = InstalledModel(
        name=name,
        path=folder,
        architecture=copied.architecture.name,
        parameters=copied.parameters,
        context_tokens=facts.context_tokens
        if facts
        else stated.context_tokens or copied.max_positions or CONTEXT_TOKENS,
        max_rows=facts.max_rows if facts else stated.max_rows or MAX_ROWS,
        licence=facts.licence if facts else stated.licence or "not stated",
        needs_eula=facts.needs_eula if facts else False,
        is_instruct=facts.is_instruct if facts else copied.has_chat_template,
        kind=copied.architecture.kind,
        source=source,
        revision=revision,
        digest=digest,
        registered_at=clock.now(),
        left_out=copied.left_out,
        files=files,
    )
    records.write(model)
    for file in folder.iterdir():
        file.chmod(0o600)
    sync(folder)
    return model


def _check_is(facts: BaseModel, copied: CleanCopy) -> None:
    least, most = _SIZE_LEEWAY
    if copied.architecture.name == facts.architecture and least < copied.parameters / facts.parameters < most:
        return
    raise InvalidData(
        where=f"base model {facts.name}",
        found=f"{copied.architecture.name} with {copied.parameters} parameters",
        problem=f"is not {facts.hub_id}, a {facts.architecture} with about {facts.parameters}",
        fix="register it under a name of its own",
    )
