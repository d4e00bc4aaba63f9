"""Trains one candidate from its prepared rows to its artifacts; runs in a child process.

    load base -> adapter -> loop -> merge -> measure tuned -> save -> measure base -> report      (training_run.py)

Stages that are done leave their result in the task's checkpoint folder, so that a child that follows a killed one goes
on: training from its newest checkpoint, to the same bits, and each model is measured once.
A stop or the end of the time ends training after the step under way; what was trained so far is measured and kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from gyropilot.problems import tasks
from gyropilot.problems.contract import Json, Reporter
from gyropilot.problems.text_generation.base_model import verified_base_model
from gyropilot.problems.text_generation.hardware import prepare_process
from gyropilot.problems.text_generation.request import read_spec
from gyropilot.problems.text_generation.starting import Start


def train(arguments: Mapping[str, Json], reporter: Reporter) -> dict[str, Json]:
    """Train the candidate of a TrainTask and give its TrainResult as JSON.

    Raises:
        TrainingFailed: no usable model came out; the message says what to mend.
        InvalidData: the prepared rows are not those that were checked.
    """
    start = Start()
    start.passed("interpreter")
    task = tasks.train_task(arguments)
    prepare_process(task.cores)
    spec = read_spec(task.spec)
    with ThreadPoolExecutor(1) as pool:
        # Every byte of the base is compared with its digest while torch is imported: both take seconds.
        verified = pool.submit(verified_base_model, task.base_models, spec.loaded_model, requested=spec.base_model)
        # torch reads its threads from the environment when it is imported, so that comes after prepare_process
        from gyropilot.problems.text_generation.training_run import TrainingRun

        start.passed("libraries")
        base = verified.result()
    start.passed("digests")
    return tasks.to_json(TrainingRun(task, base, start, reporter).result())
