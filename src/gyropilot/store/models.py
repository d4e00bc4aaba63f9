"""Models: containers of ours over model data that a job of ours wrote; made once, never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from gyropilot.store import named_rows, pages
from gyropilot.store.database import Database
from gyropilot.store.named_rows import NamedQuery, NamedSummary, NewRow
from gyropilot.store.tables import models as models_table

Json = Any


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """A model as the store has it."""

    id: str
    account_id: str
    region: str
    name: str
    arn: str
    request: dict[str, Json]
    """As it came."""
    containers: list[dict[str, Json]]
    """Each with uri, sha256, size_bytes, image, environment, problem (its config name) and shares."""
    created_at: datetime


def create(
    db: Database,
    model: NewRow,
    *,
    request: Mapping[str, Json],
    containers: Sequence[Mapping[str, Json]],
    tags: Mapping[str, str],
    call: str | None = None,
) -> ModelRecord:
    """Store a model and its tags; on disk when this returns. The same `call` again gives its first model.

    Raises:
        AlreadyExists: a model of this account and region has the name, in whatever letter case.
    """
    taken = f'Cannot create already existing model "{model.arn}".'
    values = {"creating_call": call, "request": dict(request), "containers": [dict(one) for one in containers]}
    return _record(named_rows.create(db, models_table, model, values, tags, taken=taken))


def find(db: Database, account_id: str, region: str, name: str) -> ModelRecord | None:
    """Give the model of exactly that name."""
    row = named_rows.find(db, models_table, account_id, region, name)
    return None if row is None else _record(row)


def find_arn(db: Database, account_id: str, region: str, name: str) -> str | None:
    """Give the ARN of the model of that name, in whatever letter case."""
    return named_rows.find_arn(db, models_table, account_id, region, name)


def page(db: Database, query: NamedQuery) -> pages.Page[NamedSummary]:
    """Give one page of the models that pass the filters.

    Raises:
        InvalidRequest: the cursor belongs to another order.
    """
    return named_rows.page_of_summaries(db, models_table, query)


def remove(db: Database, account_id: str, region: str, name: str, *, made_by: str | None = None) -> bool:
    """Take the model of exactly that name away, with its tags, and say whether it was there.

    With `made_by`, it is taken away only if that call made it.
    """
    return named_rows.remove(db, models_table, account_id, region, name, made_by=made_by)


def _record(row: Row[Any]) -> ModelRecord:
    return ModelRecord(**{one.name: row._mapping[one.name] for one in fields(ModelRecord)})
