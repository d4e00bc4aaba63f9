"""The rules of access keys: made, shown and ended by admins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gyropilot.control import accounts
from gyropilot.control.house import House
from gyropilot.errors import InvalidRequest, NotFound
from gyropilot.store.principals import Principal

Json = Any

KEYS_PER_ACCOUNT = 1000


def create(house: House, principal: Principal, request: Mapping[str, Json]) -> dict[str, Json]:
    """Give CreateCallerKeyResponse: a fresh key, with the secret that is told this once.

    Raises:
        NotAllowed: the account is not the caller's to manage.
        LimitExceeded: the account has too many keys.
    """
    account = accounts.managed(house, principal, request.get("AccountId"))
    made, secret = house.credentials.create(
        account_id=account, kind=request["Kind"], name=request["Name"], most_valid=KEYS_PER_ACCOUNT
    )
    return _described(made) | {"SecretAccessKey": secret}


def list_keys(house: House, principal: Principal) -> dict[str, Json]:
    """Give ListCallerKeysResponse: the keys of the accounts that the caller manages; never a secret."""
    created: list[dict[str, Json]] = [
        _described(one.principal)
        | {"CreationTime": one.created_at}
        | ({} if one.revoked_at is None else {"RevocationTime": one.revoked_at})
        for one in house.credentials.created()
    ]
    listed = [*map(_described, house.credentials.first()), *created]
    return {"Keys": [one for one in listed if accounts.manages(house, principal, one["AccountId"])]}


def delete(house: House, principal: Principal, access_key_id: str) -> None:
    """End a key: at once in this process, within seconds in others.

    Raises:
        NotFound: there is no such key, or it is not the caller's to manage.
        InvalidRequest: it is the first admin key, the service's last way in.
    """
    if any(one.access_key_id == access_key_id for one in house.credentials.first()):
        if not accounts.manages_all(house, principal):
            raise _missing(access_key_id)
        raise InvalidRequest(
            where="AccessKeyId",
            found=access_key_id,
            problem="is the first admin key, the last way in: it cannot be revoked",
            fix="for another one stop the service, remove credentials.json from its home, and start it again",
        )
    valid = (one.principal for one in house.credentials.created() if one.revoked_at is None)
    found = next((one for one in valid if one.access_key_id == access_key_id), None)
    if found is None or not accounts.manages(house, principal, found.account_id):
        raise _missing(access_key_id)
    house.credentials.revoke(access_key_id)


def _described(principal: Principal) -> dict[str, Json]:
    return {
        "AccessKeyId": principal.access_key_id,
        "AccountId": principal.account_id,
        "Kind": principal.kind,
        "Name": principal.name,
    }


def _missing(access_key_id: str) -> NotFound:
    return NotFound(f"There is no valid key {access_key_id!r}; `gyropilot keys list` shows what there is.")
