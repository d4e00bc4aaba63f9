"""What the child of the bad-table tests runs: the profile function on one case after the other, its memory watched."""

from __future__ import annotations

from pathlib import Path

from gyropilot.errors import GyropilotError
from gyropilot.problems.tabular import data, tables
from gyropilot.problems.tabular.columns import read_schema
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
        outcome = {"profile": found, "read": _read_back(Path(task["prepared"]), found)}
    return outcome | {"risen_bytes": rise.bytes()}


def _read_back(prepared, found):
    """Give how many rows and features each part has once it is read as training does."""
    schema = read_schema(found["schema"])
    frames = [tables.read_prepared(prepared / f"{name}.parquet", schema) for name in ("training", "validation")]
    return [[len(one.target), *one.features.shape] for one in frames]
