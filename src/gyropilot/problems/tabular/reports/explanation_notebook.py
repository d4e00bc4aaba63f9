"""The notebook of the explainability report: the values of analysis.json, and how to read the files beside it."""

from __future__ import annotations

from pathlib import Path

from gyropilot.problems.contract import ReportTask
from gyropilot.problems.tabular.columns import Schema
from gyropilot.problems.tabular.reports import explainability
from gyropilot.problems.tabular.reports.explanation_page import leak_warning, verdict
from gyropilot.problems.tabular.reports.kernel_shap import Explanation
from gyropilot.problems.tabular.reports.notebooks import Notebook, literal

_READ = """## The values of each row

Copy `explanations_shap/out.csv` from the folder of this notebook, and read it:

```python
import pandas as pd

values = pd.read_csv("explanations_shap/out.csv")
values.abs().mean().sort_values(ascending=False).head(10)
```

A column is called after its feature and its label, as `age_label0`; a row holds what each feature added."""


def write(path: Path, task: ReportTask, schema: Schema, explained: Explanation) -> None:
    """Write the notebook."""
    ranked = explainability.ranked(explained)
    notebook = Notebook()
    told = [literal(verdict(schema, ranked)), literal(leak_warning(schema, ranked))]
    notebook.text("\n\n".join([f"# Explainability report: {literal(task.job_name)}", *filter(None, told)]))
    notebook.data()
    notebook.text("## Strongest features\n\nMean of the absolute SHAP value, of several labels their mean.")
    shown = ranked[: explainability.SHOWN_FEATURES]
    notebook.table("strongest", ("feature", "mean |SHAP value|"), shown)
    names = explainability.player_names(explained)
    rows = [
        (label, name, float(explained.strength[player, output]))
        for output, label in enumerate(explainability.labels_of(schema, explained))
        for player, name in enumerate(names)
    ]
    notebook.text("## All features by label")
    notebook.table("features", ("label", "feature", "mean |SHAP value|"), rows)
    notebook.text(_READ)
    notebook.write(path)
