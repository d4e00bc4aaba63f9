"""The door as programs use it that are not boto3: the AWS command line and s3fs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.config import Config

AWS = Path(sys.executable).with_name("aws")


@pytest.fixture
def aws(door, tmp_path):
    def run(*arguments, expected=0):
        environment = os.environ | door.environment() | {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
        done = subprocess.run([AWS, "s3", *map(str, arguments)], capture_output=True, text=True, env=environment)
        assert done.returncode == expected, done.stderr
        return done.stdout

    return run


@pytest.mark.slow
def test_the_aws_command_line_copies_syncs_lists_and_removes(aws, s3, bucket, tmp_path):
    folder = tmp_path / "folder"
    (folder / "sub dir").mkdir(parents=True)
    (folder / "rows.csv").write_text("input,output\n")
    (folder / "sub dir" / "big.bin").write_bytes(os.urandom(9 << 20))
    aws("cp", folder / "rows.csv", f"s3://{bucket}/one.csv")
    aws("sync", folder, f"s3://{bucket}/data")
    assert aws("sync", folder, f"s3://{bucket}/data", "--no-progress") == ""
    assert aws("ls", f"s3://{bucket}/").split("\n")[0].strip() == "PRE data/"
    listed = aws("ls", "--recursive", f"s3://{bucket}/").splitlines()
    assert [line.split(maxsplit=3)[3] for line in listed] == ["data/rows.csv", "data/sub dir/big.bin", "one.csv"]
    aws("cp", "--recursive", f"s3://{bucket}/data", tmp_path / "back")
    for name in ("rows.csv", "sub dir/big.bin"):
        assert (tmp_path / "back" / name).read_bytes() == (folder / name).read_bytes()
    assert s3.head_object(Bucket=bucket, Key="data/rows.csv")["ContentType"] == "text/csv"
    aws("mv", f"s3://{bucket}/one.csv", f"s3://{bucket}/two.csv")
    aws("rm", "--recursive", f"s3://{bucket}")
    aws("rb", f"s3://{bucket}")
    aws("ls", f"s3://{bucket}", expected=255)


def test_s3fs_reads_writes_and_lists(door, bucket):
    from s3fs import S3FileSystem

    files = S3FileSystem(
        key=door.key, secret=door.secret, endpoint_url=door.url, client_kwargs={"region_name": "us-east-1"}
    )
    with files.open(f"{bucket}/dir/a.csv", "w") as file:
        file.write("input,output\n")
    files.pipe(f"{bucket}/dir/big", bytes(12 << 20))
    assert files.cat(f"{bucket}/dir/a.csv") == b"input,output\n"
    assert sorted(files.ls(f"{bucket}/dir")) == [f"{bucket}/dir/a.csv", f"{bucket}/dir/big"]
    assert files.du(f"{bucket}/dir") == 13 + (12 << 20)
    with files.open(f"{bucket}/dir/a.csv", "rb") as file:
        file.seek(6)
        assert file.read(6) == b"output"
    files.copy(f"{bucket}/dir/a.csv", f"{bucket}/b.csv")
    assert files.exists(f"{bucket}/b.csv")
    files.rm(f"{bucket}/dir", recursive=True)
    assert files.find(bucket) == [f"{bucket}/b.csv"]


@pytest.mark.parametrize(
    "config",
    [
        {"request_checksum_calculation": "when_required"},
        {"s3": {"payload_signing_enabled": True}},
        {"s3": {"payload_signing_enabled": False}},
        {"s3": {"addressing_style": "path"}},
    ],
)
def test_boto3_may_sign_and_sum_as_it_likes(door, bucket, config, tmp_path):
    s3 = door.client(**config)
    assert isinstance(s3.meta.config, Config)
    path = tmp_path / "file"
    path.write_bytes(os.urandom(100_000))
    with path.open("rb") as body:
        s3.put_object(Bucket=bucket, Key="k", Body=body)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == path.read_bytes()
