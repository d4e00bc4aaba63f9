"""Keys as admins make, see and end them."""

from __future__ import annotations

import pytest

from gyropilot import names
from gyropilot.control import keys
from gyropilot.errors import InvalidRequest, LimitExceeded, NotFound

OTHER = "111111111111"


def test_a_key_is_told_with_its_secret_once(house, admin):
    made = keys.create(house, admin, {"Kind": "operator", "Name": "ann"})
    assert (made["AccountId"], made["Kind"], made["Name"]) == (names.ACCOUNT_ID, "operator", "ann")
    assert house.credentials.find_secret(made["AccessKeyId"]) == made["SecretAccessKey"]
    listed = keys.list_keys(house, admin)["Keys"]
    assert [one["AccessKeyId"] for one in listed] == [admin.access_key_id, made["AccessKeyId"]]
    assert not any("SecretAccessKey" in one for one in listed)


def test_a_revoked_key_is_listed_with_its_end(house, admin):
    made = keys.create(house, admin, {"Kind": "admin", "Name": "second"})
    keys.delete(house, admin, made["AccessKeyId"])
    assert keys.list_keys(house, admin)["Keys"][1]["RevocationTime"]
    with pytest.raises(NotFound):
        keys.delete(house, admin, made["AccessKeyId"])


def test_the_last_way_in_stays(house, admin):
    second, _ = house.credentials.create(account_id=names.ACCOUNT_ID, kind="admin", name="second")
    with pytest.raises(InvalidRequest, match="last way in"):
        keys.delete(house, second, admin.access_key_id)
    assert house.credentials.find(admin.access_key_id)


def test_an_account_has_a_bounded_number_of_keys(house, admin, monkeypatch):
    monkeypatch.setattr(keys, "KEYS_PER_ACCOUNT", 2)
    for name in "ab":
        keys.create(house, admin, {"Kind": "operator", "Name": name})
    with pytest.raises(LimitExceeded, match="revoke"):
        keys.create(house, admin, {"Kind": "operator", "Name": "c"})
    keys.create(house, admin, {"Kind": "operator", "Name": "c", "AccountId": OTHER})
