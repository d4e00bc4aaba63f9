"""Two accounts in one service: whatever one asks of the other's is answered as if it were not there."""

import json
import re

import pytest

import raw_requests
import services
from gyropilot.api import catalog
from raw_requests import Key, Line, call, signed
from stored_state import is_idle, state_of

PUBLISHED = "published-model"
PUBLISHED_URI = f"s3://data/out/{PUBLISHED}/model.tar.gz"
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
    role = quiet_service.gyropilot("roles", "add", JOB, "--read=s3://*", "--write=s3://*")
    assert role.returncode == 0, role.stderr
    # None of them has a model that loads: they end soon, and are there to be asked for.
    sagemaker.create_model(**model_of(JOB))
    sagemaker.create_endpoint_config(**config_of(JOB))
    sagemaker.create_endpoint(EndpointName=JOB, EndpointConfigName=JOB)
    sagemaker.create_transform_job(**transform_of(JOB))

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


def creation_v1(**chosen):
    given = creation(**chosen)
    channels = [one | {"TargetAttributeName": "output"} for one in given.pop("AutoMLJobInputDataConfig")]
    del given["AutoMLProblemTypeConfig"]
    return given | {"InputDataConfig": channels}


def by_name(name, member="AutoMLJobName"):
    return {member: name}


def by_names(member):
    """Give the pairs for an operation that takes one name."""
    return [
        (by_name(JOB, member), by_name(MISSING, member)),
        (by_name(JOB.upper(), member), by_name(MISSING.upper(), member)),
    ]


def model_of(name, role=f"arn:aws:iam::{OWN}:role/gyropilot", uri=PUBLISHED_URI):
    container = {"Image": "gyropilot/text-generation:1", "ModelDataUrl": uri}
    return {"ModelName": name, "PrimaryContainer": container, "ExecutionRoleArn": role}


def config_of(model, **chosen):
    variant = {"VariantName": "v", "ModelName": model, "InitialInstanceCount": 1}
    return {"EndpointConfigName": model, "ProductionVariants": [variant]} | chosen


def transform_of(model):
    return {
        "TransformJobName": model,
        "ModelName": model,
        "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/train/"}}},
        "TransformOutput": {"S3OutputPath": "s3://data/transformed"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }


def log_of(group, stream):
    return {"logGroupName": group, "logStreamName": stream}


def role_of(account):
    return {"AccountId": account, "RoleName": "gyropilot"}


# For each operation pairs of requests: what is the other's, and the same that is nowhere.
PAIRS = {
    "CreateAutoMLJobV2": [
        (creation(role=f"arn:aws:iam::{OWN}:role/gyropilot"), creation(role=f"arn:aws:iam::{OWN}:role/missing")),
    ],
    "CreateAutoMLJob": [
        (creation_v1(role=f"arn:aws:iam::{OWN}:role/gyropilot"), creation_v1(role=f"arn:aws:iam::{OWN}:role/missing")),
    ],
    "DescribeAutoMLJob": [(by_name(JOB), by_name(MISSING))],
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
    "GetRole": [({"RoleName": JOB}, {"RoleName": MISSING})],
    "CreateModel": [
        (model_of("m"), model_of("m", role=f"arn:aws:iam::{OWN}:role/missing")),
    ],
    "CreateEndpointConfig": [(config_of(JOB), config_of(MISSING))],
    "CreateEndpoint": [
        (by_name("e", "EndpointName") | by_name(one, "EndpointConfigName") for one in (JOB, MISSING)),
    ],
    "UpdateEndpoint": [
        (by_name(one, "EndpointName") | by_name(JOB, "EndpointConfigName") for one in (JOB, MISSING)),
    ],
    "UpdateEndpointWeightsAndCapacities": [
        (
            by_name(one, "EndpointName") | {"DesiredWeightsAndCapacities": [{"VariantName": "v"}]}
            for one in (JOB, MISSING)
        ),
    ],
    "CreateTransformJob": [(transform_of(JOB), transform_of(MISSING))],
    "GetLogEvents": [
        (log_of(f"/aws/sagemaker/Endpoints/{JOB}", "v/1"), log_of(f"/aws/sagemaker/Endpoints/{MISSING}", "v/1")),
        (
            log_of("/aws/sagemaker/TrainingJobs", f"{PUBLISHED}/algo-1"),
            log_of("/aws/sagemaker/TrainingJobs", f"{MISSING}/algo-1"),
        ),
    ],
    **{
        operation: [({"logGroupName": f"/aws/sagemaker/Endpoints/{one}"} for one in (JOB, MISSING))]
        for operation in ("DescribeLogStreams", "FilterLogEvents")
    },
    **{
        f"{verb}{kind}": by_names(f"{kind}Name")
        for verb in ("Describe", "Delete")
        for kind in ("Model", "EndpointConfig", "Endpoint")
    },
    **{f"{verb}TransformJob": by_names("TransformJobName") for verb in ("Describe", "Stop")},
    "DescribeTrainingJob": [(by_name(PUBLISHED, "TrainingJobName"), by_name(MISSING, "TrainingJobName"))],
    "DescribeProcessingJob": [(by_name(PUBLISHED, "ProcessingJobName"), by_name(MISSING, "ProcessingJobName"))],
}
KINDS = ("model", "endpoint-config", "endpoint", "transform-job", "training-job")
ACCOUNTS = [(OWN, OWN), (OTHER, OTHER)]
for operation, rest in (
    ("AddTags", {"Tags": [{"Key": "a", "Value": "b"}]}),
    ("ListTags", {}),
    ("DeleteTags", {"TagKeys": ["classified"]}),
):
    PAIRS[operation] = [
        ({"ResourceArn": job_arn(JOB, **given)} | rest, {"ResourceArn": job_arn(MISSING, **given)} | rest)
        for given in (
            {},
            {"account": OTHER},
            {"region": "eu-west-1"},
            {"kind": "AutoML-Job"},
            *({"kind": kind} for kind in KINDS),
        )
    ]
