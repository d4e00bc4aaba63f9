import hashlib

import pytest

from gyropilot.sdk.client import Client
from gyropilot.sdk.errors import Refused, ServiceError, Unreachable
from gyropilot.sdk.objects import Objects


@pytest.fixture
def client(service):
    client = service.sdk()
    client.make_bucket("sdk-objects")
    client.make_bucket("sdk-objects")
    return client


@pytest.mark.parametrize("size", [0, 10, (16 << 20) + 5])
def test_a_file_of_any_size_arrives_whole(service, client, tmp_path, size):
    data = hashlib.shake_128(b"seed").digest(size)
    (tmp_path / "file").write_bytes(data)
    heard = []
    client.upload(tmp_path / "file", "s3://sdk-objects/a/file", lambda *told: heard.append(told))
    assert client.size_of("s3://sdk-objects/a/file") == size
    assert heard[-1] == (size, size)
    body = service.boto3("s3").get_object(Bucket="sdk-objects", Key="a/file")["Body"].read()
    assert body == data


def test_an_upload_that_breaks_leaves_nothing(service, client, tmp_path):
    (tmp_path / "file").write_bytes(b"x" * (33 << 20))

    def on_bytes(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.upload(tmp_path / "file", "s3://sdk-objects/broken", on_bytes)
    assert client.size_of("s3://sdk-objects/broken") is None
    assert "Uploads" not in service.boto3("s3").list_multipart_uploads(Bucket="sdk-objects", Prefix="broken")


def test_an_object_is_read_from_any_byte_on(service, client):
    service.boto3("s3").put_object(Bucket="sdk-objects", Key="digits", Body=b"0123456789")
    objects = Objects(client._connection)
    assert b"".join(objects.blocks("s3://sdk-objects/digits", start=7)) == b"789"
    with pytest.raises(Refused) as caught:
        list(objects.blocks("s3://sdk-objects/nobody"))
    assert caught.value.code == "NoSuchKey"


def test_a_bucket_of_another_account_is_told(service, client):
    made = service.access().create_key(kind="admin", name="other", account_id="111111111111")
    given = service.variables
    other = Client(
        url=given["AWS_ENDPOINT_URL"],
        access_key=made["AccessKeyId"],
        secret=made["SecretAccessKey"],
        region=given["AWS_REGION"],
    )
    other.make_bucket("sdk-of-another")
    with pytest.raises(Refused, match=r"s3://sdk-of-another: .* another account's") as caught:
        client.make_bucket("sdk-of-another")
    assert caught.value.code == "AccessDenied"


def test_a_bucket_that_is_not_there_is_told(client, tmp_path):
    assert client.size_of("s3://no-such-bucket-here/x") is None
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(Refused) as caught:
        client.upload(tmp_path / "file", "s3://no-such-bucket-here/x")
    assert caught.value.code == "NoSuchBucket"


def test_another_store_is_opened_by_the_machines_own_keys_and_named_when_silent(service, monkeypatch, tmp_path):
    given = service.variables
    client = Client(
        url=given["AWS_ENDPOINT_URL"], access_key="a", secret="b", region="us-east-1", s3_url="http://127.0.0.1:9"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ServiceError, match="credentials"):
        client.size_of("s3://bucket/key")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mine")
    other = Client(
        url=given["AWS_ENDPOINT_URL"], access_key="a", secret="b", region="us-east-1", s3_url="http://127.0.0.1:9"
    )
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9 does not answer"):
        other.size_of("s3://bucket/key")
