"""Models, endpoint configurations, endpoints with their replicas, asynchronous invocations, transform jobs, steps.

What jobs published before there was a table of model data is recorded from the notes of their workers, and the steps
that candidates named from the candidates.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    bytewise = sa.String(256).with_variant(sa.String(256, collation="C"), "postgresql")
    _make_model_data()
    _make_named("models", bytewise, _creating_call(), _text("request"), _text("containers"))
    _make_named("endpoint_configs", bytewise, _creating_call(), _text("request"), _text("variants"))
    _make_endpoints(bytewise)
    _make_replicas()
    _make_async_invocations()
    _make_transform_jobs(bytewise)
    _make_steps(bytewise)
    _record_published()
    _record_steps()


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, nullable=False)


def _creating_call() -> sa.Column[Any]:
    return sa.Column("creating_call", sa.String(64))


def _made_at() -> sa.Column[Any]:
    return sa.Column("created_at", sa.BigInteger, nullable=False)


def _make_named(table: str, bytewise: sa.types.TypeEngine[str], *columns: sa.Column[Any]) -> None:
    op.create_table(
        table,
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("account_id", sa.String(12), nullable=False),
        sa.Column("region", sa.String(64), nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("folded_name", bytewise, nullable=False),
        sa.Column("arn", sa.String(512), nullable=False),
        *columns,
        _made_at(),
    )
    op.create_index(f"{table}_name", table, ["account_id", "region", "folded_name"], unique=True)
    op.create_index(f"{table}_created", table, ["account_id", "region", "created_at", "id"])


def _make_model_data() -> None:
    place = sa.String(2048).with_variant(sa.String(2048, collation="C"), "postgresql")
    op.create_table(
        "model_data",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("account_id", sa.String(12), nullable=False),
        sa.Column("uri", place, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("image", sa.String(255), nullable=False),
        sa.Column("problem", sa.String(64), nullable=False),
        sa.Column("shares", sa.String(256), nullable=False),
        sa.Column("job_id", sa.String(32), sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("candidate", sa.String(256), nullable=False),
        _made_at(),
    )
    op.create_index("model_data_place", "model_data", ["account_id", "uri"], unique=True)
    op.create_index("model_data_size", "model_data", ["account_id", "size_bytes"])


def _make_endpoints(bytewise: sa.types.TypeEngine[str]) -> None:
    _make_named(
        "endpoints",
        bytewise,
        _creating_call(),
        sa.Column("principal", sa.String(128), nullable=False),
        sa.Column("status", bytewise, nullable=False),
        sa.Column("failure_reason", sa.Text),
        _text("wanted"),
        sa.Column("serving", sa.Text),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("modified_at", sa.BigInteger, nullable=False),
    )
    op.create_index("endpoints_status", "endpoints", ["account_id", "region", "status", "id"])


def _make_replicas() -> None:
    op.create_table(
        "replicas",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("endpoint_id", sa.String(32), nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("variant", sa.String(63), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("socket", sa.String(256), nullable=False),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("restarts", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("modified_at", sa.BigInteger, nullable=False),
    )
    op.create_index("replicas_endpoint", "replicas", ["endpoint_id"])


def _make_async_invocations() -> None:
    op.create_table(
        "async_invocations",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("endpoint_id", sa.String(32), nullable=False),
        _text("request"),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        _made_at(),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    op.create_index("async_invocations_waiting", "async_invocations", ["status", "endpoint_id", "created_at"])
    op.create_index("async_invocations_expiring", "async_invocations", ["status", "expires_at"])


def _make_transform_jobs(bytewise: sa.types.TypeEngine[str]) -> None:
    _make_named(
        "transform_jobs",
        bytewise,
        sa.Column("principal", sa.String(128), nullable=False),
        _creating_call(),
        _text("request"),
        _text("model"),
        sa.Column("status", bytewise, nullable=False),
        sa.Column("failure_reason", sa.Text),
        _text("state"),
        sa.Column("stop_requested_at", sa.BigInteger),
        sa.Column("modified_at", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
    )
    op.create_index("transform_jobs_status", "transform_jobs", ["account_id", "region", "status", "id"])
    op.create_index("transform_jobs_begun", "transform_jobs", ["account_id", "started_at"])
    is_open = sa.text("status IN ('InProgress', 'Stopping')")
    op.create_index(
        "transform_jobs_open", "transform_jobs", ["created_at", "id"], sqlite_where=is_open, postgresql_where=is_open
    )


def _make_steps(bytewise: sa.types.TypeEngine[str]) -> None:
    op.create_table(
        "steps",
        sa.Column("account_id", sa.String(12), primary_key=True),
        sa.Column("region", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(32), primary_key=True),
        sa.Column("folded_name", bytewise, primary_key=True),
        sa.Column("job_id", sa.String(32), sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("candidate", sa.String(256), nullable=False),
        sa.Column("noted_at", sa.BigInteger, nullable=False),
    )


def _record_published() -> None:
    """Record the containers' files of jobs that did not fail, those in work included."""
    jobs = sa.table(
        "jobs", *map(sa.column, ("id", "account_id", "problem", "request", "status", "state", "modified_at"))
    )
    columns = ("id", "account_id", "uri", "sha256", "size_bytes", "image", "problem", "shares", "job_id", "candidate")
    model_data = sa.table("model_data", *map(sa.column, (*columns, "created_at")))
    connection = op.get_bind()
    by_place: dict[tuple[str, str], dict[str, Any]] = {}
    ids = connection.execute(sa.select(jobs.c.id).where(jobs.c.status != "Failed").order_by(jobs.c.modified_at)).all()
    for (job_id,) in ids:
        job = connection.execute(sa.select(jobs).where(jobs.c.id == job_id)).one()
        for row in _published_by(job._asdict()):
            by_place[row["account_id"], row["uri"]] = row
    if by_place:
        connection.execute(sa.insert(model_data), list(by_place.values()))


def _published_by(job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    state, request = json.loads(job["state"]), json.loads(job["request"])
    published = state.get("published") or {}
    for candidate, result in (state.get("results") or {}).items():
        for container in result["containers"]:
            digest = published.get(container["model_path"])
            if digest is not None:
                output = f"{request['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{request['AutoMLJobName']}"
                yield {
                    "id": secrets.token_hex(16),
                    "account_id": job["account_id"],
                    "uri": f"{output}/{container['model_path']}",
                    "sha256": digest["sha256"],
                    "size_bytes": digest["size_bytes"],
                    "image": container["image"],
                    "problem": job["problem"],
                    "shares": container.get("shares", ""),
                    "job_id": job["id"],
                    "candidate": candidate,
                    "created_at": job["modified_at"],
                }


def _record_steps() -> None:
    """Record what earlier candidates named, which was one training job each."""
    jobs = sa.table("jobs", *map(sa.column, ("id", "account_id", "region")))
    candidates = sa.table("candidates", *map(sa.column, ("job_id", "name", "created_at")))
    columns = ("account_id", "region", "kind", "folded_name", "job_id", "name", "candidate", "noted_at")
    named = sa.select(
        jobs.c.account_id,
        jobs.c.region,
        sa.literal("training-job"),
        sa.func.lower(candidates.c.name),
        candidates.c.job_id,
        candidates.c.name,
        candidates.c.name,
        candidates.c.created_at,
    ).select_from(candidates.join(jobs, jobs.c.id == candidates.c.job_id))
    op.get_bind().execute(sa.insert(sa.table("steps", *map(sa.column, columns))).from_select(list(columns), named))
