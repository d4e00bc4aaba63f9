"""`gyropilot deploy`: from a job to an endpoint that answers, through the sdk."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from gyropilot import clock
from gyropilot.cli import completing, endpoint_trouble, options, texts, watch
from gyropilot.cli.progress_line import ProgressLine
from gyropilot.log import printable
from gyropilot.sdk.client import Client
from gyropilot.sdk.errors import NotDeployed

Json = Any


@click.command()
@click.argument("job", shell_complete=completing.jobs)
@click.option("--name", metavar="NAME", help="Name of the endpoint.  [default: the job's]")
@click.option(
    "--instances", type=click.IntRange(min=1), default=1, show_default=True, help="How many processes answer."
)
@click.option(
    "--replace", is_flag=True, help="Let an endpoint of that name go over to this job, answering all the time."
)
@options.answers
@click.option("--no-wait", is_flag=True, help="Do not wait until it answers.")
@options.home
@options.as_json
def deploy(
    job: str,
    *,
    name: str | None,
    instances: int,
    replace: bool,
    answers: tuple[str, ...],
    no_wait: bool,
    home: Path | None,
    as_json: bool,
) -> None:
    """Serve the best model of JOB, and wait until it answers.

    Makes a model, an endpoint configuration and an endpoint, as CreateModel, CreateEndpointConfig and CreateEndpoint
    do. Ctrl-C ends the waiting only. With --json: the answer of DescribeEndpoint.
    """
    client = watch.connect(home)
    try:
        endpoint = client.endpoints.deploy(
            job, name=name, instances=instances, answers=answers, if_taken="replace" if replace else "refuse"
        )
    except NotDeployed as error:
        raise click.ClickException(_with_commands(str(error), name or job)) from error
    described = client.endpoints.describe(endpoint) if no_wait else _waited(client, endpoint)
    if as_json:
        click.echo(texts.as_json(described))
    else:
        click.echo(f"{endpoint} is {described['EndpointStatus']}.")
    if described["EndpointStatus"] == "InService" and not as_json:
        click.echo(_how_to_call(client, job, endpoint))
    if described.get("FailureReason"):
        raise click.ClickException(_why(described))


def _waited(client: Client, endpoint: str) -> dict[str, Json]:
    line, began_at = ProgressLine(), clock.monotonic()
    described: dict[str, Json] = {}
    try:
        for described in client.endpoints.states(endpoint):
            took = f", {texts.duration(clock.monotonic() - began_at)}" if sys.stderr.isatty() else ""
            line(f"{endpoint} is {described['EndpointStatus']}{took}", 0, 0)
    except KeyboardInterrupt:
        line.close()
        raise click.ClickException(
            f"stopped waiting; the endpoint goes on starting: gyropilot endpoints show {endpoint}"
        ) from None
    finally:
        line.close()
    return described


def _with_commands(message: str, endpoint: str) -> str:
    if "already" not in message:
        return message
    return f"{message}: --name NAME, --replace, or gyropilot endpoints delete {endpoint}"


def _why(described: dict[str, Json]) -> str:
    name, status, reason = described["EndpointName"], described["EndpointStatus"], described["FailureReason"]
    if status == "InService":
        return printable(f"{name} answers as it did before, since the change failed: {reason}")
    return printable(endpoint_trouble.why_not_in_service(name, status, reason))


def _how_to_call(client: Client, job: str, endpoint: str) -> str:
    if client.describe(job).get("AutoMLProblemTypeConfigName") != "TextGeneration":
        rows = [
            ("Try it", f"gyropilot try {endpoint}"),
            ("Call it", f"gyropilot invoke {endpoint} --file rows.csv"),
            ("End it", f"gyropilot endpoints delete {endpoint}"),
        ]
        return texts.facts(rows)
    pairs = [
        ("Chat", f"gyropilot try {endpoint}"),
        ("Call it", f'gyropilot invoke {endpoint} --text "..."'),
        ("OpenAI's API", f'eval "$(gyropilot env --openai)", then model {endpoint}'),
        ("End it", f"gyropilot endpoints delete {endpoint}"),
    ]
    return texts.facts(pairs)
