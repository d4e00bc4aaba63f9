"""Reads the text-generation part of CreateAutoMLJobV2 into a frozen spec, naming every fault at once.

Rules: which channels, content types, hyperparameters and completion criteria this problem type takes. What all problem
types share (names, role, bucket, keys, tags) is checked by the caller.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial

from gyropilot.errors import Fault, InvalidRequest
from gyropilot.problems import job_limits
from gyropilot.problems.contract import Json, Limits, RequestContext, Spec
from gyropilot.problems.input_channels import ChannelRules, channel_faults, read_fraction
from gyropilot.problems.text_generation.source_prompts.store import SourcePrompts
from gyropilot.problems.text_generation.tuning import config_object, reading
from gyropilot.problems.text_generation.tuning.combinations import Surroundings
from gyropilot.problems.text_generation.tuning.parameters import PARAMETERS, Parameter
from gyropilot.problems.text_generation.tuning.reading import Asked, Way
from gyropilot.problems.text_generation.tuning.specification import TuningSpec, TuningType, read_tuning_spec

DEFAULT_BASE_MODEL = "Falcon7BInstruct"
DEFAULT_SECONDS_PER_CANDIDATE = 259_200

_CONFIG = "AutoMLProblemTypeConfig.TextGenerationJobConfig"
PROBED = "found by a probe"
"""What is shown for a learning rate that was not given."""
_HYPERPARAMETERS = f"{_CONFIG}.TextGenerationHyperParameters"
_CHANNEL_RULES = ChannelRules(word="text generation")


@dataclass(frozen=True, kw_only=True)
class TextGenerationSpec:
    """A text-generation job with every default filled in."""

    base_model: str
    """As the request names it."""
    loaded_model: str
    """The model that is trained: the same, or the one that stands in for it."""
    accept_eula: bool
    epochs: int
    batch_size: int
    """Examples per optimizer step, times those of `method.accumulate_steps`."""
    learning_rate: float | None
    """None: found by a probe when training begins."""
    warmup_steps: int
    seed: int
    validation_fraction: float | None
    """Share of the rows held out; None: a validation channel was given."""
    defaulted: tuple[str, ...]
    """Parameters that the request left to us, by their keys of TextGenerationHyperParameters; those that have none by
    their names."""
    limits: Limits
    method: TuningSpec = field(default_factory=TuningSpec)
    """What is tuned, and how."""

    @property
    def tuning(self) -> TuningType:
        """What is tuned."""
        return self.method.tuning_type

    def to_json(self) -> dict[str, Json]:
        """Give the spec as JSON values, read back by `read_spec`; what means nothing for the tuning is left out."""
        unmeant = {one.kept_as for one in PARAMETERS if not one.means_something_for(self.tuning)}
        method = {name: value for name, value in self.method.to_json().items() if name not in unmeant}
        return {**asdict(self), "defaulted": list(self.defaulted), "method": method}


def read(request: Mapping[str, Json], context: RequestContext) -> TextGenerationSpec:
    """Give the spec of a CreateAutoMLJobV2 request whose shape is already checked.

    Raises:
        InvalidRequest: with every rule that the request breaks.
    """
    faults: list[Fault] = []
    config: Mapping[str, Json] = request["AutoMLProblemTypeConfig"]["TextGenerationJobConfig"] or {}
    named = config.get("BaseModelName")
    base_model = named or DEFAULT_BASE_MODEL
    accept_eula = bool((config.get("ModelAccessConfig") or {}).get("AcceptEula", False))
    faults += _base_model_faults(base_model, context, accept_eula=accept_eula, is_default=not named)
    asked = _asked(request, config, _surroundings(request, base_model, context), context, faults)
    limits = _read_limits(config.get("CompletionCriteria") or {}, faults)
    channels: Sequence[Mapping[str, Json]] = request["AutoMLJobInputDataConfig"]
    faults += channel_faults(channels, _CHANNEL_RULES)
    fraction = read_fraction(request, channels, faults)
    faults += _unsettable_faults(request)
    if faults:
        raise InvalidRequest.of(faults)
    loaded = context.base_models.find(base_model)
    return settled(
        asked,
        base_model=base_model,
        loaded_model=base_model if loaded is None else loaded.name,
        accept_eula=accept_eula,
        validation_fraction=fraction,
        limits=limits,
    )


def settled(
    asked: Asked,
    *,
    base_model: str,
    loaded_model: str,
    accept_eula: bool,
    validation_fraction: float | None,
    limits: Limits,
) -> TextGenerationSpec:
    """Give the specification of what was asked for, on a base model."""
    return TextGenerationSpec(
        base_model=base_model,
        loaded_model=loaded_model,
        accept_eula=accept_eula,
        epochs=asked.epochs,
        batch_size=asked.batch_size,
        learning_rate=asked.learning_rate,
        warmup_steps=asked.warmup_steps,
        seed=asked.seed,
        validation_fraction=validation_fraction,
        defaulted=asked.defaulted,
        limits=limits,
        method=asked.tuning,
    )


def read_spec(values: Mapping[str, Json]) -> TextGenerationSpec:
    """Read back what `TextGenerationSpec.to_json` gave."""
    values = {"method": {"tuning_type": values.get("tuning", "LORA")}, **values}
    values.pop("tuning", None)  # of jobs that were created before there were more than two ways
    return TextGenerationSpec(
        **{
            "loaded_model": values["base_model"],
            **values,
            "defaulted": tuple(values["defaulted"]),
            "limits": Limits(**values["limits"]),
            "method": read_tuning_spec(values["method"]),
        }
    )


def hyperparameters_of(spec: TextGenerationSpec) -> dict[str, float | str]:
    """Give every parameter that means something for the job with the value that holds.

    By its key of TextGenerationHyperParameters, or by its name where it has none; what is not set is left out.
    """
    values: dict[str, Json] = vars(spec) | vars(spec.method)
    meant = [one for one in PARAMETERS if one.means_something_for(spec.tuning) and one.kept_as in values]
    shown = {one.shown_as: values[one.kept_as] for one in meant}
    if spec.learning_rate is None:
        shown["learningRate"] = PROBED
    return {key: _shown(value) for key, value in shown.items() if value not in (None, (), {})}


def resolved_attributes(spec: Spec) -> dict[str, Json]:
    """Give what ResolvedAttributes says of this problem type: the base model that is loaded."""
    assert isinstance(spec, TextGenerationSpec)
    loaded = {"BaseModelName": spec.loaded_model}
    return {"AutoMLProblemTypeResolvedAttributes": {"TextGenerationResolvedAttributes": loaded}}


def _surroundings(request: Mapping[str, Json], base_model: str, context: RequestContext) -> Surroundings:
    """Give what is known beside the request, as far as the base model is there."""
    prompts = None if context.source_prompts is None else SourcePrompts(context.source_prompts)
    channels = request["AutoMLJobInputDataConfig"]
    training = next((at for at, one in enumerate(channels) if one.get("ChannelType", "training") == "training"), 0)
    around = Surroundings(
        columns=partial(context.columns, training), cuda_devices=context.cuda_devices(), source_prompts=prompts
    )
    return around.beside(context.base_models.find(base_model))


def _asked(
    request: Mapping[str, Json],
    config: Mapping[str, Json],
    around: Surroundings,
    context: RequestContext,
    faults: list[Fault],
) -> Asked:
    """Give what TextGenerationHyperParameters and the tagged object ask for together."""
    strings: Mapping[str, str] = config.get("TextGenerationHyperParameters") or {}
    given = reading.of_strings(strings, where=_HYPERPARAMETERS, faults=faults)
    try:
        values = config_object.read(request.get("Tags") or (), context.read_object)
    except InvalidRequest as error:
        faults += error.faults
        # What it would have said is not known, so nothing more can be said of what is missing.
        return reading.settle([], around, way=AWS, faults=[])
    given += reading.of_object(values, where=config_object.where, faults=faults)
    return reading.settle(given, around, way=AWS, faults=faults)


def _place(parameter: Parameter) -> str:
    key = parameter.key
    return f"{_HYPERPARAMETERS}.{key}" if key else config_object.where(parameter.name)


def _shown(value: Json) -> float | str:
    if isinstance(value, tuple):
        return ", ".join(value)
    return value if isinstance(value, int | float | str) else json.dumps(value)


AWS = Way(
    tuning_type="LORA",
    epochs_of_virtual_tokens=10,
    where=_place,
    how=lambda parameter: "" if parameter.key else config_object.HOW,
)
"""The AWS call: ten epochs are the most that AWS documents."""


def _base_model_faults(name: str, context: RequestContext, *, accept_eula: bool, is_default: bool) -> tuple[Fault, ...]:
    try:
        context.base_models.check_available(name, accept_eula=accept_eula)
    except InvalidRequest as error:
        if not is_default:
            return error.faults
        return tuple(_of_default(name, fault) for fault in error.faults)
    return ()


def _of_default(name: str, fault: Fault) -> Fault:
    """Give the fault of a model that the request did not name, so that who reads it knows where the name is from."""
    if fault.where == f"{_CONFIG}.BaseModelName":
        told = f"no base model is given, so the default holds, {name}: {fault.problem}"
        return replace(fault, found=None, problem=told)
    return replace(fault, problem=f"{fault.problem}; {name} is the default, since BaseModelName is not given")


def _read_limits(criteria: Mapping[str, Json], faults: list[Fault]) -> Limits:
    where = f"{_CONFIG}.CompletionCriteria"
    if criteria.get("MaxCandidates", 1) != 1:
        faults.append(
            Fault(
                where=f"{where}.MaxCandidates",
                found=criteria["MaxCandidates"],
                problem="must be 1: text generation trains one candidate",
                fix="set it to 1 or leave it out",
            )
        )
    faults += job_limits.seconds_faults(where, criteria)
    return Limits(
        max_candidates=1,
        seconds_per_candidate=criteria.get("MaxRuntimePerTrainingJobInSeconds", DEFAULT_SECONDS_PER_CANDIDATE),
        seconds_per_job=criteria.get("MaxAutoMLJobRuntimeInSeconds"),
    )


def _unsettable_faults(request: Mapping[str, Json]) -> list[Fault]:
    faults = []
    if request.get("AutoMLJobObjective") is not None:
        faults.append(
            Fault(
                where="AutoMLJobObjective",
                found=(request["AutoMLJobObjective"] or {}).get("MetricName"),
                problem="text generation has no objective to set: it minimises the cross-entropy loss",
                fix="leave AutoMLJobObjective out",
            )
        )
    return faults
