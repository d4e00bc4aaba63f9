"""`gyropilot jobs create`: a job out of options and data, or out of a whole request."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import click

from gyropilot.cli import completing, job_requests, options, texts
from gyropilot.cli import watch as watching
from gyropilot.cli.job_requests import Planned, TableWishes, Upload, Wishes
from gyropilot.cli.progress_line import ProgressLine
from gyropilot.names import DEFAULT_ROLE_NAME
from gyropilot.sdk.client import Client
from gyropilot.sdk.objects import OnBytes

Json = Any

_TEXT_OPTIONS = ("base_model", "accepts_eula", "epochs", "batch_size", "learning_rate", "settings")
_TEXT_COLUMNS = (("input", "output"), ("text", "labels"))
"""Of rows that a language model is tuned on; others are told by a template, which options and tags name."""
_TABLE_OPTIONS = (
    *("problem_type", "objective", "mode", "algorithms", "max_candidates", "candidate_time_limit"),
    *("weights", "features"),
)
"""Parameters of `create` that are of one problem type."""
_FLAGS = {"settings": "--set", "accepts_eula": "--accept-eula", "algorithms": "--algorithm"}


@click.command()
@click.option(
    "--request",
    "request_file",
    type=click.File(encoding="utf-8"),
    metavar="FILE",
    help="JSON of a CreateAutoMLJobV2 request, as the AWS CLI's --cli-input-json takes it; - reads standard input."
    " No option of the request's content goes with it.",
)
@click.option(
    "--data",
    metavar="PATH|S3_URI",
    shell_complete=completing.files,
    help="Rows to train on: a CSV or Parquet file, a folder of such, or s3://.",
)
@click.option(
    "--validation",
    metavar="PATH|S3_URI",
    shell_complete=completing.files,
    help="Rows to validate on; without it some of --data are held out.",
)
@click.option(
    "--validation-fraction",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of --data to hold out.  [default: 0.2]",
)
@click.option(
    "--format", "data_format", type=click.Choice(list(job_requests.CONTENT_TYPES)), help="Where names do not tell it."
)
@click.option(
    "--base-model",
    metavar="NAME",
    shell_complete=completing.base_models,
    help="Model to start from, of `gyropilot models list`.",
)
@click.option("--accept-eula", "accepts_eula", is_flag=True, help="Accept the licence of a gated base model.")
@click.option("--epochs", metavar="N", help="Passes over the rows.")
@click.option("--batch-size", metavar="N", help="Rows per optimizer step.")
@click.option("--learning-rate", metavar="X")
@click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    shell_complete=completing.hyperparameters,
    help="Any other key of TextGenerationHyperParameters.",
)
@click.option("--target", metavar="COLUMN", help="Column of a table that is to be predicted from the others.")
@click.option(
    "--problem-type",
    type=click.Choice(job_requests.PROBLEM_TYPES, case_sensitive=False),
    help="Of a table; goes with --objective.  [default: told by the target's values]",
)
@click.option(
    "--objective",
    type=click.Choice(job_requests.OBJECTIVES, case_sensitive=False),
    metavar="METRIC",
    help="What the candidates of a table are compared by; goes with --problem-type.",
)
@click.option(
    "--mode",
    type=click.Choice(job_requests.MODES, case_sensitive=False),
    help="How a table is learnt.  [default: by its size]",
)
@click.option("--algorithm", "algorithms", metavar="NAME", multiple=True, help="Only these; may be given again.")
@click.option("--max-candidates", metavar="N", type=click.IntRange(min=1), help="Most candidates to train.")
@click.option("--candidate-time-limit", metavar="TIME", help="Most time that one candidate may take.")
@click.option("--weights", metavar="COLUMN", help="Column of a table that says how much each row counts.")
@click.option("--features", metavar="S3_URI", help="Feature specification: which columns of a table to use, and how.")
@click.option("--name", metavar="NAME", help="Name of the job.  [default: made from the data's name]")
@click.option(
    "--time-limit",
    metavar="TIME",
    help="Most time that the job may take, as 90m, 1h30m, 2d or seconds; what is trained by then is kept.",
)
@click.option(
    "--output", metavar="S3_URI", help="Where the job's folder goes.  [default: s3://gyropilot-ACCOUNT/output]"
)
@click.option("--role", metavar="NAME|ARN", help=f"Role of the job.  [default: {DEFAULT_ROLE_NAME}, of your account]")
@click.option("--tag", "tags", metavar="KEY=VALUE", multiple=True, help="Tag of the job; may be given again.")
@click.option("--dry-run", is_flag=True, help="Print the request and send nothing.")
@click.option("--watch", "is_watched", is_flag=True, help="Follow the job until it has ended, as `jobs watch` does.")
@options.home
@options.as_json
def create(
    request_file: TextIO | None,
    *,
    dry_run: bool,
    is_watched: bool,
    home: Path | None,
    as_json: bool,
    **wishes: Json,
) -> None:
    """Create a job from data and options, or any job from a request in a file.

    \b
    gyropilot jobs create --data rows.csv --base-model SmolLM2-135M-Instruct --watch
    gyropilot jobs create --data customers.csv --target churn --watch
    gyropilot jobs create --request request.json

    Local data is uploaded to the service's store once, by its content. The options make the request that --dry-run
    prints; sent with --request it makes the same job.
    """
    planned = _planned(request_file, wishes, home)
    if dry_run:
        click.echo(texts.as_json(planned.request))
        return
    client = watching.connect(home)
    _upload(client, planned)
    arn = client.create_job(planned.request)
    name = planned.request["AutoMLJobName"]
    if as_json:
        click.echo(texts.as_json({"AutoMLJobArn": arn}))
    else:
        click.echo(f"Created {name}.  Follow it: gyropilot jobs watch {name}")
    if is_watched:
        watching.watch_and_print(home, name)


def _planned(request_file: TextIO | None, wishes: Mapping[str, Json], home: Path | None) -> Planned:
    given = [name for name, value in wishes.items() if value not in (None, (), False)]
    if request_file is not None:
        if given:
            raise click.UsageError("--request holds the whole request; give no other option of its content beside it.")
        return Planned(request=_read_request(request_file))
    if wishes["data"] is None:
        raise click.UsageError("Give --data with the rows to train on, or --request with a whole request.")
    _check_problem(given)
    if not any(one in ("target", "tags", *_TEXT_OPTIONS) for one in given):
        _check_is_text(wishes["data"])
    if wishes["validation"] and wishes["validation_fraction"]:
        raise click.UsageError("Give --validation or --validation-fraction, not both.")
    job_seconds = _seconds(wishes, "time_limit")
    table = _table(wishes)
    account_id = watching.connect(home).account_id()
    return job_requests.plan(
        Wishes(
            data=wishes["data"],
            bucket=job_requests.default_bucket(account_id),
            role_arn=job_requests.role_arn(wishes["role"], account_id, "--role"),
            validation=wishes["validation"],
            validation_fraction=wishes["validation_fraction"],
            format=wishes["data_format"],
            name=wishes["name"],
            base_model=wishes["base_model"],
            accepts_eula=wishes["accepts_eula"],
            hyperparameters=_hyperparameters(wishes),
            table=table,
            job_seconds=job_seconds,
            output=wishes["output"],
            tags=job_requests.pairs(wishes["tags"], "--tag"),
        )
    )


def _check_problem(given: Sequence[str]) -> None:
    """Refuse options of a problem type beside those of another; --target is what tells a job on a table."""
    text, table = ([_flag(one) for one in given if one in options] for options in (_TEXT_OPTIONS, _TABLE_OPTIONS))
    if "target" in given and text:
        raise click.UsageError(
            f"--target makes a job on a table, {', '.join(text)} one on a language model; give those of one of them."
        )
    if table and "target" not in given:
        raise click.UsageError(f"{', '.join(table)}: of tables; say with --target which column is to be predicted.")


def _check_is_text(data: str) -> None:
    """Refuse a local table by whose columns no language model is tuned, where nothing says what the job is."""
    columns = job_requests.columns_of(data)
    if columns and not any(set(pair) <= set(columns) for pair in _TEXT_COLUMNS):
        raise click.UsageError(
            f"{data} has the columns {', '.join(map(repr, columns[:10]))}{', ...' if len(columns) > 10 else ''}: say"
            " with --target which of them is to be predicted; or, for a language model, with --base-model which one."
        )


def _flag(parameter: str) -> str:
    return _FLAGS.get(parameter, f"--{parameter.replace('_', '-')}")


def _seconds(wishes: Mapping[str, Json], parameter: str) -> int | None:
    given = wishes[parameter]
    return None if given is None else job_requests.seconds(given, _flag(parameter))


def _table(wishes: Mapping[str, Json]) -> TableWishes | None:
    if wishes["target"] is None:
        return None
    return TableWishes(
        target=wishes["target"],
        problem_type=wishes["problem_type"],
        objective=wishes["objective"],
        mode=wishes["mode"],
        algorithms=wishes["algorithms"],
        max_candidates=wishes["max_candidates"],
        candidate_seconds=_seconds(wishes, "candidate_time_limit"),
        weights=wishes["weights"],
        features=wishes["features"],
    )


def _hyperparameters(wishes: Mapping[str, Json]) -> dict[str, str]:
    named = {"epochCount": "epochs", "batchSize": "batch_size", "learningRate": "learning_rate"}
    values = {key: wishes[option] for key, option in named.items() if wishes[option] is not None}
    others = job_requests.pairs(wishes["settings"], "--set")
    for key in values.keys() & others.keys():
        option = named[key].replace("_", "-")
        raise click.UsageError(f"--set {key} and --{option} say the same; give one of them.")
    return values | others


def _upload(client: Client, planned: Planned) -> None:
    """Put local files where the request says they lie; those that are there already stay as they are."""
    if planned.bucket:
        client.make_bucket(planned.bucket)
    line = ProgressLine()
    for one in planned.uploads:
        if client.size_of(one.uri) != one.size_bytes:
            _upload_one(client, one, partial(line, f"uploading {one.path.name}"))
    line.close()


def _upload_one(client: Client, one: Upload, on_bytes: OnBytes) -> None:
    try:
        client.upload(one.path, one.uri, on_bytes)
    except OSError as error:
        raise click.ClickException(f"{one.path}: {error.strerror or error}; it could not be uploaded whole") from error


def _read_request(file: TextIO) -> dict[str, Json]:
    try:
        request = json.load(file)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"{file.name} is not JSON: {error}", param_hint="--request") from error
    if not isinstance(request, dict):
        raise click.BadParameter(f"{file.name} holds no JSON object", param_hint="--request")
    return request
