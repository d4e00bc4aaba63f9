"""No SQL in the house is put together from text: values travel as bound parameters, always."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import gyropilot

TAKES_SQL = {"text", "exec_driver_sql", "execute", "executemany", "executescript", "literal_column"}


def is_put_together(argument):
    is_joined = isinstance(argument, (ast.JoinedStr, ast.BinOp))
    return is_joined or (isinstance(argument, ast.Call) and getattr(argument.func, "attr", "") in {"format", "join"})


def faults(source, name):
    return [
        f"{name}:{node.lineno}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and (getattr(node.func, "attr", None) or getattr(node.func, "id", None)) in TAKES_SQL
        and any(is_put_together(argument) for argument in node.args)
    ]


def test_no_statement_is_put_together():
    files = sorted((Path(gyropilot.__file__).parent / "store").rglob("*.py"))
    assert len(files) > 10
    assert [fault for file in files for fault in faults(file.read_text(), file.name)] == []


def test_the_check_sees_what_it_forbids():
    bad = ['text(f"SELECT {a}")', 'c.execute("SELECT " + a)', 'sa.text("{}".format(a))', 'c.exec_driver_sql("%s" % a)']
    assert [len(faults(one, "x")) for one in bad] == [1] * len(bad)


def test_only_the_store_speaks_sql():
    root = Path(gyropilot.__file__).parent
    others = [one for one in root.rglob("*.py") if root / "store" not in one.parents]
    speaks = re.compile(r"^\s*(import|from) (sqlalchemy|sqlite3|psycopg)\b", re.MULTILINE)
    assert [one for one in others if speaks.search(one.read_text())] == []
    assert speaks.search("def f():\n    import sqlite3\n")
