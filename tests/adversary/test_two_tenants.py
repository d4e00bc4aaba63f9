"""Two accounts in one service: whatever one asks of the other's is answered as if it were not there."""

import json
import re

import pytest

import raw_requests
import services
from gyropilot.api import catalog
from raw_requests import Key, Line, call, signed
from stored_state import is_idle, state_of

OTHER = "111111111111"
OWN = "000000000000"
JOB, MISSING = "victims-job", "missing-job"


@pytest.fixture(scope="module")
def victim(quiet_service, key):
    """The first account's key; it has a job that ended, a tag, a bucket with an object and an upload under way."""
    s3, sagemaker = quiet_service.boto3("s3"), quiet_service.boto3("sagemaker")
    s3.create_bucket(Bucket="victims-bucket")
    s3.put_object(Bucket="victims-bucket", Key="secret", Body=b"precious")
    s3.create_multipart_upload(Bucket="victims-bucket", Key="half")
    sagemaker.create_auto_ml_job_v2(
        **services.request(quiet_service, JOB) | {"Tags": [{"Key": "classified", "Value": "precious"}]}
    )
    sagemaker.stop_auto_ml_job(AutoMLJobName=JOB)

    services.wait_until(lambda: is_idle(quiet_service.home), seconds=60, what="the job to end")
    return key


@pytest.fixture(scope="module")
def intruder(quiet_service, victim):
    """An admin of the other account, who may do there what can be done at all; it has a bucket, rows and a role."""
    made = quiet_service.gyropilot("keys", "create", "--kind=admin", "--name=intruder", f"--account={OTHER}", "--json")
    assert made.returncode == 0, made.stderr
    given = json.loads(made.stdout)
    role = quiet_service.gyropilot("roles", "add", "all", "--read=s3://*", "--write=s3://*", f"--account={OTHER}")
    assert role.returncode == 0, role.stderr
    key = Key(url=victim.url, access_key=given["AccessKeyId"], secret=given["SecretAccessKey"], region=victim.region)
    for target, body in (("/intruders", b""), ("/intruders/train/rows.csv", b"input,output\na,b\nc,d\n")):
        assert raw_requests.ask(key, signed(key, "PUT", target, body=body, service="s3")).status == 200
    return key


def job_arn(name, account=OWN, region="us-east-1", kind="automl-job"):
    return f"arn:aws:sagemaker:{region}:{account}:{kind}/{name}"


def creation(*, name="intruders-job", role=None, read="s3://intruders/train/", write="s3://intruders/out"):
    return {
        "AutoMLJobName": name,
        "AutoMLJobInputDataConfig": [{"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": read}}}],
        "OutputDataConfig": {"S3OutputPath": write},
        "AutoMLProblemTypeConfig": {"TextGenerationJobConfig": {"BaseModelName": services.TINY}},
        "RoleArn": role or f"arn:aws:iam::{OTHER}:role/all",
    }


def by_name(name):
    return {"AutoMLJobName": name}


def role_of(account):
    return {"AccountId": account, "RoleName": "gyropilot"}


# For each operation pairs of requests: what is the other's, and the same that is nowhere.
PAIRS = {
    "CreateAutoMLJobV2": [
        (creation(role=f"arn:aws:iam::{OWN}:role/gyropilot"), creation(role=f"arn:aws:iam::{OWN}:role/missing")),
    ],
    "DescribeAutoMLJobV2": [(by_name(JOB), by_name(MISSING)), (by_name(JOB.upper()), by_name(MISSING.upper()))],
    "StopAutoMLJob": [(by_name(JOB), by_name(MISSING))],
    "ListCandidatesForAutoMLJob": [(by_name(JOB), by_name(MISSING))],
    "DescribeJobProgress": [(by_name(JOB), by_name(MISSING))],
    "ListJobEvents": [(by_name(JOB), by_name(MISSING))],
    "GetJobLog": [(by_name(JOB), by_name(MISSING))],
    "AddTags": [],
    "ListTags": [],
    "DeleteTags": [],
    "CreateCallerKey": [
        ({"Kind": "admin", "Name": "n", "AccountId": OWN}, {"Kind": "admin", "Name": "n", "AccountId": "2" * 12}),
    ],
    "DeleteCallerKey": [],
    "CreateJobRole": [
        (
            role_of(OWN) | {"ReadPrefixes": ["s3://*"], "WritePrefixes": ["s3://*"], "Replace": True},
            role_of("2" * 12) | {"ReadPrefixes": ["s3://*"], "WritePrefixes": ["s3://*"], "Replace": True},
        ),
    ],
    "DescribeJobRole": [(role_of(OWN), role_of("2" * 12))],
    "DeleteJobRole": [(role_of(OWN), role_of("2" * 12))],
}
ACCOUNTS = [(OWN, OWN), (OTHER, OTHER)]
for operation, rest in (
    ("AddTags", {"Tags": [{"Key": "a", "Value": "b"}]}),
    ("ListTags", {}),
    ("DeleteTags", {"TagKeys": ["classified"]}),
):
    PAIRS[operation] = [
        ({"ResourceArn": job_arn(JOB, **given)} | rest, {"ResourceArn": job_arn(MISSING, **given)} | rest)
        for given in ({}, {"account": OTHER}, {"region": "eu-west-1"}, {"kind": "AutoML-Job"}, {"kind": "model"})
    ]
