import ast
import csv
import json
import os
import re
import sys
from itertools import islice
from pathlib import Path

import pytest

import doc_blocks
import services

TOP = doc_blocks.TOP
MODEL = {"SmolLM2-135M-Instruct": services.TINY}


@pytest.fixture
def folder(tmp_path):
    """A reader's folder: the examples, and rows of their own."""
    (tmp_path / "examples").symlink_to(TOP / "examples")
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("input", "output"), *services.rows(30)])
    return tmp_path


def test_the_commands_of_the_base_models_page_run(service, folder):
    ran = doc_blocks.run("base-models.md", service, folder, replace=MODEL)
    assert "Tiny stands in for Falcon7BInstruct" in ran.stdout


@pytest.mark.slow
def test_the_commands_of_the_command_line_page_run(service, folder):
    doc_blocks.run("command-line.md", service, folder, replace=MODEL)
    assert (folder / "first" / "manifest.json").exists()
    assert sorted(path.name for path in (folder / "elsewhere").iterdir()) == ["model", "report.html"]
    assert "tuningType" in (folder / "request.json").read_text()


@pytest.mark.slow
def test_the_commands_of_the_tables_page_run(service, folder):
    made = services.run([sys.executable, TOP / "tools" / "tables.py", folder, "churn", "--rows", "300"])
    assert made.returncode == 0, made.stderr
    columns = ("churn", "tenure", "contract", "monthly_charges")
    _write_columns(folder / "churn" / "training.csv", folder / "churn.csv", columns)
    _write_columns(folder / "churn" / "test.csv", folder / "asked.csv", columns[1:], rows=2)
    quick = {"--time-limit 10m": "--mode ensembling --algorithm lightgbm --max-candidates 1"}
    ran = doc_blocks.run("problems/tabular.md", service, folder, replace=quick)
    answers = [line.split(",") for line in ran.stdout.splitlines() if line.startswith(("Yes,", "No,"))]
    assert len(answers) == 2
    assert all(0 < float(probability) <= 1 for _, probability in answers)
    service.gyropilot("endpoints", "delete", "first-table")


@pytest.mark.slow
def test_the_commands_and_the_program_of_the_openai_page_run(service, endpoint, folder):
    program = re.search(r"```python\n(.*?)```", (TOP / "docs" / "openai.md").read_text(), re.DOTALL)[1]
    (folder / "program.py").write_text(program.replace("my-endpoint", endpoint))
    ran = doc_blocks.run("openai.md", service, folder, replace={"my-endpoint": endpoint})
    assert f'"id": "{endpoint}"' in ran.stdout
    assert '"object":"chat.completion"' in ran.stdout
    exported = json.loads(service.gyropilot("env", "--openai", "--json").stdout)
    streamed = services.run([sys.executable, "program.py"], cwd=folder, env=services.clean_environment() | exported)
    assert (streamed.returncode, streamed.stderr) == (0, "")
    assert streamed.stdout


@pytest.mark.slow
def test_the_commands_and_the_program_of_the_batch_transform_page_run(service, endpoint, folder):
    ran = doc_blocks.run("batch-transform.md", service, folder, replace={"my-job": endpoint})
    joined = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    assert [one["id"] for one in joined] == [1, 2]
    assert all(set(one) == {"id", "SageMakerOutput"} for one in joined)
    assert "a.jsonl: done, 2 records in" in ran.stdout
    page = (TOP / "docs" / "batch-transform.md").read_text(encoding="utf-8")
    program = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1].replace("my-job", endpoint)
    ran = services.run(
        [sys.executable, "-c", program], cwd=folder, env=services.clean_environment() | service.variables
    )
    assert ran.returncode == 0, ran.stderr
    answers = [json.loads(line) for line in ran.stdout.strip().splitlines()]
    assert [one["inputs"] for one in answers] == [f"What is {number} and {number}?" for number in range(4)]
    assert all("generated_text" in json.dumps(one["SageMakerOutput"]) for one in answers)


@pytest.mark.slow
def test_the_commands_of_the_troubleshooting_page_run(service, folder):
    ran = doc_blocks.run("troubleshooting.md", service, folder)
    assert "0 to mend" in ran.stdout


@pytest.mark.slow
def test_the_commands_and_the_program_of_the_migration_page_run(service, folder):
    try:
        doc_blocks.run("migration.md", service, folder, replace=MODEL)
    finally:
        service.gyropilot("models", "stand-in", "--remove", "Falcon7BInstruct")
    resolved = service.sdk().describe("migrated")["ResolvedAttributes"]["AutoMLProblemTypeResolvedAttributes"]
    assert resolved["TextGenerationResolvedAttributes"]["BaseModelName"] == services.TINY
    program = re.search(r"```python\n(.*?)```", (TOP / "docs" / "migration.md").read_text(), re.DOTALL)[1]
    ran = services.run(
        [sys.executable, "-c", program], cwd=folder, env=services.clean_environment() | service.variables
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("Completed")
    assert (folder / "plain" / "report.html").exists()


def test_every_error_that_troubleshooting_quotes_is_one_that_the_program_says():
    page = (TOP / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = [found[1] for found in re.finditer(r"^\| `([^`]+)` \|", page, re.MULTILINE)]
    assert len(quoted) > 30
    said = _texts(TOP / "src")
    parts = {part.strip() for one in quoted for part in re.split("…|: |; ", one)}
    unsaid = sorted(part for part in parts if not any(part in text for text in said))
    assert unsaid == []


def test_every_page_can_be_found_from_the_index_and_the_index_from_the_readme():
    index = (TOP / "docs" / "index.md").read_text(encoding="utf-8")
    pages = {path.relative_to(TOP / "docs").as_posix() for path in (TOP / "docs").rglob("*.md")}
    unlisted = {one for one in pages - {"index.md"} if not one.startswith("adr/") and f"({one})" not in index}
    assert unlisted == set()
    assert "(docs/index.md)" in (TOP / "README.md").read_text(encoding="utf-8")


def test_every_anchor_that_a_page_links_to_is_a_heading():
    faults = []
    for page in [TOP / "README.md", *(TOP / "docs").rglob("*.md")]:
        for target, anchor in re.findall(r"\]\((?!https?://)([^)#]*)#([^)]+)\)", page.read_text(encoding="utf-8")):
            linked = (page.parent / target).resolve() if target else page
            if anchor not in _anchors(linked):
                faults.append(f"{page.relative_to(TOP)}: {target}#{anchor}")
    assert faults == []


def _write_columns(source, target, columns, *, rows=None):
    with source.open(newline="") as file:
        chosen = [{name: row[name] for name in columns} for row in islice(csv.DictReader(file), rows)]
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(chosen)


def _anchors(page):
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


def _texts(folder: Path):
    """The string constants of a program; what stands between them in an f-string varies."""
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
            if isinstance(node, ast.JoinedStr):
                parts = (one.value if isinstance(one, ast.Constant) else os.linesep for one in node.values)
                found.update("".join(parts).split(os.linesep))
    return found
