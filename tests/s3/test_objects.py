from __future__ import annotations

import base64
import datetime
import hashlib
import os

import pytest

ODD_KEYS = [
    "plain.csv",
    "a",
    "a/",
    "a/b",
    "a//b",
    "/",
    "//",
    "..",
    "../../etc/passwd",
    "a/../b",
    "./a",
    "%2e%2e/x",
    "a%252fb",
    "a+b c&d=e?f#g",
    "Train Set (1).CSV",
    "train set (1).csv",
    "a\\b",
    "x@object",
    "é/ü",
    "e\u0301",
    "日本語/データ.csv",
    "\U0001f600",
    "<&>\"'",
    "tab\tnewline\ncontrol\x01",
    "x" * 1024,
    "é" * 512,
    "a/" * 512,
]


def test_every_key_keeps_its_own_object(s3, bucket):
    for key in ODD_KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for key in ODD_KEYS:
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    listed = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert listed == sorted(ODD_KEYS, key=str.encode)
    answer = s3.delete_objects(
        Bucket=bucket, Delete={"Objects": [{"Key": key} for key in ODD_KEYS if key.isprintable()]}
    )
    assert "Errors" not in answer
    left = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert left == [key for key in ODD_KEYS if not key.isprintable()]
    for key in left:
        s3.delete_object(Bucket=bucket, Key=key)
    s3.delete_bucket(Bucket=bucket)


def test_what_a_writer_says_of_an_object_comes_back(s3, bucket):
    said = {
        "ContentType": "text/csv",
        "CacheControl": "no-cache",
        "ContentDisposition": 'attachment; filename="x.csv"',
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "Metadata": {"owner": "me", "empty": ""},
    }
    data = b"input,output\n"
    put = s3.put_object(Bucket=bucket, Key="k", Body=data, **said)
    assert put["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'
    for answer in (s3.head_object(Bucket=bucket, Key="k"), s3.get_object(Bucket=bucket, Key="k")):
        assert {name: answer[name] for name in said} == said
        assert answer["ContentLength"] == len(data)
        assert answer["ETag"] == put["ETag"]
        assert abs(answer["LastModified"] - datetime.datetime.now(tz=datetime.UTC)) < datetime.timedelta(minutes=1)
    assert s3.get_object(Bucket=bucket, Key="k", ResponseContentType="text/plain")["ContentType"] == "text/plain"


@pytest.mark.parametrize(
    ("asked", "expected", "stated"),
    [
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=8-100", b"89", "bytes 8-9/10"),
        ("bytes=-100", b"0123456789", "bytes 0-9/10"),
        ("bytes=3-1", b"0123456789", None),
        ("bytes=0-1,3-4", b"0123456789", None),
        ("lines=1-2", b"0123456789", None),
    ],
)
def test_a_range_gives_its_bytes(s3, bucket, asked, expected, stated):
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    answer = s3.get_object(Bucket=bucket, Key="k", Range=asked)
    assert answer["Body"].read() == expected
    assert answer.get("ContentRange") == stated


def test_a_range_outside_of_the_object_is_refused(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    assert refused(s3.get_object, Bucket=bucket, Key="k", Range="bytes=10-") == "InvalidRange"
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    assert s3.get_object(Bucket=bucket, Key="empty")["Body"].read() == b""
    assert refused(s3.get_object, Bucket=bucket, Key="empty", Range="bytes=0-1") == "InvalidRange"


def test_conditions_of_reads_are_kept(s3, bucket, refused):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"data")["ETag"]
    now = datetime.datetime.now(tz=datetime.UTC)
    before, after = now - datetime.timedelta(days=1), now + datetime.timedelta(days=1)
    for holds in ({"IfMatch": etag}, {"IfNoneMatch": '"x"'}, {"IfModifiedSince": before}, {"IfUnmodifiedSince": after}):
        assert s3.get_object(Bucket=bucket, Key="k", **holds)["Body"].read() == b"data"
    assert refused(s3.get_object, Bucket=bucket, Key="k", IfMatch='"x"') == "PreconditionFailed"
    assert refused(s3.get_object, Bucket=bucket, Key="k", IfUnmodifiedSince=before) == "PreconditionFailed"
    assert refused(s3.get_object, Bucket=bucket, Key="k", IfNoneMatch=etag) == "304"
    assert refused(s3.head_object, Bucket=bucket, Key="k", IfModifiedSince=after) == "304"


def test_conditions_of_writes_are_kept(s3, bucket, refused):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"one", IfNoneMatch="*")["ETag"]
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"two", IfNoneMatch="*") == "PreconditionFailed"
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"two", IfMatch='"x"') == "PreconditionFailed"
    assert refused(s3.put_object, Bucket=bucket, Key="absent", Body=b"two", IfMatch=etag) == "NoSuchKey"
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"one"
    s3.put_object(Bucket=bucket, Key="k", Body=b"two", IfMatch=etag)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"two"


