"""The Parquet half of the bad files: wrong types, damage, lies about counts and sizes, bombs."""

from __future__ import annotations

import io
import struct

import pyarrow as pa
import pyarrow.parquet as pq

from bad_files import CSV_CASES, GOOD, HEAD, PARQUET, PLAIN, Case, accepted, refused


def written(columns, **options) -> bytes:
    target = io.BytesIO()
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    pq.write_table(table, target, **options)
    return target.getvalue()


def good(**options) -> bytes:
    return written({"input": [one[0] for one in GOOD], "output": [one[1] for one in GOOD]}, **options)


def many(**options) -> bytes:
    texts = [f"text {number} of many" for number in range(2000)]
    return written({"input": texts, "output": texts}, **options)


def cut(share: float) -> bytes:
    whole = many()
    return whole[: int(len(whole) * share)]


def with_footer(footer: bytes, body: bytes = b"") -> bytes:
    return b"PAR1" + body + footer + struct.pack("<I", len(footer)) + b"PAR1"


def _footer_start(data: bytes) -> int:
    return len(data) - 8 - int.from_bytes(data[-8:-4], "little")


def _varint(value: int) -> bytes:
    text = b""
    while value > 127:
        text += bytes([value & 127 | 128])
        value >>= 7
    return text + bytes([value])


def forged_rows() -> bytes:
    """70 rows of which the footer says that they are 1,023, in its first count."""
    texts = [f"{number}" for number in range(70)]
    data = written({"input": texts, "output": texts})
    at = data.index(_varint(140), _footer_start(data))
    return data[:at] + b"\xfe\x0f" + data[at + 2 :]


def forged_page(size: int, compression: str) -> bytes:
    """A page whose header says that it unpacks to `size` bytes."""
    data = good(compression=compression, use_dictionary=False, write_statistics=False)
    at = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).column(0).data_page_offset
    assert data[at : at + 3] == b"\x15\x00\x15"
    length = 1 if data[at + 3] < 128 else 2
    forged = _varint(2 * size)
    return (
        data[: at + 3] + forged + data[at + 3 + length :]
        if len(forged) == length
        else _longer(data, at, forged, length)
    )


def _longer(data: bytes, at: int, forged: bytes, length: int) -> bytes:
    """Make room by dropping as many bytes of the page's own text, so that no offset moves."""
    more = len(forged) - length
    first = data.index(b"q1", at)
    return data[: at + 3] + forged + data[at + 3 + length : first] + data[first + more :]


def flood_of_row_groups(count: int) -> bytes:
    """A footer with `count` row groups of nothing, three bytes each; Arrow makes hundreds of each."""
    schema = b"\x29\x1c\x48\x06schema\x15\x00\x00"
    return with_footer(b"\x15\x02" + schema + b"\x16\x00\x19\xfc" + _varint(count) + b"\x26\x00\x00" * count + b"\x00")


def deep_footer() -> bytes:
    return with_footer(b"\x1c" * 50_000)


def flipped(at_share: float) -> bytes:
    data = bytearray(many(compression="snappy", write_page_checksum=True))
    data[int(_footer_start(bytes(data)) * at_share)] ^= 0x55
    return bytes(data)


def long_page_that_denies_it() -> bytes:
    """48 MiB that are not compressed, under a header that tells of 5 bytes."""
    data = written({"input": ["0" * (48 << 20)] * 2, "output": ["a", "b"]}, compression="none", use_dictionary=False)
    at = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).column(0).data_page_offset
    assert data[at : at + 3] == b"\x15\x00\x15"
    return data[: at + 3] + b"\x8a\x80\x80\x00" + data[at + 7 :]


def one_long_value() -> bytes:
    return written({"input": ["0" * (48 << 20), "b"], "output": ["a", "b"]}, compression="zstd")


def dictionary_of_one_long_value() -> bytes:
    """A value of 3 MiB, once in the file and once in each of 5,000 rows."""
    long = pa.DictionaryArray.from_arrays(pa.array([0] * 5000, pa.int32()), pa.array(["0" * (3 << 20)]))
    return written({"input": long, "output": ["a"] * 5000}, compression="zstd", dictionary_pagesize_limit=1 << 24)


def rows_of_nothing(count: int) -> bytes:
    """Rows without end in a file of a few kilobytes."""
    one = pa.DictionaryArray.from_arrays(pa.array([0], pa.int8()).take(pa.array([0] * 1)), pa.array(["a"]))
    column = pa.concat_arrays([one] * 1).take(pa.nulls(count, pa.int32()).fill_null(0))
    return written({"input": column, "output": column}, compression="zstd")