# These take no name; what they tell is checked one by one below.
LISTINGS = {
    "ListAutoMLJobs": "AutoMLJobSummaries",
    "ListModels": "Models",
    "ListEndpointConfigs": "EndpointConfigs",
    "ListEndpoints": "Endpoints",
    "ListTransformJobs": "TransformJobSummaries",
    "ListTrainingJobs": "TrainingJobSummaries",
    "ListProcessingJobs": "ProcessingJobSummaries",
    "DescribeLogGroups": "logGroups",
}
NAMELESS = {"ListBaseModels", "ListCallerKeys", "ListJobRoles", "ListRoles", "GetCallerIdentity", *LISTINGS}


def test_every_operation_is_walked():
    names = {entry.operation.name for entry in catalog.read().entries.values()}
    assert names == PAIRS.keys() | NAMELESS


def shown(answer, request):
    """Give status and body of an answer, without the names that the request had."""
    words = {str(one) for one in re.findall(r'"([^"]+)"', json.dumps(request))}
    text = re.sub(r"<RequestId>[^<]*</RequestId>", "", answer.body.decode())
    for word in sorted(words, key=len, reverse=True):
        if any(part in word.lower() for part in (JOB, MISSING, PUBLISHED, "gyropilot", "missing", OWN, "2" * 12)):
            text = re.sub(re.escape(word), "...", text, flags=re.IGNORECASE)  # ARNs have names in lower case
    return answer.status, text


@pytest.mark.parametrize("operation", PAIRS)
def test_what_is_the_others_is_answered_as_if_missing(quiet_service, victim, intruder, operation):
    before = state_of(quiet_service.home)
    pairs = [tuple(pair) for pair in PAIRS[operation]]
    if operation == "DeleteCallerKey":
        pairs = [({"AccessKeyId": victim.access_key}, {"AccessKeyId": "GYRO" + "A" * 16})]
    with Line(intruder.url) as line:
        for theirs, nowhere in pairs:
            asked, control = (line.ask(calling(intruder, operation, one)) for one in (theirs, nowhere))
            assert 400 <= asked.status < 500, (theirs, asked)
            if operation == "DeleteCallerKey":
                assert asked.body.replace(victim.access_key.encode(), b"") == control.body.replace(
                    b"GYRO" + b"A" * 16, b""
                )
            else:
                assert shown(asked, theirs) == shown(control, nowhere)
            assert b"precious" not in asked.body
    assert state_of(quiet_service.home) == before


def calling(key, operation, request):
    """Give the signed call in the protocol of the operation's service."""
    entry = next(entry for entry in catalog.read().entries.values() if entry.operation.name == operation)
    if entry.operation.protocol == "query":
        service, version = entry.operation.signing_name, entry.model.api_version
        return raw_requests.query_call(key, service, version, operation, **request)
    return call(key, f"{entry.model.target_prefix}.{operation}", request)


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
        for bucket, key in (("victims-bucket", "secret"), ("data", f"out/{PUBLISHED}/model.tar.gz")):
            asked, control = (
                line.ask(
                    call(intruder, "CreateModel", model_of("m", f"arn:aws:iam::{OTHER}:role/all", f"s3://{one}/{key}"))
                )
                for one in (bucket, "no-such-bucket")
            )
            assert (asked.status, asked.code) == (400, "ValidationException")
            assert asked.message.replace(bucket, "B") == control.message.replace("no-such-bucket", "B")
    assert state_of(quiet_service.home) == before


def test_listings_tell_of_ones_own_alone(quiet_service, victim, intruder):
    with Line(intruder.url) as line:
        created = line.ask(call(intruder, "CreateAutoMLJobV2", creation(name=JOB)))
        assert created.status == 200, "a name is taken in its own account alone"
        line.ask(call(intruder, "StopAutoMLJob", by_name(JOB)))
        for operation, member in LISTINGS.items():
            own, theirs = (json.loads(line.ask(calling(key, operation, {})).body)[member] for key in (intruder, victim))
            assert theirs or operation in ("ListProcessingJobs",), operation
            assert own == [] or operation == "ListAutoMLJobs", operation
        listed = json.loads(line.ask(call(intruder, "ListAutoMLJobs", {})).body)["AutoMLJobSummaries"]
        assert [one["AutoMLJobArn"] for one in listed] == [job_arn(JOB, account=OTHER)]
        keys = json.loads(line.ask(calling(intruder, "ListCallerKeys", {})).body)["Keys"]
        assert {one["AccountId"] for one in keys} == {OTHER}
        roles = json.loads(line.ask(calling(intruder, "ListJobRoles", {})).body)["Roles"]
        assert {one["AccountId"] for one in roles} == {OTHER}
        named = line.ask(calling(intruder, "ListRoles", {})).body
        assert f":{OTHER}:role/all".encode() in named
        assert OWN.encode() not in named


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
