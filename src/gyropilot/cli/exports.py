"""The variables that make the AWS clients of a shell use the service; printed by `env` and `keys create`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import click

from gyropilot.cli.service import Service

_UNSET = (
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_SAGEMAKER",
    "AWS_ENDPOINT_URL_STS",
)
"""Left over from another account, each of these would send calls or signatures elsewhere."""


def variables(found: Service, *, access_key: str, secret: str) -> dict[str, str]:
    """Give what AWS clients need to call the service with a key."""
    needed = {
        "AWS_ENDPOINT_URL": found.url,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": found.region,
        "AWS_REGION": found.region,
    }
    return needed | ({"AWS_ENDPOINT_URL_S3": found.s3_endpoint} if found.s3_endpoint else {})


def print_exports(values: Mapping[str, str]) -> None:
    """Print the lines that a shell takes by eval."""
    click.echo(f"unset {' '.join(_UNSET)}")
    for name, value in values.items():
        click.echo(f"export {name}={shlex.quote(value)}")
