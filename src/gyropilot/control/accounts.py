"""Which accounts an admin may manage: those of the service's own account all of them, others their own."""

from __future__ import annotations

from gyropilot.control.house import House
from gyropilot.errors import NotAllowed
from gyropilot.store.principals import Principal


def managed(house: House, principal: Principal, wanted: str | None) -> str:
    """Give the account that an admin's call is about: the one it names, else the admin's own.

    Raises:
        NotAllowed: the account is not the admin's to manage.
    """
    account = wanted or principal.account_id
    if not manages(house, principal, account):
        raise NotAllowed(f"An admin of account {principal.account_id} may manage that account alone.")
    return account


def manages(house: House, principal: Principal, account: str) -> bool:
    """Say whether an admin may manage an account."""
    return account == principal.account_id or manages_all(house, principal)


def manages_all(house: House, principal: Principal) -> bool:
    """Say whether an admin is one of the service's own account, and so stands for whoever runs it."""
    return principal.account_id == house.settings.account_id
