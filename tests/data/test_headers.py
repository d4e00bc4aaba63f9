import gzip

import pytest

from gyropilot.data import headers
from gyropilot.data.frames import CSV, PARQUET
from gyropilot.store.objects import FolderObjects


@pytest.fixture
def read(tmp_path):
    objects = FolderObjects(tmp_path)
    objects.create_bucket("data")

    def read(content, *, content_type=CSV, compression="None"):
        info = objects.put_bytes("data", "one.csv", content, "text/csv")
        return headers.read_columns(objects, info, content_type=content_type, compression=compression)

    return read


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
    [b"", b"\n\n", b"\xff\xfea\x00", b"a,\xe9\n1,2\n", b'"a,b\n1,2\n', b"a," * headers.HEAD_BYTES],
    ids=["empty", "blank lines", "UTF-16", "Latin-1", "an open quote", "longer than is read"],
)
def test_what_has_no_readable_header_is_left_to_the_job(read, content):
    assert read(content) is None


def test_parquet_and_damaged_gzip_are_left_to_the_job(read):
    assert read(b"PAR1", content_type=PARQUET) is None
    assert read(b"a,b\n1,2\n", compression="Gzip") is None


def test_no_more_is_unpacked_than_is_read(read):
    assert read(gzip.compress(b"a," * (64 * headers.HEAD_BYTES)), compression="Gzip") is None
