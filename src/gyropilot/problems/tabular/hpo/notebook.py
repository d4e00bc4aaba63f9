"""Writes the candidate definition notebook, and a module with one file a pipeline that it trains by; data.py calls it.

<folder>/notebooks/SageMakerAutopilotCandidateDefinitionNotebook.ipynb
<folder>/generated_module/{__init__,dpp0,dpp1...}.py

The notebook runs where gyropilot[tabular] is installed and the job's bucket can be read; what it trains equals what the
job trained, for it runs the same code on the same rows with the same seeds.
"""

from __future__ import annotations

import json
import pprint
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gyropilot.problems.contract import Json, ProfileTask
from gyropilot.problems.tabular import request
from gyropilot.problems.tabular.columns import Schema, read_schema
from gyropilot.problems.tabular.hpo import spaces
from gyropilot.problems.tabular.hpo.pipelines import Pipeline, columns_used, pipelines_for
from gyropilot.problems.tabular.hpo.reproducing import described

NOTEBOOK = "notebooks/SageMakerAutopilotCandidateDefinitionNotebook.ipynb"
MODULE = "generated_module"

_INTRODUCTION = """# Candidate definitions of {job_name}

Each candidate is one of the **pipelines** below, with settings of its algorithm. The job tried each pipeline once with
good defaults, then searched the ranges: better pipelines got more candidates. This notebook shows the pipelines, trains
a candidate of the job again, or one of your own.

It needs `pip install 'gyropilot[tabular]' boto3`, and access to the bucket as the job had it:
`eval "$(gyropilot env)"` before Jupyter starts does that.

| | |
| --- | --- |
| problem type | {problem_type} |
| objective | {objective} ({direction}) |
| training rows, validation rows | {training}, {validation} |

{pipelines}"""
_SETUP = '''import importlib
import json
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import boto3

from gyropilot.problems.tabular.hpo import reproducing, spaces

JOB = json.loads({job})
OUTPUT = {output_uri}


def fetch(uri, path):
    """Copy an object of the bucket into a file; a path of this machine stays one."""
    if uri.startswith("s3://"):
        parts = urlsplit(uri)
        boto3.client("s3").download_file(parts.netloc, parts.path.lstrip("/"), str(path))
    else:
        Path(path).write_bytes(Path(uri).read_bytes())


# The pipelines lie beside this notebook, in files to read and to change.
work = Path(tempfile.mkdtemp())
here = next((one for one in (Path.cwd().parent, Path.cwd()) if (one / "{module}").is_dir()), None)
if here is None:
    here = work / "definitions"
    (here / "{module}").mkdir(parents=True)
    for name in {files}:
        fetch(f"{{OUTPUT}}/{{name}}", here / "{module}" / Path(name).name)
sys.path.insert(0, str(here))'''
_ROWS = """from gyropilot.problems.tabular.data import profile

rows = reproducing.prepare(JOB, work / "rows", fetch, profile)
print(len(rows.training.target), "rows to train on,", len(rows.validation.target), "to validate by")
rows.training.features.head()"""
_CHOICE = '''PIPELINE = "{first}"
CANDIDATE = ""  # the name of a candidate of the job, to train that one again


def definition_of(pipeline):
    """Give the module of a pipeline."""
    return importlib.import_module(f"{module}.{{pipeline}}")


if CANDIDATE:
    shown = boto3.client("sagemaker").describe_training_job(TrainingJobName=CANDIDATE)["HyperParameters"]
    definition = definition_of(shown["pipeline"])
    settings = reproducing.settings_of(rows, definition.PIPELINE, shown)
else:
    definition = definition_of(PIPELINE)
    settings = definition.DEFAULTS[0]
print(definition.PIPELINE.title)
settings'''
_TRAINING = """fitted = reproducing.train(rows, definition.PIPELINE, settings)
measured = reproducing.measure(rows, fitted)
measured"""
_SEARCHING = """from gyropilot.problems.tabular.hpo import study

another = study.choose(definition.RANGES, [], direction="{direction}", seed=1)
another"""
_DEFINITION = '''"""{name}: {title}.

Change PIPELINE, RANGES or DEFAULTS, and train by the notebook beside this folder.
{columns}
"""

from gyropilot.problems.tabular.hpo.pipelines import Pipeline
from gyropilot.problems.tabular.hpo.spaces import Choice, Range

PIPELINE = Pipeline(
    name={name!r},
    algorithm={algorithm!r},
    numbers={numbers!r},  # plain, standard, normal or binned
    categories={categories!r},  # ordinal, one-hot or target
    texts={texts!r},  # terms or topics
)

# What each setting may be.
RANGES = {ranges}

# Settings that are tried first, in this order.
DEFAULTS = {defaults}
'''


