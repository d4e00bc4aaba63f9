"""The tables, as SQLAlchemy Core sees them; the files beside this one read and write them, nothing else does.

`migrations/` makes them; a test compares the two. Each column type stores alike on SQLite and PostgreSQL.

    jobs ──< events        append-only, gap-free sequence per job
      │ ──< candidates ──< steps          which candidate names a training, processing or transform job as its step
      │ ──< outputs         what each part of the work gave and put into the job's bucket
      └─── progress        one row a job, overwritten
    model_data             what jobs published that may be served, by digest and by place
    models, endpoint_configs, endpoints ──< replicas, async_invocations        transform_jobs
    tags (by ARN)   roles   principals   turnstiles (what must pass one at a time)   house (one row: whose database)
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)

HEAD = "0005"
"""The newest revision in migrations/versions; stated here so that an up-to-date database opens without alembic."""

Json = Any
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """Give a moment as it is stored: whole microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


class Moment(TypeDecorator[datetime]):
    """An aware datetime, stored as whole microseconds since 1970 so that it sorts and compares alike everywhere."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Give the stored form."""
        return None if value is None else microseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Give the datetime, in UTC."""
        return None if value is None else _EPOCH + timedelta(microseconds=value)


class JsonText(TypeDecorator[Json]):
    """JSON values in a text column, keys in the order they were given.

    Written in ASCII, so NUL and lone surrogates stay escapes that every database takes. NaN and infinities are no JSON
    and raise ValueError.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Json, dialect: Dialect) -> str:
        """Give the stored form."""
        return json.dumps(value, allow_nan=False, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Json:
        """Give the JSON values."""
        return None if value is None else json.loads(value)


_BYTEWISE = String(256).with_variant(String(256, collation="C"), "postgresql")
"""Text that sorts by bytes whatever the database's locale."""

_BYTEWISE_LONG = String(2048).with_variant(String(2048, collation="C"), "postgresql")

metadata = MetaData()


def _named() -> list[Column[Any]]:
    """Give the first columns of what a caller makes under a name of his account and region."""
    return [
        Column("id", String(32), primary_key=True),
        Column("account_id", String(12), nullable=False),
        Column("region", String(64), nullable=False),
        Column("name", String(256), nullable=False),
        Column("folded_name", _BYTEWISE, nullable=False),
        Column("arn", String(512), nullable=False),
    ]


jobs = Table(
    "jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account_id", String(12), nullable=False),
    Column("region", String(64), nullable=False),
    Column("name", String(256), nullable=False),
    Column("folded_name", _BYTEWISE, nullable=False),
    Column("arn", String(512), nullable=False),
    Column("problem", String(64), nullable=False),
    Column("request", JsonText, nullable=False),
    Column("spec", JsonText, nullable=False),
    Column("resolved", JsonText, nullable=False),
    Column("principal", String(128), nullable=False),
    Column("invocation_id", String(256)),
    Column("status", _BYTEWISE, nullable=False),
    Column("secondary_status", String(64), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("modified_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("ended_at", Moment),
    Column("failure_reason", Text),
    Column("partial_failure_reasons", JsonText, nullable=False),
    Column("stop_requested_at", Moment),
    Column("best_candidate", String(256)),
    Column("artifacts", JsonText, nullable=False),
    Column("state", JsonText, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("last_event", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("lease_owner", String(256)),
    Column("lease_token", String(32)),
    Column("lease_until", BigInteger),
    Column("lost_attempts", Integer, nullable=False, server_default="0"),
    Index("jobs_name", "account_id", "region", "folded_name", unique=True),
    Index("jobs_created", "account_id", "region", "created_at", "id"),
    Index("jobs_status", "account_id", "region", "status", "id"),
    # Partial on PostgreSQL too, as the migration makes it; said here it would load that dialect at every start.
    Index("jobs_open", "created_at", "id", sqlite_where=text("status IN ('InProgress', 'Stopping')")),
    Index("jobs_open_account", "account_id", sqlite_where=text("status IN ('InProgress', 'Stopping')")),
)

events = Table(
    "events",
    metadata,
    Column("job_id", String(32), ForeignKey("jobs.id"), primary_key=True),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("kind", String(64), nullable=False),
    Column("message", Text, nullable=False),
    Column("detail", JsonText, nullable=False),
    Index("events_kind", "job_id", "kind", "sequence"),
)

progress = Table(
    "progress",
    metadata,
    Column("job_id", String(32), ForeignKey("jobs.id"), primary_key=True),
    Column("body", JsonText, nullable=False),
)

candidates = Table(
    "candidates",
    metadata,
    Column("job_id", String(32), ForeignKey("jobs.id"), primary_key=True),
    Column("name", _BYTEWISE, primary_key=True),
    Column("status", _BYTEWISE, nullable=False),
    Column("objective_status", String(64), nullable=False),
    Column("score", Float),
    Column("direction", String(16), nullable=False),
    Column("body", JsonText, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("modified_at", Moment, nullable=False),
    Column("ended_at", Moment),
    Column("failure_reason", Text),
)

outputs = Table(
    "outputs",
    metadata,
    Column("job_id", String(32), ForeignKey("jobs.id"), primary_key=True),
    Column("part", _BYTEWISE, primary_key=True),
    Column("names", JsonText, nullable=False),
    Column("digests", JsonText, nullable=False),
    Column("result", JsonText, nullable=False),
)

steps = Table(
    "steps",
    metadata,
    Column("account_id", String(12), primary_key=True),
    Column("region", String(64), primary_key=True),
    Column("kind", String(32), primary_key=True),
    Column("folded_name", _BYTEWISE, primary_key=True),
    Column("job_id", String(32), ForeignKey("jobs.id"), primary_key=True),
    Column("name", String(256), nullable=False),
    Column("candidate", String(256), nullable=False),
    Column("noted_at", Moment, nullable=False),
)

tags = Table(
    "tags",
    metadata,
    Column("arn", String(512), primary_key=True),
    Column("key", _BYTEWISE, primary_key=True),
    Column("value", String(256), nullable=False),
)

roles = Table(
    "roles",
    metadata,
    Column("arn", String(2048), primary_key=True),
    Column("read_prefixes", JsonText, nullable=False),
    Column("write_prefixes", JsonText, nullable=False),
    Column("passable_by", JsonText, nullable=False),
    Column("s3_endpoint", String(2048), nullable=False, server_default=""),
    Column("s3_region", String(64), nullable=False, server_default=""),
    Column("sealed_s3_keys", Text),
    Column("created_at", Moment),
)

principals = Table(
    "principals",
    metadata,
    Column("access_key_id", String(128), primary_key=True),
    Column("account_id", String(12), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("name", String(128), nullable=False),
    Column("sealed_secret", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("revoked_at", Moment),
)

model_data = Table(
    "model_data",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account_id", String(12), nullable=False),
    Column("uri", _BYTEWISE_LONG, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("image", String(255), nullable=False),
    Column("problem", String(64), nullable=False),
    Column("shares", String(256), nullable=False),
    Column("job_id", String(32), ForeignKey("jobs.id"), nullable=False),
    Column("candidate", String(256), nullable=False),
    Column("created_at", Moment, nullable=False),
    Index("model_data_place", "account_id", "uri", unique=True),
    Index("model_data_size", "account_id", "size_bytes"),
)

models = Table(
    "models",
    metadata,
    *_named(),
    Column("creating_call", String(64)),
    Column("request", JsonText, nullable=False),
    Column("containers", JsonText, nullable=False),
    Column("created_at", Moment, nullable=False),
    Index("models_name", "account_id", "region", "folded_name", unique=True),
    Index("models_created", "account_id", "region", "created_at", "id"),
)

endpoint_configs = Table(
    "endpoint_configs",
    metadata,
    *_named(),
    Column("creating_call", String(64)),
    Column("request", JsonText, nullable=False),
    Column("variants", JsonText, nullable=False),
    Column("created_at", Moment, nullable=False),
    Index("endpoint_configs_name", "account_id", "region", "folded_name", unique=True),
    Index("endpoint_configs_created", "account_id", "region", "created_at", "id"),
)

endpoints = Table(
    "endpoints",
    metadata,
    *_named(),
    Column("creating_call", String(64)),
    Column("principal", String(128), nullable=False),
    Column("status", _BYTEWISE, nullable=False),
    Column("failure_reason", Text),
    Column("wanted", JsonText, nullable=False),
    Column("serving", JsonText),
    Column("generation", Integer, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("modified_at", Moment, nullable=False),
    Index("endpoints_name", "account_id", "region", "folded_name", unique=True),
    Index("endpoints_created", "account_id", "region", "created_at", "id"),
    Index("endpoints_status", "account_id", "region", "status", "id"),
)

replicas = Table(
    "replicas",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("endpoint_id", String(32), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("variant", String(63), nullable=False),
    Column("number", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("socket", String(256), nullable=False),
    Column("model", String(128), nullable=False),
    Column("restarts", Integer, nullable=False),
    Column("reason", Text),
    Column("modified_at", Moment, nullable=False),
    Index("replicas_endpoint", "endpoint_id"),
)

async_invocations = Table(
    "async_invocations",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("endpoint_id", String(32), nullable=False),
    Column("request", JsonText, nullable=False),
    Column("status", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Index("async_invocations_waiting", "status", "endpoint_id", "created_at"),
    Index("async_invocations_expiring", "status", "expires_at"),
)

transform_jobs = Table(
    "transform_jobs",
    metadata,
    *_named(),
    Column("principal", String(128), nullable=False),
    Column("creating_call", String(64)),
    Column("request", JsonText, nullable=False),
    Column("model", JsonText, nullable=False),
    Column("status", _BYTEWISE, nullable=False),
    Column("failure_reason", Text),
    Column("state", JsonText, nullable=False),
    Column("stop_requested_at", Moment),
    Column("created_at", Moment, nullable=False),
    Column("modified_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("ended_at", Moment),
    Index("transform_jobs_name", "account_id", "region", "folded_name", unique=True),
    Index("transform_jobs_created", "account_id", "region", "created_at", "id"),
    Index("transform_jobs_status", "account_id", "region", "status", "id"),
    Index("transform_jobs_begun", "account_id", "started_at"),
    Index("transform_jobs_open", "created_at", "id", sqlite_where=text("status IN ('InProgress', 'Stopping')")),
)

house = Table("house", metadata, Column("home_id", String(32), primary_key=True))

turnstiles = Table(
    "turnstiles",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("passes", BigInteger, nullable=False),
)