def test_a_copy_takes_or_replaces_metadata(s3, bucket, refused):
    source = {"Bucket": bucket, "Key": "dir/ä b+c.txt"}
    etag = s3.put_object(**source, Body=b"data", ContentType="text/plain", Metadata={"a": "1"})["ETag"]
    assert s3.copy_object(CopySource=source, Bucket=bucket, Key="copy")["CopyObjectResult"]["ETag"] == etag
    copied = s3.head_object(Bucket=bucket, Key="copy")
    assert (copied["Metadata"], copied["ContentType"]) == ({"a": "1"}, "text/plain")
    s3.copy_object(CopySource=source, Bucket=bucket, Key="copy", MetadataDirective="REPLACE", Metadata={"b": "2"})
    replaced = s3.head_object(Bucket=bucket, Key="copy")
    assert (replaced["Metadata"], replaced["ContentType"]) == ({"b": "2"}, "binary/octet-stream")
    assert refused(s3.copy_object, CopySource=source, **source) == "InvalidRequest"
    missing = {"Bucket": bucket, "Key": "missing"}
    assert refused(s3.copy_object, CopySource=missing, Bucket=bucket, Key="x") == "NoSuchKey"
    unmet = {"CopySource": source, "CopySourceIfMatch": '"x"'}
    assert refused(s3.copy_object, Bucket=bucket, Key="x", **unmet) == "PreconditionFailed"


def test_what_is_not_there_is_told_apart(s3, bucket, refused):
    assert refused(s3.get_object, Bucket=bucket, Key="k") == "NoSuchKey"
    assert refused(s3.get_object, Bucket="no-such-bucket", Key="k") == "NoSuchBucket"
    assert refused(s3.put_object, Bucket="no-such-bucket", Key="k", Body=b"x") == "NoSuchBucket"
    assert refused(s3.head_object, Bucket=bucket, Key="k") == "404"
    assert s3.delete_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refused(s3.put_object, Bucket=bucket, Key="x" * 1025, Body=b"") == "KeyTooLongError"


def test_a_large_body_that_is_refused_is_answered_all_the_same(s3, refused):
    assert refused(s3.put_object, Bucket="no-such-bucket", Key="k", Body=bytes(8 << 20)) == "NoSuchBucket"


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_checksums_are_checked_and_given_back(s3, bucket, algorithm):
    data = os.urandom(3_000_000)
    put = s3.put_object(Bucket=bucket, Key="k", Body=data, ChecksumAlgorithm=algorithm)
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert got[f"Checksum{algorithm}"] == put[f"Checksum{algorithm}"]
    assert got["ChecksumType"] == "FULL_OBJECT"
    assert got["Body"].read() == data


@pytest.mark.parametrize(
    ("name", "value"),
    [("ChecksumCRC32C", "4waSgw=="), ("ChecksumCRC64NVME", "rosUhgp5mIg="), ("ChecksumCRC32", "y/Q5Jg==")],
)
def test_a_checksum_the_client_computed_is_checked(s3, bucket, refused, name, value):
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"123456789", **{name: value})
    assert put[name] == value
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"changed", **{name: value}) == "BadDigest"
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"123456789"


def test_content_md5_is_checked(s3, bucket, refused):
    right = base64.b64encode(hashlib.md5(b"data").digest()).decode()
    s3.put_object(Bucket=bucket, Key="k", Body=b"data", ContentMD5=right)
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"other", ContentMD5=right) == "BadDigest"
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"data", ContentMD5="bm9uZQ==") == "InvalidDigest"


@pytest.mark.parametrize(
    "asked",
    [
        {"ACL": "public-read"},
        {"ServerSideEncryption": "aws:kms"},
        {"Tagging": "a=b"},
        {"StorageClass": "GLACIER"},
        {"GrantRead": "id=1"},
        {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": datetime.datetime(2030, 1, 1)},
    ],
)
def test_what_is_not_done_is_refused_by_name(s3, bucket, refused, asked):
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"x", **asked) == "NotImplemented"
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_operations_that_are_not_done_are_refused_by_name(s3, bucket, refused):
    assert refused(s3.get_bucket_acl, Bucket=bucket) == "NotImplemented"
    assert refused(s3.put_bucket_policy, Bucket=bucket, Policy="{}") == "NotImplemented"
    assert refused(s3.list_object_versions, Bucket=bucket) == "NotImplemented"
    assert refused(s3.get_object_tagging, Bucket=bucket, Key="k") == "NotImplemented"
    versioned = {"VersioningConfiguration": {"Status": "Enabled"}}
    assert refused(s3.put_bucket_versioning, Bucket=bucket, **versioned) == "NotImplemented"
    assert refused(s3.get_object, Bucket=bucket, Key="k", VersionId="x") == "NotImplemented"
    assert refused(s3.head_bucket, Bucket=bucket, ExpectedBucketOwner="111111111111") == "403"


def test_delete_many_tells_each_or_is_quiet(s3, bucket):
    for key in ("a", "b"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    objects = [{"Key": "a"}, {"Key": "missing"}]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    assert [one["Key"] for one in answer["Deleted"]] == ["a", "missing"]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "b"}], "Quiet": True})
    assert "Deleted" not in answer
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
