"""Reads what is asked of tuning, in each of the ways to ask, into one value; names every fault at once.

    of_strings   the strings of TextGenerationHyperParameters, by their keys
    of_object    values of JSON or Python, by the parameters' names; those of tuning_config beside the others or within
    settle       what was given, of both together, with every default filled in and held against the base model

Called by request.py for the AWS call, and by whoever asks by names: the Python call and the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from gyropilot.errors import Fault, InvalidRequest
from gyropilot.log import printable
from gyropilot.problems.text_generation.tuning import config_object
from gyropilot.problems.text_generation.tuning.combinations import (
    Surroundings,
    faults_between,
    following,
    source_digest,
    unused,
)
from gyropilot.problems.text_generation.tuning.kinds import MOST_MEMBERS, Json, Unfit, nearest
from gyropilot.problems.text_generation.tuning.parameters import (
    ELSEWHERE,
    EPOCHS,
    PARAMETERS,
    Parameter,
    keyed,
    named,
)
from gyropilot.problems.text_generation.tuning.specification import VIRTUAL_TOKEN_TYPES, TuningSpec, TuningType

TUNING_CONFIG = "tuning_config"
_SHOWN = 80


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked for, with every default filled in."""

    epochs: int
    batch_size: int
    """Examples that are computed before the next; `tuning.accumulate_steps` of them make a step of the optimizer."""
    learning_rate: float | None
    """None: to be found by a probe."""
    warmup_steps: int
    seed: int
    silence_progress_bars: bool
    tuning: TuningSpec
    defaulted: tuple[str, ...]
    """Parameters of this type that were left to us, by their `shown_as`."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """One parameter that was given."""

    parameter: Parameter
    where: str
    found: Json
    """The value as it was given."""
    value: Json = None
    """What it stands for."""
    fits: bool = True
    """False: `value` is none, and the fault is told already."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to ask: what holds in it alone."""

    tuning_type: TuningType
    """What is tuned where nothing is said."""
    epochs_of_virtual_tokens: int
    where: Callable[[Parameter], str]
    """Names the place where a parameter would have been given."""
    how: Callable[[Parameter], str]
    """Says how a parameter is given, where its place alone does not; else an empty text."""


def plainly(path: str) -> str:
    """Name a parameter by itself; all of them together by that word."""
    return path or "parameters"


TUNE = Way(
    tuning_type="PROMPT_TUNING",
    epochs_of_virtual_tokens=20,
    where=lambda parameter: parameter.name if parameter.part == "job" else f"{TUNING_CONFIG}.{parameter.name}",
    how=lambda _: "",
)
"""The Python call and the command line: the defaults are those of caikit-nlp's parameters."""


def read(values: Mapping[str, Json], around: Surroundings, *, where: Callable[[str], str] = plainly) -> Asked:
    """Give what a Python call or a command line asks for.

    Args:
        values: by the parameters' names, `tuning_config` among them where they stand apart.
        around: what is known of base model, data and machine.
        where: names a place as its caller wrote it; it is given `seed`, `tuning_config.num_virtual_tokens`, or an empty
            text for the whole.

    Raises:
        InvalidRequest: with every fault.
    """
    faults: list[Fault] = []
    given = of_object(values, where=where, faults=faults)
    asked = settle(given, around, way=TUNE, faults=faults)
    if faults:
        raise InvalidRequest.of(faults)
    return asked


def unknown_members(values: Mapping[str, Json]) -> list[Fault]:
    """Give the fault of each value whose name is none of those of `tuning_config`."""
    unknown = {name: value for name, value in values.items() if not ((one := named(name)) and _is_inner(one))}
    faults: list[Fault] = []
    _of_names(unknown, f"{TUNING_CONFIG}.", plainly, faults)
    return faults


