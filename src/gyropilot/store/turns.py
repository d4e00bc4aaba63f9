"""Turns: lets transactions that count before they write go one after the other, over all processes."""

from __future__ import annotations

from sqlalchemy import Connection, text


def take_turn(connection: Connection, name: str) -> None:
    """Wait until no other transaction holds the turn of this name; it is held until this transaction ends.

    On SQLite the writers of a database stand in one queue anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name})
