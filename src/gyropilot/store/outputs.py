"""Outputs: what each part of a job's work gave, and which files of it were put into the job's bucket.

A part is `inputs`, `profile`, `proposal:<candidate>` while it is trained, `train:<candidate>`, `report:<name>` or
`manifest`. Each has a row of its own, so that what is written of one does not grow with the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from gyropilot.store import leases
from gyropilot.store.database import Database
from gyropilot.store.tables import outputs as outputs_table

Json = Any


@dataclass(frozen=True, kw_only=True)
class OutputRecord:
    """What one part of a job's work gave."""

    part: str
    names: tuple[str, ...]
    """Files that were put, or may have been, relative to the job's place."""
    digests: dict[str, Json]
    """sha256 and size of what was put whole, by name."""
    result: Json
    """None until the part has ended well."""


def of_candidate(name: str) -> str:
    """Give the part that a candidate's training is."""
    return f"train:{name}"


def expect(db: Database, lease: leases.Lease, part: str, names: Iterable[str]) -> None:
    """Say which files a part is about to put, beside those that it was to put before.

    Raises:
        LeaseLost: the lease does not hold; nothing was written.
    """
    with db.write() as connection:
        leases.check(connection, lease)
        there = connection.execute(select(outputs_table.c.names).where(_is(lease.job_id, part))).first()
        known = set() if there is None else set(there.names)
        _write(connection, lease.job_id, part, {"names": sorted(known.union(names))})


def put(db: Database, lease: leases.Lease, part: str, *, digests: Mapping[str, Json], result: Json) -> None:
    """Say what a part gave, and the digests of what it put.

    Raises:
        LeaseLost: the lease does not hold; nothing was written.
    """
    with db.write() as connection:
        leases.check(connection, lease)
        _write(connection, lease.job_id, part, {"digests": dict(digests), "result": result})


def find(db: Database, job_id: str, part: str) -> OutputRecord | None:
    """Give what is known of a part."""
    with db.read() as connection:
        row = connection.execute(select(outputs_table).where(_is(job_id, part))).first()
    if row is None:
        return None
    return OutputRecord(part=row.part, names=tuple(row.names), digests=row.digests, result=row.result)


def names_of(db: Database, job_id: str) -> dict[str, set[str]]:
    """Give the files that were put, or may have been, by part."""
    wanted = select(outputs_table.c.part, outputs_table.c.names).where(outputs_table.c.job_id == job_id)
    with db.read() as connection:
        return {row.part: set(row.names) for row in connection.execute(wanted)}


def digests_of(db: Database, job_id: str) -> dict[str, Json]:
    """Give sha256 and size of all that was put whole, by name."""
    wanted = select(outputs_table.c.digests).where(outputs_table.c.job_id == job_id).order_by(outputs_table.c.part)
    with db.read() as connection:
        return {name: digest for row in connection.execute(wanted) for name, digest in row.digests.items()}


def forget(db: Database, lease: leases.Lease, part: str) -> None:
    """Drop what is known of a part.

    Raises:
        LeaseLost: the lease does not hold; nothing was written.
    """
    with db.write() as connection:
        leases.check(connection, lease)
        connection.execute(delete(outputs_table).where(_is(lease.job_id, part)))


def _write(connection: Connection, job_id: str, part: str, values: Mapping[str, Json]) -> None:
    there = update(outputs_table).where(_is(job_id, part)).values(dict(values))
    if connection.execute(there).rowcount == 0:
        empty: dict[str, Json] = {"names": [], "digests": {}, "result": None}
        connection.execute(insert(outputs_table).values(job_id=job_id, part=part, **{**empty, **values}))


def _is(job_id: str, part: str) -> ColumnElement[bool]:
    return (outputs_table.c.job_id == job_id) & (outputs_table.c.part == part)
