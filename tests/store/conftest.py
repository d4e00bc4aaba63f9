"""Databases for the tests of the store: SQLite always, PostgreSQL where GYROPILOT_TEST_POSTGRESQL names a server's URL.

The URL's user may create databases; each test gets one of its own.
"""

from __future__ import annotations

import os
import shutil
import uuid

import pytest
import sqlalchemy as sa

from gyropilot.store.database import Database

POSTGRESQL = os.environ.get("GYROPILOT_TEST_POSTGRESQL")


@pytest.fixture(params=["sqlite", "postgresql"] if POSTGRESQL else ["sqlite"])
def url(request, tmp_path):
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'home' / 'gyropilot.db'}"
        return
    server = sa.make_url(POSTGRESQL)
    name = f"test_{uuid.uuid4().hex}"
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield server.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory):
    """A file with the schema and nothing in it; a copy opens much faster than a migration runs."""
    path = tmp_path_factory.mktemp("empty") / "gyropilot.db"
    Database.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def db(url, tmp_path, empty_sqlite):
    if url.startswith("sqlite"):
        (tmp_path / "home").mkdir()
        shutil.copy(empty_sqlite, tmp_path / "home" / "gyropilot.db")
    database = Database.open(url)
    yield database
    database.close()
