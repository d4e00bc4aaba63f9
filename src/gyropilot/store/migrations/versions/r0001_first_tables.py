"""The first tables: jobs, events, progress, candidates, tags, roles, turnstiles.

A released revision is never edited: types are written out here, not taken from tables.py, which moves on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_OPEN = sa.text("status IN ('InProgress', 'Stopping')")


def upgrade() -> None:
    """Make the tables."""
    bytewise = sa.String(256).with_variant(sa.String(256, collation="C"), "postgresql")
    _make_jobs(bytewise)
    op.create_index("jobs_name", "jobs", ["account_id", "region", "folded_name"], unique=True)
    op.create_index("jobs_created", "jobs", ["account_id", "region", "created_at", "id"])
    op.create_index("jobs_status", "jobs", ["account_id", "region", "status", "id"])
    op.create_index("jobs_open", "jobs", ["created_at", "id"], sqlite_where=_OPEN, postgresql_where=_OPEN)
    _make_what_hangs_on_jobs(bytewise)
    op.create_index("events_kind", "events", ["job_id", "kind", "sequence"])
    _make_the_rest(bytewise)


def _make_jobs(bytewise: sa.types.TypeEngine[str]) -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("account_id", sa.String(12), nullable=False),
        sa.Column("region", sa.String(64), nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("folded_name", bytewise, nullable=False),
        sa.Column("arn", sa.String(512), nullable=False),
        sa.Column("problem", sa.String(64), nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("resolved", sa.Text, nullable=False),
        sa.Column("principal", sa.String(128), nullable=False),
        sa.Column("invocation_id", sa.String(256)),
        sa.Column("status", bytewise, nullable=False),
        sa.Column("secondary_status", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("modified_at", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("failure_reason", sa.Text),
        sa.Column("partial_failure_reasons", sa.Text, nullable=False),
        sa.Column("stop_requested_at", sa.BigInteger),
        sa.Column("best_candidate", sa.String(256)),
        sa.Column("artifacts", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("last_event", sa.Integer, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("lease_owner", sa.String(256)),
        sa.Column("lease_token", sa.String(32)),
        sa.Column("lease_until", sa.BigInteger),
    )


def _make_what_hangs_on_jobs(bytewise: sa.types.TypeEngine[str]) -> None:
    op.create_table(
        "events",
        sa.Column("job_id", sa.String(32), sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_table(
        "progress",
        sa.Column("job_id", sa.String(32), sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "candidates",
        sa.Column("job_id", sa.String(32), sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("name", bytewise, primary_key=True),
        sa.Column("status", bytewise, nullable=False),
        sa.Column("objective_status", sa.String(64), nullable=False),
        sa.Column("score", sa.Float),
        sa.Column("direction", sa.String(16), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("modified_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("failure_reason", sa.Text),
    )


def _make_the_rest(bytewise: sa.types.TypeEngine[str]) -> None:
    op.create_table(
        "tags",
        sa.Column("arn", sa.String(512), primary_key=True),
        sa.Column("key", bytewise, primary_key=True),
        sa.Column("value", sa.String(256), nullable=False),
    )
    op.create_table(
        "roles",
        sa.Column("arn", sa.String(2048), primary_key=True),
        sa.Column("read_prefixes", sa.Text, nullable=False),
        sa.Column("write_prefixes", sa.Text, nullable=False),
        sa.Column("passable_by", sa.Text, nullable=False),
    )
    turnstiles = op.create_table(
        "turnstiles",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("passes", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(turnstiles, [{"name": "claims", "passes": 0}])
