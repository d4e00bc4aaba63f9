"""Fields that the service model has and that cannot be honoured here: refused by name, never ignored."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gyropilot.errors import Fault

Json = Any


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A field that is refused unless its value is one of `harmless`, which ask for what is so anyway."""

    path: str
    """Members joined by dots."""
    problem: str
    fix: str = "leave it out"
    harmless: Container[Json] = ()


def faults_of(refusals: Iterable[Refusal], values: Mapping[str, Json], where: str) -> Iterator[Fault]:
    """Give the faults of a structure; `where` stands before the names of its members, with its dot."""
    for refusal in refusals:
        found = value_at(values, refusal.path)
        if found is not None and not (_is_plain(found) and found in refusal.harmless):
            shown = found if _is_plain(found) else None
            yield Fault(where=f"{where}{refusal.path}", found=shown, problem=refusal.problem, fix=refusal.fix)


def value_at(values: Mapping[str, Json], path: str) -> Json:
    """Give the value at a path of members; None where there is none."""
    value: Json = values
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _is_plain(value: Json) -> bool:
    return isinstance(value, str | int | float)
