"""Images: the names of inference containers that are ours, one a problem type; others are neither pulled nor run."""

from __future__ import annotations

from collections.abc import Sequence

from gyropilot.errors import Fault
from gyropilot.problems.contract import Problem


def name_of(image: str) -> str:
    """Give an image without its tag: gyropilot/text-generation of gyropilot/text-generation:1.0."""
    head, slash, tail = image.rpartition("/")
    return f"{head}{slash}{tail.partition(':')[0]}"


def find(image: str, problems: Sequence[Problem]) -> Problem | None:
    """Give the problem type whose image this is, whatever its tag; None: it is none of ours."""
    return next((problem for problem in problems if problem.image == name_of(image)), None)


def fault_of(where: str, image: str, problems: Sequence[Problem]) -> Fault:
    """Give the fault of an image that is none of ours."""
    return Fault(
        where=where,
        found=image,
        problem=f"is no image of this service, which has {', '.join(problem.image for problem in problems)}",
        fix="take the container as a candidate of a job names it, in InferenceContainers",
    )
