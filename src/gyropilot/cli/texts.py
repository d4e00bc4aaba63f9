"""How values read in a terminal: durations, moments, sizes, columns, the progress line; control characters escaped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from gyropilot.log import printable
from gyropilot.sdk.values import Event, Progress

Json = Any

_PHASE_CELLS = 16
_BAR_CELLS = 24
_BAR_LEAST = 4
_BAR_FRAME = 4
"""The brackets of the bar, and the gap beside it."""


def duration(seconds: float) -> str:
    """Give `seconds` in the two largest units that fit: `45 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def moment(at: datetime) -> str:
    """Give a moment in UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def size(size_bytes: float) -> str:
    """Give a size in bytes in the unit that keeps it below 1000."""
    for unit in ("B", "kB", "MB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} GB"


def number(value: float) -> str:
    """Give a figure with four significant digits; a whole one as it is."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else f"{value:.4g}"


def columns(rows: Sequence[Sequence[str]], *, headings: Sequence[str]) -> str:
    """Give rows as aligned columns below their headings."""
    table = [list(headings), *[[printable(cell).replace("\n", " ") for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in table) for i in range(len(headings))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    )


def fitted_columns(rows: Sequence[Sequence[str]], *, headings: Sequence[str], spare: Sequence[str], width: int) -> str:
    """Give `columns` in lines of at most `width`: columns of `spare` go first, in that order, then ends of lines."""
    kept = list(headings)
    for heading in [None, *spare]:
        kept = [one for one in kept if one != heading]
        places = [headings.index(one) for one in kept]
        table = columns([[row[place] for place in places] for row in rows], headings=kept)
        if max(map(len, table.splitlines())) <= width:
            return table
    return "\n".join(line if len(line) <= width else f"{line[: width - 1]}…" for line in table.splitlines())


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Give names and values, one pair a line, the values aligned."""
    width = max(len(name) for name, _ in pairs)
    return "\n".join(f"{name.ljust(width)}  {printable(value)}" for name, value in pairs)


def as_json(value: Json) -> str:
    """Give `value` as indented JSON, moments as ISO 8601."""
    return json.dumps(value, indent=2, default=_isoformat, ensure_ascii=True)


def progress_line(progress: Progress, *, width: int) -> str:
    """Give one line, cut to `width`: phase, bar, share, step, loss or best score, speed, time left, as far as known."""
    if progress.is_queued:
        return "waiting for its turn"[:width]
    if progress.is_ended or not progress.phase:
        detail = "" if progress.secondary_status == progress.status else f": {progress.secondary_status}"
        return printable(f"{progress.status}{detail}")[:width]
    phase, figures = progress.phase, _figures(progress)
    if progress.total <= 0:
        return printable("  ".join([phase.ljust(_PHASE_CELLS), *figures]))[:width]
    share = min(1.0, max(0.0, progress.done / progress.total))
    count = f"{number(progress.done)}/{number(progress.total)} {progress.unit}"
    # What matters least goes first: the bar, then the phase's padding, then the count.
    for padded, kept in ((phase.ljust(_PHASE_CELLS), [count]), (phase, [count]), (phase, [])):
        said = [f"{share:4.0%}", *kept, *figures]
        room = width - len(printable("  ".join([padded, *said])))
        if room >= 0:
            break
    bar = [_bar(share, min(_BAR_CELLS, room - _BAR_FRAME))] if room - _BAR_FRAME >= _BAR_LEAST else []
    return printable("  ".join([padded, *bar, *said]))[:width]


def event_line(event: Event) -> str:
    """Give what happened, with the reason where a job failed."""
    reason = event.detail.get("failure_reason")
    return printable(f"{event.detail.get('status', event.message)}: {reason}" if reason else event.message)


def _bar(share: float, cells: int) -> str:
    filled = round(share * cells)
    return f"[{'#' * filled}{'.' * (cells - filled)}]"


def _figures(progress: Progress) -> list[str]:
    said = []
    if (loss := progress.values.get("loss")) is not None:
        said.append(f"loss {loss:.3f}")
    if (speed := progress.values.get("tokens_per_second")) is not None:
        said.append(f"{speed:.0f} tokens/s")
    if (best := progress.values.get("best")) is not None:
        said.append(f"best {number(best)}")
    if (running := progress.values.get("running")) is not None and running > 1:
        said.append(f"{running:.0f} at once")
    if (left := progress.values.get("seconds_left")) is not None:
        said.append(f"{duration(left)} left")
    return said


def _isoformat(value: Json) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")