def bad_utf8() -> bytes:
    bad = pa.StringArray.from_buffers(2, pa.py_buffer(struct.pack("<3i", 0, 2, 5)), pa.py_buffer(b"ab\xed\xa0\x80"))
    return written({"input": pa.array(["x", "y"]), "output": bad})


def wide() -> bytes:
    return written({"input": ["a"], "output": ["b"]} | {f"c{number}": ["x"] for number in range(10_000)})


def twice() -> bytes:
    columns = [pa.array(["a"]), pa.array(["b"]), pa.array(["c"])]
    return written(pa.Table.from_arrays(columns, names=["input", "input", "output"]))


def typed(column) -> bytes:
    return written({"input": ["a", "b"], "output": column})


def ok(name, content, **more) -> Case:
    return accepted(name, content, content_type=PARQUET, **more)


def no(name, content, *told) -> Case:
    return refused(name, content, told=told, content_type=PARQUET)


TYPES = (
    ok("plain Parquet", good),
    ok("Parquet of many row groups", lambda: good(row_group_size=1, compression="gzip")),
    ok(
        "large strings and dictionaries",
        lambda: written(
            {
                "input": pa.array(["q1", "q2", "q3"], pa.large_string()),
                "output": pa.array(["a1", "a2", "a3"]).dictionary_encode(),
            }
        ),
    ),
    ok(
        "nulls",
        lambda: written({"input": [None, "q2", "q3", "q4"], "output": ["a1", "a2", "a3", None]}),
        rows=(("", "a1"), ("q2", "a2"), ("q3", "a3")),
        found=("blank_input", "blank_output"),
    ),
    no("numbers", lambda: typed([1, 2]), "column 'output'", "INT64"),
    no("bytes", lambda: typed([b"a", b"b"]), "column 'output'", "bytes without a text type"),
    no("lists", lambda: typed([["a"], ["b"]]), "column 'output'", "a list or struct"),
    no("structs", lambda: typed([{"a": "b", "c": "d"}] * 2), "column 'output'", "a list or struct"),
    no("maps", lambda: typed(pa.array([[("a", "b")]] * 2, pa.map_(pa.string(), pa.string()))), "column 'output'"),
    no("nothing but nulls", lambda: typed(pa.nulls(2)), "column 'output'"),
    no(
        "an extension type",
        lambda: typed(pa.ExtensionArray.from_storage(pa.json_(pa.string()), pa.array(["1", "2"]))),
        "extension type",
    ),
    no("ten thousand columns in Parquet", wide, "'c0'", "9990 more columns"),
    no("a Parquet column twice", twice, "'input'", "stands 2 times"),
    no("text that is not UTF-8 in Parquet", bad_utf8, "row 2, column 'output'", "not UTF-8"),
    no("CSV under a Parquet channel", HEAD + PLAIN, "is not Parquet", "text/csv;header=present"),
)

DAMAGE = (
    no("an empty Parquet file", b"", "is empty"),
    no("a magic number alone", b"PAR1", "is cut"),
    no("half a Parquet file", lambda: cut(0.5), "is cut"),
    no("Parquet without its last byte", lambda: many()[:-1], "is cut"),
    no("an encrypted Parquet file", b"PARE" + b"\0" * 40 + b"PARE", "an encrypted Parquet file"),
    no("a footer longer than the file", b"PAR1" + b"\0" * 40 + struct.pack("<I", 2**31) + b"PAR1", "is cut"),
    no("a footer of zeros", with_footer(b"\0" * 64), "footer"),
    no("a footer of noise", with_footer(bytes(at * 89 % 256 for at in range(500))), "footer"),
    no("forged row counts", forged_rows, "counts other rows"),
    no("a byte flipped in a page", lambda: flipped(0.5), "damaged"),
    no("a byte flipped near the end", lambda: flipped(0.95), "damaged"),
)

BOMBS = (
    no("a footer of two hundred thousand row groups", lambda: flood_of_row_groups(250_000), "footer", "200000 structs"),
    no("a footer nested without end", deep_footer, "footer", "nested too deeply"),
    no("a page that unpacks to 48 MiB", one_long_value, "column 'input'", "32 MiB unpacked"),
    no("a page that denies its 48 MiB", long_page_that_denies_it, "column 'input'", "32 MiB unpacked"),
    no("a page that says it unpacks to 2 GiB", lambda: forged_page(2**31 - 1, "none"), "column 'input'", "2147483647"),
    no("a page that says it is smaller", lambda: forged_page(3, "snappy"), "0.data", "damaged"),
    no("one long value in every row", dictionary_of_one_long_value, "row 22", "more than 1000 times its size"),
    no("three hundred thousand rows in a few bytes", lambda: rows_of_nothing(300_000), "more than 100001 rows"),
)

CASES = (*CSV_CASES, *TYPES, *DAMAGE, *BOMBS)
