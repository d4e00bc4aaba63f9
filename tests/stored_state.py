"""Everything that a home holds, to compare before and after: every row of the database, every file's digest."""

from __future__ import annotations

import hashlib
import sqlite3

_HELD = """
SELECT (SELECT count(*) FROM jobs WHERE lease_token IS NOT NULL OR status IN ('InProgress', 'Stopping'))
    + (SELECT count(*) FROM transform_jobs WHERE status IN ('InProgress', 'Stopping'))
    + (SELECT count(*) FROM endpoints WHERE status IN ('Creating', 'Updating', 'Deleting'))
"""
_LEFT_OUT = (".log", "-wal", "-shm", ".db", ".sqlite", "service.json", ".lock")


def state_of(home):
    """Give {table: rows, file: digest}; the database is read as a second opener may, from what is committed."""
    files = {
        str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(home.rglob("*"))
        if path.is_file() and not path.name.endswith(_LEFT_OUT)
    }
    return files | _rows(home)


def is_idle(home):
    """Say whether no job is held by a worker and no endpoint is on its way: what is stored stays as it is."""
    return _asked(home, lambda connection: connection.execute(_HELD).fetchone() == (0,))


def _rows(home):
    return _asked(home, _every_row)


def _every_row(connection):
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    tables = [name for name in names if name != "turnstiles"]  # counts how often workers looked for jobs
    return {table: sorted(map(repr, connection.execute(f'SELECT * FROM "{table}"'))) for table in tables}


def _asked(home, question):
    (database,) = [path for path in home.iterdir() if path.suffix in (".db", ".sqlite")]
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return question(connection)
    finally:
        connection.close()
