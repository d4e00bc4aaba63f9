"""`gyropilot env`: the exports that point AWS clients at the running service."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from gyropilot import settings as settings_file
from gyropilot.cli import options, service

_UNSET = (
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_SAGEMAKER",
    "AWS_ENDPOINT_URL_STS",
)
"""Left over from another account, each of these would send calls or signatures elsewhere."""


@click.command()
@options.home
@options.as_json
def env(home: Path | None, as_json: bool) -> None:
    """Print the exports that point AWS clients at the running service.

    \b
    eval "$(gyropilot env)"

    After it boto3, the AWS CLI and every other AWS client in this shell talk to the service, with its first admin key.
    Other keys cannot be printed: their secrets are shown once, by `gyropilot keys create` (which has --exports).
    GYROPILOT_ROLE_ARN is the default role, for RoleArn in requests.
    """
    settings = settings_file.read({"home": home})
    found = service.find(settings)
    variables = {
        "AWS_ENDPOINT_URL": found.url,
        "AWS_ACCESS_KEY_ID": found.access_key,
        "AWS_SECRET_ACCESS_KEY": found.secret,
        "AWS_DEFAULT_REGION": found.region,
        "AWS_REGION": found.region,
        "GYROPILOT_ROLE_ARN": found.role_arn,
        "GYROPILOT_HOME": str(settings.home),
    }
    if found.s3_endpoint:
        variables["AWS_ENDPOINT_URL_S3"] = found.s3_endpoint
    if as_json:
        click.echo(json.dumps(variables, indent=2))
        return
    click.echo(f"unset {' '.join(_UNSET)}")
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")
