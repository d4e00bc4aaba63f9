from __future__ import annotations

import hashlib
import os

import pytest
from boto3.s3.transfer import TransferConfig

from gyropilot.store.folder_uploads import FolderUploads

MIB = 1 << 20
PART = bytes(5 * MIB)


def begin(s3, bucket, key="k", **arguments):
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key, **arguments)
    return {"Bucket": bucket, "Key": key, "UploadId": upload["UploadId"]}


def send(s3, upload, number, data):
    return {"PartNumber": number, "ETag": s3.upload_part(**upload, PartNumber=number, Body=data)["ETag"]}


def test_64_mb_go_up_in_parts_and_come_down_in_ranges(s3, bucket, tmp_path):
    block = os.urandom(MIB)
    sent = tmp_path / "sent"
    with sent.open("wb") as file:
        for number in range(64):
            file.write(number.to_bytes(4, "big") + block[4:])
    config = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB, max_concurrency=4)
    extra = {"ContentType": "text/csv", "Metadata": {"rows": "9"}}
    s3.upload_file(str(sent), bucket, "dir/big.csv", Config=config, ExtraArgs=extra)
    head = s3.head_object(Bucket=bucket, Key="dir/big.csv", ChecksumMode="ENABLED")
    assert (head["ContentLength"], head["ContentType"], head["Metadata"]) == (64 * MIB, "text/csv", {"rows": "9"})
    assert head["ETag"].endswith('-8"')
    assert head["ChecksumType"] == "COMPOSITE"
    s3.download_file(bucket, "dir/big.csv", str(tmp_path / "received"), Config=config)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (sent, tmp_path / "received")]
    assert digests[0] == digests[1]
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    s3.copy({"Bucket": bucket, "Key": "dir/big.csv"}, bucket, "copy.csv", Config=config)
    copied = s3.head_object(Bucket=bucket, Key="copy.csv")
    assert (copied["ContentLength"], copied["ETag"]) == (64 * MIB, head["ETag"])


def test_parts_may_come_in_any_order_and_twice(s3, bucket):
    upload = begin(s3, bucket)
    last = send(s3, upload, 7, b"end")
    send(s3, upload, 2, b"replaced")
    first = send(s3, upload, 2, PART)
    listed = s3.list_parts(**upload)
    assert [(one["PartNumber"], one["Size"]) for one in listed["Parts"]] == [(2, len(PART)), (7, 3)]
    page = s3.list_parts(**upload, MaxParts=1)
    assert (page["IsTruncated"], page["NextPartNumberMarker"]) == (True, 2)
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [first, last]})
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == PART + b"end"


def test_a_completion_repeated_tells_the_same_object(s3, bucket, refused):
    upload = begin(s3, bucket)
    parts = {"Parts": [send(s3, upload, 1, b"one")]}
    done = s3.complete_multipart_upload(**upload, MultipartUpload=parts)
    again = s3.complete_multipart_upload(**upload, MultipartUpload=parts)
    assert again["ETag"] == done["ETag"]
    s3.put_object(Bucket=bucket, Key="k", Body=b"two")
    assert refused(s3.complete_multipart_upload, **upload, MultipartUpload=parts) == "NoSuchUpload"


def test_a_wrong_completion_leaves_the_upload_as_it_was(s3, bucket, refused):
    upload = begin(s3, bucket)
    one, two = send(s3, upload, 1, b"small"), send(s3, upload, 2, b"end")

    def code(*parts):
        return refused(s3.complete_multipart_upload, **upload, MultipartUpload={"Parts": list(parts)})

    assert code(one, two) == "EntityTooSmall"
    assert code(two, one) == "InvalidPartOrder"
    assert code({"PartNumber": 1, "ETag": two["ETag"]}) == "InvalidPart"
    assert code({"PartNumber": 3, "ETag": two["ETag"]}) == "InvalidPart"
    assert code() == "MalformedXML"
    assert refused(s3.get_object, Bucket=bucket, Key="k") == "NoSuchKey"
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [two]})
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"end"


def test_an_aborted_upload_is_gone(s3, bucket, refused):
    upload = begin(s3, bucket)
    send(s3, upload, 1, b"one")
    other = begin(s3, bucket, "other")
    assert [one["Key"] for one in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == ["k", "other"]
    s3.abort_multipart_upload(**upload)
    assert [one["UploadId"] for one in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [other["UploadId"]]
    assert refused(s3.upload_part, **upload, PartNumber=1, Body=b"x") == "NoSuchUpload"
    assert refused(s3.list_parts, **(upload | {"UploadId": "../../etc"})) == "NoSuchUpload"
    assert refused(s3.list_parts, **(other | {"Key": "k"})) == "NoSuchUpload"
    assert refused(s3.upload_part, **other, PartNumber=10_001, Body=b"x") == "InvalidArgument"


def test_an_upload_lives_on_after_a_restart(door, s3, bucket):
    upload = begin(s3, bucket, Metadata={"a": "1"})
    part = send(s3, upload, 1, b"one")
    found = FolderUploads(door.objects).find(bucket, "k", upload["UploadId"])
    assert found.details.metadata == {"a": "1"}
    assert [f'"{one.etag}"' for one in FolderUploads(door.objects).parts(found)] == [part["ETag"]]


def test_a_part_may_copy_a_range_of_an_object(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="source", Body=b"0123456789")
    upload = begin(s3, bucket)
    source = {"CopySource": {"Bucket": bucket, "Key": "source"}, "PartNumber": 1}
    made = s3.upload_part_copy(**upload, **source, CopySourceRange="bytes=2-5")["CopyPartResult"]
    assert refused(s3.upload_part_copy, **upload, **source, CopySourceRange="bytes=5-10") == "InvalidArgument"
    parts = [{"PartNumber": 1, "ETag": made["ETag"]}]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"2345"


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC64NVME"])
def test_a_checksum_of_the_whole_object_is_combined_from_the_parts(s3, bucket, refused, algorithm):
    from gyropilot.s3 import checksums

    whole = checksums.start(algorithm.lower())
    whole.update(PART + b"end")
    expected = checksums.encoded(whole.digest())
    upload = begin(s3, bucket, ChecksumAlgorithm=algorithm, ChecksumType="FULL_OBJECT")
    parts = []
    for number, data in enumerate((PART, b"end"), 1):
        one = checksums.start(algorithm.lower())
        one.update(data)
        text = {f"Checksum{algorithm}": checksums.encoded(one.digest())}
        parts.append(
            {"PartNumber": number, "ETag": s3.upload_part(**upload, PartNumber=number, Body=data, **text)["ETag"]}
        )
    wanted = {"MultipartUpload": {"Parts": parts}}
    wrong = {f"Checksum{algorithm}": parts[0]["ETag"].strip('"')[:8]}
    assert refused(s3.complete_multipart_upload, **upload, **wanted, **wrong) == "BadDigest"
    done = s3.complete_multipart_upload(**upload, **wanted, **{f"Checksum{algorithm}": expected})
    assert done[f"Checksum{algorithm}"] == expected


def test_the_type_of_a_checksum_must_fit_its_algorithm(s3, bucket, refused):
    wrong = {"ChecksumAlgorithm": "SHA256", "ChecksumType": "FULL_OBJECT"}
    assert refused(s3.create_multipart_upload, Bucket=bucket, Key="k", **wrong) == "InvalidRequest"
