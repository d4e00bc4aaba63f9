"""Leases: how workers come to own a job, one at a time, and how what an owner writes is guarded.

A claim raises the job's epoch and gives a fresh token. Every write of a worker names both in its condition; one that
touches no row raises LeaseLost, so a worker that was taken for dead writes nothing into the work of its successor.

A lease that ends other than by `release` was its worker's death. Deaths in a row are counted on the job, and each but
the first makes it wait longer before it may be claimed again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, update

from gyropilot.errors import LeaseLost
from gyropilot.names import new_id
from gyropilot.store.database import Database
from gyropilot.store.job_records import JobRecord, read_record
from gyropilot.store.statuses import OPEN
from gyropilot.store.tables import jobs as jobs_table
from gyropilot.store.tables import turnstiles


@dataclass(frozen=True, kw_only=True)
class Lease:
    """Ownership of a job by one claim."""

    job_id: str
    token: str
    epoch: int


def claim(db: Database, owner: str, ttl_seconds: float, max_running: int | None) -> tuple[Lease, JobRecord] | None:
    """Take the oldest open job that nobody owns, for `ttl_seconds`; None when there is none or enough run already.

    Claims pass one at a time, over all processes, so there are never more than `max_running` live leases on open jobs;
    None: any number.
    A lease that ran out under another owner counts as lost.
    """
    if not _any_is_free(db):
        return None
    with db.write() as connection:
        connection.execute(
            update(turnstiles).where(turnstiles.c.name == "claims").values(passes=turnstiles.c.passes + 1)
        )
        now = db.lease_clock(connection)
        if max_running is not None and _count_running(connection, now) >= max_running:
            return None
        _count_losses(
            connection, now, and_(_IS_OPEN, jobs_table.c.lease_until <= now, jobs_table.c.lease_owner != owner)
        )
        oldest_first = (jobs_table.c.created_at, jobs_table.c.id)
        job_id = connection.execute(
            select(jobs_table.c.id).where(_IS_OPEN, _is_free(now)).order_by(*oldest_first).limit(1).with_for_update()
        ).scalar()
        return None if job_id is None else _take(connection, job_id, owner, now + _micros(ttl_seconds))


def renew(db: Database, lease: Lease, ttl_seconds: float) -> None:
    """Keep the job for `ttl_seconds` from now.

    Raises:
        LeaseLost: another claim came between; a lease that ran out and that nobody took is renewed.
    """
    with db.write() as connection:
        write_guarded(connection, lease, {"lease_until": db.lease_clock(connection) + _micros(ttl_seconds)})


def release(db: Database, lease: Lease, *, not_for_seconds: float = 0.0) -> None:
    """Give the job back; it may be claimed again after `not_for_seconds` if it is still open.

    Raises:
        LeaseLost: another claim came between.
    """
    with db.write() as connection:
        until = db.lease_clock(connection) + _micros(not_for_seconds) if not_for_seconds else None
        write_guarded(connection, lease, _NO_LEASE | {"lease_until": until})


def is_held(db: Database, lease: Lease) -> bool:
    """Say whether the lease holds at this moment."""
    with db.read() as connection:
        return connection.execute(select(jobs_table.c.id).where(holds(lease))).first() is not None


def give_up(db: Database, lease: Lease) -> None:
    """Give the job back as one whose worker was lost, though it lives: it could not even fail the job.

    Raises:
        LeaseLost: another claim came between.
    """
    with db.write() as connection:
        check(connection, lease)
        _count_losses(connection, db.lease_clock(connection), holds(lease))


def release_all(db: Database) -> int:
    """Free every job and give how many were held, each a loss; for the start of the first worker on this database."""
    with db.write() as connection:
        # The clock of an earlier start of this machine says nothing now, so nobody waits on.
        waiting = and_(jobs_table.c.lease_token.is_(None), jobs_table.c.lease_until.is_not(None))
        connection.execute(update(jobs_table).where(waiting).values(_NO_LEASE))
        return _count_losses(connection, db.lease_clock(connection), jobs_table.c.lease_token.is_not(None))


def write_guarded(connection: Connection, lease: Lease, values: Mapping[str, Any]) -> None:
    """Write columns of the job's row if the lease still holds; on PostgreSQL this also locks the row until commit.

    Raises:
        LeaseLost: it does not.
    """
    if connection.execute(update(jobs_table).where(holds(lease)).values(dict(values))).rowcount != 1:
        raise LeaseLost(f"job {lease.job_id} is no longer owned by this worker (epoch {lease.epoch})")


def check(connection: Connection, lease: Lease) -> None:
    """Let the owner pass, and hold the job's row until the transaction ends.

    Raises:
        LeaseLost: the lease does not hold.
    """
    held = select(jobs_table.c.id).where(holds(lease)).with_for_update()
    if connection.execute(held).scalar() is None:
        raise LeaseLost(f"job {lease.job_id} is no longer owned by this worker (epoch {lease.epoch})")


def holds(lease: Lease) -> ColumnElement[bool]:
    """Give the condition under which the lease holds."""
    return and_(
        jobs_table.c.id == lease.job_id,
        jobs_table.c.lease_token == lease.token,
        jobs_table.c.epoch == lease.epoch,
    )


_IS_OPEN = jobs_table.c.status.in_(OPEN)
_NO_LEASE = {"lease_owner": None, "lease_token": None, "lease_until": None}


_LONGEST_WAIT_SECONDS = 30.0


def _count_losses(connection: Connection, now: int, which: ColumnElement[bool]) -> int:
    """Free the held jobs among `which`, a death of its worker counted on each; give how many there were."""
    held = select(jobs_table.c.id, jobs_table.c.lost_attempts).where(which, jobs_table.c.lease_token.is_not(None))
    rows = connection.execute(held.with_for_update()).all()
    for row in rows:
        connection.execute(
            update(jobs_table).where(jobs_table.c.id == row.id).values(_lost(row.lost_attempts + 1, now))
        )
    return len(rows)


def _lost(lost: int, now: int) -> dict[str, Any]:
    wait = min(_LONGEST_WAIT_SECONDS, 2.0 ** (lost - 1)) if lost > 1 else 0.0
    return _NO_LEASE | {"lost_attempts": lost, "lease_until": now + _micros(wait) if wait else None}


def _any_is_free(db: Database) -> bool:
    """Say whether a claim may find a job; asked first, since an idle worker must not write to the disk at each turn."""
    with db.read() as connection:
        free = select(jobs_table.c.id).where(_IS_OPEN, _is_free(db.lease_clock(connection))).limit(1)
        return connection.execute(free).first() is not None


def _count_running(connection: Connection, now: int) -> int:
    is_held = and_(jobs_table.c.lease_token.is_not(None), jobs_table.c.lease_until > now)
    return connection.execute(select(func.count()).select_from(jobs_table).where(_IS_OPEN, is_held)).scalar_one()


def _is_free(now: int) -> ColumnElement[bool]:
    return or_(jobs_table.c.lease_until.is_(None), jobs_table.c.lease_until <= now)


def _take(connection: Connection, job_id: str, owner: str, until: int) -> tuple[Lease, JobRecord]:
    token = new_id()
    taken = (
        update(jobs_table)
        .where(jobs_table.c.id == job_id)
        .values(
            lease_owner=owner,
            lease_token=token,
            lease_until=until,
            epoch=jobs_table.c.epoch + 1,
            attempts=jobs_table.c.attempts + 1,
        )
        .returning(jobs_table)
    )
    row = connection.execute(taken).one()
    return Lease(job_id=job_id, token=token, epoch=row.epoch), read_record(row)


def _micros(seconds: float) -> int:
    return int(seconds * 1_000_000)
