"""Looks at the database without changing it, beside whoever uses it; called by `gyropilot doctor`."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from gyropilot.errors import GyropilotError
from gyropilot.store import postgresql, sealed_rows, tables
from gyropilot.store.database import schema_revision
from gyropilot.store.sealed_rows import SealedRow

Depth = Literal["shallow", "deep"]


@dataclass(frozen=True, kw_only=True)
class DatabaseState:
    """What a look found."""

    kind: Literal["SQLite", "PostgreSQL"]
    about: str = ""
    """Version, mode, revision of the schema."""
    trouble: str = ""
    """Why it cannot be used; empty where it can."""
    danger: str = ""
    """What may lose acknowledged work; empty where nothing does."""


def look(url: str, depth: Depth) -> DatabaseState:
    """Give the state of the database at a URL; `deep` reads the whole of an SQLite file."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return DatabaseState(kind="PostgreSQL", trouble="setting database_url is no URL")
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(Path(str(parsed.database)), depth)
    return _postgresql(url)


def secrets_in(url: str) -> list[SealedRow]:
    """Give the sealed secrets of a database that `look` found no trouble in; none where it has no tables yet."""
    parsed = make_url(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    engine = _read_only(Path(str(parsed.database))) if is_sqlite else postgresql.make_engine(parsed)
    try:
        with engine.connect() as connection:
            return sealed_rows.read(connection)
    except DBAPIError:  # not made yet, or of an older schema: the next start brings it up to date and looks itself
        return []
    finally:
        engine.dispose()


def _read_only(path: Path) -> Engine:
    uri = f"{path.as_uri()}?mode=ro"
    return create_engine("sqlite://", creator=lambda: sqlite3.connect(uri, uri=True, timeout=10))


def _sqlite(path: Path, depth: Depth) -> DatabaseState:
    if not path.exists():
        return DatabaseState(kind="SQLite", about="not made yet; the first start makes it")
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)
        try:
            mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
            has_schema = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone() if has_schema else None
            said = connection.execute("PRAGMA integrity_check(1)").fetchone()[0] if depth == "deep" else "ok"
        finally:
            connection.close()
    except sqlite3.Error as error:
        return DatabaseState(kind="SQLite", trouble=f"{path} cannot be read: {error}")
    if said != "ok":
        return DatabaseState(kind="SQLite", trouble=f"{path} is damaged: {said}")
    revision = None if found is None else found[0]
    return DatabaseState(
        kind="SQLite",
        about=f"SQLite {sqlite3.sqlite_version}, journal mode {mode}, {_schema(revision)}",
        trouble=_schema_trouble(revision),
        danger="" if mode == "wal" or revision is None else f"the journal mode is {mode}, not wal",
    )


def _postgresql(url: str) -> DatabaseState:
    parsed = make_url(url)
    try:
        engine = postgresql.make_engine(parsed)
    except GyropilotError as error:
        return DatabaseState(kind="PostgreSQL", trouble=str(error))
    try:
        with engine.connect() as connection:
            return _postgresql_state(connection)
    except GyropilotError as error:
        return DatabaseState(kind="PostgreSQL", trouble=str(error))
    except DBAPIError as error:
        return DatabaseState(kind="PostgreSQL", trouble=str(postgresql.opening_error(parsed, error)))
    finally:
        engine.dispose()


def _postgresql_state(connection: Connection) -> DatabaseState:
    version = connection.execute(text("SELECT current_setting('server_version')")).scalar_one()
    revision = schema_revision(connection)
    return DatabaseState(
        kind="PostgreSQL",
        about=f"PostgreSQL {version}, {_schema(revision)}",
        trouble=_schema_trouble(revision),
        danger=postgresql.danger(connection),
    )


def _schema(revision: str | None) -> str:
    if revision is None:
        return "no schema yet; the first start makes it"
    old = f", brought up to {tables.HEAD} at the next start" if revision < tables.HEAD else ""
    return f"schema {revision}{old}"


def _schema_trouble(revision: str | None) -> str:
    if revision is None or revision <= tables.HEAD:
        return ""
    return f"its schema {revision} is newer than this program's {tables.HEAD}; use the program that made it"
