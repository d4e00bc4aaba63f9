"""The model insights report of the best candidate: its quality on the validation rows; runs in a child.

<output>/documentation/model_monitor/output/<candidate>/
    statistics.json    the numbers, under the keys of the service's model-quality statistics
    report.html        the job's report: whether to use the model, what to watch, numbers and figures
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gyropilot import clock
from gyropilot.problems import tasks
from gyropilot.problems.contract import Json, Reporter, ReportResult, ReportTask
from gyropilot.problems.tabular.threads import use_threads

if TYPE_CHECKING:
    from gyropilot.problems.tabular.models import Model
    from gyropilot.problems.tabular.tables import Frame

LOCATION = "documentation/model_monitor/output"
STATISTICS, PAGE = "statistics.json", "report.html"
_MOST_SECONDS, _SHARE = 300.0, 0.6


def report(arguments: Mapping[str, Json], reporter: Reporter) -> dict[str, Json]:
    """Write the report of a ReportTask and give its ReportResult as JSON.

    Raises:
        TrainingFailed: the model cannot be read.
    """
    started = clock.monotonic()
    task = tasks.report_task(arguments)
    use_threads(1)
    # numpy and what stands on it read their threads when they are imported, so these come after use_threads
    from gyropilot.problems.tabular.reports import answers

    with answers.best_model(task) as model:
        seconds = _MOST_SECONDS
        if task.seconds_left is not None:
            seconds = min(seconds, _SHARE * (task.seconds_left - (clock.monotonic() - started)))
        write(task, model, answers.read_rows(task, "validation"), seconds=seconds, reporter=reporter)
    page = f"{LOCATION}/{task.candidate}/{PAGE}"
    return tasks.to_json(ReportResult(artifacts={"ModelInsights": LOCATION, "report": page}))


def write(task: ReportTask, model: Model, validation: Frame, *, seconds: float, reporter: Reporter) -> dict[str, Json]:
    """Measure the model on the validation rows, as many as there is time for, and write all files of the report."""
    from gyropilot.problems.tabular import artifacts
    from gyropilot.problems.tabular.reports import insights_page
    from gyropilot.problems.tabular.reports.answers import ask, known
    from gyropilot.problems.tabular.reports.quality import SECTIONS, quality

    reporter.progress("measuring", done=0, total=len(validation.target), unit="rows")
    said = known(task, model, validation) or ask(model, validation, seconds=seconds)
    reporter.progress("measuring", done=said.rows, total=said.rows_known, unit="rows")
    section = quality(model.schema, said)
    statistics: dict[str, Json] = {
        "version": 0.0,
        "dataset": {
            "item_count": said.rows,
            "evaluation_time": clock.now().isoformat(timespec="milliseconds"),
            "is_weighted": said.weights is not None,
        },
        SECTIONS[model.schema.problem_type]: section,
    }
    folder = task.output / LOCATION / task.candidate
    artifacts.write_json(folder / STATISTICS, statistics)
    page = insights_page.html(task, model.schema, said, statistics, strongest=_strongest(task))
    (folder / PAGE).write_text(page, encoding="utf-8")
    return statistics


def _strongest(task: ReportTask) -> list[tuple[str, float]]:
    """Give what the explainability report found of this candidate; nothing where it was not made."""
    from gyropilot.problems.tabular.reports.explainability import KEPT

    try:
        kept = json.loads((task.prepared / KEPT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return (
        [(str(name), float(value)) for name, value in kept["strongest"]] if kept["candidate"] == task.candidate else []
    )
