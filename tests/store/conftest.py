"""Databases for the tests of the store: each test that asks for one runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest

from gyropilot.store.database import Database


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """The URL of a database without a table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'home' / 'gyropilot.db'}"
        return
    server = request.getfixturevalue("postgresql")
    created = server.create_database()
    yield created
    server.drop_database(created)


@pytest.fixture
def db(database_url):
    database = Database.open(database_url)
    yield database
    database.close()
