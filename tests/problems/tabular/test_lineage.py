from __future__ import annotations

import hashlib
import json
from importlib import metadata

import pytest

import table_jobs
from gyropilot.problems.tabular.lineage import LINEAGE


@pytest.fixture(scope="module", params=["ENSEMBLING", "HYPERPARAMETER_TUNING"])
def job(request, tmp_path_factory):
    algorithms = ("linear-learner",) if request.param == "HYPERPARAMETER_TUNING" else ("lightgbm",)
    return table_jobs.TableJob(tmp_path_factory.mktemp("job"), mode=request.param, algorithms=algorithms)


@pytest.fixture(scope="module")
def lineage(job):
    return json.loads((job.root / "output" / job.result.artifacts["lineage"]).read_text())


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_it_lies_beside_the_candidates_own_model(job):
    folder = (job.root / "output" / job.result.artifacts["lineage"]).parent
    assert job.candidate["name"] in job.result.artifacts["lineage"]
    assert {"model.tar.gz", LINEAGE} <= {one.name for one in folder.iterdir()}
    assert all((job.root / "output" / place).exists() for place in job.result.artifacts.values())


def test_it_names_the_data_by_digest_and_counts(job, lineage):
    (file,) = lineage["data"]["files"]
    assert (file["uri"], file["rows"]) == ("s3://data/rows.csv", 300)
    assert file["sha256"] == digest(job.root / "rows.csv")
    assert lineage["data"]["rows"] == job.profile["rows"]
    assert lineage["data"]["rows"]["training"] + lineage["data"]["rows"]["validation"] == 300
    assert lineage["data"]["split"] == job.profile["split"]
    assert lineage["data"]["prepared"] == {
        path.name: digest(path) for path in (job.root / "prepared").glob("*.parquet")
    }


def test_it_tells_settings_seed_versions_and_hardware(job, lineage):
    assert lineage["seed"] == lineage["settings"]["job"]["seed"] == job.spec.seed
    assert lineage["settings"]["chosen"] == job.result.chosen
    assert not {"name", "history"} & set(lineage["settings"]["candidate"])
    assert lineage["versions"]["gyropilot"] == metadata.version("gyropilot")
    assert lineage["versions"]["scikit-learn"] == metadata.version("scikit-learn")
    assert lineage["hardware"]["cores"] == 1
    assert lineage["training"]["ended_by"] == job.result.ended_by
    assert lineage["training"]["seconds"] > 0


def test_it_names_each_model_by_digest(job, lineage):
    paths = {one.model_path for one in job.result.containers}
    assert lineage["models"] == {path: digest(job.root / "output" / path) for path in paths}
