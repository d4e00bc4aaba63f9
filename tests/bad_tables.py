"""Tables as people and attackers really send them, each with what must become of it.

A case is accepted, with how many rows are left, of which kind columns are told to be and which findings say what was
made alike; or it is refused in words: file, row or column, what was found, what is wrong. The target is `y`.
"""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import io
import random
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

CSV = "text/csv;header=present"
PARQUET = "x-application/vnd.amazon+parquet"
ROWS = 40
Content = bytes | Callable[[], bytes]


@dataclass(frozen=True)
class Case:
    name: str
    files: tuple[tuple[str, Content], ...]
    rows: int | None = None
    """Rows that are left; None: the files are refused."""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """Of some columns, by name."""
    found: tuple[str, ...] = ()
    """Findings that there must be."""
    told: tuple[str, ...] = ()
    """Parts of the refusal."""
    spec: Mapping[str, object] = field(default_factory=dict)
    content_type: str = CSV
    compression: str = "None"

    def contents(self) -> list[tuple[str, bytes]]:
        return [(key, content() if callable(content) else content) for key, content in self.files]


def accepted(name, *contents, rows=ROWS, kinds=None, found=(), **more):
    return Case(name, _named(contents), rows=rows, kinds=kinds or {}, found=tuple(found), **more)


def refused(name, *contents, told, **more):
    return Case(name, _named(contents), told=tuple(told), **more)


def _named(contents):
    return tuple((f"{number}.data", one) for number, one in enumerate(contents))


def table(columns: Mapping[str, object], rows: int = ROWS, *, target=None, header=True, end="\n") -> bytes:
    """A CSV table: each column a function of the row's number, or one value; the target by default yes and no."""
    columns = {**columns, "y": target or (lambda row: ("no", "yes")[row % 2])}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=end)
    if header:
        writer.writerow(columns)
    for row in range(rows):
        writer.writerow([one(row) if callable(one) else one for one in columns.values()])
    return text.getvalue().encode()


def amount(row: int) -> str:
    return f"{random.Random(row).uniform(0, 100):.2f}"


def colour(row: int) -> str:
    return ("red", "green", "blue")[row % 3]


GOOD = table({"size": amount, "colour": colour})
PARTED = table({"size": amount, "colour": colour}, header=False)


def parquet(columns, **options) -> bytes:
    target = io.BytesIO()
    pq.write_table(pa.table(columns), target, **options)
    return target.getvalue()


def _typed() -> bytes:
    numbers = range(ROWS)
    return parquet(
        {
            "size": [None if row % 7 == 0 else row * 1.5 for row in numbers],
            "count": pa.array(numbers, pa.int32()),
            "is_new": [None if row % 9 == 0 else row % 4 == 0 for row in numbers],
            "day": [datetime.date(2024, 1, 1 + row % 28) for row in numbers],
            "at": [datetime.datetime(2024, 1, 1, row % 24, tzinfo=datetime.UTC) for row in numbers],
            "price": [decimal.Decimal(row % 11) / 4 for row in numbers],
            "colour": pa.array([colour(row) for row in numbers]).dictionary_encode(),
            "void": pa.nulls(ROWS),
            "y": [row % 2 == 0 for row in numbers],
        }
    )


def _swapped() -> bytes:
    rows = list(csv.reader(io.StringIO(GOOD.decode())))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([row[::-1] for row in rows])
    return text.getvalue().encode()


def _workbook() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return target.getvalue()


def _wide(count: int) -> Callable[[], bytes]:
    return lambda: table({f"c{number}": amount for number in range(count)}, rows=30)


def _bomb() -> bytes:
    return gzip.compress(b"size,y\n" + (b"1" * 1000 + b",yes\n") * 100_000, compresslevel=9)


def _named_parquet_bomb() -> bytes:
    return parquet({"size": pa.array(["x" * 1000]).take(pa.array([0] * 400_000)), "y": ["a"] * 400_000})


