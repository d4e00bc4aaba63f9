import contextlib
import json
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gyropilot.data.frames import PARQUET, read_rows
from gyropilot.errors import InvalidData


@dataclass(frozen=True)
class File:
    path: Path
    uri: str = "s3://b/k.parquet"


@dataclass(frozen=True)
class Channel:
    files: tuple[File, ...]
    content_type: str = PARQUET
    compression: str = "None"


def rows_of(path):
    return [row.values for row in read_rows(Channel((File(path),)), ["input", "output"])]


@pytest.fixture
def write(tmp_path):
    def written(table, **options):
        path = tmp_path / "k.parquet"
        pq.write_table(table, path, **options)
        return path

    return written


def fault(path):
    with pytest.raises(InvalidData) as caught:
        rows_of(path)
    assert str(caught.value).startswith("s3://b/k.parquet")
    return str(caught.value)


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.string_view()]
)
def test_every_form_of_text_gives_its_rows(write, kind):
    column = pa.array(["a", None, "ü\n,😀"], pa.string()).cast(kind)
    path = write(pa.table({"output": column, "input": column}))
    assert rows_of(path) == [("a", "a"), (None, None), ("ü\n,😀", "ü\n,😀")]


@pytest.mark.parametrize("compression", ["snappy", "gzip", "zstd", "none"])
def test_compression_and_row_groups_make_no_difference(write, compression):
    texts = [f"row {index}" for index in range(500)]
    path = write(pa.table({"input": texts, "output": texts}), compression=compression, row_group_size=90)
    assert rows_of(path) == list(zip(texts, texts, strict=True))


def test_no_rows_are_no_fault_here(write):
    assert rows_of(write(pa.table({"input": pa.array([], pa.string()), "output": pa.array([], pa.string())}))) == []


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"input": ["a"]}, ["'output' is missing"]),
        ({"input": ["a"], "output": ["b"], "id": ["c"]}, ["not expected", "'id'"]),
        ({"input": ["a"], "output": ["b"], "__index_level_0__": ["c"]}, ["index=False"]),
        ({"input": [1], "output": ["b"]}, ["column 'input': is not text (found 'INT64')"]),
        ({"input": [b"a"], "output": ["b"]}, ["bytes without a text type"]),
        ({"input": [["a"]], "output": [{"x": "y", "z": "w"}]}, ["'input': is not text (found 'a list", "'output'"]),
        ({"Input": ["a"], "output": ["b"]}, ["rename column 'Input'"]),
    ],
)
def test_wrong_columns_are_named_all_at_once(write, table, told):
    message = fault(write(pa.table(table)))
    assert [part for part in told if part not in message] == [], message


def test_invalid_utf8_names_row_and_column(write):
    bad = pa.StringArray.from_buffers(2, pa.py_buffer(struct.pack("<3i", 0, 2, 5)), pa.py_buffer(b"ab\xff\xfec"))
    message = fault(write(pa.table({"input": pa.array(["x", "y"]), "output": bad})))
    assert "row 2, column 'output'" in message
    assert "not UTF-8" in message


@pytest.mark.parametrize("keep", [0, 3, 4, 9, 100, 0.5, -1, -8, -9])
def test_a_cut_file_says_so(write, keep):
    texts = [f"{index} text" for index in range(1000)]
    path = write(pa.table({"input": texts, "output": texts}))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep) if isinstance(keep, float) else keep])
    assert any(words in fault(path) for words in ("is cut", "is empty", "is not Parquet"))


def test_a_csv_under_a_parquet_channel_says_so(tmp_path):
    path = tmp_path / "x"
    path.write_text("input,output\na,b\n")
    assert "text/csv;header=present" in fault(path)


def test_every_flipped_byte_of_the_footer_ends_in_rows_or_a_named_fault(write):
    path = write(pa.table({"input": ["a", "b"], "output": ["c", "d"]}))
    whole = path.read_bytes()
    start = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for at in range(start, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x15]) + whole[at + 1 :])
        with contextlib.suppress(InvalidData):
            rows_of(path)


def test_forged_row_counts_are_refused(write):
    """num_rows of the file metadata is a zigzag varint behind the schema; forge it in place, same width."""
    texts = [f"{index}" for index in range(70)]
    path = write(pa.table({"input": texts, "output": texts}))
    whole = path.read_bytes()
    start = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    count = bytes([(140 & 0x7F) | 0x80, 140 >> 7])
    forged = 0
    at = whole.find(count, start)
    while at >= 0:
        path.write_bytes(whole[:at] + b"\xfe\x0f" + whole[at + 2 :])
        try:
            assert len(rows_of(path)) == 70
        except InvalidData:
            forged += 1
        at = whole.find(count, at + 1)
    assert forged >= 3


def test_an_extension_type_is_refused_before_arrow_builds_it(tmp_path):
    """The reading process has the hostile type registered; making it would leave a canary."""
    path, canary = tmp_path / "k.parquet", tmp_path / "canary"
    program = f"""
import os, pathlib, sys, pyarrow as pa, pyarrow.parquet as pq
class Evil(pa.ExtensionType):
    def __init__(self): super().__init__(pa.string(), "evil")
    def __arrow_ext_serialize__(self): return b"code"
    @classmethod
    def __arrow_ext_deserialize__(cls, storage, data):
        pathlib.Path({str(canary)!r}).write_text("ran")
        return cls()
pa.register_extension_type(Evil())
storage = pa.array(["a"])
table = pa.table({{"input": pa.ExtensionArray.from_storage(Evil(), storage), "output": storage}})
pq.write_table(table, {str(path)!r})
pathlib.Path({str(canary)!r}).unlink(missing_ok=True)
import types
from gyropilot.data.frames import read_rows, PARQUET
from gyropilot.errors import InvalidData
file = types.SimpleNamespace(path=pathlib.Path({str(path)!r}), uri="s3://b/k.parquet")
channel = types.SimpleNamespace(content_type=PARQUET, compression="None", files=(file,))
try:
    list(read_rows(channel, ["input", "output"]))
except InvalidData as error:
    print(error)
assert not pathlib.Path({str(canary)!r}).exists()
pq.read_table({str(path)!r})
assert pathlib.Path({str(canary)!r}).exists(), "the attack itself must work"
sys.stdout.flush()
os._exit(0)  # an extension type written in Python makes the interpreter's exit abort at times
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "extension type" in done.stdout


def test_reading_stays_light_until_a_parquet_file_comes():
    program = "import sys, json, gyropilot.data.frames, gyropilot.data.splits; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"pyarrow", "numpy"} & set(json.loads(done.stdout))
