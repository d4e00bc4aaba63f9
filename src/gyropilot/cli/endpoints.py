"""`gyropilot endpoints`: what a client can do with endpoints, from the terminal; everything goes through the sdk."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import click

from gyropilot.cli import completing, options, texts, watch
from gyropilot.cli.endpoint_trouble import told
from gyropilot.log import printable
from gyropilot.sdk import endpoints as sdk_endpoints
from gyropilot.sdk.client import Client
from gyropilot.sdk.errors import Refused

Json = Any

_POLL_SECONDS = 0.5

endpoint_name = click.argument("name", metavar="ENDPOINT", shell_complete=completing.endpoints)


@click.group()
def endpoints() -> None:
    """List, show and delete the endpoints of the running service, and read their logs."""


@endpoints.command("list")
@click.option("--name", "name_contains", metavar="TEXT", help="Only endpoints whose name contains TEXT.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most this many.")
@options.home
@options.as_json
def list_endpoints(name_contains: str | None, limit: int, home: Path | None, as_json: bool) -> None:
    """List endpoints, newest first."""
    filters = {"NameContains": name_contains} if name_contains else {}
    summaries = watch.connect(home).endpoints.summaries(SortBy="CreationTime", SortOrder="Descending", **filters)
    found = list(islice(summaries, limit + 1))
    if as_json:
        click.echo(texts.as_json(found[:limit]))
    elif not found:
        which = f" has {printable(name_contains)} in its name" if name_contains else "s"
        click.echo(f"No endpoint{which}.  Make one: gyropilot deploy JOB", err=True)
    else:
        rows = [(one["EndpointName"], one["EndpointStatus"], texts.moment(one["CreationTime"])) for one in found]
        click.echo(texts.columns(rows[:limit], headings=("NAME", "STATUS", "CREATED")))
        if len(found) > limit:
            click.echo(f"There are more than {limit}; a larger --limit shows them, --name picks some out.", err=True)


@endpoints.command()
@endpoint_name
@options.home
@options.as_json
def show(name: str, home: Path | None, as_json: bool) -> None:
    """Show an endpoint: its status, the reason where it failed, its variants and their models.

    With --json: the answer of DescribeEndpoint.
    """
    client = watch.connect(home)
    with told(client, name):
        endpoint = client.endpoints.describe(name)
    click.echo(texts.as_json(endpoint) if as_json else _page(client, endpoint))


@endpoints.command()
@endpoint_name
@click.option("--wait", is_flag=True, help="Wait until it is gone.")
@options.home
def delete(name: str, wait: bool, home: Path | None) -> None:
    """Delete an endpoint, and the configurations and models that `deploy` or a job made for it.

    Calls that it answers at that moment end first. What was made for it bears its name in the tag gyropilot:made-for;
    models and configurations without that tag stay, whatever their names.
    """
    client = watch.connect(home)
    with told(client, name):
        deleted = client.endpoints.delete(name)
    while wait and client.endpoints.find(name) is not None:
        time.sleep(_POLL_SECONDS)
    for one in deleted:
        click.echo(f"deleted {printable(one)}")


@endpoints.command()
@endpoint_name
@click.option("-f", "--follow", is_flag=True, help="Go on printing until the endpoint is deleted, or Ctrl-C.")
@options.home
def logs(name: str, follow: bool, home: Path | None) -> None:
    """Print what the endpoint's processes wrote; with several of them each line begins with its process's name."""
    client = watch.connect(home)
    with told(client, name):
        client.endpoints.describe(name)
    log = _Log(client, name)
    log.print_more()
    if not follow and not log.has_lines:
        click.echo(f"the endpoint's processes wrote nothing; see gyropilot endpoints show {printable(name)}", err=True)
    while follow and client.endpoints.find(name) is not None:
        log.print_more()
        time.sleep(_POLL_SECONDS)


class _Log:
    """The log streams of an endpoint, each read as far as it was printed."""

    def __init__(self, client: Client, name: str) -> None:
        self._endpoints, self._name = client.endpoints, name
        self._tokens: dict[str, str | None] = {}
        self.has_lines = False

    def print_more(self) -> None:
        for stream in self._streams():
            self._tokens.setdefault(stream, None)
        for stream in self._tokens:
            self._print_stream(stream)

    def _streams(self) -> list[str]:
        """Give the streams there are; an endpoint that has just been made, or deleted, has no log group."""
        try:
            return self._endpoints.log_streams(self._name)
        except Refused as error:
            if error.code != "ResourceNotFoundException":
                raise
            return []

    def _print_stream(self, stream: str) -> None:
        while True:
            try:
                lines, token = self._endpoints.log(self._name, stream, token=self._tokens[stream])
            except Refused as error:
                if error.code != "ResourceNotFoundException":
                    raise
                return
            for line in lines:
                self.has_lines = True
                click.echo(printable(f"{stream}  {line}" if len(self._tokens) > 1 else line))
            if token == self._tokens[stream]:
                return
            self._tokens[stream] = token


def _page(client: Client, endpoint: Mapping[str, Json]) -> str:
    pairs = [
        ("Name", endpoint["EndpointName"]),
        ("ARN", endpoint["EndpointArn"]),
        ("Status", endpoint["EndpointStatus"]),
        *((("Reason", endpoint["FailureReason"]),) if endpoint.get("FailureReason") else ()),
        ("Created", texts.moment(endpoint["CreationTime"])),
        ("Changed", texts.moment(endpoint["LastModifiedTime"])),
        ("Config", endpoint.get("EndpointConfigName", "")),
        *(("Variant", _variant(one)) for one in endpoint.get("ProductionVariants", ())),
        *(("Model", one) for one in _models(client, endpoint.get("EndpointConfigName", ""))),
    ]
    return texts.facts(pairs)


def _variant(variant: Mapping[str, Json]) -> str:
    running, wanted = variant.get("CurrentInstanceCount", 0), variant.get("DesiredInstanceCount", 0)
    weight = texts.number(variant.get("DesiredWeight", variant.get("CurrentWeight", 0.0)))
    return f"{variant['VariantName']}: {running} of {wanted} processes, weight {weight}"


def _models(client: Client, configuration: str) -> list[str]:
    """Give the names and places of the models that a configuration names; those deleted since have no place."""
    try:
        variants = client.endpoints.configuration(configuration)["ProductionVariants"]
    except Refused as error:
        if not sdk_endpoints.is_missing(error):
            raise
        return []
    return [_model(client, str(one["ModelName"])) for one in variants]


def _model(client: Client, name: str) -> str:
    try:
        model = client.endpoints.model(name)
    except Refused as error:
        if not sdk_endpoints.is_missing(error):
            raise
        return f"{name} (its record was deleted)"
    containers = model.get("Containers") or [model.get("PrimaryContainer", {})]
    return f"{name}: {', '.join(one.get('ModelDataUrl', '') for one in containers)}"