# These take no name; what they tell is checked one by one below.
NAMELESS = {"ListAutoMLJobs", "ListBaseModels", "ListCallerKeys", "ListJobRoles", "GetCallerIdentity"}


def test_every_operation_is_walked():
    names = {entry.operation.name for entry in catalog.read().entries.values()}
    assert names == PAIRS.keys() | NAMELESS


def shown(answer, request):
    """Give status and body of an answer, without the names that the request had."""
    words = {str(one) for one in re.findall(r'"([^"]+)"', json.dumps(request))}
    text = answer.body.decode()
    for word in sorted(words, key=len, reverse=True):
        if any(part in word.lower() for part in (JOB, MISSING, "gyropilot", "missing", OWN, "2" * 12)):
            text = text.replace(word, "...")
    return answer.status, text


@pytest.mark.parametrize("operation", PAIRS)
def test_what_is_the_others_is_answered_as_if_missing(quiet_service, victim, intruder, operation):
    before = state_of(quiet_service.home)
    pairs = PAIRS[operation]
    if operation == "DeleteCallerKey":
        pairs = [({"AccessKeyId": victim.access_key}, {"AccessKeyId": "GYRO" + "A" * 16})]
    prefix = _prefixes()[operation]
    with Line(intruder.url) as line:
        for theirs, nowhere in pairs:
            asked, control = (line.ask(call(intruder, f"{prefix}.{operation}", one)) for one in (theirs, nowhere))
            assert 400 <= asked.status < 500, (theirs, asked)
            if operation == "DeleteCallerKey":
                assert asked.body.replace(victim.access_key.encode(), b"") == control.body.replace(
                    b"GYRO" + b"A" * 16, b""
                )
            else:
                assert shown(asked, theirs) == shown(control, nowhere)
            assert b"precious" not in asked.body
    assert state_of(quiet_service.home) == before


def _prefixes():
    return {target.partition(".")[2]: target.partition(".")[0] for target in catalog.read().entries}


def test_the_others_buckets_are_no_input_and_no_output(quiet_service, intruder):
    before = state_of(quiet_service.home)
    with Line(intruder.url) as line:
        for name, theirs in (("read", "s3://victims-bucket/"), ("write", "s3://victims-bucket/out")):
            nowhere = theirs.replace("victims-bucket", "no-such-bucket")
            asked, control = (
                line.ask(call(intruder, "CreateAutoMLJobV2", creation(**{name: uri}))) for uri in (theirs, nowhere)
            )
            assert (asked.status, asked.code) == (control.status, control.code) == (400, "ValidationException")
            assert asked.message.replace("victims-bucket", "B") == control.message.replace("no-such-bucket", "B")
    assert state_of(quiet_service.home) == before


def test_listings_tell_of_ones_own_alone(quiet_service, victim, intruder):
    with Line(intruder.url) as line:
        created = line.ask(call(intruder, "CreateAutoMLJobV2", creation(name=JOB)))
        assert created.status == 200, "a name is taken in its own account alone"
        line.ask(call(intruder, "StopAutoMLJob", by_name(JOB)))
        listed = json.loads(line.ask(call(intruder, "ListAutoMLJobs", {})).body)["AutoMLJobSummaries"]
        assert [one["AutoMLJobArn"] for one in listed] == [job_arn(JOB, account=OTHER)]
        prefix = _prefixes()["ListCallerKeys"]
        keys = json.loads(line.ask(call(intruder, f"{prefix}.ListCallerKeys", {})).body)["Keys"]
        assert {one["AccountId"] for one in keys} == {OTHER}
        roles = json.loads(line.ask(call(intruder, f"{prefix}.ListJobRoles", {})).body)["Roles"]
        assert {one["AccountId"] for one in roles} == {OTHER}


