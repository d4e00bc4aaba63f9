"""Makes the request of a job out of the options of `gyropilot jobs create`, and finds the files to upload.

Local data gets its place by its content, s3://<bucket>/data/<digest>/..., so that the same files are uploaded once
however often they are used, and the request is known before anything is sent.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import click

from gyropilot import clock, names
from gyropilot.files import sha256_of

Json = Any

OBJECTIVES = (
    *("Accuracy", "AUC", "BalancedAccuracy", "F1", "F1macro", "Precision", "PrecisionMacro", "Recall", "RecallMacro"),
    *("MAE", "MSE", "R2", "RMSE"),
)
"""Of tables."""
PROBLEM_TYPES = ("BinaryClassification", "MulticlassClassification", "Regression")
MODES = ("AUTO", "ENSEMBLING", "HYPERPARAMETER_TUNING")
CONTENT_TYPES = {"csv": "text/csv;header=present", "parquet": "x-application/vnd.amazon+parquet"}
_GZIP = ".csv.gz"
_LONGEST_HEADER = 1 << 20
_MAX_NAME, _STEM = 32, 14
_TIME = re.compile(r"(?:([0-9]{1,9})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s)?", re.ASCII)
_SECONDS = (86_400, 3600, 60, 1)
_ROLE_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]+")
_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/\S+")


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A local file and the object it becomes."""

    path: Path
    uri: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Channel:
    """Where a channel's rows lie, and what has to be uploaded before."""

    uri: str
    format: str
    is_gzip: bool = False
    uploads: tuple[Upload, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TableWishes:
    """What the options say of a job on a table; None and empty leave it to the service."""

    target: str
    problem_type: str | None = None
    objective: str | None = None
    mode: str | None = None
    algorithms: tuple[str, ...] = ()
    max_candidates: int | None = None
    candidate_seconds: int | None = None
    weights: str | None = None
    features: str | None = None
    """S3 URI of a feature specification."""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the options say; None and empty leave it to the service."""

    data: str
    bucket: str
    role_arn: str
    validation: str | None = None
    validation_fraction: float | None = None
    format: str | None = None
    name: str | None = None
    base_model: str | None = None
    accepts_eula: bool = False
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    table: TableWishes | None = None
    """Of a job on a table; None: the job fine-tunes a language model."""
    job_seconds: int | None = None
    output: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A request, and the files that it needs in their places."""

    request: dict[str, Json]
    uploads: tuple[Upload, ...] = ()
    bucket: str = ""
    """The bucket to make where it is not there; empty: the caller's own are used."""


def plan(wishes: Wishes) -> Planned:
    """Give the request, and what to upload first.

    Raises:
        click.BadParameter: the data is no file or folder of CSV or Parquet files.
    """
    training = _channel(wishes, wishes.data, "--data")
    validation = None if wishes.validation is None else _channel(wishes, wishes.validation, "--validation")
    channels = [_wire_channel(training, "training")]
    if validation is not None:
        channels.append(_wire_channel(validation, "validation"))
    request: dict[str, Json] = {
        "AutoMLJobName": wishes.name or _generated_name(wishes.data),
        "AutoMLJobInputDataConfig": channels,
        "OutputDataConfig": {
            "S3OutputPath": f"s3://{wishes.bucket}/output" if wishes.output is None else wishes.output
        },
        "AutoMLProblemTypeConfig": _text_config(wishes)
        if wishes.table is None
        else _table_config(wishes, wishes.table),
        "RoleArn": wishes.role_arn,
    }
    if wishes.table is not None and wishes.table.objective is not None:
        request["AutoMLJobObjective"] = {"MetricName": wishes.table.objective}
    if wishes.validation_fraction is not None:
        request["DataSplitConfig"] = {"ValidationFraction": wishes.validation_fraction}
    if wishes.tags:
        request["Tags"] = [{"Key": key, "Value": value} for key, value in wishes.tags.items()]
    uploads = training.uploads + (() if validation is None else validation.uploads)
    bucket = "" if wishes.output is not None and not uploads else wishes.bucket
    return Planned(request=request, uploads=uploads, bucket=bucket)


def default_bucket(account_id: str) -> str:
    """Give the bucket that uploads and output go to where none is named: one for each account."""
    return f"gyropilot-{account_id}"


def columns_of(data: str) -> list[str]:
    """Give the names in the first line of a local CSV file; none of what is no such file."""
    path = Path(data)
    if data.startswith("s3://") or path.suffix.lower() != ".csv" or not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            return [one.strip() for one in next(csv.reader([file.readline(_LONGEST_HEADER)]), [])]
    except (OSError, csv.Error):
        return []  # told where the file is read whole


def role_arn(given: str | None, account_id: str, option: str) -> str:
    """Give the ARN of a role by its name in the account, or as it is; of none the account's default role.

    Raises:
        click.BadParameter: it is neither a role's name nor its ARN.
    """
    if given is None:
        return names.role_arn(account_id, names.DEFAULT_ROLE_NAME)
    if _ROLE_NAME.fullmatch(given):
        return names.role_arn(account_id, given)
    if not _ROLE_ARN.fullmatch(given):
        example = names.role_arn(account_id, "NAME")
        raise click.BadParameter(f"{given!r} is neither a role's name nor its ARN, {example}.", param_hint=option)
    return given


def pairs(given: Sequence[str], option: str) -> dict[str, str]:
    """Read KEY=VALUE options.

    Raises:
        click.BadParameter: one has no `=`, or a key comes twice.
    """
    read: dict[str, str] = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{one!r} is not KEY=VALUE.", param_hint=option)
        if key in read:
            raise click.BadParameter(f"{key!r} is given twice.", param_hint=option)
        read[key] = value
    return read


def seconds(text: str, option: str) -> int:
    """Read a time: seconds, or days, hours, minutes and seconds as 1d12h or 90m.

    Raises:
        click.BadParameter: it is none, or not positive.
    """
    plain = text.strip().lower()
    found = _TIME.fullmatch(f"{plain}s" if plain.isdecimal() else plain)
    total = (
        0 if found is None else sum(int(one or 0) * unit for one, unit in zip(found.groups(), _SECONDS, strict=True))
    )
    if total == 0:
        raise click.BadParameter(f"{text!r} is no time; write 90m, 1h30m, 2d or seconds.", param_hint=option)
    return total


def _text_config(wishes: Wishes) -> dict[str, Json]:
    config: dict[str, Json] = {}
    if wishes.base_model:
        config["BaseModelName"] = wishes.base_model
    if wishes.accepts_eula:
        config["ModelAccessConfig"] = {"AcceptEula": True}
    if wishes.hyperparameters:
        config["TextGenerationHyperParameters"] = dict(wishes.hyperparameters)
    if wishes.job_seconds is not None:
        config["CompletionCriteria"] = {"MaxAutoMLJobRuntimeInSeconds": wishes.job_seconds}
    return {"TextGenerationJobConfig": config}


def _table_config(wishes: Wishes, table: TableWishes) -> dict[str, Json]:
    criteria = {
        "MaxCandidates": table.max_candidates,
        "MaxRuntimePerTrainingJobInSeconds": table.candidate_seconds,
        "MaxAutoMLJobRuntimeInSeconds": wishes.job_seconds,
    }
    algorithms = {"AlgorithmsConfig": [{"AutoMLAlgorithms": list(table.algorithms)}]} if table.algorithms else {}
    config = {
        "TargetAttributeName": table.target,
        "ProblemType": table.problem_type,
        "Mode": table.mode,
        "CandidateGenerationConfig": algorithms or None,
        "CompletionCriteria": _given(criteria) or None,
        "SampleWeightAttributeName": table.weights,
        "FeatureSpecificationS3Uri": table.features,
    }
    return {"TabularJobConfig": _given(config)}


def _given(values: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in values.items() if value is not None}


def _channel(wishes: Wishes, place: str, option: str) -> Channel:
    if place.startswith("s3://"):
        is_gzip = place.lower().endswith(_GZIP)
        suffix = PurePosixPath(place).suffix.lower().removeprefix(".")
        guessed = "parquet" if suffix == "parquet" else "csv"
        return Channel(uri=place, format=wishes.format or guessed, is_gzip=is_gzip)
    if not place:
        raise click.BadParameter("an empty text is no place; write . for the current folder.", param_hint=option)
    try:
        return _local_channel(wishes, place, option)
    except OSError as error:
        raise click.BadParameter(f"{error.filename or place}: {error.strerror or error}", param_hint=option) from error


def _local_channel(wishes: Wishes, place: str, option: str) -> Channel:
    path = Path(place)
    if not path.exists():
        raise click.BadParameter(f"{place} does not exist; give a file, a folder or an s3:// URI.", param_hint=option)
    files = _files(path, option)
    found = {_format(file, wishes.format, option) for file in files}
    if len(found) > 1:
        raise click.BadParameter(f"{place} holds CSV and Parquet files; give a folder of one kind.", param_hint=option)
    gzipped = {file.name.lower().endswith(_GZIP) for file in files}
    if len(gzipped) > 1:
        raise click.BadParameter(
            f"{place} holds compressed and plain files; give a folder of one kind.", param_hint=option
        )
    digests = {file.relative_to(path).as_posix() if path.is_dir() else file.name: sha256_of(file) for file in files}
    whole = hashlib.sha256("".join(f"{digests[name]}  {name}\n" for name in sorted(digests)).encode()).hexdigest()
    uri = f"s3://{wishes.bucket}/data/{whole[:16]}/"
    uploads = tuple(
        Upload(path=file, uri=uri + name, size_bytes=file.stat().st_size)
        for file, name in zip(files, digests, strict=True)
    )
    return Channel(uri=uri, format=found.pop(), is_gzip=gzipped.pop(), uploads=uploads)


def _files(path: Path, option: str) -> list[Path]:
    if path.is_file():
        return [path]
    files = [one for one in sorted(_below(path)) if one.is_file()]
    if not files:
        raise click.BadParameter(f"{path} holds no files.", param_hint=option)
    return files


def _below(path: Path) -> Iterator[Path]:
    """Give what lies below a folder, without what is hidden; a folder that may not be read is an error, not empty."""
    for folder, folders, files in os.walk(path, onerror=_refuse):
        folders[:] = [one for one in folders if not one.startswith(".")]
        yield from (Path(folder) / one for one in files if not one.startswith("."))


def _refuse(error: OSError) -> NoReturn:
    raise error


def _format(file: Path, given: str | None, option: str) -> str:
    suffix = "csv" if file.name.lower().endswith(_GZIP) else file.suffix.lower().removeprefix(".")
    if given is not None or suffix in CONTENT_TYPES:
        return given or suffix
    raise click.BadParameter(
        f"{file} is neither .csv nor .parquet. If it is one of the two under another name, say so with --format.",
        param_hint=option,
    )


def _wire_channel(channel: Channel, kind: str) -> dict[str, Json]:
    wire: dict[str, Json] = {
        "ChannelType": kind,
        "ContentType": CONTENT_TYPES[channel.format],
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": channel.uri}},
    }
    if channel.is_gzip:
        wire["CompressionType"] = "Gzip"
    return wire


def _generated_name(data: str) -> str:
    stem = PurePosixPath(data.rstrip("/").removesuffix(".gz")).stem
    plain = re.sub(r"[^a-zA-Z0-9]+", "-", stem).strip("-")[:_STEM].rstrip("-") or "job"
    return f"{plain}-{clock.now():%m%d-%H%M%S}-{secrets.token_hex(2)}"[:_MAX_NAME]
