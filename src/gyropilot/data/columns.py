"""Checks a file's column names against those a channel must have; used by each file format."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

from gyropilot.errors import Fault

_MOST_TOLD = 10
"""Columns of a kind of fault that are named at once."""
_SHOWN = 60


def column_faults(found: Sequence[str], wanted: Sequence[str], *, where: str) -> list[Fault]:
    """Give every fault of a header: duplicate, missing and extra columns. Order does not matter, letter case does."""
    faults = [
        Fault(where=where, found=name, problem=f"column stands {count} times", fix="keep one")
        for name, count in Counter(found).items()
        if count > 1
    ]
    faults = faults[:_MOST_TOLD]
    missing = [name for name in wanted if name not in found]
    extra = [name for name in dict.fromkeys(found) if name not in wanted]
    renamed: set[str] = set()
    for name in missing:
        near = [other for other in extra if _loosely(other) == _loosely(name) or unlike(other, [name])]
        renamed.update(near)
        fix = f"the columns must be exactly {_listed(wanted)}"
        if near:
            fix = f"rename column {near[0][:_SHOWN]!r} to {name!r}{unlike(near[0], [name])}"
        shown = [one[:_SHOWN] for one in found[:20]]
        faults.append(Fault(where=where, found=shown, problem=f"column {name!r} is missing", fix=fix))
    left = [name for name in extra if name not in renamed]
    for name in left[:_MOST_TOLD]:
        fix = (
            "it looks like a saved row index; write the file without one (pandas: index=False)"
            if name in {"", "Unnamed: 0", "__index_level_0__"}
            else f"remove it; the columns must be exactly {_listed(wanted)}"
        )
        faults.append(Fault(where=where, found=name[:_SHOWN], problem="column is not expected", fix=fix))
    if len(left) > _MOST_TOLD:
        more = len(left) - _MOST_TOLD
        faults.append(Fault(where=where, problem=f"{more} more columns are not expected", fix="remove them"))
    return faults


def unlike(name: str, wanted: Sequence[str]) -> str:
    """Say in which characters `name` is not the name of `wanted` that it looks like; empty where it looks like none."""
    seen = "".join(one for one in name.strip() if unicodedata.category(one) != "Cf")
    for other in wanted:
        pairs = list(zip(seen, other, strict=False))
        wrong = [one for one, right in pairs if one != right]
        hidden = [one for one in name if unicodedata.category(one) == "Cf"]
        is_near = len(seen) == len(other) and len(wrong) < len(other) and all(not one.isascii() for one in wrong)
        if is_near and (wrong or hidden):
            one = (wrong or hidden)[0]
            return f": it holds U+{ord(one):04X} {unicodedata.name(one, 'without a name')}"
    return ""


def _loosely(name: str) -> str:
    return name.strip().strip("\"'").casefold()


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names) if len(names) < 3 else ", ".join(names)
