"""The rules of a request's input channels that problem types share; each states by a `ChannelRules` what it takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gyropilot.data.frames import CSV, PARQUET
from gyropilot.errors import Fault
from gyropilot.problems.contract import Json

DEFAULT_VALIDATION_FRACTION = 0.2
_CHANNELS = "AutoMLJobInputDataConfig"


@dataclass(frozen=True, kw_only=True)
class ChannelRules:
    """What a problem type takes."""

    word: str
    """The problem type as messages name it: `text generation`."""
    s3_data_types: tuple[str, ...] = ("S3Prefix",)
    takes_gzip: bool = False
    """Compressed CSV files below an S3Prefix."""


def content_type(channel: Mapping[str, Json]) -> str | None:
    """Give the channel's content type in its full form, CSV with a header when none is named; None if not taken."""
    given = re.sub(r"\s", "", str(channel.get("ContentType") or CSV)).lower()
    return {"text/csv": CSV, CSV: CSV, PARQUET: PARQUET}.get(given)


def channel_type(channel: Mapping[str, Json]) -> str:
    """Give `training` or `validation`; training where the channel does not say."""
    return channel.get("ChannelType") or "training"


def channel_faults(channels: Sequence[Mapping[str, Json]], rules: ChannelRules) -> list[Fault]:
    """Give what is wrong with each channel, and with the two together."""
    faults = [fault for index, channel in enumerate(channels) for fault in _one_channel_faults(index, channel, rules)]
    types = [channel_type(channel) for channel in channels]
    if len(channels) == 1 and types != ["training"]:
        faults.append(
            Fault(
                where=f"{_CHANNELS}[0].ChannelType",
                found=types[0],
                problem="a single channel must be the training channel",
                fix="set it to training, or add a training channel",
            )
        )
    if len(channels) == 2 and sorted(types) != ["training", "validation"]:
        faults.append(
            Fault(
                where=_CHANNELS,
                found=types,
                problem="two channels must be one training and one validation channel",
                fix="set ChannelType of each",
            )
        )
    formats = [content_type(channel) for channel in channels]
    if None not in formats and len(set(formats)) > 1:
        faults.append(
            Fault(
                where=_CHANNELS,
                found=formats,
                problem="both channels must have the same ContentType",
                fix="give both as CSV or both as Parquet",
            )
        )
    return faults


def read_fraction(
    request: Mapping[str, Json], channels: Sequence[Mapping[str, Json]], faults: list[Fault]
) -> float | None:
    """Give the share of the rows that is held out; None where there is a validation channel."""
    where = "DataSplitConfig.ValidationFraction"
    given = (request.get("DataSplitConfig") or {}).get("ValidationFraction")
    if len(channels) == 2:
        if given is not None:
            faults.append(
                Fault(
                    where=where,
                    found=given,
                    problem="cannot be set when a validation channel is given",
                    fix="leave DataSplitConfig out, or give the training channel only",
                )
            )
        return None
    if given is None:
        return DEFAULT_VALIDATION_FRACTION
    if not 0 < float(given) < 1:
        faults.append(
            Fault(where=where, found=given, problem="must lie strictly between 0 and 1", fix="0.2 holds out a fifth")
        )
    return float(given)


def _one_channel_faults(index: int, channel: Mapping[str, Json], rules: ChannelRules) -> Iterator[Fault]:
    where = f"{_CHANNELS}[{index}]"
    if content_type(channel) is None:
        yield Fault(
            where=f"{where}.ContentType",
            found=channel.get("ContentType"),
            problem=f"is not a content type that {rules.word} takes",
            fix=f"use {CSV} (the default) or {PARQUET}",
        )
    kind = ((channel.get("DataSource") or {}).get("S3DataSource") or {}).get("S3DataType", "S3Prefix")
    if channel.get("CompressionType", "None") != "None":
        yield from _compression_faults(f"{where}.CompressionType", channel, kind, rules)
    if kind not in rules.s3_data_types:
        yield Fault(
            where=f"{where}.DataSource.S3DataSource.S3DataType",
            found=kind,
            problem=f"{rules.word} takes {' and '.join(rules.s3_data_types)} only",
            fix="set S3Prefix, and S3Uri to the file or folder",
        )


def _compression_faults(
    where: str, channel: Mapping[str, Json], s3_data_type: str, rules: ChannelRules
) -> Iterator[Fault]:
    found = channel["CompressionType"]
    if not rules.takes_gzip:
        yield Fault(
            where=where,
            found=found,
            problem=f"{rules.word} takes no compressed files",
            fix="store the files uncompressed, or use Parquet, which compresses by itself",
        )
        return
    if s3_data_type != "S3Prefix":
        yield Fault(
            where=where,
            found=found,
            problem=f"compressed files are read below an S3Prefix, not by {s3_data_type}",
            fix="set S3DataType to S3Prefix, or store the files uncompressed",
        )
    if content_type(channel) == PARQUET:
        yield Fault(
            where=where,
            found=found,
            problem="Parquet files compress their pages themselves, and are not compressed again",
            fix="leave CompressionType out; gzip inside the files needs none",
        )
