from __future__ import annotations

import uuid

import pytest

import doors


@pytest.fixture(scope="session")
def door(tmp_path_factory):
    with doors.running(tmp_path_factory.mktemp("door") / "home") as running:
        yield running


@pytest.fixture(scope="session")
def s3(door):
    return door.client()


@pytest.fixture
def bucket(s3):
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def refused():
    """Give the code of the error that a call ends in."""
    from botocore.exceptions import ClientError

    def code(call, **arguments):
        with pytest.raises(ClientError) as caught:
            call(**arguments)
        return caught.value.response["Error"]["Code"]

    return code
