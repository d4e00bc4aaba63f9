"""Each bad file names its object, place, what was found and the mend; each accepted variation is stated here."""

import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import pytest

from gyropilot.data.csv_files import MAX_RECORD_BYTES
from gyropilot.data.frames import CSV, read_rows
from gyropilot.errors import InvalidData


@dataclass(frozen=True)
class File:
    path: Path
    uri: str


@dataclass(frozen=True)
class Channel:
    files: tuple[File, ...]
    content_type: str = CSV
    compression: str = "None"


@pytest.fixture
def rows_of(tmp_path):
    def read(*contents: bytes | str, content_type: str = CSV):
        files = []
        for index, content in enumerate(contents):
            path = tmp_path / f"{index}"
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            files.append(File(path, f"s3://b/{index}.csv"))
        return list(read_rows(Channel(tuple(files), content_type), ["input", "output"]))

    return read


def values(rows):
    return [row.values for row in rows]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("input,output\na,b\n", [("a", "b")]),
        ("input,output\na,b", [("a", "b")]),
        ("input,output\r\na,b\r\nc,d\r\n", [("a", "b"), ("c", "d")]),
        ("output,input\nb,a\n", [("a", "b")]),
        (" input, output\na,b\n", [("a", "b")]),
        ('"input","output"\n"a","b"\n', [("a", "b")]),
        (b"\xef\xbb\xbfinput,output\na,b\n", [("a", "b")]),
        (b'\xef\xbb\xbf"input",output\na,b\n', [("a", "b")]),
        ('input,output\n"a\nb\r\nc","d ""e"", f"\n', [("a\nb\r\nc", 'd "e", f')]),
        ('input,output\n5" disk, yes\n', [('5" disk', " yes")]),
        ("input,output\n\n\na,b\n\n", [("a", "b")]),
        ("\n\ninput,output\na,b\n", [("a", "b")]),
        ("input,output\n,\n", [("", "")]),
        ("input,output\n  a ,\tb\n", [("  a ", "\tb")]),
        ("input,output\nनमस्ते,你好 ñ 😀\n", [("नमस्ते", "你好 ñ 😀")]),
        ("input,output\na\u2028b,c\x0bd\u0085e\n", [("a\u2028b", "c\x0bd\u0085e")]),
        ("input,output\n{[<,PAR1\n", [("{[<", "PAR1")]),
        ("input,output\n", []),
        ("input,output", []),
    ],
)
def test_plain_files_give_their_rows(rows_of, content, expected):
    assert values(rows_of(content)) == expected


def test_rows_are_numbered_within_their_file(rows_of):
    rows = rows_of('input,output\n"a\n",b\nc,d\n', "input,output\ne,f\n")
    assert [(row.source_uri, row.row_number) for row in rows] == [
        ("s3://b/0.csv", 1),
        ("s3://b/0.csv", 2),
        ("s3://b/1.csv", 1),
    ]
    assert rows[1].place == "s3://b/0.csv: row 2"


def test_every_file_may_have_a_header_in_its_own_order(rows_of):
    assert values(rows_of("input,output\na,b\n", "output,input\nd,c\n")) == [("a", "b"), ("c", "d")]