def of_strings(values: Mapping[str, str], *, where: str, faults: list[Fault]) -> list[Given]:
    """Give the values of a map of strings, whose keys are those of the table; what is wrong goes to `faults`."""
    keys = [one.key for one in PARAMETERS if one.key]
    for key in values:
        if keyed(key) is None:
            by_name = named(key) or _keyless(key)
            problem = "is no hyperparameter of text generation"
            fix = f"{nearest(by_name.key if by_name else key, keys)}known are {', '.join(keys)}"
            if by_name and not by_name.key:
                problem, fix = "is a parameter of tuning without a key here", config_object.HOW
            faults.append(Fault(where=f"{where}.{key}", found=_short(values[key]), problem=problem, fix=fix))
    found = []
    for one in PARAMETERS:
        if one.key and one.key in values:
            kind = one.key_kind or one.kind
            reader = _Reader(read=kind.read_text, accepted=f"a string with {kind.accepted}")
            found.append(reader.given(one, values[one.key], f"{where}.{one.key}", faults))
    return found


def of_object(values: Mapping[str, Json], *, where: Callable[[str], str], faults: list[Fault]) -> list[Given]:
    """Give the values of an object by the parameters' names; what is wrong goes to `faults`.

    Args:
        values: by name or alias.
        where: names a place as its caller wrote it; it is given `seed`, `tuning_config.num_virtual_tokens`, or an empty
            text for the whole.
        faults: gets what is wrong.
    """
    outer = {name: value for name, value in values.items() if name != TUNING_CONFIG}
    found = _of_names(outer, "", where, faults)
    inner = values.get(TUNING_CONFIG)
    if isinstance(inner, Mapping):
        found += _of_names(inner, f"{TUNING_CONFIG}.", where, faults)
    elif inner is not None:
        problem, fix = "is not an object of names and values", "give an object of parameters"
        faults.append(Fault(where=where(TUNING_CONFIG), found=_short(inner), problem=problem, fix=fix))
    return found


def settle(given: Sequence[Given], around: Surroundings, *, way: Way, faults: list[Fault]) -> Asked:
    """Give what all that was given asks for; what is wrong goes to `faults`, and then the value is of no use.

    Args:
        given: of one way in, or of two.
        around: what is known of base model, data and machine.
        way: whose defaults hold.
        faults: gets what is wrong.
    """
    by_name = _once(given, faults)
    of_type = by_name.get("tuning_type")
    tuning_type: TuningType = of_type.value if of_type and of_type.fits else way.tuning_type
    if of_type and not of_type.fits:
        return _filled({}, (), tuning_type, way)
    meant = _meant(by_name, tuning_type, faults)
    values = {name: one.value for name, one in meant.items() if one.fits}
    values = {name: value for name, value in values.items() if name not in unused(values, tuning_type)}
    asked = _filled(values | following(values, tuning_type, around), values, tuning_type, way)
    places = {one.name: meant[one.name].where if one.name in meant else way.where(one) for one in PARAMETERS}
    unfit = {one.where for one in given if not one.fits}
    ways = {way.where(one): way.how(one) for one in PARAMETERS if one.name not in meant}
    faults += (
        _with_way(fault, ways.get(fault.where, ""))
        for fault in faults_between(asked.tuning, around, places)
        if fault.where not in unfit
    )
    digest = source_digest(asked.tuning, around)
    return replace(asked, tuning=replace(asked.tuning, prompt_tuning_init_source_digest=digest))


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """Reads values in one notation."""

    read: Callable[[Json], Json]
    accepted: str

    def given(self, parameter: Parameter, value: Json, where: str, faults: list[Fault]) -> Given:
        """Give a value as it was given, and what it stands for if it fits."""
        try:
            return Given(parameter=parameter, where=where, found=value, value=self.read(value))
        except Unfit as error:
            fix = f"{error.fix}give {self.accepted}"
            faults.append(Fault(where=where, found=_short(value), problem=error.problem, fix=fix))
            return Given(parameter=parameter, where=where, found=value, fits=False)


def _of_names(values: Mapping[str, Json], prefix: str, where: Callable[[str], str], faults: list[Fault]) -> list[Given]:
    if len(values) > MOST_MEMBERS:
        problem = f"has {len(values)} members, and there are {len(PARAMETERS)} parameters"
        place = where(prefix.removesuffix("."))
        faults.append(Fault(where=place, problem=problem, fix="leave out what is none"))
        return []
    return [one for name in values for one in _of_name(name, f"{prefix}{name}", values[name], where, faults)]


