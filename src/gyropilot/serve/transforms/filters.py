"""InputFilter, JoinSource and OutputFilter: what of a record goes to the model, and what of both is kept.

    record --InputFilter--> model --> answer
       +-----JoinSource Input-----------+--> OutputFilter --> line of the output

CSV rows are arrays: the answer's cells follow on the input's. A JSON object gets the answer as its member
SageMakerOutput; any other JSON value stands beside it as SageMakerInput. Joined is the record as it was before
InputFilter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gyropilot.control.transform_plans import TransformPlan
from gyropilot.data import record_formats
from gyropilot.data.json_paths import JsonPath, NothingThere
from gyropilot.data.record_formats import RecordFormat, Unreadable
from gyropilot.errors import InvalidData
from gyropilot.serve.transforms.splitting import Record

Json = Any

INPUT, OUTPUT = "SageMakerInput", "SageMakerOutput"
_BOM = "﻿"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One record, taken apart: a row of cells, or a JSON value."""

    where: str
    """As an error names it: s3://b/k line 3."""
    value: Json


@dataclass(frozen=True, kw_only=True)
class Payload:
    """What is sent, and what its answer is joined with."""

    where: str
    body: bytes
    count: int
    """The records in it."""
    parts: tuple[Part, ...] = ()
    """Empty where nothing is joined."""


def payload_of(records: Sequence[Record], plan: TransformPlan, uri: str) -> Payload:
    """Give what is sent of some records.

    Raises:
        InvalidData: a record is not of its form, or has not what InputFilter picks.
    """
    where = _where(records, plan, uri)
    processing, form = plan.processing, plan.input_format
    if form is None or (processing.input_filter.is_whole and not processing.joins_input):
        return Payload(where=where, body=b"\n".join(one.data for one in records), count=len(records))
    parts = _input_parts(records, plan, form, uri)
    if processing.input_filter.is_whole:
        body = b"\n".join(one.data for one in records)
    else:
        lines = [_picked(one, processing.input_filter, form, "InputFilter") for one in parts]
        body = b"\n".join(lines)
    return Payload(where=where, body=body, count=len(parts), parts=tuple(parts) if processing.joins_input else ())


def output_of(payload: Payload, answer: bytes, answer_type: str, plan: TransformPlan) -> bytes:
    """Give what is kept of an answer, as it stands in the output but for the newline at its end.

    Raises:
        InvalidData: the answer is not of its form, does not fit the records that were sent, or has not what
            OutputFilter picks.
    """
    processing = plan.processing
    if not processing.changes_answers:
        return answer
    form = record_formats.of_content_type(plan.accept) or record_formats.of_content_type(answer_type)
    if form is None:
        raise InvalidData(
            where=payload.where,
            found=answer_type,
            problem="the model's answer is of a content type that DataProcessing cannot take apart",
            fix=f"name one of {', '.join(record_formats.CONTENT_TYPES)} in TransformOutput.Accept",
        )
    parts = _answer_parts(payload, answer, form)
    if processing.joins_input:
        parts, form = _joined(payload, parts, form, plan.input_format)
    return b"\n".join(_picked(one, processing.output_filter, form, "OutputFilter") for one in parts)


def _where(records: Sequence[Record], plan: TransformPlan, uri: str) -> str:
    if plan.split == "None":
        return uri
    first, last = records[0].number, records[-1].number
    return f"{uri} line {first}" if first == last else f"{uri} lines {first} to {last}"


def _input_parts(records: Sequence[Record], plan: TransformPlan, form: RecordFormat, uri: str) -> list[Part]:
    if plan.split == "Line":
        return [_part(f"{uri} line {one.number}", one.data, form) for one in records]
    (whole,) = records
    return _parts_of_whole(uri, whole.data, form)


