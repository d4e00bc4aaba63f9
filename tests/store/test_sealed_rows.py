from __future__ import annotations

import pytest

from gyropilot.store import database_look, role_objects, roles, sealed_rows
from gyropilot.store.database import Database
from gyropilot.store.principals import Credentials
from gyropilot.store.roles import Role
from gyropilot.store.seals import Seal
from new_jobs import ACCOUNT

ARN = f"arn:aws:iam::{ACCOUNT}:role/outside"


@pytest.fixture
def made(tmp_path):
    """A database with a valid key, a revoked one and a role of an external store; its URL, seal and valid key."""
    url = f"sqlite:///{tmp_path / 'gyropilot.db'}"
    db, seal = Database.open(url), Seal.open(tmp_path / "seal.key")
    credentials = Credentials.open(tmp_path / "credentials.json", ACCOUNT, db=db, seal=seal)
    valid, revoked = (credentials.create(account_id=ACCOUNT, kind="operator", name=name)[0] for name in ("a", "b"))
    credentials.revoke(revoked.access_key_id)
    roles.add(
        db,
        Role(
            arn=ARN,
            read_prefixes=(),
            write_prefixes=(),
            passable_by=(),
            s3_endpoint="http://127.0.0.1:9",
            sealed_s3_keys=role_objects.sealed_keys(seal, ARN, "key", "secret"),
        ),
    )
    db.close()
    return url, seal, valid.access_key_id


def test_rows_open_under_the_key_that_sealed_them_alone(made, tmp_path):
    url, seal, key = made
    rows = database_look.secrets_in(url)
    assert sealed_rows.lost(rows, seal) == []
    wanted = [f"principals/{key}", f"roles/{ARN}"]
    assert sealed_rows.lost(rows, Seal.open(tmp_path / "other.key")) == wanted
    assert sealed_rows.lost(rows, None) == wanted
    told = str(sealed_rows.fault(wanted, tmp_path / "seal.key"))
    assert key in told
    assert "restore the file from a copy" in told


def test_a_database_without_tables_has_no_secrets(tmp_path):
    assert database_look.secrets_in(f"sqlite:///{tmp_path / 'none.db'}") == []
    assert not list(tmp_path.iterdir())
