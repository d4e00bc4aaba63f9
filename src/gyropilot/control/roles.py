"""The rules of roles: who may hand one to a job, what a job gets by it, and how admins make and remove them."""

from __future__ import annotations

from gyropilot.control.house import House
from gyropilot.errors import NotAllowed
from gyropilot.store import roles
from gyropilot.store.principals import Principal
from gyropilot.store.role_objects import RoleObjects
from gyropilot.store.roles import EVERYBODY, Role


def find_passable(house: House, principal: Principal, arn: str) -> Role | None:
    """Give the role of that ARN; None where there is none, or the principal may not hand it to a job."""
    role = roles.find(house.db, arn)
    if role is None or role.account_id != principal.account_id:
        return None
    return role if {EVERYBODY, principal.access_key_id} & set(role.passable_by) else None


def objects_of_job(house: House, arn: str) -> RoleObjects:
    """Give the objects that a job with this role may use, by what the role is at this moment.

    Raises:
        NotAllowed: the role is not there any more; nothing stands in for it.
    """
    role = roles.find(house.db, arn)
    if role is None:
        raise NotAllowed(
            f"RoleArn: the role {arn} was removed while the job ran; add it again (`gyropilot roles add`), "
            "then create the job anew"
        )
    return house.objects_of(role)
