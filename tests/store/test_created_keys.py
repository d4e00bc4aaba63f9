"""Keys beyond those of the home's file: in the table, sealed, revocable."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from gyropilot import clock
from gyropilot.errors import LimitExceeded
from gyropilot.store import principals
from gyropilot.store.principals import Credentials
from gyropilot.store.seals import Seal
from new_jobs import in_threads

ACCOUNT = "000000000000"


@pytest.fixture
def opened(db, tmp_path):
    """Give credentials as one more process of the same home would open them."""
    return lambda: Credentials.open(
        tmp_path / "credentials.json", ACCOUNT, db=db, seal=Seal.open(tmp_path / "seal.key")
    )


def test_a_created_key_is_found_by_every_process_of_the_home(opened):
    here, there = opened(), opened()
    principal, secret = here.create(account_id="111111111111", kind="operator", name="Ann")
    assert here.find(principal.access_key_id) == there.find(principal.access_key_id) == (principal, secret)
    assert there.find_secret(principal.access_key_id) == secret
    assert here.first_admin() == there.first_admin()


def test_a_revoked_key_is_refused_at_once_here_and_soon_elsewhere(opened, monkeypatch):
    here, there = opened(), opened()
    principal, _ = here.create(account_id=ACCOUNT, kind="invoker", name="app")
    key = principal.access_key_id
    assert here.find(key)
    assert there.find(key)
    here.revoke(key)
    assert here.find(key) is None
    later = clock.monotonic() + principals.BELIEVED_SECONDS
    monkeypatch.setattr(principals.clock, "monotonic", lambda: later)
    assert there.find(key) is None
    assert opened().find(key) is None


def test_no_two_creates_at_once_pass_the_bound_of_an_account(opened):
    here = opened()
    for account in (ACCOUNT, "111111111111"):  # neither another's keys nor revoked ones count
        gone, _ = here.create(account_id=account, kind="admin", name="gone")
        if account == ACCOUNT:
            here.revoke(gone.access_key_id)

    def create(number):
        try:
            return here.create(account_id=ACCOUNT, kind="operator", name=f"key-{number}", most_valid=3)
        except LimitExceeded:
            return None

    made = in_threads(8, create)
    assert sum(one is not None for one in made) == 3


def test_a_revoked_key_stays_in_the_record_without_its_secret(opened, db):
    here = opened()
    kept, _ = here.create(account_id=ACCOUNT, kind="admin", name="kept")
    gone, _ = here.create(account_id=ACCOUNT, kind="admin", name="gone")
    here.revoke(gone.access_key_id)
    here.revoke(gone.access_key_id)
    here.revoke("GYROAAAAAAAAAAAAAAAA")
    records = {one.principal.access_key_id: one for one in here.created()}
    assert records[kept.access_key_id].revoked_at is None
    assert records[gone.access_key_id].revoked_at >= records[gone.access_key_id].created_at
    with db.read() as connection:
        sealed = connection.execute(
            sa.text("SELECT sealed_secret FROM principals WHERE access_key_id = :key"), {"key": gone.access_key_id}
        ).scalar_one()
    assert sealed == ""


def test_a_secret_never_stands_in_the_database(opened, db, tmp_path):
    _, secret = opened().create(account_id=ACCOUNT, kind="operator", name="Ann")
    with db.read() as connection:
        rows = repr(connection.execute(sa.text("SELECT * FROM principals")).all())
    files = [one.read_bytes() for one in (tmp_path / "home").iterdir()] if db.is_sqlite else []
    stored = b"".join([rows.encode(), *files])
    assert b"GYRO" in stored
    assert secret.encode() not in stored


def test_a_key_sealed_under_a_lost_seal_opens_nothing(opened, tmp_path, caplog):
    principal, secret = opened().create(account_id=ACCOUNT, kind="operator", name="Ann")
    (tmp_path / "seal.key").unlink()
    assert opened().find(principal.access_key_id) is None
    assert "seal.key" in caplog.text
    assert secret not in caplog.text


def test_a_row_changed_by_hand_to_another_key_opens_nothing(opened, db):
    """Whoever writes to the database cannot put one key's secret under another."""
    here = opened()
    weak, _ = here.create(account_id=ACCOUNT, kind="invoker", name="weak")
    strong, _ = here.create(account_id=ACCOUNT, kind="admin", name="strong")
    with db.write() as connection:
        connection.execute(
            sa.text(
                "UPDATE principals SET sealed_secret = "
                "(SELECT sealed_secret FROM principals AS other WHERE other.access_key_id = :weak) "
                "WHERE access_key_id = :strong"
            ),
            {"weak": weak.access_key_id, "strong": strong.access_key_id},
        )
    assert opened().find(strong.access_key_id) is None


@pytest.mark.parametrize(
    "key", ["", "GYRO", "GYRO" + "a" * 16, "GYRO" + "A" * 17, "'; DROP TABLE principals; --", "\0"]
)
def test_what_is_no_key_id_is_not_asked_for(opened, db, key):
    here = opened()
    db.close()
    assert here.find(key) is None


def test_without_a_database_the_files_keys_are_all(tmp_path):
    credentials = Credentials.open(tmp_path / "credentials.json", ACCOUNT)
    assert credentials.find("GYRO" + "A" * 16) is None
    with pytest.raises(RuntimeError, match="without the database"):
        credentials.create(account_id=ACCOUNT, kind="admin", name="x")
