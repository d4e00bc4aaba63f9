"""Trains one candidate of a tabular job, by the mode that profile chose; runs in a child process."""

from __future__ import annotations

from collections.abc import Mapping

from gyropilot.problems import tasks
from gyropilot.problems.contract import Json, Reporter
from gyropilot.problems.tabular.threads import use_threads


def train(arguments: Mapping[str, Json], reporter: Reporter) -> dict[str, Json]:
    """Train the candidate of a TrainTask and give its TrainResult as JSON.

    Raises:
        TrainingFailed: no usable model came out; the message says what to mend.
    """
    task = tasks.train_task(arguments)
    use_threads(1)
    # numpy and what stands on it read their threads when they are imported, so these come after use_threads
    if task.profile["mode"] == "ENSEMBLING":
        from gyropilot.problems.tabular.ensembling.fit import fit
    else:
        from gyropilot.problems.tabular.hpo.fit import fit
    return tasks.to_json(fit(task, reporter))
