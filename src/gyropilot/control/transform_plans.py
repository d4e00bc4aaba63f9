"""What a CreateTransformJob request asks for, read once: the rules that its fields must keep, and what is left out.

Read when a job is created, to refuse it with every fault, and again when it is run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gyropilot.control.refusals import Refusal, faults_of, value_at
from gyropilot.data import json_paths, record_formats
from gyropilot.data.json_paths import JsonPath
from gyropilot.data.record_formats import RecordFormat
from gyropilot.data.transform_inputs import TransformSource
from gyropilot.errors import Fault, InvalidRequest

Json = Any

MIB = 2**20
PAYLOAD_MIB = 6
"""MaxPayloadInMB where a request names none."""
MOST_PAYLOAD_MIB = 100
"""The most MaxPayloadInMB may be, also times MaxConcurrentTransforms."""
WHOLE_OBJECT_BYTES = 128 * MIB
"""The most a payload may have where MaxPayloadInMB is 0; a payload is held in memory."""
MOST_CONCURRENT = 100
MOST_INSTANCES = 100
_SOURCE = "TransformInput.DataSource.S3DataSource"


@dataclass(frozen=True, kw_only=True)
class Processing:
    """What is done to records on their way to the model and back."""

    input_filter: JsonPath
    output_filter: JsonPath
    joins_input: bool

    @property
    def takes_records_apart(self) -> bool:
        """Say whether anything is done at all."""
        return self.joins_input or not (self.input_filter.is_whole and self.output_filter.is_whole)

    @property
    def changes_answers(self) -> bool:
        """Say whether what the model answers is taken apart."""
        return self.joins_input or not self.output_filter.is_whole


@dataclass(frozen=True, kw_only=True)
class TransformPlan:
    """A request, read; every default filled in."""

    source: TransformSource
    content_type: str
    """Empty where the request names none."""
    is_gzip: bool
    split: Literal["None", "Line"]
    strategy: Literal["SingleRecord", "MultiRecord"]
    payload_bytes: int
    output_uri: str
    """Without a slash at its end."""
    accept: str
    assemble: Literal["None", "Line"]
    calls_at_once: int
    """For each replica."""
    replicas: int
    timeout_seconds: int
    retries: int
    processing: Processing
    environment: Mapping[str, str]

    @property
    def input_format(self) -> RecordFormat | None:
        """The form of the input's records; None where they stay whole."""
        return record_formats.of_content_type(self.content_type)


