"""The variables that make a shell's AWS clients, or OpenAI's, use the service; printed by `env` and `keys create`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import click

from gyropilot.cli.service import Service
from gyropilot.sdk import bearer

_UNSET_OPENAI = ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID")
_UNSET_AWS = (
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_SAGEMAKER",
    "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME",
    "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS",
    "AWS_ENDPOINT_URL_IAM",
    "AWS_ENDPOINT_URL_STS",
    "GYROPILOT_ROLE_ARN",
)
"""Left over from another account, each of these would send calls or signatures elsewhere, or name what is not ours."""


def variables(found: Service, *, access_key: str, secret: str, role_arn: str | None) -> dict[str, str]:
    """Give what AWS clients need to call the service with a key, and a role for its jobs if there is one."""
    needed = {
        "AWS_ENDPOINT_URL": found.url,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": found.region,
        "AWS_REGION": found.region,
    }
    if found.s3_endpoint:
        needed["AWS_ENDPOINT_URL_S3"] = found.s3_endpoint
    return needed if role_arn is None else needed | {"GYROPILOT_ROLE_ARN": role_arn}


def openai_variables(found: Service) -> dict[str, str]:
    """Give what programs that speak OpenAI's API need to call the service with a key."""
    return {"OPENAI_BASE_URL": f"{found.url}/v1", "OPENAI_API_KEY": bearer.token(found.access_key, found.secret)}


def print_exports(values: Mapping[str, str]) -> None:
    """Print the lines that a shell takes by eval."""
    left_over = _UNSET_OPENAI if "OPENAI_BASE_URL" in values else _UNSET_AWS
    click.echo(f"unset {' '.join(name for name in left_over if name not in values)}")
    for name, value in values.items():
        click.echo(f"export {name}={shlex.quote(value)}")