def write(task: ProfileTask, profile: Mapping[str, Json], folder: Path) -> None:
    """Write notebook and module into `folder`, which lies in the task's output folder.

    Args:
        task: what profile was given.
        profile: what it will return.
        folder: made if it is not there.
    """
    schema, spec = read_schema(profile["schema"]), request.read_spec(task.spec)
    pipelines = pipelines_for(schema, spec.algorithms)
    objective = str(profile["objective"])
    module = folder / MODULE
    module.mkdir(parents=True, exist_ok=True)
    (module / "__init__.py").write_text('"""The pipelines of the job\'s candidates."""\n', encoding="utf-8")
    for one in pipelines:
        (module / f"{one.name}.py").write_text(_definition(one, schema, objective), encoding="utf-8")
    files = [path.relative_to(task.output).as_posix() for path in sorted(module.iterdir())]
    _write_notebook(folder / NOTEBOOK, _cells(task, profile, pipelines, files))


def _cells(
    task: ProfileTask, profile: Mapping[str, Json], pipelines: list[Pipeline], files: list[str]
) -> list[tuple[str, str]]:
    """Give each cell's kind and text."""
    objective = str(profile["objective"])
    # Twice: the JSON text, and that as a literal of the program.
    job = json.dumps(json.dumps(described(task)))
    introduction = _INTRODUCTION.format(
        job_name=task.job_name,
        problem_type=profile["schema"]["problem_type"],
        objective=objective,
        direction=request.direction_of(objective),
        training=profile["rows"]["training"],
        validation=profile["rows"]["validation"],
        pipelines=_table(pipelines),
    )
    setup = _SETUP.format(job=job, output_uri=repr(task.output_uri), module=MODULE, files=files)
    return [
        ("markdown", introduction),
        ("code", setup),
        ("markdown", "## The rows\n\nThe same split as in the job: the same code on the same files, with its seed."),
        ("code", _ROWS),
        ("markdown", "## A candidate\n\nOne of the job's, or a pipeline with settings of your own."),
        ("code", _CHOICE.format(first=pipelines[0].name, module=MODULE)),
        ("code", _TRAINING),
        ("markdown", "## Other settings\n\nDrawn from the pipeline's ranges; give them to `reproducing.train`."),
        ("code", _SEARCHING.format(direction=request.direction_of(objective))),
    ]


def _table(pipelines: list[Pipeline]) -> str:
    rows = [f"| {one.name} | {one.algorithm} | {one.numbers} | {one.categories} | {one.texts} |" for one in pipelines]
    head = [
        "| pipeline | algorithm | numbers, dates, sequences | categories | text |",
        "| --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *rows])


def _definition(pipeline: Pipeline, schema: Schema, objective: str) -> str:
    space = spaces.space_of(pipeline.algorithm, schema, objective)
    kinds = {kind: columns_used(schema, kind) for kind in ("numeric", "categorical", "text", "datetime", "sequence")}
    columns = [f"{kind}: {json.dumps(names)}" for kind, names in kinds.items() if names]
    return _DEFINITION.format(
        name=pipeline.name,
        title=pipeline.title,
        # A column's name may hold anything, and these lines stand in a docstring.
        columns="\n".join(columns).replace("\\", "\\\\").replace('"""', '\\"\\"\\"'),
        algorithm=pipeline.algorithm,
        numbers=pipeline.numbers,
        categories=pipeline.categories,
        texts=pipeline.texts,
        ranges=pprint.pformat(dict(space), width=110, sort_dicts=False),
        defaults=pprint.pformat(spaces.defaults_of(pipeline.algorithm, schema, objective), width=110, sort_dicts=False),
    )


def _write_notebook(path: Path, cells: list[tuple[str, str]]) -> None:
    import nbformat
    from nbformat import v4

    make: dict[str, Any] = {"markdown": v4.new_markdown_cell, "code": v4.new_code_cell}
    made = [make[kind](text, id=f"cell-{number}") for number, (kind, text) in enumerate(cells)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = v4.new_notebook(cells=made, metadata=kernel | {"language_info": {"name": "python"}})
    nbformat.validate(notebook)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
