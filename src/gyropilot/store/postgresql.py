"""PostgreSQL: how connections to it are made, and what its failures mean. Used by database.py, imported when needed.

A password stands in the URL or where libpq looks for one (PGPASSWORD, ~/.pgpass); no message of ours repeats it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError

from gyropilot.errors import GyropilotError, InvalidRequest, MissingExtra, Unavailable

if TYPE_CHECKING:
    import psycopg

OLDEST = 14
"""The oldest major version whose makers still mend it."""
POOL_SIZE, POOL_OVERFLOW = 5, 10
"""Connections that a process keeps, and may open beside them for a while."""
_CONNECTING = {
    "connect_timeout": 5,
    "application_name": "gyropilot",
    # A server whose machine is gone is given up after about 15 s, not after the hours that TCP would take.
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
_PREPARING = """
SELECT set_config('statement_timeout', '30s', false),
       set_config('lock_timeout', '10s', false),
       set_config('idle_in_transaction_session_timeout', '60s', false),
       set_config('synchronous_commit', CASE current_setting('synchronous_commit')
           WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)
"""
"""What each connection is set to; an acknowledged commit is on the server's disk, whatever its own default."""


def make_engine(url: URL) -> Engine:
    """Give an engine that opens connections when they are asked for.

    Raises:
        InvalidRequest: the URL names a driver that is not ours.
        MissingExtra: the driver is not installed.
    """
    if url.drivername not in {"postgresql", "postgres", "postgresql+psycopg", "postgres+psycopg"}:
        raise InvalidRequest(
            where=_SETTING, found=url.drivername, problem="names a driver we do not use", fix="write postgresql://..."
        )
    try:
        engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            connect_args={name: value for name, value in _CONNECTING.items() if name not in url.query},
            isolation_level="READ COMMITTED",
            pool_size=POOL_SIZE,
            max_overflow=POOL_OVERFLOW,
            pool_pre_ping=True,
            hide_parameters=True,
        )
    except ImportError as error:
        raise MissingExtra("postgres", "A PostgreSQL database") from error
    event.listen(engine, "connect", _prepare)
    return engine


def prepare_migration(connection: Connection, lock_key: int) -> None:
    """Let this transaction, alone among all processes, take the time that it needs."""
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SET LOCAL lock_timeout = 0"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock_key})


def danger(connection: Connection) -> str:
    """Give what in the server's configuration may lose acknowledged work; empty where nothing does."""
    asked = "SELECT current_setting('fsync'), current_setting('full_page_writes')"
    if tuple(connection.execute(text(asked)).one()) == ("on", "on"):
        return ""
    return "the server runs without fsync or full_page_writes: a power cut may lose or break its data"


def is_passing(error: DBAPIError) -> bool:
    """Say whether what failed may succeed when it is tried again: a connection, a timeout, a deadlock, a full disk."""
    import psycopg

    original = error.orig
    if error.connection_invalidated or isinstance(original, (psycopg.OperationalError, psycopg.InterfaceError)):
        return True
    return getattr(original, "sqlstate", None) in _PASSING_STATES


def is_starting(error: DBAPIError) -> bool:
    """Say whether the server is about to answer."""
    return "starting up" in str(error.orig) or "recovery" in str(error.orig)


def opening_error(url: URL, error: DBAPIError) -> GyropilotError:
    """Give what an operator can do about a database that could not be opened."""
    said = " ".join(str(error.orig).split())
    state = getattr(error.orig, "sqlstate", None)
    for pattern, problem, fix in _OPENING_FAULTS:
        if re.search(pattern, f"{state} {said}"):
            fix = fix.format(database=_quoted(url.database or url.username), user=_quoted(url.username))
            return InvalidRequest(where=_SETTING, found=_described(url), problem=problem, fix=fix)
    return Unavailable(f"{_SETTING}: {_described(url)} cannot be used: {said}")


def _prepare(connection: psycopg.Connection, _record: object) -> None:
    version = connection.info.server_version // 10_000
    if version < OLDEST:
        connection.close()
        raise InvalidRequest(
            where=_SETTING,
            found=f"PostgreSQL {version}",
            problem="is too old a server",
            fix=f"use PostgreSQL {OLDEST} or newer",
        )
    connection.execute(_PREPARING)
    connection.commit()


def _described(url: URL) -> str:
    """Give the URL without password and options."""
    host = url.host or url.query.get("host") or "localhost"
    return f"database {url.database or url.username} of user {url.username} at {host}:{url.port or 5432}"


def _quoted(name: str | None) -> str:
    """Give a name as SQL takes it."""
    name = name or "..."
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*|\.\.\.", name) else '"' + name.replace('"', '""') + '"'


_SETTING = "setting database_url"
_PASSING_STATES = {"25006", "25P03", "40001", "40P01", "53100", "53200", "53300", "53400", "55P03", "57014"}
_CONNECTION_FIX = "is the server running, does it listen there, does a firewall let us through? Try: psql or pg_isready"
_OPENING_FAULTS = (
    ("password authentication failed|no password supplied", "the server refuses user and password", "mend the URL"),
    (
        "pg_hba.conf|28000|(Peer|Ident|GSSAPI|SSPI|PAM|LDAP|RADIUS|certificate|peer|ident) authentication failed",
        "the server does not let this user in from here",
        "let it in by the server's pg_hba.conf, and reload that; or ask for encryption with ?sslmode=require",
    ),
    ('role ".*" does not exist', "the server has no such user", "create it: CREATE ROLE {user} LOGIN PASSWORD '...'"),
    (
        'database ".*" does not exist',
        "the server has no such database",
        "create it: CREATE DATABASE {database} OWNER {user}",
    ),
    (
        "42501",
        "the user may not create tables there",
        "make the user owner of the database, or: GRANT USAGE, CREATE ON SCHEMA public TO the user",
    ),
    ("too many clients|53300|remaining connection slots", "the server has no connection left", "raise max_connections"),
    ("could not translate host|resolve host|Name or service", "the host name is not known", "mend the URL"),
    ("invalid connection option|invalid .* value", "the URL has an option that is none", "mend what follows its ?"),
    ("Connection refused|timeout|timed out|No such file|No route|unreachable", "no server answers", _CONNECTION_FIX),
)
"""Pattern of SQLSTATE and message, what is wrong, what mends it, with database and user of the URL.

Messages, since libpq gives no state at connecting."""
