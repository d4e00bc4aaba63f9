"""GetCallerIdentity, by clients of sts."""

import pytest
from botocore.exceptions import ClientError

import houses
from api_servers import serving
from gyropilot.store.principals import Principal
from mean_problem import MEAN


def test_boto3_reads_account_arn_and_user_id(server):
    answer = server.client("sts").get_caller_identity()
    assert answer["Account"] == "000000000000"
    assert answer["Arn"] == "arn:aws:iam::000000000000:user/first"
    assert answer["UserId"] == server.key
    assert answer["ResponseMetadata"]["RequestId"] == answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]
    assert answer["ResponseMetadata"]["HTTPHeaders"]["content-type"] == "text/xml"


def test_the_aws_cli_reads_it(server, tmp_path):
    import services

    environment = services.clean_environment() | {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_ACCESS_KEY_ID": server.key,
        "AWS_SECRET_ACCESS_KEY": server.secret,
        "AWS_DEFAULT_REGION": houses.REGION,
    }
    command = [services.SCRIPTS / "aws", "sts", "get-caller-identity", "--query", "Arn", "--output", "text"]
    ran = services.run(command, env=environment)
    assert ran.stdout.strip() == "arn:aws:iam::000000000000:user/first", ran.stderr


def test_a_wrong_signature_reads_as_sts_tells_it(server):
    with pytest.raises(ClientError) as error:
        server.client("sts", secret="wrong" * 8).get_caller_identity()
    assert error.value.response["Error"]["Code"] == "SignatureDoesNotMatch"
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_an_operation_of_sts_that_is_not_built_is_named(server):
    with pytest.raises(ClientError, match="GetSessionToken is not built here yet") as error:
        server.client("sts").get_session_token()
    assert error.value.response["Error"]["Code"] == "InvalidAction"


def test_an_invoker_may_ask_who_it_is(tmp_path, monkeypatch):
    house = houses.build(tmp_path, (MEAN,))
    invoker = Principal(access_key_id="GYROINVOKER", account_id="000000000000", kind="invoker", name="caller")
    monkeypatch.setattr(house.credentials, "find", lambda key: (invoker, "s" * 40) if key == "GYROINVOKER" else None)
    with serving(house) as server:
        asked = server.client("sts", key="GYROINVOKER", secret="s" * 40).get_caller_identity()
        assert asked["Arn"].endswith(":user/caller")
        with pytest.raises(ClientError, match="AccessDenied"):
            server.client(key="GYROINVOKER", secret="s" * 40).list_auto_ml_jobs()
    house.db.close()
