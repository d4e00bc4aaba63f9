from __future__ import annotations

import uuid

import pytest


def test_a_bucket_is_created_found_and_deleted(s3, refused):
    name = f"b-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=name)
    s3.create_bucket(Bucket=name)
    assert s3.head_bucket(Bucket=name)["BucketRegion"] == "us-east-1"
    assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] is None
    assert "Status" not in s3.get_bucket_versioning(Bucket=name)
    assert name in [one["Name"] for one in s3.list_buckets()["Buckets"]]
    s3.put_object(Bucket=name, Key="k", Body=b"")
    assert refused(s3.delete_bucket, Bucket=name) == "BucketNotEmpty"
    s3.delete_object(Bucket=name, Key="k")
    s3.delete_bucket(Bucket=name)
    assert refused(s3.head_bucket, Bucket=name) == "404"
    assert refused(s3.delete_bucket, Bucket=name) == "NoSuchBucket"


@pytest.mark.parametrize("name", ["192.168.0.1", "a..b", "bad-"])
def test_a_name_that_is_none_is_refused(s3, refused, name):
    assert refused(s3.create_bucket, Bucket=name) == "InvalidBucketName"


def test_another_region_is_refused(s3, refused):
    asked = {"LocationConstraint": "eu-west-1"}
    code = refused(s3.create_bucket, Bucket="elsewhere", CreateBucketConfiguration=asked)
    assert code == "IllegalLocationConstraintException"
