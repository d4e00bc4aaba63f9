"""Alembic's entry: runs the revisions on the connection, and in the transaction, that database.py hands over."""

from __future__ import annotations

from alembic import context

from gyropilot.store import tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
