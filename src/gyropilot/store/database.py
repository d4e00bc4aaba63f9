"""The database: opened once by a process, shared by its threads; SQLite in the home folder, or PostgreSQL.

    with db.write() as connection: ...      one transaction; committed, on disk, when the block ends
    with db.read() as connection: ...       one consistent view

SQLite is opened by one process at a time (`lock_home`), in WAL mode with synchronous=FULL: a commit that returned is on
the disk. The schema is brought up to date at opening.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, ExceptionContext, create_engine, event, inspect, make_url, text

from gyropilot import clock
from gyropilot.errors import InvalidRequest, LimitExceeded
from gyropilot.store import tables
from gyropilot.store.folders import make_private_folder

_log = logging.getLogger(__name__)
_BUSY_SECONDS = 30
_MIGRATION_LOCK = 7_310_747
"""Key of the PostgreSQL advisory lock that lets one process migrate at a time."""


class Database:
    """A pool of connections and the two ways to use one. Safe for threads; not to be carried over a fork."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        # Writers of this process queue here, in order; SQLite's own busy wait polls and may starve one of them.
        self._writing = threading.Lock() if self.is_sqlite else None

    @classmethod
    def open(cls, url: str) -> Database:
        """Give the database at an SQLAlchemy URL, its schema made or brought up to date.

        Raises:
            InvalidRequest: the URL is not a database we know, or its schema is newer than this program.
            LimitExceeded: SQLite cannot run in WAL mode with synchronous=FULL there.
        """
        parsed = _checked_url(url)
        database = cls(_sqlite_engine(parsed) if parsed.get_backend_name() == "sqlite" else _postgresql_engine(parsed))
        try:
            database._bring_up_to_date()
        except BaseException:
            database.close()
            raise
        return database

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection in a transaction that may write; committed at the end of the block, or rolled back."""
        with self._writing or nullcontext(), self._engine.connect() as connection:
            writing = connection.execution_options(gyropilot_writes=True)
            with writing.begin():
                yield writing

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection that sees one state of the database."""
        with self._engine.connect() as connection, connection.begin():
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def lease_clock(self, connection: Connection) -> int:
        """Give microseconds of the clock by which leases run out.

        On SQLite, where all owners share a machine, the monotonic clock, which no change of the date moves; on
        PostgreSQL the server's, so that all machines agree.
        """
        if self.is_sqlite:
            return int(clock.monotonic() * 1_000_000)
        now = connection.execute(text("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"))
        return int(now.scalar_one())

    def _bring_up_to_date(self) -> None:
        with self.read() as connection:
            if _revision(connection) == tables.HEAD:
                return
        with self.write() as connection:
            if not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            if _revision(connection) != tables.HEAD:
                _migrate(connection)


class HomeLock:
    """Sole ownership of a home folder, held until `release` or the end of the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Let another process have the folder."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> HomeLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def lock_home(home: Path) -> HomeLock:
    """Make the folder (owner only) and take sole ownership of it.

    Raises:
        LimitExceeded: another process owns it; the message names its process id.
        InvalidRequest: the folder belongs to another user.
    """
    make_private_folder(home)
    descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise LimitExceeded(
            f"{home} is in use by another gyropilot service (process {holder}); "
            "stop that one, or give this one a folder of its own with --home or GYROPILOT_HOME"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return HomeLock(descriptor)


def _checked_url(url: str) -> URL:
    parsed = make_url(url)
    known = {"sqlite", "postgresql"}
    if parsed.get_backend_name() not in known:
        raise InvalidRequest(
            where="database",
            found=parsed.get_backend_name(),
            problem="is no database we know",
            fix="use one of sqlite, postgresql",
        )
    if parsed.get_backend_name() == "sqlite" and not parsed.database:
        raise InvalidRequest(where="database", problem="names no file", fix="write sqlite:////folder/gyropilot.db")
    return parsed


def _sqlite_engine(url: URL) -> Engine:
    path = Path(str(url.database))
    make_private_folder(path.parent)
    # SQLite gives the files it makes beside this one the same mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    path.chmod(0o600)
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS}, pool_size=8, max_overflow=32)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    event.listen(engine, "handle_error", _end_on_lost_sync)
    return engine


def _postgresql_engine(url: URL) -> Engine:
    url = url.set(drivername="postgresql+psycopg")
    return create_engine(url, pool_size=8, max_overflow=32, pool_pre_ping=True)


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where _begin_sqlite says, not where the driver guesses
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    asked = ("PRAGMA journal_mode", "PRAGMA synchronous", "PRAGMA foreign_keys")
    found = [connection.execute(one).fetchone()[0] for one in asked]
    if found != ["wal", 2, 1]:
        connection.close()
        raise LimitExceeded(
            f"SQLite cannot write durably here (journal mode, synchronous, foreign keys: {found}); "
            "put the home folder on a local file system"
        )


def _begin_sqlite(connection: Connection) -> None:
    is_writing = connection.get_execution_options().get("gyropilot_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")


def _end_on_lost_sync(context: ExceptionContext) -> None:
    name = getattr(context.original_exception, "sqlite_errorname", "")
    if name in {"SQLITE_IOERR_FSYNC", "SQLITE_IOERR_DIR_FSYNC"}:
        # What the kernel could not write it may have forgotten: nothing after this can be acknowledged.
        _log.critical("the disk did not take a write (%s); ending, so that a restart reads what is there", name)
        logging.shutdown()
        os._exit(74)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _migrate(connection: Connection) -> None:
    # Imported here because it costs more than opening the database, and is seldom needed.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    revision = _revision(connection)
    if revision is not None and revision not in {
        one.revision for one in ScriptDirectory.from_config(config).walk_revisions()
    }:
        raise InvalidRequest(
            where="database",
            found=f"schema {revision}",
            problem="was written by a newer gyropilot",
            fix="install that version or a newer one",
        )
    command.upgrade(config, "head")
