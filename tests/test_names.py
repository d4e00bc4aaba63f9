import pytest

from gyropilot.names import is_under, role_arn, split_s3_uri


@pytest.mark.parametrize(
    ("uri", "prefix"),
    [
        ("s3://b/data", "s3://b/data"),
        ("s3://b/data/", "s3://b/data"),
        ("s3://b/data/a.csv", "s3://b/data/"),
        ("s3://b/data/a/b", "s3://b"),
        ("s3://b/data//a", "s3://b/data"),
        ("s3://any/thing", "s3://*"),
        ("s3://b/dätä/ü", "s3://b/dätä"),
    ],
)
def test_what_lies_under_a_prefix(uri, prefix):
    assert is_under(uri, prefix)


@pytest.mark.parametrize(
    ("uri", "prefix"),
    [
        ("s3://b/data2", "s3://b/data"),
        ("s3://b/dat", "s3://b/data"),
        ("s3://b2/data", "s3://b"),
        ("s3://b/DATA/a", "s3://b/data"),
        ("s3://b/data/../secret", "s3://b/data"),
        ("s3://b/data%2fa", "s3://b/data"),
        ("s3://b//data", "s3://b/data"),
        ("s3://b/da\u0308ta\u0308/u", "s3://b/d\u00e4t\u00e4"),
        ("s3:///b/data", "s3://b"),
        ("https://b/data", "s3://b"),
        ("", "s3://b"),
    ],
)
def test_what_only_looks_like_it(uri, prefix):
    assert not is_under(uri, prefix)


def test_an_arn_and_a_uri_are_taken_apart_as_they_were_made():
    assert role_arn("000000000000", "r") == "arn:aws:iam::000000000000:role/r"
    assert split_s3_uri("s3://b/a/c") == ("b", "a/c")
    assert split_s3_uri("s3://b") == ("b", "")