def test_a_page_token_of_the_other_shows_nothing_of_theirs(quiet_service, victim, intruder):
    sagemaker = quiet_service.boto3("sagemaker")
    for name in ("page-a", "page-b"):
        sagemaker.create_auto_ml_job_v2(**services.request(quiet_service, name))
        sagemaker.stop_auto_ml_job(AutoMLJobName=name)
    for filters in ({}, {"SortBy": "CreationTime"}, {"SortBy": "Status", "SortOrder": "Ascending"}):
        first = raw_requests.ask(victim, call(victim, "ListAutoMLJobs", filters | {"MaxResults": 1}))
        token = json.loads(first.body)["NextToken"]
        answer = raw_requests.ask(intruder, call(intruder, "ListAutoMLJobs", filters | {"NextToken": token}))
        assert f":{OWN}:".encode() not in answer.body
        assert b"page-" not in answer.body


OBJECT_CALLS = (
    ("GET", ""), ("HEAD", ""), ("PUT", ""), ("DELETE", ""), ("POST", "uploads"), ("GET", "uploadId=a"),
    ("PUT", "partNumber=1&uploadId=a"), ("POST", "uploadId=a"), ("DELETE", "uploadId=a"), ("GET", "acl"),
    ("GET", "tagging"),
)  # fmt: skip
BUCKET_CALLS = (
    ("GET", ""), ("GET", "list-type=2"), ("GET", "location"), ("GET", "versioning"), ("GET", "uploads"), ("HEAD", ""),
    ("PUT", ""), ("DELETE", ""), ("POST", "delete"),
)  # fmt: skip


def test_no_call_reaches_the_others_objects_or_tells_which_there_are(quiet_service, victim, intruder):
    before = state_of(quiet_service.home)
    with Line(intruder.url) as line:

        def answer_to(method, target, **headers):
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            return line.ask(signed(intruder, method, target, headers=given, service="s3"))

        for method, query in OBJECT_CALLS:
            there, missing = (answer_to(method, f"/victims-bucket/{key}?{query}") for key in ("secret", "absent"))
            assert 400 <= there.status <= 501, (method, query, there)
            assert (there.status, there.code, there.message) == (missing.status, missing.code, missing.message)
            assert there.status in (403, 501), (method, query, there)
        for method, query in BUCKET_CALLS:
            answer = answer_to(method, f"/victims-bucket?{query}")
            expected = (409, "BucketAlreadyExists") if method == "PUT" else (403, "AccessDenied")
            assert answer.status == expected[0], (method, query, answer)
            assert method == "HEAD" or answer.code == expected[1]
        for method, query in (("PUT", ""), ("PUT", "partNumber=1&uploadId=a")):
            for source in ("/victims-bucket/secret", "victims-bucket/secret", "/victims-bucket/absent"):
                copied = answer_to(method, f"/intruders/copy?{query}", x_amz_copy_source=source)
                assert copied.status in (403, 404), copied
        assert b"victims" not in answer_to("GET", "/").body
    assert state_of(quiet_service.home) == before


def test_the_others_upload_is_not_there_in_ones_own_bucket(quiet_service, intruder):
    found = quiet_service.boto3("s3").list_multipart_uploads(Bucket="victims-bucket")["Uploads"]
    upload = found[0]["UploadId"]
    before = state_of(quiet_service.home)
    with Line(intruder.url) as line:
        for method, query in (("GET", ""), ("PUT", "partNumber=1&"), ("DELETE", ""), ("POST", "")):
            asked = signed(intruder, method, f"/intruders/half?{query}uploadId={upload}", service="s3")
            answer = line.ask(asked)
            assert (answer.status, answer.code) in ((404, "NoSuchUpload"), (400, "MalformedXML")), (method, answer)
    assert state_of(quiet_service.home) == before
