"""The parts that the rules need, handed down as one value; `cli/processes.py` puts it together."""

from __future__ import annotations

from dataclasses import dataclass

from gyropilot.base_models.store import BaseModelStore
from gyropilot.problems.contract import Problem
from gyropilot.settings import Settings
from gyropilot.store.database import Database
from gyropilot.store.objects import Objects
from gyropilot.store.principals import Credentials


@dataclass(frozen=True, kw_only=True)
class House:
    """Everything a rule may reach; shared by the threads of one process."""

    settings: Settings
    db: Database
    objects: Objects
    base_models: BaseModelStore
    credentials: Credentials
    problems: tuple[Problem, ...]
