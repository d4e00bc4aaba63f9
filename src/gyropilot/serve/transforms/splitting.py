"""Cuts an object into the payloads that are sent to the model.

    SplitType None                   the object is one record and one payload
    SplitType Line, SingleRecord     each line is a payload
    SplitType Line, MultiRecord      as many whole lines as fit into MaxPayloadInMB, 10,000 at most

A line ends at a newline, wherever it stands: also within the quotation marks of CSV, as with the service. Lines are
sent without their ends; a line of nothing is no record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gyropilot.control.transform_plans import TransformPlan
from gyropilot.errors import InvalidData
from gyropilot.serve.transforms.inputs import Source

_MOST_RECORDS = 10_000
"""Of one payload: models refuse more, and a call of more would outlast its time."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One record of an object."""

    number: int
    """Its line, from 1; 1 where the object is one record."""
    data: bytes


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A place between two payloads of an object."""

    offset: int = 0
    """Bytes read, of the unpacked content."""
    line: int = 0
    """Lines read."""
    records: int = 0
    """Records among them."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The records of one payload, and the place after them."""

    records: tuple[Record, ...]
    after: Mark


def batches(source: Source, plan: TransformPlan, uri: str, start: Mark) -> Iterator[Batch]:
    """Give the batches of an object from a mark on; the next is read when it is asked for.

    Raises:
        InvalidData: a record is longer than a payload may be, or the object cannot be unpacked.
    """
    source.skip(start.offset)
    if plan.split == "None":
        yield from _whole(source, plan, uri, start)
    elif plan.strategy == "SingleRecord":
        for record, after in _lines(source, plan, uri, start):
            yield Batch(records=(record,), after=after)
    else:
        yield from _filled(source, plan, uri, start)


def _whole(source: Source, plan: TransformPlan, uri: str, start: Mark) -> Iterator[Batch]:
    if start.records:
        return
    data = source.read(plan.payload_bytes + 1)
    if len(data) > plan.payload_bytes:
        fix = "split it by SplitType Line, or raise MaxPayloadInMB (0: as large as may be)"
        raise InvalidData(where=uri, problem=_too_long(plan), fix=fix)
    if data:
        yield Batch(records=(Record(number=1, data=data),), after=Mark(offset=len(data), line=1, records=1))


def _filled(source: Source, plan: TransformPlan, uri: str, start: Mark) -> Iterator[Batch]:
    waiting: list[Record] = []
    size, place = 0, start
    for record, after in _lines(source, plan, uri, start):
        if len(waiting) == _MOST_RECORDS or (waiting and size + len(record.data) + 1 > plan.payload_bytes):
            yield Batch(records=tuple(waiting), after=place)
            waiting, size = [], 0
        waiting.append(record)
        size += len(record.data) + 1
        place = after
    if waiting:
        yield Batch(records=tuple(waiting), after=place)


def _lines(source: Source, plan: TransformPlan, uri: str, start: Mark) -> Iterator[tuple[Record, Mark]]:
    offset, number, records = start.offset, start.line, start.records
    longest = plan.payload_bytes
    while line := source.readline(longest + 3):
        offset += len(line)
        number += 1
        data = line.removesuffix(b"\n").removesuffix(b"\r")
        if len(data) > longest:
            fix = "shorten it, or raise MaxPayloadInMB"
            raise InvalidData(where=f"{uri} line {number}", problem=_too_long(plan), fix=fix)
        if data.strip():
            records += 1
            yield Record(number=number, data=data), Mark(offset=offset, line=number, records=records)


def _too_long(plan: TransformPlan) -> str:
    return f"is longer than the {plan.payload_bytes} bytes that a payload may have"
