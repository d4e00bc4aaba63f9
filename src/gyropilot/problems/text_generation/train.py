"""Trains one candidate from its prepared rows to its artifacts; runs in a child process.

    load base -> measure base -> adapter -> loop -> merge -> measure tuned -> artifacts      (training_run.py)

Stages that are done leave their result in the task's checkpoint folder, so that a child that follows a killed one goes
on: the base is measured once, training goes on from its newest checkpoint, to the same bits.
A stop or the end of the time ends training after the step under way; what was trained so far is measured and kept.
"""

from __future__ import annotations

from collections.abc import Mapping

from gyropilot.problems import tasks
from gyropilot.problems.contract import Json, Reporter
from gyropilot.problems.text_generation.hardware import prepare_process


def train(arguments: Mapping[str, Json], reporter: Reporter) -> dict[str, Json]:
    """Train the candidate of a TrainTask and give its TrainResult as JSON.

    Raises:
        TrainingFailed: no usable model came out; the message says what to mend.
        InvalidData: the prepared rows are not those that were checked.
    """
    task = tasks.train_task(arguments)
    prepare_process(task.cores)
    # torch reads its threads from the environment when it is imported, so that comes after prepare_process
    from gyropilot.problems.text_generation.training_run import TrainingRun

    return tasks.to_json(TrainingRun(task, reporter).result())
