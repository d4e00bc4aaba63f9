"""Progress: how far a job is at this moment; one row a job, overwritten, no history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import insert, select, update

from gyropilot.store import leases
from gyropilot.store.database import Database
from gyropilot.store.tables import progress as progress_table

Json = Any


def put(db: Database, lease: leases.Lease, progress: Mapping[str, Json]) -> None:
    """Say how far the job that `lease` owns is.

    Raises:
        LeaseLost: the lease does not hold; nothing was written.
    """
    body = dict(progress)
    with db.write() as connection:
        leases.check(connection, lease)
        there = update(progress_table).where(progress_table.c.job_id == lease.job_id).values(body=body)
        if connection.execute(there).rowcount == 0:
            connection.execute(insert(progress_table).values(job_id=lease.job_id, body=body))


def get(db: Database, job_id: str) -> dict[str, Json] | None:
    """Give what was said last; None before the first."""
    with db.read() as connection:
        body = connection.execute(select(progress_table.c.body).where(progress_table.c.job_id == job_id)).scalar()
    return None if body is None else dict(body)
