"""What the child of the bad-file tests runs: the profile function on one case after the other, its memory watched."""

from __future__ import annotations

from pathlib import Path

from gyropilot.errors import GyropilotError
from gyropilot.problems.text_generation import data
from memory_rise import MemoryRise


def profile_each(arguments, reporter):
    """Give, for each case, what came of it and by how many bytes memory rose meanwhile."""
    profile(arguments["warm"], reporter)
    return [profile(task, reporter) for task in arguments["tasks"]]


def profile(task, reporter):
    rise = MemoryRise()
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
    return outcome | {"risen_bytes": rise.bytes()}
