import json

import boto3
import pytest
from botocore.exceptions import ClientError

import services


def create(service, kind, name, *options):
    made = service.gyropilot("keys", "create", "--kind", kind, "--name", name, *options)
    assert made.returncode == 0, made.stderr
    return made


def client(service, name, made):
    return boto3.client(
        name,
        endpoint_url=service.variables["AWS_ENDPOINT_URL"],
        region_name=service.variables["AWS_REGION"],
        aws_access_key_id=made["AccessKeyId"],
        aws_secret_access_key=made["SecretAccessKey"],
    )


def code(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"]


def test_a_created_key_opens_the_service_until_it_is_revoked(service):
    made = json.loads(create(service, "operator", "ann", "--json").stdout)
    jobs, s3 = client(service, "sagemaker", made), client(service, "s3", made)
    jobs.list_auto_ml_jobs()
    s3.list_buckets()
    revoked = service.gyropilot("keys", "revoke", made["AccessKeyId"])
    assert revoked.stdout.strip() == f"revoked {made['AccessKeyId']}"
    assert code(jobs.list_auto_ml_jobs) == "InvalidSignatureException"
    assert code(s3.list_buckets) == "SignatureDoesNotMatch"
    again = service.gyropilot("keys", "revoke", made["AccessKeyId"])
    assert again.returncode == 1
    assert "no valid key" in again.stderr


def test_the_secret_is_shown_once_and_never_listed(service):
    made = create(service, "invoker", "app")
    facts = dict(line.split(maxsplit=1) for line in made.stdout.splitlines() if not line.startswith("access"))
    assert len(facts["secret"]) == 40
    assert "shown this once" in made.stderr
    for options in ((), ("--json",)):
        listed = service.gyropilot("keys", "list", *options).stdout
        assert "app" in listed
        assert facts["secret"] not in listed
        assert service.variables["AWS_SECRET_ACCESS_KEY"] not in listed


def test_an_invoker_may_use_neither_jobs_nor_objects(service):
    made = json.loads(create(service, "invoker", "app2", "--json").stdout)
    assert code(client(service, "sagemaker", made).list_auto_ml_jobs) == "AccessDeniedException"
    assert code(client(service, "s3", made).list_buckets) == "AccessDenied"


def test_exports_make_a_shell_use_the_key(service):
    made = create(service, "operator", "shell", "--exports")
    script = f"{made.stdout}\n{services.SCRIPTS}/aws sts get-caller-identity"
    left_over = {"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9"}
    ran = services.run(["bash", "-euc", script], env=services.clean_environment() | left_over)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["Account"] == "000000000000"


def test_the_first_admin_key_cannot_be_revoked(service):
    refused = service.gyropilot("keys", "revoke", service.variables["AWS_ACCESS_KEY_ID"])
    assert refused.returncode == 1
    assert "last way in" in refused.stderr
    service.boto3("sagemaker").list_auto_ml_jobs()


@pytest.mark.parametrize(
    "arguments",
    [("--kind", "root", "--name", "x"), ("--kind", "admin"), ("--kind", "admin", "--name", "x", "--json", "--exports")],
)
def test_a_wrong_call_is_told_as_usage(service, arguments):
    assert service.gyropilot("keys", "create", *arguments).returncode == 2


def test_a_name_that_could_forge_a_line_is_refused(service):
    refused = service.gyropilot("keys", "create", "--kind", "admin", "--name", "a\nb\x1b[31m")
    assert refused.returncode == 1
    assert "pattern" in refused.stderr
    assert "\x1b" not in refused.stderr


def test_a_key_comes_with_its_token_which_its_user_can_print_again(service):
    made = json.loads(create(service, "invoker", "chats", "--json").stdout)
    shell = services.clean_environment() | {
        "AWS_ENDPOINT_URL": service.variables["AWS_ENDPOINT_URL"],
        "AWS_REGION": service.variables["AWS_REGION"],
        "AWS_ACCESS_KEY_ID": made["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"],
    }
    again = services.run([*services.GYROPILOT, "keys", "token", made["AccessKeyId"]], env=shell)
    assert again.stdout.strip() == made["BearerToken"]
    assert made["SecretAccessKey"] not in made["BearerToken"]
    exported = services.run([*services.GYROPILOT, "env", "--openai", "--json"], env=shell)
    assert json.loads(exported.stdout) == {
        "OPENAI_BASE_URL": f"{service.variables['AWS_ENDPOINT_URL']}/v1",
        "OPENAI_API_KEY": made["BearerToken"],
    }


def test_the_token_of_another_key_is_only_its_users_to_print(service):
    made = json.loads(create(service, "invoker", "other", "--json").stdout)
    refused = service.gyropilot("keys", "token", made["AccessKeyId"])
    assert refused.returncode == 1
    assert "only its user has it" in refused.stderr
    assert service.variables["AWS_ACCESS_KEY_ID"] in refused.stderr
