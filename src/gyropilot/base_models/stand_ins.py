"""Stand-ins: names of the catalog under which jobs train another, installed model; called by the store.

    <root>/.stand-ins/<name>.json   {"format": 1, "name": ..., "loaded": ..., "created_at": ...}

Only the operator makes one, on the machine; nothing in a request can. A model that is really installed goes before.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from gyropilot import clock
from gyropilot.base_models import catalog
from gyropilot.base_models.records import InstalledModel
from gyropilot.errors import InvalidData
from gyropilot.files import sync, write_whole

FOLDER = ".stand-ins"
_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """One name of the catalog and the installed model that jobs get under it."""

    name: str
    """As requests have it."""
    loaded: str
    """The installed model."""
    created_at: datetime


def find(root: Path, name: str) -> StandIn | None:
    """Give the stand-in for a name, None if there is none.

    Raises:
        InvalidData: its file cannot be read.
    """
    file = root / FOLDER / f"{name}.json"
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        if values.pop("format") != _FORMAT or values["name"] != name:
            raise ValueError("format or name is not as expected")
        created_at = datetime.fromisoformat(values.pop("created_at"))
        return StandIn(**values, created_at=created_at)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidData(
            where=f"stand-in for {name}",
            problem=f"{file} cannot be read: {error}",
            fix=f"gyropilot models stand-in --remove {name}, then make it again",
        ) from error


def names(root: Path) -> list[str]:
    """Give the names that have a stand-in, in order."""
    return sorted(path.stem for path in (root / FOLDER).glob("[!.]*.json"))


def write(root: Path, name: str, loaded: str) -> StandIn:
    """Keep a stand-in, synced; it is there whole or not at all."""
    folder = root / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    made = StandIn(name=name, loaded=loaded, created_at=clock.now())
    values = {"format": _FORMAT} | asdict(made) | {"created_at": made.created_at.isoformat()}
    write_whole(folder / f"{name}.json", json.dumps(values))
    return made


def delete(root: Path, name: str) -> bool:
    """Forget a stand-in, readable or not; say whether there was one."""
    file = root / FOLDER / f"{name}.json"
    if not file.exists():
        return False
    file.unlink()
    sync(file.parent)
    return True


def fitted(model: InstalledModel, name: str) -> InstalledModel:
    """Give `model` as it stands in for `name`: with that name's limits where they are the narrower ones."""
    facts = catalog.find(name)
    if facts is None:
        return replace(model, stands_in_for=name)
    return replace(
        model,
        stands_in_for=name,
        context_tokens=min(model.context_tokens, facts.context_tokens),
        max_rows=min(model.max_rows, facts.max_rows),
    )
