from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import gyropilot.store
from gyropilot.errors import InvalidRequest, LimitExceeded, Unavailable
from gyropilot.store import jobs, tables
from gyropilot.store.database import Database
from new_jobs import ACCOUNT, REGION, new_job
from postgresql import plain_engine

MIGRATIONS = Path(gyropilot.store.__file__).parent / "migrations"


def open_in_a_child(url, code):
    program = f"import time\nfrom gyropilot.store.database import Database\nurl = {url!r}\n{code}"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)


def test_the_stated_head_is_the_newest_revision():
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == tables.HEAD


def test_migrations_make_the_tables_as_stated(db):
    with db.read() as connection:
        found = compare_metadata(MigrationContext.configure(connection, opts={"compare_type": False}), tables.metadata)
    assert found == []


def test_migrations_make_every_column_of_the_stated_kind(db):
    with db.read() as connection:
        there = sa.inspect(connection)
        for table in tables.metadata.sorted_tables:
            columns = there.get_columns(table.name)
            found = {one["name"]: (type(one["type"]).__name__, one["nullable"]) for one in columns}
            wanted = {
                one.name: (one.type.dialect_impl(connection.dialect).__class__.__name__, one.nullable)
                for one in table.columns
            }
            kinds = {"Moment": "BIGINT", "JsonText": "TEXT", "String": "VARCHAR", "Text": "TEXT", "Float": "FLOAT"}
            kinds |= {"BigInteger": "BIGINT", "Integer": "INTEGER", "_PGString": "VARCHAR", "_SQliteString": "VARCHAR"}
            for name, (kind, nullable) in wanted.items():
                stated = kinds.get(type(table.c[name].type).__name__, kind)
                real = {"DOUBLE_PRECISION": "FLOAT"}.get(found[name][0], found[name][0])
                assert (real, found[name][1]) == (stated, nullable), f"{table.name}.{name}"


def test_a_database_of_today_opens_without_alembic(url):
    Database.open(url).close()
    code = """
import sys
Database.open(url).close()
print("alembic" in sys.modules)
"""
    assert open_in_a_child(url, code).stdout == "False\n"


def test_ten_that_open_a_fresh_database_at_once_all_succeed(url):
    code = """
import os, alembic.command
children = []
for _ in range(10):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            Database.open(url).close()
            status = 0
        finally:
            os._exit(status)
    children.append(child)
print([os.waitpid(child, 0)[1] for child in children])
"""
    opened = open_in_a_child(url, code)
    assert opened.stdout == f"{[0] * 10}\n", opened.stderr
    database = Database.open(url)
    with database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.turnstiles)).scalar() == 1
    database.close()


def test_a_failed_migration_leaves_nothing_behind(url, monkeypatch):
    from alembic import op

    real = op.create_index

    def fail_late(name, *arguments, **named):
        if name == "events_kind":
            raise RuntimeError("the power went")
        return real(name, *arguments, **named)

    monkeypatch.setattr(op, "create_index", fail_late)
    with pytest.raises(RuntimeError):
        Database.open(url)
    monkeypatch.undo()
    engine = plain_engine(url)
    with engine.connect() as connection:
        assert sa.inspect(connection).get_table_names() == []
    engine.dispose()
    Database.open(url).close()


@pytest.mark.parametrize("moment", [1, 4, 8, 12])
def test_a_killed_migration_leaves_a_database_that_the_next_start_makes_whole(url, moment):
    code = f"""
import os, signal
from alembic import op
for name in ("create_table", "create_index", "add_column"):
    real = getattr(op, name)
    def counted(*arguments, real=real, **named):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named)
    setattr(op, name, counted)
left = {moment}
Database.open(url)
"""
    assert open_in_a_child(url, code).returncode == -signal.SIGKILL
    database = Database.open(url)
    with database.read() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() == tables.HEAD
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.turnstiles)).scalar() == 1
    assert jobs.create(database, new_job(), {}).name == "job"
    database.close()


def test_a_schema_of_a_newer_program_is_refused(url):
    database = Database.open(url)
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(InvalidRequest, match="written by a newer gyropilot") as caught:
        Database.open(url)
    assert "9999" in str(caught.value)


@pytest.mark.parametrize("bad", ["mysql://localhost/x", "sqlite://", "oracle://localhost/x"])
def test_a_database_we_do_not_know_is_refused(bad):
    with pytest.raises(InvalidRequest):
        Database.open(bad)


def test_sqlite_syncs_every_commit(tmp_path):
    database = Database.open(f"sqlite:///{tmp_path / 'a.db'}")
    for connecting in (database.read, database.write):
        with connecting() as connection:
            found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
            assert found == ["wal", 2]
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    database.close()


