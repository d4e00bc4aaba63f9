"""An endpoint together with its replicas, read at once: what the router asks at every call."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Row, bindparam, select

from gyropilot.names import folded
from gyropilot.store.database import Database
from gyropilot.store.endpoints import EndpointRecord
from gyropilot.store.replicas import ReplicaRecord
from gyropilot.store.tables import endpoints as endpoints_table
from gyropilot.store.tables import replicas as replicas_table

_OF_ENDPOINT = [endpoints_table.c[one.name].label(f"endpoint_{one.name}") for one in fields(EndpointRecord)]
_OF_REPLICA = [replicas_table.c[one.name].label(f"replica_{one.name}") for one in fields(ReplicaRecord)]
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
    .order_by(replicas_table.c.variant, replicas_table.c.number, replicas_table.c.id)
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
    endpoint = EndpointRecord(**_values(rows[0], "endpoint_", EndpointRecord))
    found = [_values(row, "replica_", ReplicaRecord) for row in rows if row.replica_id is not None]
    return Route(endpoint=endpoint, replicas=tuple(ReplicaRecord(**one) for one in found))


def _values(row: Row[Any], prefix: str, kind: type) -> dict[str, Any]:
    return {one.name: row._mapping[f"{prefix}{one.name}"] for one in fields(kind)}
