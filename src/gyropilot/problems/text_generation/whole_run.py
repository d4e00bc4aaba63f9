"""Profiles and trains in one child: a job's two steps where there is no service, as `tune` in process needs them."""

from __future__ import annotations

from collections.abc import Mapping

from gyropilot.problems.contract import Json, Reporter
from gyropilot.problems.text_generation import data, train


def run(arguments: Mapping[str, Json], reporter: Reporter) -> dict[str, Json]:
    """Give `profile`, what was found in the rows, and `result`, the TrainResult; both as JSON.

    `profile` in the arguments is a ProfileTask as JSON, `train` a TrainTask whose profile is filled in here.

    Raises:
        InvalidData: the rows cannot be used.
        TrainingFailed: nothing usable came out.
    """
    profile = data.profile(arguments["profile"], reporter)
    return {"profile": profile, "result": train.train({**arguments["train"], "profile": profile}, reporter)}
