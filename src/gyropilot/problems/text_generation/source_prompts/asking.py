"""What `gyropilot prompts train` asks for, as the specification of a job; checked as a job's is, light to import."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gyropilot.base_models.store import BaseModelStore
from gyropilot.problems.contract import Json
from gyropilot.problems.text_generation import asked_spec
from gyropilot.problems.text_generation.request import TextGenerationSpec
from gyropilot.problems.text_generation.tuning.combinations import Surroundings


def spec_of(
    values: Mapping[str, Json],
    *,
    base_model: str,
    accept_eula: bool,
    store: BaseModelStore,
    columns: Callable[[], tuple[str, ...] | None],
    where: Callable[[str], str],
) -> TextGenerationSpec:
    """Give the specification of a training of several tasks at once.

    Args:
        values: Parameters of tuning by their names, `task_column` among them; None where one was not given.
        base_model: Name of an installed base model.
        accept_eula: Whether its licence is accepted, where it must be.
        store: The base models.
        columns: Gives the columns of the rows; None where they cannot be read.
        where: Gives for a parameter's name where the caller wrote it.

    Raises:
        InvalidRequest: with every fault.
    """
    return asked_spec.spec_of(
        {"tuning_type": "MULTITASK_PROMPT_TUNING", **values},
        base_model=base_model,
        accept_eula=accept_eula,
        store=store,
        around=Surroundings(columns=columns),
        where=lambda path: where(path.rpartition(".")[2]),
        validation_fraction=asked_spec.VALIDATION_FRACTION,
    )
