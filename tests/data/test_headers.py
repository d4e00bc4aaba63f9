import gzip
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gyropilot.data import headers
from gyropilot.data.frames import CSV, PARQUET
from gyropilot.errors import InvalidData
from gyropilot.store.objects import FolderObjects


@pytest.fixture
def read(tmp_path):
    objects = FolderObjects(tmp_path)
    objects.create_bucket("data")

    def read(content, *, content_type=CSV, compression="None"):
        info = objects.put_bytes("data", "one.csv", content, "text/csv")
        return headers.read_columns(objects, info, content_type=content_type, compression=compression)

    return read


def parquet(columns, **options):
    target = io.BytesIO()
    pq.write_table(pa.table(columns), target, **options)
    return target.getvalue()


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (b"a,b\n1,2\n", ("a", "b")),
        (b"\xef\xbb\xbfa, b \r\n1,2\r\n", ("a", "b")),
        (b'"a,1","b ""2"""\n1,2\n', ("a,1", 'b "2"')),
        (b"\n\na,b\n", ("a", "b")),
        (b",b\n0,1\n", ("Unnamed: 0", "b")),
        ("größe,b\n".encode(), ("größe", "b")),
        (b"a,b", ("a", "b")),
    ],
)
def test_the_names_are_those_of_the_first_record(read, content, columns):
    assert read(content) == columns
    assert read(gzip.compress(content), compression="Gzip") == columns


@pytest.mark.parametrize(
    "content",
    [b"a,\xe9\n1,2\n", b'"a,b\n1,2\n', b"a," * headers.HEAD_BYTES, b"a,b\0\n"],
    ids=["Latin-1", "an open quote", "longer than is read", "a NUL"],
)
def test_what_has_no_readable_header_is_left_to_the_job(read, content):
    assert read(content) is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "one.csv: is empty"),
        (b"a;b;c\n1;2;3\n", "separated by ';'"),
        (b"a\n1\n", "has one column"),
        (b"a,b,a\n1,2,3\n", "columns 1, 3 bear one name"),
        (b"0,0,yes\n1,0,no\n", "looks like a row of data, not like a header"),
        (b"\xff\xfea\x00", "UTF-16 text"),
        (b"<!doctype html>\n<p>\n", "an HTML page"),
        (b"PAR1", "is not CSV but a Parquet file"),
        (gzip.compress(b"a,b\n1,2\n"), "is not CSV but gzip-compressed data"),
    ],
)
def test_what_no_job_could_read_is_told_at_once(read, content, told):
    with pytest.raises(InvalidData, match=told):
        read(content)


def test_damaged_gzip_is_left_to_the_job_and_plain_text_told(read):
    assert read(gzip.compress(b"a,b\n1,2\n")[:12] + b"\xff" * 20, compression="Gzip") is None
    with pytest.raises(InvalidData, match="is not gzip-compressed"):
        read(b"a,b\n1,2\n", compression="Gzip")


def test_no_more_is_unpacked_than_is_read(read):
    assert read(gzip.compress(b"a," * (64 * headers.HEAD_BYTES)), compression="Gzip") is None


def test_parquet_names_its_columns_in_its_footer(read):
    columns = {"größe": [1.5, None], "Churn ": ["a", "b"], "": [1, 2]}
    assert read(parquet(columns), content_type=PARQUET) == ("größe", "Churn", "Unnamed: 2")
    many = {f"c{number}": list(range(50)) for number in range(300)}
    assert read(parquet(many, row_group_size=1), content_type=PARQUET) == tuple(many)


def test_parquet_that_no_job_could_read_is_told_at_once(read):
    for content, told in (
        (b"", "is empty"),
        (b"a,b\n1,2\n", "is not Parquet but something else, perhaps CSV"),
        (parquet({"a": [1], "b": [2]})[:-4], "is cut"),
        (b"PAR1", "is cut"),
        (parquet({"a": [1]}), "has one column"),
    ):
        with pytest.raises(InvalidData, match=told):
            read(content, content_type=PARQUET)


def test_parquet_whose_columns_are_not_told_is_left_to_the_job(read):
    assert read(parquet({"a": [{"b": 1}], "c": [1]}), content_type=PARQUET) is None
    assert read(b"PAR1" + b"\xff" * 40 + (30).to_bytes(4, "little") + b"PAR1", content_type=PARQUET) is None
    assert read(parquet({"a": [1], "b": [2]}), content_type=PARQUET, compression="Gzip") is None
