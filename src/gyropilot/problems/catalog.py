"""The problem types of this service, in one tuple; importing it loads no heavy library."""

from __future__ import annotations

from collections.abc import Mapping

from gyropilot.errors import InvalidRequest
from gyropilot.problems.contract import Json, Problem
from gyropilot.problems.tabular.problem import TABULAR
from gyropilot.problems.text_generation.problem import TEXT_GENERATION

PROBLEMS: tuple[Problem, ...] = (TABULAR, TEXT_GENERATION)

NOT_BUILT: Mapping[str, str] = {
    "TimeSeriesForecastingJobConfig": "TimeSeriesForecasting",
    "TextClassificationJobConfig": "TextClassification",
    "ImageClassificationJobConfig": "ImageClassification",
}
"""Members of AutoMLProblemTypeConfig that the service model knows and this service refuses, with their config names."""


def find(request: Mapping[str, Json], problems: tuple[Problem, ...] = PROBLEMS) -> Problem:
    """Give the problem type that a CreateAutoMLJobV2 request asks for.

    Raises:
        InvalidRequest: none, several, or one that is not built.
    """
    given = [name for name, value in (request.get("AutoMLProblemTypeConfig") or {}).items() if value is not None]
    built = {problem.wire_name: problem for problem in problems}
    if len(given) == 1 and given[0] in built:
        return built[given[0]]
    here = ", ".join(built)
    if len(given) == 1:
        raise InvalidRequest(
            where=f"AutoMLProblemTypeConfig.{given[0]}",
            problem=f"the problem type {NOT_BUILT.get(given[0], given[0])} is not built in this service yet",
            fix=f"problem types here: {here}",
        )
    raise InvalidRequest(
        where="AutoMLProblemTypeConfig",
        found=sorted(given),
        problem="must have exactly one member set",
        fix=f"problem types here: {here}",
    )


def named(config_name: str, problems: tuple[Problem, ...] = PROBLEMS) -> Problem:
    """Give the problem type of a stored job by its AutoMLProblemTypeConfigName.

    Raises:
        KeyError: no problem type bears it.
    """
    return {problem.config_name: problem for problem in problems}[config_name]
