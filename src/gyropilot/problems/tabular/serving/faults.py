"""Names the place of what is wrong in a payload, and bounds how much of it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gyropilot.errors import Fault, InvalidRequest
from gyropilot.problems.tabular.columns import Schema

MOST_FAULTS = 20
"""How many faults of one payload are told; a payload may hold 100,000."""
_SHOWN_NAMES = 10
_SHOWN_PLACES = 5
_SHOWN_CHARACTERS = 80


def raise_faults(faults: Sequence[Fault]) -> None:
    """Raise InvalidRequest with the first of `faults`, if there are any; what is wrong alike is told once."""
    if faults:
        raise InvalidRequest.of(_folded(faults[:MOST_FAULTS]))


def _folded(faults: Sequence[Fault]) -> list[Fault]:
    places: dict[tuple[str, str, str], list[str]] = {}
    for one in faults:
        places.setdefault((one.problem, str(one.found), one.fix), []).append(one.where)
    folded = []
    for one in faults:
        first, *others = places.pop((one.problem, str(one.found), one.fix), [""])
        if not first:
            continue  # told with the first that is alike
        more = " and others" if len(others) > _SHOWN_PLACES else ""
        alike = f" (and {', '.join(others[:_SHOWN_PLACES])}{more})" if others else ""
        folded.append(replace(one, where=f"{first}{alike}"))
    return folded


def row(number: int) -> str:
    """Name a row of a payload, counted from 1."""
    return f"row {number}"


def shown(text: str) -> str:
    """Give a caller's text fit for a message: short, every character of it whole and visible."""
    cut = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in cut)


def named(names: Sequence[str]) -> str:
    """Give the first of some columns' names, and how many more there are."""
    told = ", ".join(shown(one) for one in names[:_SHOWN_NAMES])
    more = len(names) - _SHOWN_NAMES
    return f"{told} and {more} more" if more > 0 else told


def wrong_count(where: str, count: int, schema: Schema, *, values: str) -> Fault:
    """Say of a row that it has more or fewer `values` ("columns", "values") than the model takes."""
    most = len(schema.features)
    left_out = [one for one in (schema.target, schema.weight) if one is not None]
    hint = f", without {' and '.join(map(shown, left_out))}" if most < count <= most + len(left_out) else ""
    problem = f"has {count} {values if count != 1 else values[:-1]}, and the model takes {most}"
    return Fault(where=where, problem=problem, fix=f"send, in this order{hint}: {named(schema.names)}")
