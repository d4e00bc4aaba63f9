from __future__ import annotations

import ast
import dataclasses
import json
import shutil

import nbformat
import pytest
from nbclient import NotebookClient

from gyropilot.errors import InvalidData
from gyropilot.problems.tabular import data
from gyropilot.problems.tabular.hpo import notebook, reproducing
from gyropilot.problems.tabular.hpo.pipelines import pipeline_named


@pytest.fixture
def written(job):
    folder = job.task.output / "sagemaker-automl-candidates" / "pr-1-x"
    notebook.write(job.task, job.profile, folder)
    return folder


def test_there_is_a_file_for_each_pipeline(written):
    names = sorted(path.name for path in (written / notebook.MODULE).iterdir())
    assert names == ["__init__.py", *(f"dpp{n}.py" for n in range(7))]
    first = (written / notebook.MODULE / "dpp0.py").read_text()
    assert "a number, and a comma" in first
    compile(first, "dpp0.py", "exec")


@pytest.mark.slow
def test_the_notebook_trains_a_candidate_from_the_bucket_alone(written, tmp_path):
    """It runs in a folder of its own, so it fetches the pipelines from the output folder."""
    made = nbformat.read(written / notebook.NOTEBOOK, as_version=4)
    NotebookClient(made, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(
        output.get("text", "") for cell in made.cells if cell.cell_type == "code" for output in cell.outputs
    )
    assert "160 rows to train on, 40 to validate by" in printed
    outputs = [one for cell in made.cells for one in cell.get("outputs", [])]
    assert not [one for one in outputs if one.output_type == "error" or one.get("name") == "stderr"]


def test_what_it_trains_again_is_what_the_job_trained(job, searched, tmp_path):
    _, result = searched
    described = json.loads(json.dumps(reproducing.described(job.task)))
    rows = reproducing.prepare(described, tmp_path / "rows", lambda uri, path: shutil.copyfile(uri, path), data.profile)
    shown = {name: str(value) for name, value in result.chosen.items()}
    pipeline = pipeline_named(shown["pipeline"])
    fitted = reproducing.train(rows, pipeline, reproducing.settings_of(rows, pipeline, shown))
    assert reproducing.measure(rows, fitted)[result.score_name] == pytest.approx(result.score)


def test_an_object_that_changed_since_is_refused(job, tmp_path):
    described = json.loads(json.dumps(reproducing.described(job.task)))
    with pytest.raises(InvalidData, match="is not the object that the job read"):
        reproducing.prepare(described, tmp_path / "rows", lambda uri, path: path.write_text("a\n"), data.profile)


def test_a_name_of_the_request_stays_a_text_of_the_program(job, tmp_path):
    uri = 's3://out/"\nraise SystemExit  # '
    folder = tmp_path / "sagemaker-automl-candidates" / "pr-1-x"
    notebook.write(dataclasses.replace(job.task, output=tmp_path, output_uri=uri), job.profile, folder)
    (setup,) = (
        cell.source
        for cell in nbformat.read(folder / notebook.NOTEBOOK, as_version=4).cells
        if cell.cell_type == "code" and "OUTPUT =" in cell.source
    )
    (assigned,) = (
        statement
        for statement in ast.parse(setup).body
        if isinstance(statement, ast.Assign) and statement.targets[0].id == "OUTPUT"
    )
    assert ast.literal_eval(assigned.value) == uri
    assert not [one for one in ast.walk(ast.parse(setup)) if isinstance(one, ast.Raise)]
