"""Endpoint configurations: which models an endpoint is to serve, how often and by what weight; never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from gyropilot.store import named_rows, pages
from gyropilot.store.database import Database
from gyropilot.store.named_rows import NamedQuery, NamedSummary, NewRow
from gyropilot.store.tables import endpoint_configs as endpoint_configs_table

Json = Any


@dataclass(frozen=True, kw_only=True)
class EndpointConfigRecord:
    """An endpoint configuration as the store has it."""

    id: str
    account_id: str
    region: str
    name: str
    arn: str
    request: dict[str, Json]
    """As it came."""
    variants: list[dict[str, Json]]
    """Each with name, model_name, weight, instances, instance_type, startup_seconds, download_seconds."""
    created_at: datetime


def create(
    db: Database,
    config: NewRow,
    *,
    request: Mapping[str, Json],
    variants: Sequence[Mapping[str, Json]],
    tags: Mapping[str, str],
    call: str | None = None,
) -> EndpointConfigRecord:
    """Store a configuration and its tags; on disk when this returns. The same `call` again gives its first one.

    Raises:
        AlreadyExists: a configuration of this account and region has the name, in whatever letter case.
    """
    values = {"creating_call": call, "request": dict(request), "variants": [dict(one) for one in variants]}
    taken = f'Cannot create already existing endpoint configuration "{config.arn}".'
    return _record(named_rows.create(db, endpoint_configs_table, config, values, tags, taken=taken))


def find(db: Database, account_id: str, region: str, name: str) -> EndpointConfigRecord | None:
    """Give the configuration of exactly that name."""
    row = named_rows.find(db, endpoint_configs_table, account_id, region, name)
    return None if row is None else _record(row)


def find_arn(db: Database, account_id: str, region: str, name: str) -> str | None:
    """Give the ARN of the configuration of that name, in whatever letter case."""
    return named_rows.find_arn(db, endpoint_configs_table, account_id, region, name)


def page(db: Database, query: NamedQuery) -> pages.Page[NamedSummary]:
    """Give one page of the configurations that pass the filters.

    Raises:
        InvalidRequest: the cursor belongs to another order.
    """
    return named_rows.page_of_summaries(db, endpoint_configs_table, query)


def remove(db: Database, account_id: str, region: str, name: str, *, made_by: str | None = None) -> bool:
    """Take the configuration of exactly that name away, with its tags, and say whether it was there.

    With `made_by`, it is taken away only if that call made it.
    """
    return named_rows.remove(db, endpoint_configs_table, account_id, region, name, made_by=made_by)


def _record(row: Row[Any]) -> EndpointConfigRecord:
    return EndpointConfigRecord(**{one.name: row._mapping[one.name] for one in fields(EndpointConfigRecord)})
