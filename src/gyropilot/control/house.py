"""The parts that the rules need, handed down as one value; `cli/processes.py` puts it together."""

from __future__ import annotations

from dataclasses import dataclass, field

from gyropilot.base_models.store import BaseModelStore
from gyropilot.control.model_digests import ModelDigests
from gyropilot.problems.contract import Problem
from gyropilot.settings import Settings
from gyropilot.store.database import Database
from gyropilot.store.objects import Objects
from gyropilot.store.principals import Credentials
from gyropilot.store.role_objects import RoleObjects, RoleStores
from gyropilot.store.roles import Role
from gyropilot.store.seals import Seal


@dataclass(frozen=True, kw_only=True)
class House:
    """Everything a rule may reach; shared by the threads of one process."""

    settings: Settings
    db: Database
    objects: Objects
    base_models: BaseModelStore
    credentials: Credentials
    seal: Seal
    role_stores: RoleStores
    problems: tuple[Problem, ...]
    model_digests: ModelDigests = field(default_factory=ModelDigests)

    def objects_of(self, role: Role) -> RoleObjects:
        """Give the objects that a role may use, in the service's store or in the role's own."""
        return self.role_stores.of(role)