def replicas_of(request: Mapping[str, Json]) -> int:
    """Give how many replica processes a job gets: those it asks for, but no more than the machine has cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(int(request["TransformResources"]["InstanceCount"]), cores)


def read(request: Mapping[str, Json]) -> TransformPlan:
    """Give the plan of a request of the right shape.

    Raises:
        InvalidRequest: with every fault that does not hang on what lies in buckets.
    """
    faults = [
        *faults_of(_REFUSALS, request, ""),
        *_media_type_faults(request),
        *_bound_faults(request),
        *_split_faults(request),
    ]
    processing, more = _processing(request)
    faults += more
    if faults or processing is None:
        raise InvalidRequest.of(faults)
    given, wanted = request["TransformInput"], request["TransformOutput"]
    client = request.get("ModelClientConfig", {})
    payload_mib = request.get("MaxPayloadInMB", PAYLOAD_MIB)
    return TransformPlan(
        source=source_of(request),
        content_type=given.get("ContentType", ""),
        is_gzip=given.get("CompressionType", "None") == "Gzip",
        split=given.get("SplitType", "None"),
        strategy=request.get("BatchStrategy") or _default_strategy(given.get("ContentType", "")),
        payload_bytes=payload_mib * MIB if payload_mib else WHOLE_OBJECT_BYTES,
        output_uri=wanted["S3OutputPath"].rstrip("/"),
        accept=wanted.get("Accept", ""),
        assemble=wanted.get("AssembleWith", "None"),
        calls_at_once=request.get("MaxConcurrentTransforms") or 1,
        replicas=replicas_of(request),
        timeout_seconds=client.get("InvocationsTimeoutInSeconds", 600),
        retries=client.get("InvocationsMaxRetries", 3),
        processing=processing,
        environment=request.get("Environment", {}),
    )


def source_of(request: Mapping[str, Json]) -> TransformSource:
    """Give where the input of a request lies."""
    source = request["TransformInput"]["DataSource"]["S3DataSource"]
    return TransformSource(s3_data_type=source["S3DataType"], s3_uri=source["S3Uri"])


def _default_strategy(content_type: str) -> Literal["SingleRecord", "MultiRecord"]:
    # Several lines in one body are no JSON; they are CSV, and JSON Lines.
    return "SingleRecord" if record_formats.of_content_type(content_type) == "json" else "MultiRecord"


_NO_KEYS = "nothing is encrypted with keys here"
_REFUSALS = (
    Refusal(path="TransformOutput.KmsKeyId", problem=_NO_KEYS, harmless=("",)),
    Refusal(path="TransformResources.VolumeKmsKeyId", problem=_NO_KEYS, harmless=("",)),
    Refusal(
        path="TransformResources.TransformAmiVersion", problem="replicas run on this machine, from no machine image"
    ),
    Refusal(
        path="DataCaptureConfig",
        problem="requests and answers are not captured here",
        fix="leave it out; the output holds the answers",
    ),
    Refusal(
        path="ExperimentConfig",
        problem="there are no experiments here",
        fix="leave it out; tags can mark what belongs together",
    ),
    Refusal(
        path="TransformInput.SplitType",
        problem="is not split here",
        fix="use Line or None",
        harmless=("None", "Line"),
    ),
    Refusal(
        path=f"{_SOURCE}.S3DataType",
        problem="is not read here",
        fix="use S3Prefix or ManifestFile",
        harmless=("S3Prefix", "ManifestFile"),
    ),
)


def _media_type_faults(request: Mapping[str, Json]) -> Iterator[Fault]:
    for path in ("TransformInput.ContentType", "TransformOutput.Accept"):
        text = value_at(request, path) or ""
        if not (text.isascii() and text.isprintable() and text == text.strip()):
            problem = "is no media type: those have printable ASCII characters alone, and no space at either end"
            yield Fault(where=path, found=text, problem=problem, fix="write it as text/csv")


def _bound_faults(request: Mapping[str, Json]) -> Iterator[Fault]:
    payload = request.get("MaxPayloadInMB", PAYLOAD_MIB)
    concurrent = request.get("MaxConcurrentTransforms") or 1
    instances = request["TransformResources"]["InstanceCount"]
    if payload > MOST_PAYLOAD_MIB:
        problem = f"is more than {MOST_PAYLOAD_MIB}"
        fix = f"lower it, or 0: a payload then may have {WHOLE_OBJECT_BYTES // MIB} MiB"
        yield Fault(where="MaxPayloadInMB", found=payload, problem=problem, fix=fix)
    if concurrent > MOST_CONCURRENT:
        problem = f"is more than {MOST_CONCURRENT}"
        yield Fault(where="MaxConcurrentTransforms", found=concurrent, problem=problem, fix="lower it")
    elif payload <= MOST_PAYLOAD_MIB < payload * concurrent:
        default = "" if "MaxPayloadInMB" in request else ", the default of MaxPayloadInMB"
        yield Fault(
            where="MaxConcurrentTransforms",
            found=concurrent,
            problem=f"times {payload}{default} is {payload * concurrent}: MaxPayloadInMB times MaxConcurrentTransforms"
            f" may be {MOST_PAYLOAD_MIB} at most",
            fix="lower one of them",
        )
    if instances > MOST_INSTANCES:
        where, problem = "TransformResources.InstanceCount", f"is more than {MOST_INSTANCES}"
        yield Fault(where=where, found=instances, problem=problem, fix="lower it")


def _split_faults(request: Mapping[str, Json]) -> Iterator[Fault]:
    split = request["TransformInput"].get("SplitType", "None")
    if request.get("BatchStrategy") == "MultiRecord" and split == "None":
        yield Fault(
            where="BatchStrategy",
            found="MultiRecord",
            problem="needs a SplitType: without one each object is one record",
            fix="set TransformInput.SplitType to Line, or leave BatchStrategy out",
        )


def _processing(request: Mapping[str, Json]) -> tuple[Processing | None, list[Fault]]:
    given = request.get("DataProcessing", {})
    faults: list[Fault] = []
    paths: dict[str, JsonPath] = {}
    for name in ("InputFilter", "OutputFilter"):
        try:
            paths[name] = json_paths.read(f"DataProcessing.{name}", given.get(name) or "$")
        except InvalidRequest as error:
            faults.extend(error.faults)
    if faults:
        return None, faults
    processing = Processing(
        input_filter=paths["InputFilter"],
        output_filter=paths["OutputFilter"],
        joins_input=given.get("JoinSource") == "Input",
    )
    return processing, list(_processing_faults(request, processing))


def _processing_faults(request: Mapping[str, Json], processing: Processing) -> Iterator[Fault]:
    content_type = request["TransformInput"].get("ContentType", "")
    accept = request["TransformOutput"].get("Accept", "")
    known = ", ".join(record_formats.CONTENT_TYPES)
    input_format, output_format = map(record_formats.of_content_type, (content_type, accept))
    if (processing.joins_input or not processing.input_filter.is_whole) and input_format is None:
        problem = "must say what the records are that DataProcessing takes apart"
        yield Fault(where="TransformInput.ContentType", found=content_type, problem=problem, fix=f"one of {known}")
    if processing.changes_answers and accept and output_format is None:
        problem = "must be of records that DataProcessing can take apart"
        yield Fault(where="TransformOutput.Accept", found=accept, problem=problem, fix=f"one of {known}")
    if (
        processing.joins_input
        and input_format
        and output_format
        and (input_format == "csv") != (output_format == "csv")
    ):
        problem = f"{content_type} and {accept} cannot be joined"
        yield Fault(where="TransformOutput.Accept", found=accept, problem=problem, fix="use one of the two for both")
    if processing.input_filter.steps and input_format == "csv":
        yield from _column_faults("DataProcessing.InputFilter", processing.input_filter)
    if processing.output_filter.steps and (output_format or (processing.joins_input and input_format)) == "csv":
        yield from _column_faults("DataProcessing.OutputFilter", processing.output_filter)
    is_split = request["TransformInput"].get("SplitType") == "Line"
    if processing.changes_answers and is_split and request["TransformOutput"].get("AssembleWith") != "Line":
        problem = "must be Line: the records that DataProcessing makes of a split object stand a line each"
        found = request["TransformOutput"].get("AssembleWith")
        yield Fault(where="TransformOutput.AssembleWith", found=found, problem=problem, fix="set it to Line")


def _column_faults(where: str, path: JsonPath) -> Iterator[Fault]:
    if not path.is_of_columns:
        problem = "names members of objects; rows of CSV have columns, counted from 0"
        yield Fault(where=where, found=path.text, problem=problem, fix="write a path such as $[1:] or $[0,-1]")
