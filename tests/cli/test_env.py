import json
from pathlib import Path

import yaml

import services


def test_a_shell_takes_the_exports(service, tmp_path):
    script = (
        'eval "$(gyropilot env)"; aws s3 ls >/dev/null && echo "$GYROPILOT_ROLE_ARN $AWS_REGION ${AWS_PROFILE-unset}"'
    )
    environment = services.clean_environment() | {"GYROPILOT_HOME": str(service.home), "AWS_PROFILE": "left-over"}
    environment["PATH"] = f"{services.SCRIPTS}:{environment['PATH']}"
    ran = services.run(["bash", "-c", script], env=environment)
    assert ran.stdout == "arn:aws:iam::000000000000:role/gyropilot us-east-1 unset\n", ran.stderr


def test_json_has_the_same_variables(service):
    printed = json.loads(service.gyropilot("env", "--json").stdout)
    exported = service.gyropilot("env").stdout
    assert printed.keys() >= {"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "GYROPILOT_ROLE_ARN"}
    for name, value in printed.items():
        assert f"export {name}={value}\n" in exported


def test_the_sagemaker_sdk_is_told_its_default_bucket(service):
    printed = json.loads(service.gyropilot("env", "--json").stdout)
    defaults = yaml.safe_load(Path(printed["SAGEMAKER_USER_CONFIG_OVERRIDE"]).read_text())
    session = defaults["SageMaker"]["PythonSDK"]["Modules"]["Session"]
    assert session == {"DefaultS3Bucket": "sagemaker-us-east-1-000000000000"}


def test_a_home_with_a_quote_in_its_name_is_quoted(tmp_path):
    home = tmp_path / "it's a home; echo hacked"
    with services.running(home) as service:
        environment = services.clean_environment()
        environment["PATH"] = f"{services.SCRIPTS}:{environment['PATH']}"
        script = 'eval "$(gyropilot env --home "$1")"; echo "$GYROPILOT_HOME"'
        ran = services.run(["bash", "-c", script, "bash", str(service.home)], env=environment)
    assert ran.stdout == f"{home}\n"


def test_keys_that_others_can_read_are_refused(tmp_path):
    with services.running(tmp_path / "home") as service:
        (service.home / "credentials.json").chmod(0o644)
        ran = service.gyropilot("env")
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert "credentials.json" in ran.stderr
