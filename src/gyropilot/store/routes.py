"""An endpoint together with its replicas, read at once: what the router asks at every call."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, Label, bindparam, case, func, null, select

from gyropilot.names import folded
from gyropilot.store.database import Database
from gyropilot.store.endpoints import EndpointRecord
from gyropilot.store.replicas import ReplicaRecord
from gyropilot.store.tables import JsonText
from gyropilot.store.tables import endpoints as endpoints_table
from gyropilot.store.tables import replicas as replicas_table

_ORDER = (replicas_table.c.variant, replicas_table.c.number, replicas_table.c.id)


def _of_endpoint(name: str) -> Label[Any]:
    """Give a column of the endpoint; one of JSON in the first row alone, since to read it in each takes long."""
    column: ColumnElement[Any] = endpoints_table.c[name]
    if isinstance(column.type, JsonText):
        column = case((func.row_number().over(order_by=_ORDER) == 1, column), else_=null())
    return column.label(f"endpoint_{name}")


_ENDPOINT_FIELDS = [one.name for one in fields(EndpointRecord)]
_REPLICA_FIELDS = [one.name for one in fields(ReplicaRecord)]
_OF_ENDPOINT = [_of_endpoint(one) for one in _ENDPOINT_FIELDS]
_OF_REPLICA = [replicas_table.c[one].label(f"replica_{one}") for one in _REPLICA_FIELDS]
# Made once: to put the statement together takes longer than to run it.
_BY_NAME = (
    select(*_OF_ENDPOINT, *_OF_REPLICA)
    .select_from(endpoints_table.outerjoin(replicas_table, replicas_table.c.endpoint_id == endpoints_table.c.id))
    .where(
        endpoints_table.c.account_id == bindparam("account_id"),
        endpoints_table.c.region == bindparam("region"),
        endpoints_table.c.folded_name == bindparam("folded_name"),
        endpoints_table.c.name == bindparam("name"),
    )
    .order_by(*_ORDER)
)


@dataclass(frozen=True, kw_only=True)
class Route:
    """An endpoint and its replicas at one moment."""

    endpoint: EndpointRecord
    replicas: tuple[ReplicaRecord, ...]


def find(db: Database, account_id: str, region: str, name: str) -> Route | None:
    """Give the endpoint of exactly that name, with its replicas."""
    asked = {"account_id": account_id, "region": region, "folded_name": folded(name), "name": name}
    with db.read() as connection:
        rows = connection.execute(_BY_NAME, asked).all()
    if not rows:
        return None
    endpoint = EndpointRecord(**dict(zip(_ENDPOINT_FIELDS, rows[0], strict=False)))
    begin = len(_ENDPOINT_FIELDS)
    found = [ReplicaRecord(**dict(zip(_REPLICA_FIELDS, row[begin:], strict=True))) for row in rows if row.replica_id]
    return Route(endpoint=endpoint, replicas=tuple(found))
