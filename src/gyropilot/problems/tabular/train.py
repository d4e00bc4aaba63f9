"""Trains one candidate of a tabular job, by the mode that profile chose; runs in a child process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gyropilot import clock
from gyropilot.problems import tasks
from gyropilot.problems.contract import Json, Reporter
from gyropilot.problems.tabular import threads


def train(arguments: Mapping[str, Json], reporter: Reporter) -> dict[str, Json]:
    """Train the candidate of a TrainTask, leave the record of what it was made of, and give its TrainResult as JSON.

    Raises:
        TrainingFailed: no usable model came out; the message says what to mend.
    """
    task = tasks.train_task(arguments)
    threads.use_threads(1)
    # numpy and what stands on it read their threads when they are imported, so these come after use_threads
    from gyropilot.problems.tabular import lineage

    if task.profile["mode"] == "ENSEMBLING":
        from gyropilot.problems.tabular.ensembling.fit import fit
    else:
        from gyropilot.problems.tabular.hpo.fit import fit
    began = clock.monotonic()
    fitted = fit(task, reporter)
    result = replace(fitted, chosen={**fitted.chosen, **threads.told()})
    place = lineage.write(task, result, seconds=clock.monotonic() - began)
    return tasks.to_json(replace(result, artifacts={**result.artifacts, "lineage": place}))
