"""Model data: the files that jobs published for containers of ours; nothing else is ever loaded.

Known by place (account and URI) and by digest, since a copy elsewhere is the same model data.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, insert, select

from gyropilot import clock
from gyropilot.names import new_id
from gyropilot.store import leases
from gyropilot.store.database import Database
from gyropilot.store.tables import model_data as model_data_table


@dataclass(frozen=True, kw_only=True)
class ModelDataRecord:
    """One file of model data, as a job published it."""

    account_id: str
    uri: str
    sha256: str
    size_bytes: int
    image: str
    """As the candidate's container names it, tag and all."""
    problem: str
    """The job's AutoMLProblemTypeConfigName."""
    shares: str
    """Models with the same text, not empty, may be loaded into one process."""
    job_id: str
    candidate: str


def put(db: Database, lease: leases.Lease, records: Iterable[ModelDataRecord]) -> None:
    """Record what the job that `lease` owns published, all or nothing; a place's record gives way to its next one.

    Raises:
        LeaseLost: the lease does not hold; nothing was written.
        ValueError: a record is of another job.
    """
    given = list({one.uri: one for one in records}.values())
    if any(one.job_id != lease.job_id for one in given):
        raise ValueError("the model data belongs to another job than the lease")
    with db.write() as connection:
        leases.check(connection, lease)
        for one in given:
            connection.execute(delete(model_data_table).where(_at(one.account_id, one.uri)))
            connection.execute(insert(model_data_table).values(vars(one) | {"id": new_id(), "created_at": clock.now()}))


def withdraw(db: Database, lease: leases.Lease) -> None:
    """Take away all that the job which `lease` owns had recorded.

    Raises:
        LeaseLost: the lease does not hold; nothing was written.
    """
    with db.write() as connection:
        leases.check(connection, lease)
        connection.execute(delete(model_data_table).where(model_data_table.c.job_id == lease.job_id))


def find(db: Database, account_id: str, uri: str) -> ModelDataRecord | None:
    """Give what an account's job published at that place."""
    with db.read() as connection:
        row = connection.execute(select(model_data_table).where(_at(account_id, uri))).first()
    return None if row is None else _record(row)


def of_size(db: Database, account_id: str, size_bytes: int) -> list[ModelDataRecord]:
    """Give what an account's jobs published of that size, oldest first."""
    wanted = select(model_data_table).where(
        model_data_table.c.account_id == account_id, model_data_table.c.size_bytes == size_bytes
    )
    with db.read() as connection:
        rows = connection.execute(wanted.order_by(model_data_table.c.created_at, model_data_table.c.id))
        return [_record(row) for row in rows]


def _at(account_id: str, uri: str) -> ColumnElement[bool]:
    return and_(model_data_table.c.account_id == account_id, model_data_table.c.uri == uri)


def _record(row: Row[Any]) -> ModelDataRecord:
    return ModelDataRecord(**{one.name: row._mapping[one.name] for one in fields(ModelDataRecord)})
