"""Bad files through a whole job, as a client sees them: the reason names the file; an odd but good one is tuned on."""

import pytest

import services
from bad_files import secret
from bad_parquet_files import CASES

BY_NAME = {case.name: case for case in CASES}


def run(service, name, case, *, rows=b""):
    s3, sagemaker = service.boto3("s3"), service.boto3("sagemaker")
    for key, content in case.contents():
        s3.put_object(Bucket="data", Key=f"{name}/{key}", Body=content + rows)
    request = services.request(service, name, TextGenerationHyperParameters={"epochCount": "1"})
    (channel,) = request["AutoMLJobInputDataConfig"]
    channel["ContentType"] = case.content_type
    channel["DataSource"]["S3DataSource"]["S3Uri"] = f"s3://data/{name}/"
    sagemaker.create_auto_ml_job_v2(**request)
    return service.sdk().wait(name, timeout_seconds=120, poll_seconds=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a secret in a ragged row", "a page that unpacks to 48 MiB"])
def test_a_job_on_a_bad_file_fails_with_its_place(service, name):
    case, job = BY_NAME[name], f"bad-{'secret' if 'secret' in name else 'bomb'}"
    described = run(service, job, case)
    assert described["AutoMLJobStatus"] == "Failed"
    reason = described["FailureReason"]
    assert f"s3://data/{job}/0.data" in reason
    assert [part for part in case.told if part not in reason] == []
    assert secret() not in reason


@pytest.mark.slow
def test_a_job_on_an_odd_but_good_file_completes(service):
    more = "".join(f"What is {number}?,It is {number}.\r\n" for number in range(30)).encode()
    described = run(service, "odd-file", BY_NAME["utf-8 with a byte order mark"], rows=more)
    assert described["AutoMLJobStatus"] == "Completed", described.get("FailureReason")
