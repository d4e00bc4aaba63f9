"""A database and a home folder belong together: what the one names lies in the other.

A worker on another home would find neither data nor checkpoints, and fail the jobs that it claims: it does not start.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import insert, select

from gyropilot.errors import InvalidRequest
from gyropilot.names import new_id
from gyropilot.store import private_files
from gyropilot.store.database import Database
from gyropilot.store.tables import house
from gyropilot.store.turns import take_turn

FILE = "home_id"


def join(db: Database, home: Path) -> None:
    """Note in a fresh database which home it belongs to; let who comes later pass from that home alone.

    Raises:
        InvalidRequest: the database belongs to another home.
    """
    path = home / FILE
    if not path.exists():
        private_files.make(path, f"{new_id()}\n".encode())
    mine = private_files.read(path).decode("ascii", "replace").strip()
    with db.read() as connection:
        theirs = connection.execute(select(house.c.home_id)).scalar()
    if theirs is None:
        theirs = _noted(db, mine)
    if theirs != mine:
        raise InvalidRequest(
            where="setting home",
            found=str(home),
            problem="is not the home folder that this database belongs to",
            fix="processes that share a database share one home: name that one with --home or GYROPILOT_HOME, or give"
            " this home a database of its own; docs/operations.md says what to do if the other is lost",
        )


def _noted(db: Database, mine: str) -> str:
    with db.write() as connection:
        take_turn(connection, "house")
        theirs = connection.execute(select(house.c.home_id)).scalar()
        if theirs is None:
            connection.execute(insert(house).values(home_id=mine))
        return theirs or mine
