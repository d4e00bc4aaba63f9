"""Data files as people and attackers really send them, each with what must become of it.

A case is accepted with the rows that must come out, as (input, output), or refused in words: file, row or column, what
was found, what is wrong. Nothing here knows a problem type; columns are `input` and `output`. `bad_parquet_files.py`
has the Parquet half.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import sqlite3
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

CSV = "text/csv;header=present"
PARQUET = "x-application/vnd.amazon+parquet"
GOOD = (("q1", "a1"), ("q2", "a2"), ("q3", "a3"))
HEAD = b"input,output\n"
PLAIN = b"q1,a1\nq2,a2\nq3,a3\n"

Content = bytes | Callable[[], bytes]


@dataclass(frozen=True)
class Case:
    name: str
    files: tuple[tuple[str, Content], ...]
    """(key, content); a callable where building takes long."""
    rows: tuple[tuple[str, str], ...] | None = None
    """What must come out; None: the files are refused."""
    told: tuple[str, ...] = ()
    """Parts of the refusal."""
    found: tuple[str, ...] = ()
    """Findings that must be counted of what was accepted."""
    untold: tuple[str, ...] = ()
    """What no message may hold."""
    content_type: str = CSV

    def contents(self) -> list[tuple[str, bytes]]:
        return [(key, content() if callable(content) else content) for key, content in self.files]


def accepted(name, *contents, rows=GOOD, found=(), content_type=CSV, **more):
    return Case(name, _named(contents), rows=tuple(rows), found=found, content_type=content_type, **more)


def refused(name, *contents, told, content_type=CSV, untold=()):
    return Case(name, _named(contents), told=tuple(told), content_type=content_type, untold=untold)


def _named(contents):
    return tuple(one if isinstance(one, tuple) else (f"{number}.data", one) for number, one in enumerate(contents))


def secret() -> str:
    """A key as a service would give it, put together so that it stands in no file."""
    return "AKIA" + "Q3ZX7RT5" * 2


def _zip() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return target.getvalue()


def _tar() -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        entry = tarfile.TarInfo("rows.csv")
        entry.size = len(HEAD + PLAIN)
        archive.addfile(entry, io.BytesIO(HEAD + PLAIN))
    return target.getvalue()


def _gzip_bomb() -> bytes:
    return gzip.compress(b"\0" * 2**28, compresslevel=1)


def _sqlite() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.db"
        with sqlite3.connect(path) as db:
            db.execute("create table rows (input text, output text)")
        db.close()
        return path.read_bytes()


def _feather() -> bytes:
    target = io.BytesIO()
    pyarrow.feather.write_feather(pa.table({"input": ["a"], "output": ["b"]}), target)
    return target.getvalue()


def _parquet() -> bytes:
    target = io.BytesIO()
    pq.write_table(pa.table({"input": ["a"], "output": ["b"]}), target)
    return target.getvalue()


def _lines(*rows) -> bytes:
    return b"\n".join(json.dumps({"input": text, "output": answer}).encode() for text, answer in rows)


ENCODINGS = (
    accepted("utf-8 with a byte order mark", b"\xef\xbb\xbf" + HEAD + PLAIN),
    refused("utf-16 little-endian", (HEAD + PLAIN).decode().encode("utf-16"), told=("0.data", "UTF-16 text (little")),
    refused("utf-16 big-endian", b"\xfe\xff" + (HEAD + PLAIN).decode().encode("utf-16-be"), told=("UTF-16 text (big",)),
    refused("utf-16 unmarked", (HEAD + PLAIN).decode().encode("utf-16-le"), told=("byte 1", "NUL byte", "UTF-16")),
    refused("utf-32", (HEAD + PLAIN).decode().encode("utf-32"), told=("UTF-32 text",)),
    refused("latin-1", HEAD + PLAIN + b"caf\xe9,b\n", told=("row 4 (line 5)", "not UTF-8", "iconv")),
    refused("windows-1252 quotes", HEAD + PLAIN + b"\x93a\x94,b\n", told=("row 4 (line 5)", "not UTF-8")),
    refused("two byte order marks", b"\xef\xbb\xbf" * 2 + HEAD + PLAIN, told=("header", "'input'", "U+FEFF")),
    refused("a surrogate in utf-8", HEAD + PLAIN + b"a,\xed\xa0\x80\n", told=("row 4 (line 5)", "not UTF-8")),
    refused("utf-8 cut in a character", HEAD + PLAIN + b"a,\xf0\x9f\x98", told=("row 4 (line 5)", "not UTF-8")),
    refused("overlong utf-8", HEAD + PLAIN + b"a,\xc0\x80\n", told=("row 4 (line 5)", "not UTF-8")),
    refused("a NUL byte", HEAD + PLAIN + b"a,b\0c\n", told=("row 4 (line 5), byte 34", "NUL byte")),
    refused("a NUL byte in the header", b"input\0,output\n" + PLAIN, told=("first record", "NUL byte")),
    accepted(
        "text that was lost before",
        HEAD + PLAIN + "a\ufffd,b\n".encode(),
        rows=(*GOOD, ("a\ufffd", "b")),
        found=("lost_character",),
    ),
)

LINES = (
    accepted("CRLF line ends", (HEAD + PLAIN).replace(b"\n", b"\r\n")),
    accepted("mixed line ends", HEAD + b"q1,a1\r\nq2,a2\nq3,a3\r\n"),
    accepted("no line end at the end", (HEAD + PLAIN)[:-1]),
    accepted("blank lines between", b"\n\n" + HEAD + b"\nq1,a1\n\nq2,a2\nq3,a3\n\n"),
    refused("CR-only line ends", (HEAD + PLAIN).replace(b"\n", b"\r"), told=("carriage return", "LF or CRLF")),
    refused("a lone CR", HEAD + PLAIN + b"a,b\rc\n", told=("row 4 (line 5)", "carriage return")),
    refused("a row too long", HEAD + b"q1,a1\nq2,a2,more\n", told=("row 2 (line 3)", "3 fields", "has 2")),
    refused("a row too short", HEAD + b"q1,a1\nq2\n", told=("row 2 (line 3)", "1 fields")),
    refused("many ragged rows", HEAD + b"a,b,c\n" * 9, told=("row 1", "row 2", "row 3", "row 4", "row 5")),
    refused("an unclosed quote", HEAD + PLAIN + b'a,"b\nc,d\n', told=("row 4 (line 5)", "not closed")),
    refused("text behind a quote", HEAD + PLAIN + b'a,"b"c\n', told=("row 4 (line 5)", "follows the closing quote")),
    accepted("lines within quotes", HEAD + b'"q\n1","a\r\n1"\nq2,a2\n', rows=(("q\n1", "a\r\n1"), ("q2", "a2"))),
    accepted("a quote within a field", HEAD + b'5" disk,yes\nq2,a2\n', rows=(('5" disk', "yes"), ("q2", "a2"))),
    accepted(
        "separators of other worlds",
        HEAD + "a\u2028b,c\x0bd\u0085e\nq2,a2\n".encode(),
        rows=(("a\u2028b", "c\x0bd\u0085e"), ("q2", "a2")),
        found=("control_character",),
    ),
)

HEADERS = (
    refused("an empty file", b"", told=("0.data", "is empty")),
    refused("a header alone", HEAD, told=("a header and no rows", "0.data")),
    refused("blank lines alone", b"\n\r\n\n", told=("nothing but blank lines",)),
    refused("a byte order mark alone", b"\xef\xbb\xbf", told=("nothing but blank lines",)),
    refused("a column twice", b"input,input,output\na,b,c\n", told=("header", "'input'", "stands 2 times")),
    refused("a column missing", b"input\na\n", told=("header", "'output' is missing")),
    refused("a column more", b"input,output,id\na,b,1\n", told=("'id'", "not expected")),
    refused("a saved index", b",input,output\n0,a,b\n", told=("index=False",)),
    refused("other letter case", b"Input,Output\na,b\n", told=("rename column 'Input' to 'input'",)),
    accepted("spaces round the names", b" input , output \n" + PLAIN),
    accepted("columns the other way round", b"output,input\na1,q1\na2,q2\na3,q3\n"),
    refused(
        "a look-alike letter",
        "\u0456nput,output\na,b\n".encode(),
        told=("rename column", "to 'input'", "U+0456 CYRILLIC"),
    ),
    refused("look-alikes in both names", "\u0456nput,\u043eutput\na,b\n".encode(), told=("U+0456", "U+043E CYRILLIC")),
    refused("an unseen space", "input\u200b,output\na,b\n".encode(), told=("to 'input'", "U+200B ZERO WIDTH SPACE")),
    refused("full-width letters", "\uff49nput,output\na,b\n".encode(), told=("to 'input'", "U+FF49")),
    refused("other names", b"prompt,completion\na,b\n", told=("rename the columns 'prompt', 'completion'",)),
    refused("no header", b"What is it?,A cat\nc,d\n", told=("begin the file with the line input,output",)),
    refused("semicolons", b"input;output\na;b\n", told=("separated by ';'", "commas")),
    refused("tabs", b"input\toutput\na\tb\n", told=("separated by '\\t'",)),
    refused("bars", b"input|output\na|b\n", told=("separated by '|'",)),
    refused(
        "ten thousand columns",
        HEAD[:-1] + b"," + b",".join(b"c%d" % number for number in range(10_000)) + b"\n",
        told=("'c0'", "not expected", "9990 more columns"),
    ),
)

KINDS = (
    refused("an HTML page", b"<!DOCTYPE html>\n<html><body>Sign in</body></html>\n", told=("an HTML page",)),
    refused("an error answer", b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', told=("XML",)),
    refused("JSON lines", _lines(*GOOD), told=("JSON or JSON Lines",)),
    refused("a JSON array", json.dumps([{"input": "a", "output": "b"}]).encode(), told=("looks like JSON",)),
    refused("a pointer to a file", b"version https://git-lfs.github.com/spec/v1\nsize 9\n", told=("Git LFS pointer",)),
    refused("a workbook", _zip, told=("a zip archive",)),
    refused("an old workbook", b"\xd0\xcf\x11\xe0" + b"\0" * 600, told=("an old Excel workbook",)),
    refused("gzip given as plain", gzip.compress(HEAD + PLAIN), told=("gzip-compressed data", "decompress it")),
    refused("a gzip bomb", _gzip_bomb, told=("gzip-compressed data",)),
    refused("bzip2", bz2.compress(HEAD + PLAIN), told=("bzip2-compressed",)),
    refused("xz", lzma.compress(HEAD + PLAIN), told=("xz-compressed",)),
    refused("zstd", b"\x28\xb5\x2f\xfd" + b"\x24" * 40, told=("zstd-compressed",)),
    refused("a tar archive", _tar, told=("a tar archive",)),
    refused("a 7-Zip archive", b"7z\xbc\xaf\x27\x1c" + b"\0" * 40, told=("a 7-Zip archive",)),
    refused("a PDF", b"%PDF-1.7\n1 0 obj\n", told=("a PDF document",)),
    refused("an image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, told=("a PNG image",)),
    refused("a pickle", b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x05posix\x8c\x06system", told=("a Python pickle",)),
    refused("a database", _sqlite, told=("an SQLite database",)),
    refused("an Arrow file", _feather, told=("Arrow IPC",)),
    refused("Parquet under a CSV channel", _parquet, told=("a Parquet file", "x-application/vnd.amazon+parquet")),
    refused("random bytes", bytes((37 * at * at + 11 * at + 129) % 251 + 4 for at in range(4000)), told=("0.data",)),
)

SIZES = (
    refused("a field of 5 MiB", HEAD + PLAIN + b"a," + b"x" * (5 << 20) + b"\n", told=("row 4", "longer than 4 MiB")),
    accepted(
        "a field of 3 MiB",
        HEAD + PLAIN + b"q4," + b"word " * (3 * 2**20 // 5) + b"\n",
        rows=(*GOOD, ("q4", "word " * (3 * 2**20 // 5))),
        found=("cut_output", "cut_row", "long_row"),
    ),
    refused("three million commas", HEAD + b"a" + b"," * (3 << 20) + b"\n", told=("row 1", "3145729 fields")),
    refused("a quote open to the end", HEAD + b'"' + b"a,b\n" * (2 << 20), told=("longer than 4 MiB", "quote")),
    refused("no line end at all", b"a" * (6 << 20), told=("longer than 4 MiB",)),
    refused(
        "twenty thousand rows", HEAD + b"".join(b"q%d,a\n" % row for row in range(20_000)), told=("more than the",)
    ),
    refused(
        "three hundred thousand rows",
        lambda: HEAD + b"".join(b"%d,a\n" % row for row in range(300_000)),
        told=("more than 100001 rows",),
    ),
)

TEXTS = (
    accepted(
        "control characters",
        HEAD + b"\x1b[31mred,a\x07\nq2,a2\n",
        rows=(("\x1b[31mred", "a\x07"), ("q2", "a2")),
        found=("control_character",),
    ),
    accepted(
        "formulas",
        HEAD + b'=1+1,"=HYPERLINK(""x"")"\n+1,@SUM(A1)\n',
        rows=(("=1+1", '=HYPERLINK("x")'), ("+1", "@SUM(A1)")),
    ),
    accepted(
        "text written from right to left",
        HEAD + "\u202eabc,\u0634\nq2,a2\n".encode(),
        rows=(("\u202eabc", "\u0634"), ("q2", "a2")),
    ),
    accepted("template marks", HEAD + b"{{ 7*7 }},{% x %}\n${a},%s\n", rows=(("{{ 7*7 }}", "{% x %}"), ("${a}", "%s"))),
    accepted(
        "a control token",
        HEAD + b"a </s> b,c\nq2,a2\n",
        rows=(("a </s> b", "c"), ("q2", "a2")),
        found=("control_text",),
    ),
    accepted(
        "accents in two forms",
        HEAD + "e\u0301,a\n\u00e9,a\nq,a\n".encode(),
        rows=(("e\u0301", "a"), ("\u00e9", "a"), ("q", "a")),
        found=("duplicate",),
    ),
    accepted("spaces kept", HEAD + b"  a ,\tb\nq2,a2\n", rows=(("  a ", "\tb"), ("q2", "a2"))),
    accepted("blank outputs among others", HEAD + PLAIN + b"q4,\nq5,  \n", found=("blank_output",)),
    refused("blank outputs alone", HEAD + b"q1,\nq2,\n", told=("2 rows, 2 with a blank output",)),
    refused("a single row", HEAD + b"q1,a1\n", told=("1 usable rows", "too few to hold out")),
    refused("copies of one row", HEAD + b"q1,a1\n" * 9, told=("all of them alike", "nothing to hold out")),
    accepted(
        "a secret",
        HEAD + PLAIN + b"key?," + secret().encode() + b"\n",
        rows=(*GOOD, ("key?", secret())),
        found=("secret",),
        untold=(secret(),),
    ),
    refused(
        "a secret in a ragged row",
        HEAD + f"a,{secret()},b\n".encode(),
        told=("row 1", "[AWS access key id]"),
        untold=(secret(),),
    ),
)

PREFIXES = (
    accepted("headers in every file", HEAD + b"q1,a1\n", b"output,input\na2,q2\n", HEAD + b"q3,a3\n"),
    accepted("a header in the first file alone", HEAD + b"q1,a1\n", b"q2,a2\n", b"q3,a3\n"),
    refused(
        "a header in some files", HEAD + b"q1,a1\n", b"q2,a2\n", HEAD + b"q3,a3\n", told=("2.data", "header is present")
    ),
    refused(
        "a read-me beside the data",
        ("a.csv", HEAD + PLAIN),
        ("README.md", b"# Data\n\nWhat it is, and why.\n"),
        told=("README.md",),
    ),
    refused(
        "Parquet beside CSV", ("a.csv", HEAD + PLAIN), ("b.parquet", _parquet), told=("b.parquet", "a Parquet file")
    ),
    refused(
        "other columns in the second file",
        HEAD + PLAIN,
        b"input,answer\na,b\n",
        told=("1.data: header", "'output' is missing"),
    ),
    refused("an empty second file", HEAD + PLAIN, b"", told=("1.data", "is empty")),
    accepted("a key that looks like a folder", ("data/../rows.csv/", HEAD + PLAIN)),
)

CSV_CASES = (*ENCODINGS, *LINES, *HEADERS, *KINDS, *SIZES, *TEXTS, *PREFIXES)
