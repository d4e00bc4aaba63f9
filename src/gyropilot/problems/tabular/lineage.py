"""lineage.json: what a candidate was made of, and how; written beside its own model by train.py."""

from __future__ import annotations

import os
import platform
from pathlib import PurePosixPath

from gyropilot.files import sha256_of
from gyropilot.problems.contract import Json, TrainResult, TrainTask
from gyropilot.problems.package_versions import package_versions
from gyropilot.problems.tabular import artifacts, tables
from gyropilot.problems.tabular.request import read_spec

LINEAGE = "lineage.json"
_PACKAGES = (
    "gyropilot",
    "autogluon.tabular",
    "optuna",
    "scikit-learn",
    "lightgbm",
    "xgboost",
    "xgboost-cpu",
    "catboost",
    "torch",
    "fastai",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
)
_OF_DATA = ("files", "rows", "bytes", "split", "target", "findings")


def write(task: TrainTask, result: TrainResult, *, seconds: float) -> str:
    """Write the record of a trained candidate, and give where it lies in its output folder.

    Args:
        task: what it was trained by.
        result: what came of it. Of one container or of two and more, the first and the second are the candidate's own.
        seconds: that it took.
    """
    own = result.containers[min(1, len(result.containers) - 1)]
    place = str(PurePosixPath(own.model_path).parent / LINEAGE)
    artifacts.write_json(task.output / place, _record(task, result, seconds))
    return place


def _record(task: TrainTask, result: TrainResult, seconds: float) -> dict[str, Json]:
    spec, profile = read_spec(task.spec), task.profile
    models = dict.fromkeys(one.model_path for one in result.containers)
    # History is of other candidates, whose own records tell of them.
    proposed = {name: value for name, value in task.candidate.items() if name not in {"name", "history"}}
    return {
        "format": 1,
        "job": task.job_name,
        "candidate": str(task.candidate["name"]),
        "mode": profile["mode"],
        "data": {
            **{name: profile[name] for name in _OF_DATA},
            "schema": profile["schema"],
            "prepared": {
                file: sha256_of(task.prepared / file) for file in (tables.TRAINING_FILE, tables.VALIDATION_FILE)
            },
        },
        "seed": spec.seed,
        "settings": {
            "job": spec.to_json(),
            "left_to_the_service": list(spec.defaulted),
            "objective": profile["objective"],
            "candidate": proposed,
            "chosen": dict(result.chosen),
        },
        "training": {"seconds": round(seconds, 3), "ended_by": result.ended_by},
        "models": {path: sha256_of(task.output / path) for path in models},
        "hardware": {
            "cores": task.cores,
            "memory_bytes": task.memory_bytes,
            "machine_cores": os.cpu_count(),
            "machine": platform.machine(),
            "system": platform.system(),
        },
        "versions": {"python": platform.python_version()} | package_versions(_PACKAGES),
    }