def _part(where: str, data: bytes, form: RecordFormat) -> Part:
    text = _text(where, data)
    try:
        return Part(
            where=where, value=record_formats.read_row(text) if form == "csv" else record_formats.read_json(text)
        )
    except Unreadable as error:
        raise _unreadable(where, error) from error


def _parts_of_whole(where: str, data: bytes, form: RecordFormat) -> list[Part]:
    text = _text(where, data)
    if form == "jsonlines":
        lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
        return [_part(f"{where} line {number}", line.encode(), form) for number, line in lines]
    try:
        if form == "json":
            return [Part(where=where, value=record_formats.read_json(text))]
        rows = record_formats.read_rows(text)
    except Unreadable as error:
        raise _unreadable(where, error) from error
    return [Part(where=f"{where} row {number}", value=row) for number, row in enumerate(rows, start=1)]


def _answer_parts(payload: Payload, answer: bytes, form: RecordFormat) -> list[Part]:
    where = f"{payload.where}: the model's answer"
    if form != "json" or payload.count == 1:
        return _parts_of_whole(where, answer, form)
    # Several records are answered by JSON a line each, whatever the content type says, or by one array.
    parts = _parts_of_whole(where, answer, "jsonlines")
    if len(parts) == 1 and isinstance(parts[0].value, list) and len(parts[0].value) == payload.count:
        return [Part(where=f"{where} [{number}]", value=one) for number, one in enumerate(parts[0].value)]
    return parts


def _joined(
    payload: Payload, answers: Sequence[Part], form: RecordFormat, input_form: RecordFormat | None
) -> tuple[list[Part], RecordFormat]:
    if len(answers) != len(payload.parts):
        raise InvalidData(
            where=payload.where,
            found=f"{len(answers)} answers to {len(payload.parts)} records",
            problem="the model must answer each record with one, for them to be joined",
            fix=_count_mend(len(answers), payload.parts),
        )
    if (form == "csv") != (input_form == "csv"):
        raise InvalidData(
            where=payload.where,
            problem="CSV and JSON cannot be joined: the input is the one, the model's answer the other",
            fix="ask for the input's form in TransformOutput.Accept",
        )
    pairs = zip(payload.parts, answers, strict=True)
    if form == "csv":
        return [Part(where=given.where, value=[*given.value, *answer.value]) for given, answer in pairs], "csv"
    return [Part(where=given.where, value=_with_answer(given.value, answer.value)) for given, answer in pairs], form


def _count_mend(answers: int, given: Sequence[Part]) -> str:
    if (
        answers == len(given) - 1
        and given[0].where.endswith((" line 1", " row 1"))
        and isinstance(given[0].value, list)
    ):
        return "the object's first line may be a header, which is no record: take it out, or set JoinSource to None"
    if len(given) == 1:
        return "set JoinSource to None"
    return "set BatchStrategy to SingleRecord, or JoinSource to None"


def _with_answer(given: Json, answer: Json) -> dict[str, Json]:
    return {**given, OUTPUT: answer} if isinstance(given, dict) else {INPUT: given, OUTPUT: answer}


def _picked(part: Part, path: JsonPath, form: RecordFormat, name: str) -> bytes:
    try:
        if form == "csv":
            return record_formats.write_row(path.pick_columns(part.value))
        return record_formats.write_json(path.pick(part.value))
    except Unreadable as error:
        raise _unreadable(part.where, error) from error
    except NothingThere as error:
        raise InvalidData(
            where=part.where,
            problem=f"DataProcessing.{name} {path.text!r} picks what is not there: {error}",
            fix="correct the filter or the record",
        ) from error


def _text(where: str, data: bytes) -> str:
    try:
        return data.decode().removeprefix(_BOM)
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 at byte {error.start}"
        raise InvalidData(where=where, problem=problem, fix="write it in UTF-8") from error


def _unreadable(where: str, error: Unreadable) -> InvalidData:
    fix = "correct it, or the content type that it is said to be of"
    return InvalidData(where=where, problem=str(error), fix=fix)
