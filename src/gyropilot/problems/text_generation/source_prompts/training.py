"""Makes the vectors of a source prompt by multitask training: profile, train and the adapter, in one child."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gyropilot.problems import tasks
from gyropilot.problems.contract import Json, Reporter
from gyropilot.problems.text_generation import file_names, whole_run


def make(arguments: Mapping[str, Json], reporter: Reporter) -> dict[str, Json]:
    """Train as a job does, and write the vectors of all tasks to the file `to`.

    `profile` in the arguments is a ProfileTask as JSON, `train` a TrainTask whose profile is filled in here. Gives
    `submodules`, `tasks` (their names, in the order of the matrices), `loss` of the validation rows, `chosen` and
    `rows` as profile counts them.

    Raises:
        InvalidData: the rows cannot be used.
        TrainingFailed: nothing usable came out.
    """
    made = whole_run.run(arguments, reporter)
    profile, result = made["profile"], made["result"]
    # Imports torch, which train prepared the process for.
    from gyropilot.problems.text_generation.source_prompts import conversion

    task = tasks.train_task({**arguments["train"], "profile": profile})
    vectors = conversion.from_adapter(task.output / file_names.ADAPTER, Path(arguments["to"]))
    return {
        "submodules": vectors["submodules"],
        "tasks": profile["tasks"],
        "loss": result["score"],
        "chosen": result["chosen"],
        "rows": profile["rows"],
        "ended_by": result["ended_by"],
    }
