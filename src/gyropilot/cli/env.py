"""`gyropilot env`: the exports that point AWS clients at the running service."""

from __future__ import annotations

import json
from pathlib import Path

import click

from gyropilot import settings as settings_file
from gyropilot.cli import exports, options, service


@click.command()
@options.home
@options.as_json
def env(home: Path | None, as_json: bool) -> None:
    """Print the exports that point AWS clients at the running service.

    \b
    eval "$(gyropilot env)"

    After it boto3, the AWS CLI, every other AWS client and the commands of gyropilot in this shell talk to the service
    with its first admin key.
    Other keys cannot be printed: their secrets are shown once, by `gyropilot keys create` (which has --exports).
    GYROPILOT_ROLE_ARN is the default role, for RoleArn in requests.
    """
    settings = settings_file.read({"home": home})
    found = service.of_home(settings)
    variables = exports.variables(found, access_key=found.access_key, secret=found.secret, role_arn=found.role_arn) | {
        "GYROPILOT_HOME": str(settings.home)
    }
    if as_json:
        click.echo(json.dumps(variables, indent=2))
    else:
        exports.print_exports(variables)