def test_only_the_first_file_may_have_a_header(rows_of):
    assert values(rows_of("output,input\nb,a\n", "d,c\n", "f,e\n")) == [("a", "b"), ("c", "d"), ("e", "f")]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", ["is empty"]),
        (b"\n\n", ["nothing but blank lines"]),
        (b"\xef\xbb\xbf", ["nothing but blank lines"]),
        (b"input,output\na,b,c\n", ["row 1 (line 2)", "3 fields", "has 2", "'a', 'b', 'c'", "double quotes"]),
        (b"input,output\na,b\nc\n", ["row 2 (line 3)", "1 fields", "hold a line end"]),
        (b"input,output\na,b,c\nd,e\nf\n" + b"g,h,i\n" * 9, ["row 1", "row 3 (line 4)", "row 4", "row 6 (line 7)"]),
        (b'input,output\n"a\n\nb",c,d\n', ["row 1 (lines 2-4)"]),
        (b'input,output\na,b\nc,"d\ne,f\n', ["row 2 (line 3)", "not closed"]),
        (b'input,output\na,"b"c\n', ["row 1 (line 2)", "follows the closing quote"]),
        (b"input,output\ra,b\rc,d\r", ["carriage return stands alone", "LF or CRLF"]),
        (b"input,output\na,b\rc\n", ["row 1 (line 2)", "carriage return"]),
        (b"input,output\na,b\x00\n", ["row 1 (line 2), byte 16", "NUL"]),
        (b"input,output\na,b\nc,caf\xe9\n", ["row 2 (line 3), byte 22", "not UTF-8", "caf\\xe9", "iconv"]),
        (b"\xef\xbb\xbfinput,output\n\xe9,b\n", ["row 1 (line 2), byte 16", "not UTF-8"]),
        (b"input,output\na,\xed\xa0\x80\n", ["not UTF-8"]),
        (b"input,output\na,\xf0\x9f\n", ["not UTF-8"]),
        ("input,output\na,b\n".encode("utf-16"), ["UTF-16 text"]),
        ("input,output\na,b\n".encode("utf-16-le"), ["first record", "NUL byte", "UTF-16"]),
        ("input,output\na,b\n".encode("utf-32"), ["UTF-32 text"]),
        (b"input,input,output\na,b,c\n", ["column stands 2 times", "'input'"]),
        (b"input\na\n", ["'output' is missing"]),
        (b"input,output,id\na,b,1\n", ["not expected", "'id'"]),
        (b",input,output\n0,a,b\n", ["not expected", "index=False"]),
        (b"Input,OUTPUT\na,b\n", ["'input' is missing", "rename column 'Input' to 'input'", "rename column 'OUTPUT'"]),
        (
            b"prompt,completion\na,b\n",
            [
                "does not name the columns",
                "rename the columns 'prompt', 'completion' to 'input', 'output'; or, if this line is data already,",
            ],
        ),
        (b"What is it?,A cat\nc,d\n", ["does not name the columns", "; begin the file with the line input,output"]),
        (b"a,b\nc,d\n", ["does not name the columns", "input,output"]),
        (b"input;output\na;b\n", ["separated by ';'", "commas"]),
        (b"input\toutput\na\tb\n", ["separated by '\\t'"]),
        (b"<!DOCTYPE html>\n<html></html>\n", ["looks like an HTML page"]),
        (b'\n<html lang="en">\n', ["looks like an HTML page"]),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', ["XML"]),
        (b'{"input": "a", "output": "b"}\n', ["looks like JSON"]),
        (b'[{"input": "a"}]', ["looks like JSON"]),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", ["Git LFS"]),
        (b"\x1f\x8b\x08\x00", ["gzip"]),
        (b"PK\x03\x04xl/", ["zip archive"]),
        (b"PAR1\x00\x00", ["a Parquet file", "x-application/vnd.amazon+parquet"]),
        (b"%PDF-1.7", ["PDF"]),
        (b"\x80\x04\x95\x00", ["pickle"]),
        (b"ARROW1\x00\x00", ["Arrow IPC"]),
    ],
)
def test_bad_files_name_the_place_and_the_mend(rows_of, content, told):
    with pytest.raises(InvalidData) as caught:
        rows_of(content)
    message = str(caught.value)
    assert message.startswith("s3://b/0.csv")
    assert [part for part in told if part not in message] == [], message


@pytest.mark.parametrize(
    ("second", "third", "told"),
    [
        ("c,d\n", "input,output\ne,f\n", "header is present, where in the files before it the header was absent"),
        ("input,output\nc,d\n", "e,f\n", "header is absent"),
        ("input,answer\nc,d\n", "", "'output' is missing"),
        ("c,d,e\n", "", "'input' is missing"),
        ("", "input,output\n", "is empty"),
    ],
)
def test_files_of_one_channel_must_agree(rows_of, second, third, told):
    with pytest.raises(InvalidData, match=told):
        rows_of("input,output\na,b\n", second, third)


def test_a_file_without_line_ends_costs_no_more_than_the_record_limit(tmp_path, rows_of):
    with pytest.raises(InvalidData, match="longer than 4 MiB"):
        rows_of(b"input,output\n" + b"a" * (MAX_RECORD_BYTES + 100))


def test_an_unclosed_quote_is_given_up_at_the_record_limit(rows_of):
    with pytest.raises(InvalidData, match=r"row 2 \(lines 3-.*longer than 4 MiB.*quote"):
        rows_of(b'input,output\na,b\n"c,d\n' + b"efgh,ijkl\n" * (MAX_RECORD_BYTES // 8))


@pytest.mark.parametrize("before", range(55, 80, 6))
def test_a_shown_row_is_cut_without_giving_half_a_secret_away(rows_of, before):
    secret = "AKIA" + "Q3ZX7RT5" * 2
    with pytest.raises(InvalidData) as refused:
        rows_of(f"input,output\n{'a ' * (before // 2)}{secret} and more,b,c\n")
    assert "AKIA" not in str(refused.value)
    assert "has 3 fields" in str(refused.value)


def test_memory_does_not_grow_with_rows(tmp_path):
    path = tmp_path / "big.csv"
    with path.open("w") as file:
        file.write("input,output\n")
        for index in range(20_000):
            file.write(f'"question {index} {"x" * 400}","answer"\n')
    tracemalloc.start()
    count = sum(1 for _ in read_rows(Channel((File(path, "s3://b/big.csv"),)), ["input", "output"]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 2**20


def test_what_is_not_read_here_is_refused(rows_of, tmp_path):
    with pytest.raises(InvalidData, match="ContentType"):
        rows_of("input,output\n", content_type="image/png")
    path = tmp_path / "x"
    path.write_text("input,output\n")
    with pytest.raises(InvalidData, match="compressed"):
        list(read_rows(Channel((File(path, "s3://b/x"),), compression="Gzip"), ["input", "output"]))
