"""Notebooks that stand by themselves: their data lies in their first cell, and their outputs are there unrun."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from gyropilot.log import printable
from gyropilot.problems.contract import Json

Cell = Any
"""A cell of nbformat's, which ships no types."""
Value = str | int | float | None
Rows = Sequence[Sequence[Value]]
_DATA = '''import json

import pandas as pd
from IPython.display import HTML, display

pd.set_option("display.max_columns", None, "display.max_rows", 500, "display.max_colwidth", 80)
data = json.loads({text})


def table(name):
    """Show one of the tables that lie in `data`."""
    rows = [["" if value is None else value for value in row] for row in data[name]["rows"]]
    frame = pd.DataFrame(rows, columns=data[name]["columns"], dtype=object)
    display(HTML(frame.to_html(index=False, float_format="{:.6g}".format)))
'''


class Notebook:
    """A notebook in the making; cells are added from top to bottom."""

    def __init__(self) -> None:
        self._cells: list[Cell] = []
        self._tables: dict[str, Json] = {}
        self._data_at: int | None = None

    def text(self, markdown: str) -> None:
        """Add text in Markdown; values in it have gone through `literal`."""
        from nbformat import v4

        self._cells.append(v4.new_markdown_cell(markdown))

    def data(self) -> None:
        """Place the cell that holds the tables' data."""
        self._data_at = len(self._cells)

    def table(self, name: str, columns: Sequence[str], rows: Rows) -> None:
        """Add a table: a cell that shows it, and what it shows."""
        from nbformat import v4

        columns, rows = [str(_clean(one)) for one in columns], [[_clean(one) for one in row] for row in rows]
        self._tables[name] = {"columns": columns, "rows": rows}
        shown = v4.new_output("display_data", {"text/html": _html(columns, rows), "text/plain": _plain(columns, rows)})
        self._cells.append(v4.new_code_cell(f"table({name!r})", outputs=[shown]))

    def write(self, path: Path, values: Mapping[str, Json] | None = None) -> None:
        """Write the notebook; `values` go into its data beside the tables."""
        import nbformat
        from nbformat import v4

        cells = list(self._cells)
        # Twice: the JSON text, and that as a literal of the program.
        text = json.dumps(json.dumps(self._tables | dict(values or {}), allow_nan=False))
        cells.insert(self._data_at or 0, v4.new_code_cell(_DATA.replace("{text}", text)))
        for number, cell in enumerate(cells):
            cell["id"] = f"cell-{number}"
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        notebook = v4.new_notebook(cells=cells, metadata=kernel | {"language_info": {"name": "python"}})
        nbformat.validate(notebook)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


def literal(value: object) -> str:
    """Give a value as Markdown that shows it as it is: no markup of its own, no line broken."""
    shown = printable(str(value)).replace("\n", "\\n")
    return "".join(f"&#{ord(char)};" if char in "&<>\\`*_{}[]()#+-.!|$~\"'" else char for char in shown)


def _html(columns: Sequence[str], rows: Rows) -> str:
    head = "".join(f"<th>{_cell(one)}</th>" for one in columns)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(one)}</td>' for one in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Value) -> str:
    return escape(_written(value), quote=False)


def _plain(columns: Sequence[str], rows: Rows) -> str:
    written = [[_written(one) for one in row] for row in (columns, *rows)]
    widths = [max(len(row[at]) for row in written) for at in range(len(columns))]
    return "\n".join("  ".join(one.ljust(width) for one, width in zip(row, widths, strict=True)) for row in written)


def _written(value: Value) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _clean(value: Value) -> Value:
    return printable(value).replace("\n", "\\n") if isinstance(value, str) else value