def _of_name(name: str, path: str, value: Json, where: Callable[[str], str], faults: list[Fault]) -> list[Given]:
    one, place = named(name), where(printable(path[:_SHOWN]))
    is_inner = path != name
    if one is None:
        faults.append(_unknown(name, place, value, [one.name for one in PARAMETERS if not is_inner or _is_inner(one)]))
        return []
    if is_inner and not _is_inner(one):
        problem = f"is no member of {TUNING_CONFIG}"
        faults.append(Fault(where=place, found=_short(value), problem=problem, fix=f"give it beside {TUNING_CONFIG}"))
        return []
    if value is None:  # as if it were not there, as Python's callers have it
        return []
    return [_Reader(read=one.kind.read, accepted=one.kind.accepted).given(one, value, place, faults)]


def _keyless(key: str) -> Parameter | None:
    """Give the parameter without a key whose name is written as keys are: promptTuningInitText."""
    written = key.lower().replace("_", "")
    return next((one for one in PARAMETERS if not one.key and one.name.replace("_", "") == written), None)


def _is_inner(one: Parameter) -> bool:
    return one.part == "tuning_config"


def _unknown(name: str, where: str, value: Json, known: Sequence[str]) -> Fault:
    by_key = keyed(name)
    if name in ELSEWHERE:
        return Fault(where=where, found=_short(value), problem="is given in another place", fix=ELSEWHERE[name])
    hint = f"did you mean {by_key.name}? " if by_key else nearest(name, known)
    return Fault(
        where=where,
        found=_short(value),
        problem="is no parameter of tuning",
        fix=f"{hint}known are {', '.join(known)}",
    )


def _with_way(fault: Fault, how: str) -> Fault:
    return replace(fault, fix=f"{fault.fix}; {how}") if how else fault


def _once(given: Sequence[Given], faults: list[Fault]) -> dict[str, Given]:
    """Give what was given by name; a parameter that was given twice must have one value."""
    found: dict[str, Given] = {}
    for one in given:
        before = found.setdefault(one.parameter.name, one)
        if before.fits and one.fits and before.value != one.value:
            problem = f"is given as {_short(before.found)!r} by {before.where} too"
            faults.append(Fault(where=one.where, found=_short(one.found), problem=problem, fix="give it once"))
        if one.fits and not before.fits:
            found[one.parameter.name] = one
    return found


def _meant(by_name: Mapping[str, Given], tuning_type: TuningType, faults: list[Fault]) -> dict[str, Given]:
    """Give what means something for the type of tuning; what means nothing is a fault."""
    found = {}
    for name, one in by_name.items():
        if one.parameter.means_something_for(tuning_type):
            found[name] = one
        elif tuning_type not in one.parameter.ignored_by:
            fix = f"it is for {', '.join(one.parameter.types)}: leave it out, or ask for another tuning type"
            problem = f"means nothing for {tuning_type}"
            faults.append(Fault(where=one.where, found=_short(one.found), problem=problem, fix=fix))
    return found


def _filled(values: Mapping[str, Json], given: Collection[str], tuning_type: TuningType, way: Way) -> Asked:
    """Give what the values ask for; what they leave out has the default of the type and the way."""
    is_virtual = tuning_type in VIRTUAL_TOKEN_TYPES
    ours: dict[str, Json] = {
        "tuning_type": tuning_type,
        "num_epochs": way.epochs_of_virtual_tokens if is_virtual else EPOCHS,
    }
    meant = [one for one in PARAMETERS if one.means_something_for(tuning_type)]
    settled: dict[str, Json] = {
        one.kept_as: values[one.name] if one.name in values else ours.get(one.name, one.default_of(tuning_type))
        for one in meant
    }
    spec_fields = {one.name for one in fields(TuningSpec)}
    return Asked(
        **{name: value for name, value in settled.items() if name not in spec_fields},
        tuning=TuningSpec(**{name: value for name, value in settled.items() if name in spec_fields}),
        defaulted=tuple(one.shown_as for one in meant if one.name not in given),
    )


def _short(value: Json) -> Json:
    return f"{value[:_SHOWN]}..." if isinstance(value, str) and len(value) > _SHOWN else value
