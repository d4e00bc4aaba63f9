"""Streams of rows become one file each; what is no row is told by its number, and nothing is held."""

import gzip
from dataclasses import dataclass

import pyarrow.parquet
import pytest

from gyropilot.local.rows import rows_of


def read(stream, folder, *, task_column=None):
    """Give the rows that were written, and the faults as texts."""
    faults = []
    found = rows_of(stream, folder, where="rows", channel_type="training", task_column=task_column, faults=faults)
    if found is None:
        return None, [str(one) for one in faults]
    (file,) = found.channel.files
    if file.path.suffix == ".csv":
        return file.path.read_text(), []
    return pyarrow.parquet.read_table(file.path).to_pylist(), []


@dataclass
class Complaint:
    text: str
    labels: list


def test_mappings_and_objects_become_rows_of_the_wanted_columns_alone(tmp_path):
    rows, faults = read([{"input": "a", "output": "b", "id": 3}, {"output": None, "input": ""}], tmp_path)
    assert faults == []
    assert rows == [{"input": "a", "output": "b"}, {"input": "", "output": ""}]
    rows, _ = read(iter([Complaint("a", ["x", "y"]), Complaint("b", "z")]), tmp_path)
    assert rows == [{"text": "a", "labels": '["x", "y"]'}, {"text": "b", "labels": "z"}]
    rows, _ = read([{"input": "a", "output": "b", "topic": "t"}], tmp_path, task_column="topic")
    assert rows == [{"input": "a", "output": "b", "topic": "t"}]


def test_a_stream_of_many_rows_is_read_once_and_in_order(tmp_path):
    drawn = []

    def stream():
        for number in range(3000):
            drawn.append(number)
            yield {"input": str(number), "output": "x"}

    rows, _ = read(stream(), tmp_path)
    assert drawn == list(range(3000))
    assert [one["input"] for one in rows] == [str(number) for number in range(3000)]


def test_no_more_than_ten_wrong_rows_are_told_and_reading_ends_there(tmp_path):
    drawn = []

    def stream():
        for number in range(100):
            drawn.append(number)
            yield {"input": "a", "output": "b" if number == 0 else number}

    rows, faults = read(stream(), tmp_path)
    assert rows is None
    assert len(faults) == 10
    assert faults[0] == "rows[1].output: is no text (found 1); give a text"
    assert len(drawn) == 11


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("rows.csv", "input,output,extra\na,b,c\n", "has the columns input, output, extra"),
        ("rows.csv", "", "has the columns of no table"),
        ("rows.jsonl", "{}", "is no file of rows"),
        ("rows.csv.gz", "no gzip", "cannot be unpacked"),
        ("rows.parquet", "no parquet", "has the columns of no table"),
    ],
)
def test_files_that_hold_no_rows_are_refused(tmp_path, name, content, told):
    (tmp_path / name).write_text(content)
    rows, faults = read(tmp_path / name, tmp_path)
    assert rows is None
    assert len(faults) == 1
    assert told in faults[0]


def test_a_compressed_file_is_unpacked(tmp_path):
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(b"input,output\na,b\n"))
    (tmp_path / "made").mkdir()
    assert read(str(tmp_path / "rows.csv.gz"), tmp_path / "made") == ("input,output\na,b\n", [])
