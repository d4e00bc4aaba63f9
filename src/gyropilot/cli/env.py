"""`gyropilot env`: the exports that point AWS clients at the running service."""

from __future__ import annotations

import json
from pathlib import Path

import click

from gyropilot import settings as settings_file
from gyropilot.cli import exports, options, sagemaker_sdk, service


@click.command()
@click.option("--openai", is_flag=True, help="Print OPENAI_BASE_URL and OPENAI_API_KEY instead.")
@options.home
@options.as_json
def env(openai: bool, home: Path | None, as_json: bool) -> None:
    """Print the exports that point AWS clients at the running service.

    \b
    eval "$(gyropilot env)"

    After it boto3, the AWS CLI, every other AWS client and the commands of gyropilot in this shell talk to the service
    with its first admin key.
    Other keys cannot be printed: their secrets are shown once, by `gyropilot keys create` (which has --exports).
    GYROPILOT_ROLE_ARN is the default role, for RoleArn in requests.

    With --openai: what points programs that speak OpenAI's API at the service's text endpoints, with the bearer token
    of the key that this shell uses. For others make a key of their own: gyropilot keys create --kind invoker.
    """
    if openai:
        _print(exports.openai_variables(service.find(home)), as_json=as_json)
        return
    settings = settings_file.read({"home": home})
    found = service.of_home(settings)
    defaults = sagemaker_sdk.write_defaults(settings.home, region=found.region, account_id=found.role_arn.split(":")[4])
    variables = exports.variables(found, access_key=found.access_key, secret=found.secret, role_arn=found.role_arn) | {
        "GYROPILOT_HOME": str(settings.home),
        sagemaker_sdk.VARIABLE: str(defaults),
    }
    _print(variables, as_json=as_json)


def _print(variables: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(variables, indent=2))
    else:
        exports.print_exports(variables)
