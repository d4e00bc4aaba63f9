"""What the child of the bad-file tests runs: the profile function on one case after the other, its memory watched."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pyarrow

from gyropilot.errors import GyropilotError
from gyropilot.problems.text_generation import data


def profile_each(arguments, reporter):
    """Give, for each case, what came of it and by how many bytes memory rose meanwhile."""
    profile(arguments["warm"], reporter)
    return [profile(task, reporter) for task in arguments["tasks"]]


def profile(task, reporter):
    ctypes.CDLL(None).malloc_trim(0)  # what earlier cases left would hide what this one takes
    pyarrow.default_memory_pool().release_unused()
    held = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    try:
        found = data.profile(task, reporter)
    except GyropilotError as error:
        outcome = {"message": str(error)}
    else:
        count = found["rows"]["training"] + found["rows"]["validation"]
        rows = data.read_prepared_rows(Path(task["prepared"]), range(count))
        outcome = {
            "rows": [[rows[number].input, rows[number].output] for number in range(count)],
            "findings": found["findings"],
        }
    return outcome | {"risen_bytes": _memory("VmHWM") - held}


def _memory(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))
