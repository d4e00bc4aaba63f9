"""Reads the pages and runs the notebooks of reports, for their tests."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import nbformat
from nbclient import NotebookClient

import reported_tables


class ReadPage(HTMLParser):
    """Reads a page: its tags with attributes, text, figures and scripts that run."""

    def __init__(self, html):
        super().__init__()
        self.html, self.tags, self.text, self.figures, self.scripts = html, [], "", [], []
        self._kind = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._kind = tag if tag != "script" else f"script {dict(attrs).get('type', '')}"

    def handle_endtag(self, tag):
        self._kind = ""

    def handle_data(self, data):
        if self._kind == "script application/json":
            self.figures.append(json.loads(data))
        elif self._kind.startswith("script"):
            self.scripts.append(data)
        elif self._kind != "style":
            self.text += data

    def check_harmless(self):
        """Check that the page's policy allows its own two scripts alone, and that no value became markup."""
        (policy,) = [one["content"] for tag, one in self.tags if tag == "meta" and "http-equiv" in one]
        allowed = re.search("script-src ([^;]+);", policy)[1].split()
        digests = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in self.scripts]
        assert allowed == [f"'sha256-{one}'" for one in digests]
        assert len(self.scripts) == 2
        assert not [
            tag for tag, attributes in self.tags if tag in ("img", "a", "link", "iframe") or "src" in attributes
        ]
        assert not [name for _, attributes in self.tags for name in attributes if name.startswith("on")]
        assert "\u202e" not in self.html
        assert "alert(1)" in self.html, "the data that tries to be markup was not shown"


def read(path):
    return ReadPage(path.read_text(encoding="utf-8"))


def run_notebook(path, folder):
    """Run a notebook in an empty folder; check that its cells give what they showed before."""
    text = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    before = [_shown(cell) for cell in notebook.cells if cell.cell_type == "code"]
    NotebookClient(notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    after = [_shown(cell) for cell in notebook.cells if cell.cell_type == "code"]
    assert after == before
    assert any(before)
    assert reported_tables.CANARY not in "".join(cell.source for cell in notebook.cells)
    return notebook


def _shown(cell):
    """Give the fields of the table that a cell shows."""
    html = "".join(output.get("data", {}).get("text/html", "") for output in cell.outputs)
    return [
        [re.sub("<[^>]+>", "", cell) for cell in re.findall(r"<t[hd]\b.*?</t[hd]>", row, re.S)]
        for row in html.split("</tr>")
    ]