ENCODINGS = (
    accepted("a byte order mark", b"\xef\xbb\xbf" + GOOD, kinds={"size": "numeric", "colour": "categorical"}),
    accepted("CRLF and blank lines", GOOD.replace(b"\n", b"\r\n").replace(b"red", b"red", 1) + b"\r\n\r\n"),
    accepted("no end of the last line", GOOD.rstrip()),
    accepted(
        "names in many scripts",
        table({"größe": amount, "色": colour, "e\u0301": colour, "🙂 x": amount, "שם": colour}),
        kinds={"größe": "numeric", "色": "categorical", "e\u0301": "categorical", "🙂 x": "numeric"},
    ),
    accepted("names with marks of JSON", table({'a[0]"': amount, "{b}:c,": colour, "d\\e": amount})),
    accepted("spaces around names", GOOD.replace(b"size,colour,y", b" size , colour, y "), kinds={"size": "numeric"}),
    accepted(
        "quoted commas, quotes and line ends", table({"note": lambda row: f'a "b", c\nd {row % 3}', "size": amount})
    ),
    refused(
        "Latin-1", GOOD.replace(b"blue", b"bl\xfc"), told=("0.data: row 3 (line 4), byte", "is not UTF-8", "iconv")
    ),
    refused("UTF-16", GOOD.decode().encode("utf-16"), told=("0.data", "UTF-16 text")),
    refused("NUL bytes", GOOD.replace(b"blue", b"bl\0e"), told=("row 3 (line 4), byte", "holds a NUL byte")),
    refused("a web page", b"<!DOCTYPE html><html><body>404</body></html>", told=("0.data", "an HTML page")),
    refused("JSON lines", b'{"size": 1, "y": "a"}\n' * 9, told=("0.data", "JSON")),
    refused("a workbook", _workbook, told=("0.data", "a zip archive (Excel workbooks are such)")),
    refused("semicolons", GOOD.replace(b",", b";"), told=("header", "separated by ';'", "separate fields by commas")),
    refused("tabs", GOOD.replace(b",", b"\t"), told=("header", r"separated by '\t'")),
)
FORMS = (
    refused("an empty file", b"", told=("0.data: is empty",)),
    refused("blank lines alone", b"\n\n\n", told=("0.data: holds nothing but blank lines",)),
    refused("a header alone", b"size,colour,y\n", told=("training channel", "a header and no rows", "0.data")),
    refused("a target alone", table({}), told=("header", "one column", "nothing to predict it from")),
    refused("no header", PARTED, told=("header", "no column bears the name given as TargetAttributeName")),
    refused("numbers without a header", b"1,2,3\n4,5,6\n", told=("begin the file with a line of column names",)),
    refused(
        "ragged rows",
        GOOD + b"1,red\n2,blue,yes,no\n3,red,no\n",
        told=("row 41 (line 42)", "has 2 fields where the header has 3", "row 42 (line 43)", "has 4 fields"),
    ),
    refused("an open quote", GOOD + b'1,"red,no\n', told=("row 41 (line 42)", "not closed before the end of the file")),
    refused(
        "columns of one name",
        GOOD.replace(b"size,colour,y", b"x,x,y"),
        told=("header", "columns 1, 2 bear one name", "'x'"),
    ),
    refused(
        "control characters in a name", table({"a\x07b": amount}), told=("name of column 1 holds a control character",)
    ),
    accepted("500 columns", _wide(500), rows=30),
    refused(
        "10,000 columns",
        _wide(10_000),
        told=("10000 columns to predict from", "more than 2000", "FeatureAttributeNames"),
    ),
    refused(
        "30,000 columns",
        lambda: b",".join(b"c%d" % n for n in range(30_000)) + b"\n",
        told=("more than 20000 columns",),
    ),
    accepted("later files without a header", GOOD, PARTED, PARTED, rows=3 * ROWS),
    accepted("later files in another order", GOOD, _swapped, rows=2 * ROWS, kinds={"size": "numeric"}),
    refused("headers now and then", GOOD, GOOD, PARTED, told=("2.data: first line", "header is absent")),
    refused(
        "other columns later", GOOD, GOOD.replace(b"colour", b"taste"), told=("1.data: header", "'colour' is missing")
    ),
    refused(
        "fewer columns later", GOOD, b"1,red\n", told=("1.data: row 1 (line 1)", "has 2 fields where the header has 3")
    ),
    accepted("a field of 100 kB", table({"note": lambda row: "word " * 20_000 if row == 5 else f"a b c d {row}"})),
    refused("a record of 5 MiB", table({"note": "x" * 5 * 2**20}, rows=1), told=("record is longer than 4 MiB",)),
)
COMPRESSED = (
    accepted("gzip", gzip.compress(GOOD), compression="Gzip", kinds={"size": "numeric"}),
    accepted("gzip of two members", gzip.compress(GOOD) + gzip.compress(PARTED), rows=2 * ROWS, compression="Gzip"),
    refused("a gzip bomb", _bomb, compression="Gzip", told=("0.data", "unpacks to more than 200 times its size")),
    refused("gzip, cut", gzip.compress(GOOD)[:-9], compression="Gzip", told=("0.data", "gzip data is cut")),
    refused("gzip, damaged", gzip.compress(GOOD)[:-6] + b"\0" * 6, compression="Gzip", told=("gzip data is damaged",)),
    refused("gzip, not said", gzip.compress(GOOD), told=("gzip-compressed data", "CompressionType Gzip")),
    refused(
        "gzip, said wrongly", GOOD, compression="Gzip", told=("is not gzip-compressed", "leave CompressionType out")
    ),
)
PARQUETS = (
    accepted(
        "Parquet of many types",
        _typed,
        content_type=PARQUET,
        kinds={"count": "numeric", "is_new": "categorical", "day": "datetime", "at": "datetime", "price": "numeric"},
        found=("all_missing",),
    ),
    accepted("Parquet files of the same columns", _typed, _typed, rows=2 * ROWS, content_type=PARQUET),
    refused("Parquet, cut", lambda: _typed()[:-40], content_type=PARQUET, told=("0.data", "cut")),
    refused(
        "Parquet, damaged",
        lambda: _typed()[:60] + b"\xff" * 40 + _typed()[100:],
        content_type=PARQUET,
        told=("0.data",),
    ),
    refused(
        "Parquet of lists, maps and bytes",
        lambda: parquet({"a": [[1]], "b": [b"x"], "c": [{"k": 1}], "y": ["q"]}),
        content_type=PARQUET,
        told=("column 'a'", "a list, map or struct", "column 'b'", "bytes without a text type", "column 'c'"),
    ),
    refused("Parquet as CSV", _typed, told=("is not CSV but a Parquet file", "ContentType")),
    refused("CSV as Parquet", GOOD, content_type=PARQUET, told=("is not Parquet", "text/csv")),
    refused(
        "Parquet of other columns later",
        _typed,
        lambda: parquet({"size": [1], "y": ["q"]}),
        content_type=PARQUET,
        told=("1.data: schema", "'count' is missing"),
    ),
    refused(
        "a Parquet bomb", _named_parquet_bomb, content_type=PARQUET, told=("0.data", "unpacks to more than 1000 times")
    ),
)
TARGETS = (
    refused(
        "one class",
        table({"size": amount}, target=lambda _: "yes"),
        told=("column 'y'", "all rows have the same class"),
    ),
    refused(
        "no target at all", table({"size": amount}, target=lambda _: " "), told=("column 'y'", "no row has a target")
    ),
    accepted(
        "bad targets",
        table({"size": amount}, target=lambda row: ("inf", "", "NaN", "1", "0", "1", "0", "0")[row % 8]),
        rows=25,
        found=("bad_target", "few_rows"),
    ),
    accepted("labels written in two ways", table({"size": amount}, target=lambda row: ("1", "0", " 1.0")[row % 3])),
    accepted(
        "a class of one row",
        table({"size": amount}, target=lambda row: "rare" if row == 3 else colour(row)),
        found=("rare_class",),
    ),
    refused(
        "two classes, one of one row",
        table({"size": amount}, target=lambda row: "no" if row == 3 else "yes"),
        told=("column 'y'", "must hold both classes", "two rows of each class"),
    ),
    refused(
        "names as target", table({"size": amount}, target=lambda row: f"n{row}"), told=("column 'y'", "set ProblemType")
    ),
    refused(
        "neither classes nor amounts",
        table({"size": amount}, 200, target=lambda row: str(row % 23)),
        told=("column 'y'", "it cannot be told with confidence", "23 distinct values in 200 rows"),
    ),
    refused(
        "text as amounts",
        table({"size": amount}, target=colour),
        spec={"problem_type": "Regression", "objective": "MSE"},
        told=("column 'y'", "no row's target is a number"),
    ),
    accepted(
        "some text among amounts",
        table({"size": amount}, target=lambda row: "soon" if row < 3 else amount(row)),
        rows=ROWS - 3,
        spec={"problem_type": "Regression", "objective": "MSE"},
        found=("bad_target",),
    ),
    refused(
        "three classes as two",
        table({"size": amount}, target=colour),
        spec={"problem_type": "BinaryClassification", "objective": "F1"},
        told=("more than the two of a BinaryClassification", "'blue', 'green', 'red'"),
    ),
    refused("no rows to hold out", b"size,y\n1,2.5\n", told=("column 'y'", "nothing to learn")),
)
FEATURES = (
    accepted(
        "a saved row index", table({"": str, "size": amount}), kinds={"Unnamed: 0": "numeric"}, found=("identifier",)
    ),
    accepted("names of rows", table({"key": lambda row: f"k-{row:04}", "size": amount}), found=("identifier",)),
    accepted(
        "an empty column", table({"size": amount, "void": ""}), kinds={"void": "categorical"}, found=("all_missing",)
    ),
    accepted("one value alone", table({"size": amount, "same": "x"}), found=("constant",)),
    accepted(
        "hardly a value", table({"size": amount, "rare": lambda row: "" if row % 9 else "1"}), found=("much_missing",)
    ),
    refused(
        "nothing to learn from", table({"": str, "same": "x", "void": ""}), told=("header", "no column tells one row")
    ),
    accepted(
        "infinities and numbers out of range",
        table({"size": lambda row: ("inf", "-Infinity", "1e999")[row] if row < 3 else amount(row)}),
        kinds={"size": "numeric"},
        found=("stray_value",),
    ),
    accepted(
        "words for nothing",
        table({"size": lambda row: ("NA", "?", "-", "None", "nan", "#N/A", " ")[row] if row < 7 else amount(row)}),
        kinds={"size": "numeric"},
    ),
    accepted(
        "written numbers",
        table(
            {
                "pay": lambda row: f"${row * 1234:,}",
                "part": lambda row: f"{row % 13} %",
                "zip": lambda row: f"0{row % 5}1",
            }
        ),
        kinds={"pay": "numeric", "part": "numeric", "zip": "categorical"},
    ),
    accepted(
        "written dates",
        table(
            {
                "d": lambda row: f"{1 + row % 28}/{1 + row % 12}/2024",
                "m": lambda row: f"{1 + row % 12}/{1 + row % 28}/2024 10:3{row % 10} PM",
                "i": lambda row: f"2024-0{1 + row % 9}-11T10:00:0{row % 10}Z",
                "n": lambda row: f"Mar {1 + row % 28} 2024",
            }
        ),
        kinds={"d": "datetime", "m": "datetime", "i": "datetime", "n": "datetime"},
    ),
    accepted(
        "the target again",
        table({"size": amount, "again": lambda row: row % 2}, 200),
        rows=200,
        found=("tells_target",),
    ),
    accepted("rows again and again", table({"size": lambda row: row % 4}), found=("duplicate", "in_both_splits")),
    refused(
        "weights that are none",
        table({"w": "-1"}),
        spec={"weight_column": "w"},
        told=("column 'w'", "no row has a weight"),
    ),
    accepted(
        "weights, some bad",
        table({"w": lambda row: ("-1", "", "x")[row] if row < 3 else "2.5", "size": amount}),
        rows=ROWS - 3,
        spec={"weight_column": "w"},
        found=("bad_weight",),
    ),
    refused(
        "no such weights",
        GOOD,
        spec={"weight_column": "w"},
        told=("SampleWeightAttributeName", "'size', 'colour', 'y'"),
    ),
)
CASES = ENCODINGS + FORMS + COMPRESSED + PARQUETS + TARGETS + FEATURES
