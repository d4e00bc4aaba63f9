from __future__ import annotations

import json
import os
import stat

import pytest

from gyropilot.errors import InvalidRequest
from gyropilot.store.principals import Credentials, Principal
from new_jobs import in_threads

ENTRY = {"secret": "s" * 40, "kind": "operator", "name": "Ann", "account_id": "000000000000"}


def write(path, value, mode=0o600):
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    path.chmod(mode)
    return path


def test_a_first_start_makes_one_random_admin_for_its_owner_alone(tmp_path):
    path = tmp_path / "home" / "credentials.json"
    old = os.umask(0)
    try:
        made = Credentials.open(path, "123456789012")
    finally:
        os.umask(old)
    key, secret = made.first_admin()
    assert made.find(key) == (
        Principal(access_key_id=key, account_id="123456789012", kind="admin", name="first"),
        secret,
    )
    assert len(key) == 20
    assert len(secret) == 40
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [one.name for one in path.parent.iterdir()] == ["credentials.json"]
    assert Credentials.open(path, "123456789012").first_admin() == (key, secret)
    assert Credentials.open(tmp_path / "other.json", "123456789012").first_admin() != (key, secret)
    assert secret not in repr(made)


def test_two_that_start_at_once_agree_on_the_key(tmp_path):
    path = tmp_path / "credentials.json"
    keys = in_threads(8, lambda _: Credentials.open(path, "000000000000").first_admin())
    assert len(set(keys)) == 1
    assert [one.name for one in tmp_path.iterdir()] == ["credentials.json"]


def test_an_unknown_key_is_none(tmp_path):
    assert Credentials.open(tmp_path / "c.json", "000000000000").find("GYROX") is None


def test_a_home_keeps_the_account_of_its_first_start(tmp_path):
    Credentials.open(tmp_path / "c.json", "123456789012")
    with pytest.raises(InvalidRequest, match="set account_id to 123456789012"):
        Credentials.open(tmp_path / "c.json", "000000000000")


def test_other_principals_are_read(tmp_path):
    path = write(tmp_path / "c.json", {"KEYOFANN": ENTRY, "KEYOFBOSS": ENTRY | {"kind": "admin", "secret": "b" * 40}})
    found = Credentials.open(path, "000000000000")
    assert found.find("KEYOFANN")[0].kind == "operator"
    assert found.first_admin() == ("KEYOFBOSS", "b" * 40)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620])
def test_a_file_that_others_may_reach_is_refused(tmp_path, mode):
    path = write(tmp_path / "c.json", {"KEY": ENTRY | {"kind": "admin"}}, mode)
    with pytest.raises(InvalidRequest, match="chmod 600") as caught:
        Credentials.open(path, "000000000000")
    assert ENTRY["secret"] not in str(caught.value)


def test_a_link_is_not_followed(tmp_path):
    real = write(tmp_path / "real.json", {"KEY": ENTRY | {"kind": "admin"}})
    (tmp_path / "c.json").symlink_to(real)
    with pytest.raises(OSError, match="symbolic"):
        Credentials.open(tmp_path / "c.json", "000000000000")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "is not JSON"),
        ('{"a"', "is not JSON"),
        ([], "is not an object"),
        ({}, "no admin"),
        ({"KEY": ENTRY}, "no admin"),
        ({"KEY": "secret"}, "must have"),
        ({"KEY": {"secret": "s" * 40}}, "must have"),
        ({"KEY": ENTRY | {"kind": "root"}}, "no kind"),
        ({"KEY": ENTRY | {"secret": "short"}}, "shorter"),
    ],
)
def test_a_damaged_file_is_told_with_its_mend(tmp_path, value, problem):
    with pytest.raises(InvalidRequest, match=problem) as caught:
        Credentials.open(write(tmp_path / "c.json", value), "000000000000")
    assert str(tmp_path / "c.json") in str(caught.value)
    assert ENTRY["secret"] not in str(caught.value)
