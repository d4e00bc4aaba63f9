"""Which containers make a model together: no more than understand each other, whole and in their candidate's order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gyropilot.control.house import House
from gyropilot.errors import Fault
from gyropilot.problems.contract import Problem
from gyropilot.store import candidates, model_data

Json = Any


@dataclass(frozen=True, kw_only=True)
class Link:
    """A container of a model, admitted by itself."""

    where: str
    """What stands before the names of its members, with its dot."""
    kept: Mapping[str, Json]
    """As it is kept with its model."""


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A container as its candidate has it."""

    sha256: str
    role: str


def faults_of(house: House, account_id: str, links: Sequence[Link]) -> Iterator[Fault]:
    """Give what is wrong with the containers of a model as a chain; each of them is sound by itself."""
    names = sorted({link.kept["problem"] for link in links})
    if len(names) > 1:
        fix = "take the containers of one candidate"
        yield Fault(where="Containers", found=", ".join(names), problem="are of several problem types", fix=fix)
        return
    problem = next((one for one in house.problems if one.config_name in names), None)
    if problem is None:
        return
    if len(links) > problem.most_containers:
        yield Fault(
            where="Containers",
            found=f"{len(links)} containers",
            problem=f"a model of {problem.config_name} has {problem.most_containers} at most: a container gets what the"
            " one before it answered, and must be able to read it",
            fix="make a model for each container",
        )
    elif problem.container_role is not None:
        yield from _order_faults(house, account_id, problem, links)


def _order_faults(house: House, account_id: str, problem: Problem, links: Sequence[Link]) -> Iterator[Fault]:
    """Give the faults of containers that are not those of one candidate, all of them, in its order."""
    chains = {_candidate(link): _parts(house, account_id, problem, link) for link in links}
    given = [_Part(sha256=link.kept["sha256"], role=_role(problem, link, chains)) for link in links]
    if any(not parts or parts == given for parts in chains.values()):
        # An empty one is of a candidate that tells of no containers.
        for number, fault in problem.chain_faults([link.kept["environment"] for link in links]):
            yield replace(fault, where=f"{links[number].where}{fault.where}")
        return
    (_, name), wanted = next(iter(chains.items()))
    fix = f"give the containers of {name} as its InferenceContainers have them: {_listed(wanted)}"
    for number, (link, found) in enumerate(zip(links, given, strict=True)):
        role = wanted[number].role if number < len(wanted) else None
        where = link.where.rstrip(".")
        if role is None:
            problem_ = f"is one more container than the {len(wanted)} of {name}"
            yield Fault(where=where, found=found.role, problem=problem_, fix=fix)
        elif found.role != role:
            problem_ = f"is the {found.role}, and the {role} belongs here"
            yield Fault(where=where, problem=problem_, fix=fix)
        elif found != wanted[number]:
            problem_ = f"is the {role} of {_candidate(link)[1]}, and those beside it are of {name}"
            yield Fault(where=where, problem=problem_, fix="take all containers from one candidate")
    missing = list(wanted)
    for one in given:
        if one in missing:
            missing.remove(one)
    if missing and len(links) < len(wanted):
        where = "Containers" if len(links) > 1 else links[0].where.rstrip(".")
        problem_ = f"the {_listed(missing)} of {name} {'is' if len(missing) == 1 else 'are'} missing"
        yield Fault(where=where, found=_listed(given), problem=problem_, fix=fix)


def _candidate(link: Link) -> tuple[str, str]:
    return link.kept["job_id"], link.kept["candidate"]


def _parts(house: House, account_id: str, problem: Problem, link: Link) -> list[_Part]:
    """Give the containers of the candidate that a container is of; empty where that tells of none."""
    assert problem.container_role is not None
    record = candidates.find(house.db, *_candidate(link))
    containers = [] if record is None else record.body.get("InferenceContainers", [])
    parts = []
    for one in containers:
        published = model_data.find(house.db, account_id, one["ModelDataUrl"])
        role = problem.container_role(one.get("Environment", {}), len(containers))
        parts.append(_Part(sha256="" if published is None else published.sha256, role=role))
    return parts


def _role(problem: Problem, link: Link, chains: Mapping[tuple[str, str], Sequence[_Part]]) -> str:
    assert problem.container_role is not None
    return problem.container_role(link.kept["environment"], len(chains[_candidate(link)]))


def _listed(parts: Sequence[_Part]) -> str:
    return ", ".join(part.role for part in parts)
