"""Databases for the tests of the store: each test that asks for one runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest

from gyropilot.store.database import Database


@pytest.fixture
def url(empty_database_url):
    return empty_database_url


@pytest.fixture
def db(database_url):
    database = Database.open(database_url)
    yield database
    database.close()
