"""Reads the text-generation part of CreateAutoMLJobV2 into a frozen spec, naming every fault at once.

Rules: which channels, content types, hyperparameters and completion criteria this problem type takes. What all problem
types share (names, role, bucket, keys, tags) is checked by the caller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from gyropilot.errors import Fault, InvalidRequest
from gyropilot.problems.contract import Json, Limits, RequestContext, Spec
from gyropilot.problems.input_channels import ChannelRules, channel_faults, read_fraction
from gyropilot.problems.text_generation import hyperparameters
from gyropilot.problems.text_generation.hyperparameters import HYPERPARAMETERS, TUNING_TYPE
from gyropilot.problems.text_generation.tuning.specification import TuningSpec, TuningType, read_tuning_spec

DEFAULT_BASE_MODEL = "Falcon7BInstruct"
DEFAULT_SECONDS_PER_CANDIDATE = 259_200
MAX_SECONDS_PER_JOB = 2_592_000
SEED = 42

_CONFIG = "AutoMLProblemTypeConfig.TextGenerationJobConfig"
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
    """Examples per optimizer step."""
    learning_rate: float
    warmup_steps: int
    seed: int
    validation_fraction: float | None
    """Share of the rows held out; None: a validation channel was given."""
    defaulted: tuple[str, ...]
    """Keys of TextGenerationHyperParameters that the request left to us."""
    limits: Limits
    method: TuningSpec = field(default_factory=TuningSpec)
    """What is tuned, and how."""

    @property
    def tuning(self) -> TuningType:
        """What is tuned."""
        return self.method.tuning_type

    def to_json(self) -> dict[str, Json]:
        """Give the spec as JSON values, read back by `read_spec`."""
        return {**asdict(self), "defaulted": list(self.defaulted), "method": self.method.to_json()}


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
    given: Mapping[str, str] = config.get("TextGenerationHyperParameters") or {}
    tuning, values, defaulted = hyperparameters.read(given, faults)
    limits = _read_limits(config.get("CompletionCriteria") or {}, faults)
    channels: Sequence[Mapping[str, Json]] = request["AutoMLJobInputDataConfig"]
    faults += channel_faults(channels, _CHANNEL_RULES)
    fraction = read_fraction(request, channels, faults)
    faults += _unsettable_faults(request)
    if faults:
        raise InvalidRequest.of(faults)
    loaded = context.base_models.find(base_model)
    return TextGenerationSpec(
        base_model=base_model,
        loaded_model=base_model if loaded is None else loaded.name,
        accept_eula=accept_eula,
        epochs=int(values["epochs"]),
        batch_size=int(values["batch_size"]),
        learning_rate=values["learning_rate"],
        warmup_steps=int(values["warmup_steps"]),
        seed=SEED,
        validation_fraction=fraction,
        defaulted=defaulted,
        limits=limits,
        method=TuningSpec(tuning_type=tuning),
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
    """Give every key of TextGenerationHyperParameters with the value that holds."""
    return {TUNING_TYPE: spec.tuning, **{one.key: getattr(spec, one.field) for one in HYPERPARAMETERS}}


def resolved_attributes(spec: Spec) -> dict[str, Json]:
    """Give what ResolvedAttributes says of this problem type: the base model that is loaded."""
    assert isinstance(spec, TextGenerationSpec)
    loaded = {"BaseModelName": spec.loaded_model}
    return {"AutoMLProblemTypeResolvedAttributes": {"TextGenerationResolvedAttributes": loaded}}


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
    for name in ("MaxAutoMLJobRuntimeInSeconds", "MaxRuntimePerTrainingJobInSeconds"):
        if (criteria.get(name) or 0) > MAX_SECONDS_PER_JOB:
            faults.append(
                Fault(
                    where=f"{where}.{name}",
                    found=criteria[name],
                    problem=f"is more than the {MAX_SECONDS_PER_JOB} seconds (30 days) that a job may take",
                    fix="lower it",
                )
            )
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
