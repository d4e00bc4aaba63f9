"""`gyropilot roles`: what jobs may read and write; everything goes through the sdk, with an admin's key."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import click

from gyropilot.cli import completing, options, texts
from gyropilot.cli.keys import account, connect

Json = Any

_ROLES = completing.told_by(lambda home: [str(one["RoleName"]) for one in connect(home).list_roles()])


def _prefixes(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    for prefix in given:
        if not prefix.startswith("s3://"):
            raise click.BadParameter(f"{prefix!r} is no prefix: prefixes begin with s3://, as s3://data/team.")
    return given


def _endpoint(context: click.Context, parameter: click.Parameter, given: str | None) -> str | None:
    if given is not None and not re.match(r"https?://[^/?#]", given):
        raise click.BadParameter(f"{given!r} is no URL of a store: it begins with https:// or http://.")
    return given


@click.group()
def roles() -> None:
    """Make, list, show and remove the roles of jobs.

    A request names a role in RoleArn; its job reads and writes with that role and nothing else.
    """


@roles.command()
@click.argument("name")
@click.option(
    "--read",
    "read",
    metavar="S3_URI",
    multiple=True,
    callback=_prefixes,
    help="Prefix that jobs may read; may stand often.",
)
@click.option(
    "--write",
    "write",
    metavar="S3_URI",
    multiple=True,
    callback=_prefixes,
    help="Prefix that jobs may write; may stand often.",
)
@click.option(
    "--pass",
    "passable_by",
    metavar="ACCESS_KEY|*",
    multiple=True,
    help="Key that may hand the role to a job; may stand often.  [default: *, every key of the account]",
)
@click.option("--s3-endpoint", metavar="URL", callback=_endpoint, help="S3 store of its own; without it the service's.")
@click.option("--s3-region", default="us-east-1", show_default=True, help="Region of that store.")
@click.option("--s3-access-key", metavar="ID", help="Access key for that store; its secret is asked for.")
@click.option(
    "--s3-secret-file",
    type=click.File("r"),
    metavar="FILE",
    help="File that holds the secret; - is standard input.",
)
@account
@click.option("--replace", is_flag=True, help="Take the place of a role of this name.")
@options.home
def add(
    name: str,
    read: tuple[str, ...],
    write: tuple[str, ...],
    passable_by: tuple[str, ...],
    s3_endpoint: str | None,
    s3_region: str,
    s3_access_key: str | None,
    s3_secret_file: TextIO | None,
    account: str | None,
    replace: bool,
    home: Path | None,
) -> None:
    """Make a role and print its ARN.

    \b
    gyropilot roles add team --read s3://data/team --write s3://models/team

    A prefix is compared on whole segments: s3://data/team covers s3://data/team/a.csv and not s3://data/team2.
    s3://* is every bucket of the account.

    With --s3-endpoint the role's jobs work on that store, by the given keys. A secret is never an argument, since
    other users can see those: it comes from --s3-secret-file, or is asked for.
    """
    if not (read or write):
        raise click.UsageError(
            "Jobs with this role could reach nothing: give --read and --write, each an s3:// prefix."
        )
    store = None
    if s3_endpoint or s3_access_key or s3_secret_file:
        if not (s3_endpoint and s3_access_key):
            raise click.UsageError("A store of its own needs both --s3-endpoint and --s3-access-key.")
        store = {
            "Endpoint": s3_endpoint,
            "Region": s3_region,
            "AccessKeyId": s3_access_key,
            "SecretAccessKey": _secret(s3_secret_file),
        }
    arn = connect(home).add_role(
        name,
        read=read,
        write=write,
        passable_by=passable_by or ("*",),
        s3_store=store,
        account_id=account,
        if_taken="replace" if replace else "refuse",
    )
    click.echo(arn)


@roles.command("list")
@options.home
@options.as_json
def list_roles(home: Path | None, as_json: bool) -> None:
    """List the roles."""
    found = connect(home).list_roles()
    if as_json:
        click.echo(texts.as_json(found))
        return
    rows = [[one["RoleName"], one["AccountId"], *_lists(one), one.get("S3Endpoint", "")] for one in found]
    click.echo(texts.columns(rows, headings=("NAME", "ACCOUNT", "READS", "WRITES", "PASSED BY", "STORE")))


@roles.command()
@click.argument("name", shell_complete=_ROLES)
@account
@options.home
@options.as_json
def show(name: str, account: str | None, home: Path | None, as_json: bool) -> None:
    """Show a role; never the secret of its store."""
    found = connect(home).role(name, account_id=account)
    if as_json:
        click.echo(texts.as_json(found))
        return
    reads, writes, passed_by = _lists(found)
    store = f"{found['S3Endpoint']} ({found['S3Region']})" if "S3Endpoint" in found else "the service's"
    shown = [
        ("arn", found["RoleArn"]),
        ("reads", reads),
        ("writes", writes),
        ("passed by", passed_by),
        ("store", store),
    ]
    click.echo(texts.facts(shown))


@roles.command()
@click.argument("name", shell_complete=_ROLES)
@account
@options.home
def remove(name: str, account: str | None, home: Path | None) -> None:
    """Remove a role; jobs that run with it fail at their next read or write.

    The default role cannot be removed; narrow it with roles add --replace.
    """
    connect(home).remove_role(name, account_id=account)
    click.echo(f"removed {name}")


def _secret(file: TextIO | None) -> str:
    if file is None and sys.stdin.isatty():
        return str(click.prompt("Secret of the store's access key", hide_input=True, err=True))
    secret = (file or sys.stdin).readline().strip()
    if not secret:
        raise click.UsageError("No secret was given: use --s3-secret-file, or pipe it in.")
    return secret


def _lists(role: Mapping[str, Json]) -> list[str]:
    return [" ".join(role[name]) or "-" for name in ("ReadPrefixes", "WritePrefixes", "PassableBy")]
