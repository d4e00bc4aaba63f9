"""Checks a file's column names against those a channel must have; used by each file format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gyropilot.errors import Fault


def column_faults(found: Sequence[str], wanted: Sequence[str], *, where: str) -> list[Fault]:
    """Give every fault of a header: duplicate, missing and extra columns. Order does not matter, letter case does."""
    faults = [
        Fault(where=where, found=name, problem=f"column stands {count} times", fix="keep one")
        for name, count in Counter(found).items()
        if count > 1
    ]
    missing = [name for name in wanted if name not in found]
    extra = [name for name in dict.fromkeys(found) if name not in wanted]
    for name in missing:
        near = [other for other in extra if _loosely(other) == _loosely(name)]
        fix = f"rename column {near[0]!r} to {name!r}" if near else f"the columns must be exactly {_listed(wanted)}"
        faults.append(Fault(where=where, found=list(found)[:20], problem=f"column {name!r} is missing", fix=fix))
    renamed = {_loosely(name) for name in missing}
    for name in extra:
        if _loosely(name) in renamed:
            continue
        fix = (
            "it looks like a saved row index; write the file without one (pandas: index=False)"
            if name in {"", "Unnamed: 0", "__index_level_0__"}
            else f"remove it; the columns must be exactly {_listed(wanted)}"
        )
        faults.append(Fault(where=where, found=name, problem="column is not expected", fix=fix))
    return faults


def _loosely(name: str) -> str:
    return name.strip().strip("\"'").casefold()


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names) if len(names) < 3 else ", ".join(names)
