"""What is asked for by the parameters' names, in Python or on a command line, as the specification of a job.

Checked as a job's request is, before anything is computed; light to import.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from gyropilot.base_models.store import BaseModelStore
from gyropilot.errors import Fault, InvalidRequest
from gyropilot.problems.contract import Json, Limits
from gyropilot.problems.text_generation.request import TextGenerationSpec, settled
from gyropilot.problems.text_generation.tuning import reading
from gyropilot.problems.text_generation.tuning.combinations import Surroundings
from gyropilot.problems.text_generation.tuning.reading import Asked

VALIDATION_FRACTION = 0.2
"""Share of the rows that is held out where no others are given."""


def spec_of(
    values: Mapping[str, Json],
    *,
    base_model: str,
    accept_eula: bool,
    store: BaseModelStore,
    around: Surroundings,
    where: Callable[[str], str],
    validation_fraction: float | None,
    known: Collection[Fault] = (),
) -> TextGenerationSpec:
    """Give the specification of a training.

    Args:
        values: Parameters of tuning by their names, `tuning_config` among them where they stand apart.
        base_model: Name of an installed base model.
        accept_eula: Whether its licence is accepted, where it must be.
        store: The base models.
        around: What is known of data and machine; what is to be known of the base model is filled in here.
        where: Names a place as its caller wrote it; it is given `base_model`, `accept_eula`, `seed` or
            `tuning_config.num_virtual_tokens`, or an empty text for the whole.
        validation_fraction: Of the rows; None: there are others to validate on.
        known: Faults found before, which are told with those found here.

    Raises:
        InvalidRequest: with every fault.
    """
    faults = [*known, *_base_model_faults(store, base_model, where, accept_eula=accept_eula)]
    found = store.find(base_model)
    asked = asked_of(values, around.beside(found), where=where, faults=faults)
    if faults:
        raise InvalidRequest.of(faults)
    return settled(
        asked,
        base_model=base_model,
        loaded_model=base_model if found is None else found.name,
        accept_eula=accept_eula,
        validation_fraction=validation_fraction,
        limits=Limits(max_candidates=1, seconds_per_candidate=None, seconds_per_job=None),
    )


def asked_of(
    values: Mapping[str, Json], around: Surroundings, *, where: Callable[[str], str], faults: list[Fault]
) -> Asked:
    """Give what the parameters ask for with every default filled in; what is wrong goes to `faults`."""
    way = replace(reading.TUNE, where=lambda parameter: where(reading.TUNE.where(parameter)))
    given = reading.of_object(values, where=lambda path: where(path) if path else reading.plainly(path), faults=faults)
    return reading.settle(given, around, way=way, faults=faults)


def of_licence(fault: Fault, where: str) -> Fault:
    """Give the fault of a licence that is not accepted, with the mend of a caller for whom it stands at `where`."""
    given = where if where.startswith("--") else f"{where}=True"
    return replace(fault, where=where, fix=f"read the licence, then give {given}")


def _base_model_faults(
    store: BaseModelStore, base_model: str, where: Callable[[str], str], *, accept_eula: bool
) -> list[Fault]:
    try:
        store.check_available(base_model, accept_eula=accept_eula)
    except InvalidRequest as error:
        return [_renamed(one, where) for one in error.faults]
    return []


def _renamed(fault: Fault, where: Callable[[str], str]) -> Fault:
    """Give a fault of the base model by the name of its parameter."""
    last = fault.where.rpartition(".")[2]
    if last == "AcceptEula":
        return of_licence(fault, where("accept_eula"))
    return replace(fault, where=where("base_model")) if last == "BaseModelName" else fault
