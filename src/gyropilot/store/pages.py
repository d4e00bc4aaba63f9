"""Pages of a listing, by keyset: a page begins after the last row of the one before, so rows that come or go between
two pages shift nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from sqlalchemy import BigInteger, ColumnElement, Connection, Row, Select, literal, tuple_, type_coerce

from gyropilot.errors import InvalidRequest

Cursor = tuple[str | int | float, ...]
"""Sort values of a page's last row; JSON values, in the order of the sort keys."""
SortOrder = Literal["Ascending", "Descending"]
Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Page(Generic[Item]):
    """Some rows, and where the next page begins; no cursor: this was the last."""

    items: tuple[Item, ...]
    next_cursor: Cursor | None


def fetch(
    connection: Connection,
    query: Select[Any],
    keys: Sequence[ColumnElement[Any]],
    order: SortOrder,
    limit: int,
    after: Sequence[str | int | float] | None,
) -> tuple[Sequence[Row[Any]], Cursor | None]:
    """Give up to `limit` rows of `query` in the order of `keys`, all one way, and the cursor of the next page.

    The keys are plain numbers or text that no two rows share as a whole; they end each row as columns key_0, key_1...

    Raises:
        InvalidRequest: `after` is not a cursor of this order.
    """
    query = query.add_columns(*(key.label(f"key_{place}") for place, key in enumerate(keys)))
    if after is not None:
        if len(after) != len(keys) or not all(map(_fits, after, keys)):
            raise other_order()
        here = tuple_(*keys)
        there = tuple_(*(literal(value, type_=key.type) for key, value in zip(keys, after, strict=True)))
        query = query.where(here > there if order == "Ascending" else here < there)
    query = query.order_by(*(key.asc() if order == "Ascending" else key.desc() for key in keys))
    rows = connection.execute(query.limit(limit + 1)).all()
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]._mapping
    return rows[:limit], tuple(last[f"key_{place}"] for place in range(len(keys)))


def other_order() -> InvalidRequest:
    """Give what is raised where a cursor is none of the order that is asked for."""
    return InvalidRequest(where="NextToken", problem="was made for another order", fix="list from the start")


def _fits(value: object, key: ColumnElement[Any]) -> bool:
    wanted = key.type.python_type
    return type(value) is wanted or (wanted is float and type(value) is int)


def as_number(moment: ColumnElement[Any]) -> ColumnElement[int]:
    """Give a column of moments as the numbers it stores, fit for a key."""
    return type_coerce(moment, BigInteger)
