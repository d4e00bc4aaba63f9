"""Names of a candidate and of the steps before it, and where its files lie: as the service writes them.

db-1-<hash>                              processing job: the table is read and split
<job10>-dpp0-<number>-<hash>             training job: the pipeline learns how to prepare features
<job10>-dpp0-rpb-<number>-<hash>         transform job: features are prepared
<job>-<number>-<hash>                    training job: the algorithm, and the candidate's own name
"""

from __future__ import annotations

import hashlib

from gyropilot.problems.contract import Json

_SHORT = {"xgboost": "xgb", "linear-learner": "linear", "mlp": "mlp"}


def candidate_name(job_name: str, number: int) -> str:
    """Give the name of a job's candidate: at most 63 letters, digits and hyphens; of each number always the same."""
    return f"{job_name[:48]}-{number:03d}-{_hash(job_name, number)[:8]}"


def processor_name(job_name: str, pipeline: str, number: int) -> str:
    """Give the name of the training job in which a candidate's pipeline learns."""
    return f"{_short(job_name)}-{pipeline}-{number}-{_hash(job_name, pipeline, number)}"


def steps(job_name: str, pipeline: str, number: int) -> list[Json]:
    """Give the steps before a candidate's own training job."""
    digest = _hash(job_name, pipeline, number)
    return [
        {"kind": "ProcessingJob", "name": f"db-1-{_hash(job_name, 'db')}"},
        {"kind": "TrainingJob", "name": processor_name(job_name, pipeline, number)},
        {"kind": "TransformJob", "name": f"{_short(job_name)}-{pipeline}-rpb-{number}-{digest}"},
    ]


def processor_archive(job_name: str, pipeline: str, number: int) -> str:
    """Give where the feature transform lies, relative to the job's output."""
    return f"data-processor-models/{processor_name(job_name, pipeline, number)}/output/model.tar.gz"


def algorithm_archive(job_name: str, pipeline: str, algorithm: str, candidate: str) -> str:
    """Give where the algorithm's models lie, relative to the job's output."""
    folder = f"{_short(job_name)}-{pipeline}-{_SHORT[algorithm]}"
    return f"tuning/{folder}/{candidate}/output/model.tar.gz"


def _short(job_name: str) -> str:
    return job_name[:10].rstrip("-")


def _hash(*parts: object) -> str:
    text = "|".join(map(str, parts))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:18]