def test_sqlite_without_wal_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.db"
    Database.open(f"sqlite:///{path}").close()
    holder = sqlite3.connect(path)
    holder.execute("PRAGMA journal_mode = DELETE")
    holder.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr("gyropilot.store.database._BUSY_SECONDS", 0)
    with pytest.raises((LimitExceeded, Unavailable)):
        Database.open(f"sqlite:///{path}")
    holder.close()


def test_state_is_its_owners_alone(tmp_path):
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    old = os.umask(0)
    try:
        database = Database.open(f"sqlite:///{home / 'a.db'}")
        with database.write() as connection:
            connection.execute(sa.text("DELETE FROM tags"))
            modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in home.iterdir()}
        database.close()
    finally:
        os.umask(old)
    assert modes == {"a.db": 0o600, "a.db-wal": 0o600, "a.db-shm": 0o600}
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_a_raised_error_undoes_the_whole_block(db):
    row = {"arn": "a", "key": "b", "value": "c"}

    def write_twice():
        with db.write() as connection:
            for _ in range(2):
                connection.execute(sa.insert(tables.tags).values(row))

    with pytest.raises(sa.exc.IntegrityError):
        write_twice()
    with db.read() as connection:
        assert connection.execute(sa.select(tables.tags)).all() == []


def test_a_read_sees_one_state_while_others_write(tmp_path):
    database = Database.open(f"sqlite:///{tmp_path / 'a.db'}")
    count = sa.select(sa.func.count()).select_from(tables.tags)
    with database.read() as reading:
        assert reading.execute(count).scalar() == 0
        with database.write() as writing:
            writing.execute(sa.insert(tables.tags).values(arn="a", key="b", value="c"))
        assert reading.execute(count).scalar() == 0
    database.close()


def test_foreign_keys_hold(db):
    with pytest.raises(sa.exc.IntegrityError), db.write() as connection:
        connection.execute(sa.insert(tables.progress).values(job_id="nobody", body={}))


def test_a_lost_sync_ends_the_process(tmp_path):
    code = """
import sqlite3
from types import SimpleNamespace
from gyropilot.store import database
error = sqlite3.OperationalError("disk I/O error")
error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
database._end_on_lost_sync(SimpleNamespace(original_exception=error))
print("went on")
"""
    ended = open_in_a_child(f"sqlite:///{tmp_path / 'a.db'}", code)
    assert (ended.returncode, ended.stdout) == (74, "")


def test_a_killed_writer_loses_no_job_it_acknowledged(url):
    """Ten writers, one after another, each killed at another moment among its creates."""
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from new_jobs import new_job
from gyropilot.store import jobs

def write(turn, pipe):
    database, number = Database.open(url), 0
    while True:
        name = f"job-{{turn}}-{{number}}"
        jobs.create(database, new_job(name), {{"tag": name}})
        os.write(pipe, name.encode() + b"\\n")
        number += 1

for turn in range(10):
    reading, writing = os.pipe()
    writer = os.fork()
    if writer == 0:
        try:
            write(turn, writing)
        finally:
            os._exit(1)
    os.close(writing)
    said = os.read(reading, 100)
    time.sleep(0.01 * turn)
    os.kill(writer, signal.SIGKILL)
    assert os.waitpid(writer, 0)[1] == signal.SIGKILL
    with os.fdopen(reading, "rb") as rest:
        sys.stdout.write((said + rest.read()).decode())
"""
    writers = open_in_a_child(url, code)
    assert writers.returncode == 0, writers.stderr
    acknowledged = writers.stdout.split()
    assert len(acknowledged) >= 10
    database = Database.open(url)
    with database.read() as connection:
        names = set(connection.execute(sa.select(tables.jobs.c.name)).scalars())
        first_events = connection.execute(sa.select(sa.func.count()).select_from(tables.events)).scalar()
        tag_values = set(connection.execute(sa.select(tables.tags.c.value)).scalars())
    assert set(acknowledged) <= names
    assert len(names) - len(acknowledged) <= 10  # committed, and killed before it could say so
    assert first_events == len(names)
    assert tag_values == names
    if database.is_sqlite:
        with database.read() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    database.close()


def test_a_describe_is_fast_beside_a_busy_writer(tmp_path):
    database = Database.open(f"sqlite:///{tmp_path / 'a.db'}")
    jobs.create(database, new_job("job"), {})
    done = threading.Event()

    def write():
        number = 0
        while not done.is_set():
            jobs.create(database, new_job(f"other-{number}"), {})
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seconds = []
        for _ in range(100):
            start = time.perf_counter()
            assert jobs.find(database, ACCOUNT, REGION, "JOB") is not None
            seconds.append(time.perf_counter() - start)
    finally:
        done.set()
        writer.join()
    assert sorted(seconds)[50] < 0.05
    database.close()
