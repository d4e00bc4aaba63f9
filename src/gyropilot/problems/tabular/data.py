"""Reads and checks the table of a job, and leaves typed rows where training reads them; runs in a child, once a job.

    channels -> spool (text, on disk) -> usable rows -> split -> features and their kinds
             -> prepared/{training,validation}.parquet, the exploration notebook, in hyperparameter tuning also the
                notebook of candidate definitions

Rules. Rows whose target or weight is bad are left out and counted. Kinds are told from training rows. A table that is
larger than the job's memory allows is sampled, class by class. What stands out becomes findings: events, and part of
the result. Memory holds one column, or one stretch of rows, at a time.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gyropilot.data import csv_files, header_names
from gyropilot.data.columns import column_faults
from gyropilot.data.tables import TextBatch, open_table
from gyropilot.errors import Fault, InvalidData
from gyropilot.files import sha256_of
from gyropilot.problems import tasks
from gyropilot.problems.contract import Json, ProfileTask, Reporter
from gyropilot.problems.tabular import feature_specification, features, prepared, sampling, spool, tables, usable_rows
from gyropilot.problems.tabular.column_statistics import of_numbers
from gyropilot.problems.tabular.columns import Schema
from gyropilot.problems.tabular.feature_specification import NOTHING_SAID, FeatureSpecification
from gyropilot.problems.tabular.findings import Findings, rows_of
from gyropilot.problems.tabular.hpo import notebook as candidate_definitions
from gyropilot.problems.tabular.prepared import RowKeys
from gyropilot.problems.tabular.reports import exploration
from gyropilot.problems.tabular.request import TabularSpec, TrainingMode, kinds_taken, mode_of, objective_of, read_spec
from gyropilot.problems.tabular.spool import Spool
from gyropilot.problems.tabular.threads import use_threads
from gyropilot.problems.tabular.usable_rows import UsableRows

DEFINITIONS_ONLY = "CandidateDefinitionsGenerated"
_REPORT_ROWS = 20_000


def profile(arguments: Mapping[str, Json], reporter: Reporter) -> dict[str, Json]:
    """Check the table of a ProfileTask, leave its rows in the `prepared` folder, and give what was found.

    Raises:
        InvalidData: the data cannot be used; names file, row and column.
    """
    task = tasks.profile_task(arguments)
    use_threads(1)
    spec = read_spec(task.spec)
    work = task.prepared / "work"
    shutil.rmtree(task.prepared, ignore_errors=True)
    work.mkdir(parents=True)
    found = Findings()
    spools = _spooled(task, work, reporter)
    _check_columns(task, spools, spec)
    size = sum(file.size_bytes for channel in task.channels for file in channel.files)
    mode = mode_of(spec, size)
    said = _said(task, spec, spools["training"], mode)
    rows = usable_rows.choose(spools, spec, memory_bytes=task.memory_bytes, found=found)
    schema, described = _settled(spec, rows, said, mode, found, reporter)
    _write_prepared(task, rows, schema, found)
    result = _result(task, spec, mode, size, schema, rows, described, spools, found)
    shutil.rmtree(work)
    result["artifacts"] = _notebooks(result, task, mode)
    result["trains_as"] = "ModelTuning" if mode == "HYPERPARAMETER_TUNING" else "TrainingModels"
    if spec.definitions_only:
        result["ends_as"] = DEFINITIONS_ONLY
    for one in result["findings"]:
        reporter.event("finding", one["message"], detail=one)
    return result


def _settled(
    spec: TabularSpec,
    rows: UsableRows,
    said: FeatureSpecification,
    mode: TrainingMode,
    found: Findings,
    reporter: Reporter,
) -> tuple[Schema, list[dict[str, Json]]]:
    """Give the columns, and what each of the features holds."""
    settled = features.settle(
        rows.training,
        target=spec.target,
        weight=spec.weight_column,
        is_regression=rows.target.problem_type == "Regression",
        said=said,
        mode=mode,
        found=found,
        note=lambda done, total: reporter.progress("looking at columns", done=done, total=total, unit="columns"),
    )
    schema = Schema(
        features=settled.columns,
        target=spec.target,
        weight=spec.weight_column,
        problem_type=rows.target.problem_type,
        labels=rows.target.labels,
    )
    return schema, settled.described


def _write_prepared(task: ProfileTask, rows: UsableRows, schema: Schema, found: Findings) -> None:
    """Leave the rows where training reads them, and note those that stand there more than once."""
    keys = {
        name: prepared.write(task.prepared / file, part, schema)
        for name, file, part in (
            ("training", tables.TRAINING_FILE, rows.training),
            ("validation", tables.VALIDATION_FILE, rows.validation),
        )
    }
    _note_duplicates(keys, found)


def _spooled(task: ProfileTask, work: Path, reporter: Reporter) -> dict[str, Spool]:
    total = sum(file.size_bytes for channel in task.channels for file in channel.files)
    rows_read = 0

    def note(batch: TextBatch) -> None:
        nonlocal rows_read
        before, rows_read = rows_read, rows_read + batch.rows
        if before // _REPORT_ROWS != rows_read // _REPORT_ROWS:
            reporter.progress("reading data", done=rows_read, total=max(rows_read, total // 100), unit="rows")

    spools: dict[str, Spool] = {}
    for channel in task.channels:
        path = work / f"{channel.channel_type}.parquet"
        spools[channel.channel_type] = spool.write(path, open_table(channel), note=note)
        if not spools[channel.channel_type].rows:
            raise InvalidData(
                where=f"{channel.channel_type} channel",
                found=[file.uri for file in channel.files][:5],
                problem="the files hold a header and no rows",
                fix="add rows",
            )
    reporter.progress("reading data", done=rows_read, total=rows_read, unit="rows")
    return spools


def _check_columns(task: ProfileTask, spools: Mapping[str, Spool], spec: TabularSpec) -> None:
    """Refuse channels without the target, or of other columns than each other."""
    faults: list[Fault] = []
    columns = spools["training"].columns
    for name, one in spools.items():
        where = f"{one.starts[0][1]}: header"
        for column, what in ((spec.target, "TargetAttributeName"), (spec.weight_column, "SampleWeightAttributeName")):
            if column is not None and column not in one.columns:
                faults.append(_absent(column, what, where, one.columns))
        if name == "validation" and set(one.columns) != set(columns):
            faults += column_faults(one.columns, columns, where=where)
    if not faults:
        return
    for channel in task.channels:
        if channel.content_type.startswith("text/csv"):
            first = channel.files[0]
            start = csv_files.start_of(first.path, first.uri, is_gzip=channel.compression == "Gzip")
            csv_files.check_text_kind(start, first.uri)
    raise InvalidData.of(faults)


def _absent(column: str, what: str, where: str, columns: tuple[str, ...]) -> Fault:
    problem = f"no column bears the name given as {what}"
    return Fault(where=where, found=column, problem=problem, fix=header_names.mend_of(column, columns))


def _said(task: ProfileTask, spec: TabularSpec, training: Spool, mode: TrainingMode) -> FeatureSpecification:
    if spec.feature_specification_uri is None:
        return NOTHING_SAID
    file = next((one for one in task.extra_files if one.uri == spec.feature_specification_uri), None)
    if file is None:
        raise InvalidData(
            where="FeatureSpecificationS3Uri",
            found=spec.feature_specification_uri,
            problem="the object was not brought to this job",
            fix="see that it is there",
        )
    with file.path.open("rb") as stream:
        data = stream.read(feature_specification.MAX_BYTES + 1)
    return feature_specification.read(
        data,
        file.uri,
        columns=training.columns,
        target=spec.target,
        weight=spec.weight_column,
        taken=kinds_taken(mode),
    )


def _note_duplicates(keys: Mapping[str, RowKeys], found: Findings) -> None:
    training, validation = keys["training"].all(), keys["validation"].all()
    distinct = np.unique(training)
    copies = len(training) - len(distinct)
    if copies:
        message = f"{rows_of(copies)} of the training rows repeat{'s' if copies == 1 else ''} another one; all are used"
        found.add("duplicate", "note", message, count=copies)
    shared = int(np.isin(validation, distinct).sum())
    if shared:
        forms = "stands" if shared == 1 else "stand"
        message = (
            f"{rows_of(shared)} of the validation rows {forms} among the training rows too: the measured quality is too"
            " good by that"
        )
        found.add("in_both_splits", "warning" if shared > 0.05 * len(validation) else "note", message, count=shared)


def _result(
    task: ProfileTask,
    spec: TabularSpec,
    mode: TrainingMode,
    size: int,
    schema: Schema,
    rows: UsableRows,
    described: list[dict[str, Json]],
    spools: Mapping[str, Spool],
    found: Findings,
) -> dict[str, Json]:
    return {
        "job_name": task.job_name,
        "mode": mode,
        "schema": schema.to_json(),
        "objective": objective_of(spec, schema.problem_type),
        "rows": {
            "read": sum(one.rows for one in spools.values()),
            "dropped": rows.dropped,
            "training": len(rows.training.rows),
            "validation": len(rows.validation.rows),
            "sampled_from": rows.sampled_from,
        },
        "bytes": size,
        "most_at_once": sampling.most_at_once(
            used_rows=len(rows.training.rows) + len(rows.validation.rows),
            rows=spools["training"].rows,
            text_bytes=spools["training"].text_bytes,
            columns=len(spools["training"].columns),
            memory_bytes=task.memory_bytes,
        ),
        "files": [
            {
                "channel": channel.channel_type,
                "uri": file.uri,
                "size_bytes": file.size_bytes,
                "etag": file.etag,
                "sha256": sha256_of(file.path),
                "rows": spools[channel.channel_type].rows_by_uri().get(file.uri, 0),
            }
            for channel in task.channels
            for file in channel.files
        ],
        "split": rows.split,
        "target": _target(schema, rows),
        "columns": described,
        "findings": [one.to_json() for one in found.all()],
    }


def _target(schema: Schema, rows: UsableRows) -> dict[str, Json]:
    """Sum up the target of the training rows, and of classes also of the validation rows."""
    named: dict[str, Json] = {"name": schema.target, "bad": dict(rows.target.bad)}
    if schema.is_regression:
        return {**named, **of_numbers(rows.training.target)}
    for name, part in (("training", rows.training), ("validation", rows.validation)):
        counts = np.bincount(part.target.astype(np.int64), minlength=len(schema.labels)).tolist()
        named[name] = dict(zip(schema.labels, counts, strict=True))
    return named


def _notebooks(result: Mapping[str, Json], task: ProfileTask, mode: TrainingMode) -> dict[str, str]:
    """Write the notebooks, and give where they lie in the output folder."""
    digest = hashlib.sha256(task.job_name.encode("utf-8")).hexdigest()[:18]
    folder = task.output / "sagemaker-automl-candidates" / f"pr-1-{digest}"
    exploration.write(task, result, folder)
    written = {"DataExploration": folder / exploration.NOTEBOOK}
    if mode == "HYPERPARAMETER_TUNING":
        candidate_definitions.write(task, result, folder)
        written["CandidateDefinition"] = folder / candidate_definitions.NOTEBOOK
    return {name: path.relative_to(task.output).as_posix() for name, path in written.items()}
