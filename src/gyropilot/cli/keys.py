"""`gyropilot keys`: who may call the service; everything goes through the sdk, with an admin's key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

import click

from gyropilot.cli import completing, options, service, texts
from gyropilot.cli import exports as shell_exports
from gyropilot.names import DEFAULT_ROLE_NAME
from gyropilot.sdk import bearer
from gyropilot.sdk.access import Access
from gyropilot.sdk.errors import Refused
from gyropilot.store.first_keys import Kind

Json = Any

_SHOWN = (
    ("access key", "AccessKeyId"),
    ("secret", "SecretAccessKey"),
    ("token", "BearerToken"),
    ("kind", "Kind"),
    ("name", "Name"),
    ("account", "AccountId"),
)

account = click.option("--account", metavar="12DIGITS", help="Whose it is.  [default: the service's own account]")


def connect(home: Path | None) -> Access:
    """Give the keys and roles of the service, by the key of the shell or of the home; see `service.find`."""
    return _access(service.find(home))


@click.group()
def keys() -> None:
    """Make, list and revoke access keys, and print the bearer token of one.

    An admin may do everything, an operator everything but keys and roles, an invoker only ask endpoints for answers.
    """


@keys.command()
@click.option("--kind", type=click.Choice(get_args(Kind)), required=True, help="What it may do.")
@click.option("--name", required=True, help="Who uses it; letters, digits and +=,.@_-.")
@account
@click.option("--exports", is_flag=True, help="Print the exports that make AWS clients use the key, for eval.")
@options.home
@options.as_json
def create(kind: str, name: str, account: str | None, exports: bool, home: Path | None, as_json: bool) -> None:
    """Make an access key and print its secret, once, and its bearer token.

    The service keeps the secret sealed and tells it to nobody again; `gyropilot env` prints the first admin key alone.
    The token is for programs that speak OpenAI's API: it opens that and nothing else, and ends with the key.
    """
    if exports and as_json:
        raise click.UsageError("--exports and --json do not go together.")
    found = service.find(home)
    access = _access(found)
    made = access.create_key(kind=cast("Kind", kind), name=name, account_id=account)
    made["BearerToken"] = bearer.token(made["AccessKeyId"], made["SecretAccessKey"])
    if as_json:
        click.echo(texts.as_json(made))
    elif exports:
        _print_exports(found, made, _default_role(access, made["AccountId"]))
    else:
        click.echo(texts.facts([(label, made[member]) for label, member in _SHOWN]))
        click.echo("The secret is shown this once; keep it where only its user can read it.", err=True)


@keys.command("list")
@options.home
@options.as_json
def list_keys(home: Path | None, as_json: bool) -> None:
    """List the access keys, revoked ones too; never a secret."""
    found = connect(home).list_keys()
    if as_json:
        click.echo(texts.as_json(found))
        return
    rows = [_row(one) for one in found]
    click.echo(texts.columns(rows, headings=("ACCESS KEY", "KIND", "NAME", "ACCOUNT", "CREATED", "REVOKED")))


@keys.command()
@click.argument(
    "access_key",
    metavar="ACCESS_KEY",
    shell_complete=completing.told_by(
        lambda home: [str(one["AccessKeyId"]) for one in connect(home).list_keys() if "RevocationTime" not in one]
    ),
)
@options.home
def revoke(access_key: str, home: Path | None) -> None:
    """End an access key: at once, and within 5 seconds in other processes of the service.

    The first admin key is the last way in and cannot be revoked. For another one stop the service, remove
    credentials.json from its home, and start it again.
    """
    connect(home).revoke_key(access_key)
    click.echo(f"revoked {access_key}")


@keys.command()
@click.argument("access_key", metavar="[ACCESS_KEY]", required=False)
@options.home
def token(access_key: str | None, home: Path | None) -> None:
    """Print the bearer token of the key that this shell uses, for programs that speak OpenAI's API.

    It is worked out from the key's secret, so it is that of the key in AWS_ACCESS_KEY_ID, else of the home's first
    admin. Such a token opens the OpenAI-compatible API and nothing else, and ends with its key.
    """
    found = service.find(home)
    if access_key not in (None, found.access_key):
        raise click.ClickException(
            f"the secret of {access_key} is not here, only its user has it; this shell uses {found.access_key},"
            f" {found.key_from}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to the other key and run this again"
        )
    click.echo(bearer.token(found.access_key, found.secret))


def _access(found: service.Service) -> Access:
    return Access(
        url=found.url,
        access_key=found.access_key,
        secret=found.secret,
        region=found.region,
        key_from=found.key_from,
    )


def _default_role(access: Access, account_id: str) -> str | None:
    """Give the ARN of the account's default role; None where it has none, as a further account at first."""
    try:
        return str(access.role(DEFAULT_ROLE_NAME, account_id=account_id)["RoleArn"])
    except Refused as error:
        if error.code != "ResourceNotFound":
            raise
        return None


def _print_exports(found: service.Service, made: Mapping[str, Json], role_arn: str | None) -> None:
    shell_exports.print_exports(
        shell_exports.variables(
            found, access_key=made["AccessKeyId"], secret=made["SecretAccessKey"], role_arn=role_arn
        )
    )
    if role_arn is None:
        account_id = made["AccountId"]
        click.echo(
            f"# account {account_id} has no role {DEFAULT_ROLE_NAME} for its jobs; an admin makes one:"
            f" gyropilot roles add {DEFAULT_ROLE_NAME} --account {account_id} --read 's3://*' --write 's3://*'"
        )


def _row(key: Mapping[str, Json]) -> list[str]:
    moments = [texts.moment(key[name]) if name in key else "" for name in ("CreationTime", "RevocationTime")]
    return [key["AccessKeyId"], key["Kind"], key["Name"], key["AccountId"], *moments]
