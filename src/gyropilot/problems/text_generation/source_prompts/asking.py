"""What `gyropilot prompts train` asks for, as the specification of a job; checked as a job's is, light to import."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from gyropilot.base_models.store import BaseModelStore
from gyropilot.errors import Fault, InvalidRequest
from gyropilot.problems.contract import Json, Limits
from gyropilot.problems.text_generation.request import TextGenerationSpec
from gyropilot.problems.text_generation.tuning import reading
from gyropilot.problems.text_generation.tuning.combinations import Surroundings

VALIDATION_FRACTION = 0.2


def spec_of(
    values: Mapping[str, Json],
    *,
    base_model: str,
    accept_eula: bool,
    store: BaseModelStore,
    where: Callable[[str], str],
) -> TextGenerationSpec:
    """Give the specification of a training of several tasks at once.

    Args:
        values: Parameters of tuning by their names, `task_column` among them; None where one was not given.
        base_model: Name of an installed base model.
        accept_eula: Whether its licence is accepted, where it must be.
        store: The base models.
        where: Gives for a parameter's name where the caller wrote it.

    Raises:
        InvalidRequest: with every fault.
    """
    faults: list[Fault] = []
    try:
        store.check_available(base_model, accept_eula=accept_eula)
    except InvalidRequest as error:
        faults += error.faults
    found = store.find(base_model)
    around = Surroundings()
    if found is not None:
        around = Surroundings(
            is_encoder_decoder=found.kind == "seq2seq",
            context_tokens=found.context_tokens,
            base_model=found.name,
            base_folder=found.path,
        )
    given = reading.of_object({"tuning_type": "MULTITASK_PROMPT_TUNING", **values}, where=where, faults=faults)
    way = replace(reading.TUNE, where=lambda parameter: where(parameter.name))
    asked = reading.settle(given, around, way=way, faults=faults)
    if faults:
        raise InvalidRequest.of(faults)
    return TextGenerationSpec(
        base_model=base_model,
        loaded_model=base_model if found is None else found.name,
        accept_eula=accept_eula,
        epochs=asked.epochs,
        batch_size=asked.batch_size,
        learning_rate=asked.learning_rate,
        warmup_steps=asked.warmup_steps,
        seed=asked.seed,
        validation_fraction=VALIDATION_FRACTION,
        defaulted=asked.defaulted,
        limits=Limits(max_candidates=1, seconds_per_candidate=None, seconds_per_job=None),
        method=asked.tuning,
    )
