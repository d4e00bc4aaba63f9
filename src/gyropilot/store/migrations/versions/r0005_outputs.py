"""What each part of a job's work gave has a row of its own; it stood in the job's state before.

Jobs in work go on from there, so what they noted moves; what ended jobs noted stays where it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_MOVED = ("inputs", "profile", "results", "put", "published")


def upgrade() -> None:
    """Make the table and move what jobs in work noted."""
    bytewise = sa.String(256).with_variant(sa.String(256, collation="C"), "postgresql")
    op.create_table(
        "outputs",
        sa.Column("job_id", sa.String(32), sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("part", bytewise, primary_key=True),
        sa.Column("names", sa.Text, nullable=False),
        sa.Column("digests", sa.Text, nullable=False),
        sa.Column("result", sa.Text, nullable=False),
    )
    jobs = sa.table("jobs", *map(sa.column, ("id", "status", "state")))
    columns = ("job_id", "part", "names", "digests", "result")
    outputs = sa.table("outputs", *map(sa.column, columns))
    connection = op.get_bind()
    is_open = jobs.c.status.in_(("InProgress", "Stopping"))
    for job in connection.execute(sa.select(jobs.c.id, jobs.c.state).where(is_open)).all():
        state = json.loads(job.state)
        rows = [{"job_id": job.id, **_written(row)} for row in _parts(state)]
        if rows:
            connection.execute(sa.insert(outputs), rows)
        kept = {name: value for name, value in state.items() if name not in _MOVED}
        connection.execute(sa.update(jobs).where(jobs.c.id == job.id).values(state=json.dumps(kept)))


def _parts(state: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for part in ("inputs", "profile"):
        if state.get(part) is not None:
            result = {"channels": state[part], "extra": []} if part == "inputs" else state[part]
            yield {"part": part, "names": [], "digests": {}, "result": result}
    for candidate, result in (state.get("results") or {}).items():
        yield {"part": f"train:{candidate}", "names": [], "digests": {}, "result": result}
    if state.get("put"):
        yield {"part": "earlier", "names": state["put"], "digests": state.get("published") or {}, "result": None}


def _written(row: Mapping[str, Any]) -> dict[str, str]:
    return {name: value if name == "part" else json.dumps(value) for name, value in row.items()}
