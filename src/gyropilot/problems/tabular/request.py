"""Reads the tabular part of CreateAutoMLJobV2 into a frozen spec, naming every fault at once.

Rules: which channels, modes, algorithms, objectives and columns this problem type takes. What all problem types share
(names, role, bucket, keys, tags) is checked by the caller.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal, get_args

from gyropilot.data import header_names
from gyropilot.errors import Fault, InvalidData, InvalidRequest
from gyropilot.metrics.standard_metrics import OBJECTIVES, STANDARD_METRICS
from gyropilot.problems import job_limits
from gyropilot.problems.contract import Direction, Json, Limits, RequestContext, Spec
from gyropilot.problems.input_channels import ChannelRules, channel_faults, channel_type, read_fraction
from gyropilot.problems.tabular import feature_specification
from gyropilot.problems.tabular.columns import COLUMN_KINDS, ColumnKind, ProblemType

Mode = Literal["AUTO", "ENSEMBLING", "HYPERPARAMETER_TUNING"]
TrainingMode = Literal["ENSEMBLING", "HYPERPARAMETER_TUNING"]

ALGORITHMS: Mapping[TrainingMode, tuple[str, ...]] = {
    "ENSEMBLING": (
        "catboost",
        "extra-trees",
        "fastai",
        "lightgbm",
        "linear-learner",
        "nn-torch",
        "randomforest",
        "xgboost",
    ),
    "HYPERPARAMETER_TUNING": ("linear-learner", "mlp", "xgboost"),
}
DEFAULT_MAX_CANDIDATES: Mapping[TrainingMode, int] = {"ENSEMBLING": 10, "HYPERPARAMETER_TUNING": 100}
AUTO_ENSEMBLING_BYTES = 100 * 10**6
"""Data up to this size is ensembled where Mode is AUTO."""
SEED = 42

_CONFIG = "AutoMLProblemTypeConfig.TabularJobConfig"
_ALGORITHMS_PATH = f"{_CONFIG}.CandidateGenerationConfig.AlgorithmsConfig"
_CHANNEL_RULES = ChannelRules(word="tabular", s3_data_types=("S3Prefix", "ManifestFile"), takes_gzip=True)
_SHOWN_COLUMNS = 20


@dataclass(frozen=True, kw_only=True)
class TabularSpec:
    """A tabular job with every default filled in, as far as it is known before the data is read."""

    target: str
    mode: Mode
    problem_type: ProblemType | None
    """None: to be inferred from the target's values."""
    objective: str | None
    """A StandardMetricName; None until the problem type is known, see `objective_of`."""
    algorithms: tuple[str, ...]
    """Of AlgorithmsConfig, in its order; empty: all of the mode."""
    definitions_only: bool
    """Whether the job ends once its candidates are defined."""
    feature_specification_uri: str | None
    weight_column: str | None
    validation_fraction: float | None
    """Share of the rows held out; None: a validation channel was given."""
    seed: int
    limits: Limits
    """Where max_candidates was left to us it is that of the mode, or the larger one while the mode is not known: go by
    `max_candidates`."""
    defaulted: tuple[str, ...]
    """Those of Mode, ProblemType, AutoMLJobObjective, MaxCandidates and ValidationFraction that were left to us."""

    @property
    def extra_inputs(self) -> tuple[str, ...]:
        """Give the URIs of the objects that profile reads beside the channels."""
        return () if self.feature_specification_uri is None else (self.feature_specification_uri,)

    def to_json(self) -> dict[str, Json]:
        """Give the spec as JSON values, read back by `read_spec`."""
        return {**asdict(self), "algorithms": list(self.algorithms), "defaulted": list(self.defaulted)}


def read(request: Mapping[str, Json], context: RequestContext) -> TabularSpec:
    """Give the spec of a CreateAutoMLJobV2 request whose shape is already checked.

    Raises:
        InvalidRequest: with every rule that the request breaks.
    """
    faults: list[Fault] = []
    config: Mapping[str, Json] = request["AutoMLProblemTypeConfig"]["TabularJobConfig"]
    channels: Sequence[Mapping[str, Json]] = request["AutoMLJobInputDataConfig"]
    mode: Mode = config.get("Mode") or "AUTO"
    headers = _headers(channels, context)
    _check_columns(config, headers, faults)
    _check_features(config, mode, headers, context, faults)
    algorithms = _read_algorithms(config, mode, faults)
    problem_type, objective = _read_objective(config, request.get("AutoMLJobObjective"), faults)
    _check_mode(config, mode, faults)
    _check_deployment(request, config, faults)
    limits = _read_limits(config.get("CompletionCriteria") or {}, mode, faults)
    faults += channel_faults(channels, _CHANNEL_RULES)
    fraction = read_fraction(request, channels, faults)
    if faults:
        raise InvalidRequest.of(faults)
    return TabularSpec(
        target=header_names.named_column(config["TargetAttributeName"]),
        mode=mode,
        problem_type=problem_type,
        objective=objective,
        algorithms=algorithms,
        definitions_only=bool(config.get("GenerateCandidateDefinitionsOnly")),
        feature_specification_uri=config.get("FeatureSpecificationS3Uri"),
        weight_column=_weight_of(config),
        validation_fraction=fraction,
        seed=SEED,
        limits=limits,
        defaulted=_defaulted(request, config, channels),
    )


def unknown_names(request: Mapping[str, Json]) -> list[Fault]:
    """Tell which objectives and algorithms there are, where unknown ones are named in a request of any shape."""
    config = _members(_members(request.get("AutoMLProblemTypeConfig")).get("TabularJobConfig"))
    faults: list[Fault] = []
    metric, problem_type = _members(request.get("AutoMLJobObjective")).get("MetricName"), config.get("ProblemType")
    known = {one for names in OBJECTIVES.values() for one in names}
    if isinstance(metric, str) and metric not in known:
        faults.append(_objective_fault(metric, problem_type if problem_type in get_args(ProblemType) else None))
    given = _members(config.get("CandidateGenerationConfig")).get("AlgorithmsConfig")
    first = _members(given[0]).get("AutoMLAlgorithms") if isinstance(given, list) and given else None
    named = [one for one in first if isinstance(one, str)] if isinstance(first, list) else []
    mode = next((one for one in ALGORITHMS if one == config.get("Mode")), None)
    foreign = [one for one in named if one not in {name for names in ALGORITHMS.values() for name in names}]
    return faults + ([_algorithms_fault(foreign, mode)] if foreign else [])


def _members(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}


def read_spec(values: Mapping[str, Json]) -> TabularSpec:
    """Read back what `TabularSpec.to_json` gave."""
    tuples = {name: tuple(values[name]) for name in ("algorithms", "defaulted")}
    return TabularSpec(**{**values, **tuples, "limits": Limits(**values["limits"])})


def objective_of(spec: TabularSpec, problem_type: ProblemType) -> str:
    """Give the StandardMetricName that the job is after: the request's, or the problem type's default."""
    return spec.objective or OBJECTIVES[problem_type][0]


def direction_of(metric: str) -> Direction:
    """Say which way a StandardMetricName is better."""
    return STANDARD_METRICS[metric].direction


def mode_of(spec: TabularSpec, data_bytes: int | None) -> TrainingMode:
    """Give the mode that holds for data of this size.

    AUTO goes by size, except where only one mode can do what the request asks for: sample weights are of ensembling,
    candidate definitions of hyperparameter tuning.

    Args:
        spec: the job.
        data_bytes: size of all objects of the channels; None: not known before they are read.
    """
    if spec.mode != "AUTO":
        return spec.mode
    if spec.weight_column is not None:
        return "ENSEMBLING"
    if spec.definitions_only or data_bytes is None or data_bytes > AUTO_ENSEMBLING_BYTES:
        return "HYPERPARAMETER_TUNING"
    return "ENSEMBLING"


def max_candidates(spec: TabularSpec, mode: TrainingMode) -> int:
    """Give how many candidates are tried at most in a mode."""
    return DEFAULT_MAX_CANDIDATES[mode] if "MaxCandidates" in spec.defaulted else spec.limits.max_candidates


def resolved_attributes(spec: Spec) -> dict[str, Json]:
    """Give what ResolvedAttributes says before the data is read: only what does not hang on the data."""
    assert isinstance(spec, TabularSpec)
    is_known = spec.mode != "AUTO" or "MaxCandidates" not in spec.defaulted
    most = spec.limits.max_candidates if is_known else None
    return _resolved(spec, problem_type=spec.problem_type, objective=spec.objective, most_candidates=most)


def resolved_by_profile(spec: Spec, profile: Mapping[str, Json]) -> dict[str, Json]:
    """Give what ResolvedAttributes says once the data is read; `profile` is what the profile gave."""
    assert isinstance(spec, TabularSpec)
    problem_type: ProblemType = profile["schema"]["problem_type"]
    most = max_candidates(spec, profile["mode"])
    return _resolved(spec, problem_type=problem_type, objective=objective_of(spec, problem_type), most_candidates=most)


def _resolved(
    spec: TabularSpec, *, problem_type: ProblemType | None, objective: str | None, most_candidates: int | None
) -> dict[str, Json]:
    criteria = {
        "MaxCandidates": most_candidates,
        "MaxRuntimePerTrainingJobInSeconds": spec.limits.seconds_per_candidate,
        "MaxAutoMLJobRuntimeInSeconds": spec.limits.seconds_per_job,
    }
    known = {name: value for name, value in criteria.items() if value is not None}
    resolved: dict[str, Json] = {"CompletionCriteria": known}
    if objective is not None:
        resolved["AutoMLJobObjective"] = {"MetricName": objective}
    if problem_type is not None:
        resolved["AutoMLProblemTypeResolvedAttributes"] = {"TabularResolvedAttributes": {"ProblemType": problem_type}}
    return resolved


def _headers(channels: Sequence[Mapping[str, Json]], context: RequestContext) -> dict[str, tuple[str, ...]]:
    """Give the columns of each channel whose header could be read, by what messages call the channel."""
    return {
        f"the {channel_type(channel)} channel": names
        for number, channel in enumerate(channels)
        if (names := context.columns(number)) is not None
    }


def _check_features(
    config: Mapping[str, Json],
    mode: Mode,
    headers: Mapping[str, tuple[str, ...]],
    context: RequestContext,
    faults: list[Fault],
) -> None:
    """Hold the feature specification against the header, as the job will."""
    uri = config.get("FeatureSpecificationS3Uri")
    if uri is None or context.read_object is None:
        return
    where = f"{_CONFIG}.FeatureSpecificationS3Uri"
    try:
        data = context.read_object(where, uri, feature_specification.MAX_BYTES)
    except InvalidRequest:
        return  # told as a fault of the place, or by the job
    if data is None:
        return
    try:
        feature_specification.read(
            data,
            uri,
            columns=headers.get("the training channel"),
            target=header_names.named_column(config["TargetAttributeName"]),
            weight=_weight_of(config),
            taken=kinds_taken(mode),
        )
    except InvalidData as error:
        faults += [replace(one, where=where, problem=f"{one.where}: {one.problem}") for one in error.faults]


def kinds_taken(mode: Mode) -> tuple[ColumnKind, ...]:
    """Give the kinds of columns that a mode takes; while it is not known, those of any."""
    return tuple(one for one in COLUMN_KINDS if one != "sequence" or mode != "ENSEMBLING")


def _check_columns(config: Mapping[str, Json], headers: Mapping[str, tuple[str, ...]], faults: list[Fault]) -> None:
    target, weight = header_names.named_column(config["TargetAttributeName"]), _weight_of(config)
    for place, names in headers.items():
        if target not in names:
            faults.append(_target_fault(target, place, names))
        if weight is not None and weight not in names:
            faults.append(
                Fault(
                    where=f"{_CONFIG}.SampleWeightAttributeName",
                    found=weight,
                    problem=f"is no column of {place}",
                    fix=header_names.mend_of(weight, names),
                )
            )
    if weight is not None and weight == target:
        faults.append(
            Fault(
                where=f"{_CONFIG}.SampleWeightAttributeName",
                found=weight,
                problem="is the target too, and a column cannot be both",
                fix="name the column of weights, or leave it out",
            )
        )
    if len(headers) == 2 and len({frozenset(names) for names in headers.values()}) == 2:
        faults.append(_unlike_fault(headers))


def _weight_of(config: Mapping[str, Json]) -> str | None:
    given = config.get("SampleWeightAttributeName")
    return None if given is None else header_names.named_column(given)


def _target_fault(target: str, place: str, names: tuple[str, ...]) -> Fault:
    problem, fix = f"is no column of {place}", header_names.mend_of(target, names)
    return Fault(
        where=f"{_CONFIG}.TargetAttributeName",
        found=target,
        problem=problem,
        fix=fix,
        # Clients match on this sentence; it must come first.
        wording=f"Target attribute name {target} does not exist in header. It {problem}; {fix}",
    )


def _unlike_fault(headers: Mapping[str, tuple[str, ...]]) -> Fault:
    (one, ours), (other, theirs) = headers.items()
    told = [
        f"{', '.join(map(repr, sorted(names)[:_SHOWN_COLUMNS]))} only in {place}"
        for names, place in ((set(ours) - set(theirs), one), (set(theirs) - set(ours), other))
        if names
    ]
    return Fault(
        where="AutoMLJobInputDataConfig",
        problem=f"both channels must have the same columns: {'; '.join(told)}",
        fix="give the files of both the same header",
    )


def _read_algorithms(config: Mapping[str, Json], mode: Mode, faults: list[Fault]) -> tuple[str, ...]:
    given = (config.get("CandidateGenerationConfig") or {}).get("AlgorithmsConfig") or []
    names: list[str] = [name for one in given for name in one["AutoMLAlgorithms"]]
    if mode == "AUTO":
        if given:
            faults.append(
                Fault(
                    where=_ALGORITHMS_PATH,
                    found=names,
                    problem="cannot be set while Mode is AUTO, which chooses the algorithms too",
                    fix=_mode_for(names),
                )
            )
        return ()
    foreign = [name for name in names if name not in ALGORITHMS[mode]]
    if foreign:
        faults.append(_algorithms_fault(foreign, mode))
    return tuple(dict.fromkeys(names))


def _algorithms_fault(foreign: Sequence[str], mode: TrainingMode | None) -> Fault:
    """Say of algorithms that the mode does not have which ones it has; None: that no mode has them."""
    which = [mode] if mode else list(ALGORITHMS)
    known = list(dict.fromkeys(name for one in which for name in ALGORITHMS[one]))
    taken = "; ".join(f"{one} takes {', '.join(ALGORITHMS[one])}" for one in which)
    return Fault(
        where=f"{_ALGORITHMS_PATH}[0].AutoMLAlgorithms",
        found=list(foreign),
        problem=f"{'are' if len(foreign) > 1 else 'is'} not of the mode {' or '.join(which)}",
        fix=f"{_meant(foreign[0], known)}{taken}",
    )


def _meant(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name.lower(), {one.lower(): one for one in known}, n=1)
    return f"did you mean {next(one for one in known if one.lower() == near[0])}? " if near else ""


def _mode_for(names: Sequence[str]) -> str:
    """Say which modes have all these algorithms."""
    modes = [mode for mode, known in ALGORITHMS.items() if set(names) <= set(known)]
    return f"set Mode to {' or '.join(modes or ALGORITHMS)}, or leave AlgorithmsConfig out"


def _read_objective(
    config: Mapping[str, Json], objective: Mapping[str, Json] | None, faults: list[Fault]
) -> tuple[ProblemType | None, str | None]:
    problem_type: ProblemType | None = config.get("ProblemType")
    metric: str | None = None if objective is None else objective["MetricName"]
    if problem_type is None and metric is not None:
        fitting = [one for one in get_args(ProblemType) if metric in OBJECTIVES[one]]
        which = f"set ProblemType to {' or '.join(fitting)}, " if fitting else ""
        faults.append(
            Fault(
                where=f"{_CONFIG}.ProblemType",
                problem=f"must be given where AutoMLJobObjective is ({metric})",
                fix=f"{which}or leave out both: then both follow from the data",
            )
        )
    if problem_type is not None and metric is None:
        faults.append(
            Fault(
                where="AutoMLJobObjective",
                problem=f"must be given where ProblemType is ({problem_type})",
                fix=f"set MetricName to one of {', '.join(OBJECTIVES[problem_type])}, or leave out both",
            )
        )
    allowed = OBJECTIVES[problem_type] if problem_type else {one for names in OBJECTIVES.values() for one in names}
    if metric is not None and metric not in allowed:
        faults.append(_objective_fault(metric, problem_type))
    return problem_type, metric


def _objective_fault(metric: str, problem_type: ProblemType | None) -> Fault:
    """Say of an objective that the problem type does not have which ones it has; None: that none of ours has it."""
    problem_types = [problem_type] if problem_type else list(get_args(ProblemType))
    allowed = sorted({one for kind in problem_types for one in OBJECTIVES[kind]})
    return Fault(
        where="AutoMLJobObjective.MetricName",
        found=metric,
        problem=f"is no objective of {problem_type or 'tabular jobs'}",
        fix=f"{_meant(metric, allowed)}take one of {', '.join(allowed)}",
    )


def _check_mode(config: Mapping[str, Json], mode: Mode, faults: list[Fault]) -> None:
    is_weighted = config.get("SampleWeightAttributeName") is not None
    only_definitions = bool(config.get("GenerateCandidateDefinitionsOnly"))
    if is_weighted and mode == "HYPERPARAMETER_TUNING":
        faults.append(
            Fault(
                where=f"{_CONFIG}.SampleWeightAttributeName",
                found=config["SampleWeightAttributeName"],
                problem="sample weights are of the mode ENSEMBLING only",
                fix="set Mode to ENSEMBLING, or leave the weights out",
            )
        )
    if only_definitions and (mode == "ENSEMBLING" or (is_weighted and mode == "AUTO")):
        why = "" if mode == "ENSEMBLING" else ", and sample weights are of the mode ENSEMBLING only"
        faults.append(
            Fault(
                where=f"{_CONFIG}.GenerateCandidateDefinitionsOnly",
                found=True,
                problem=f"candidate definitions are written in the mode HYPERPARAMETER_TUNING only{why}",
                fix="set Mode to HYPERPARAMETER_TUNING without sample weights, or leave this out",
            )
        )


def _check_deployment(request: Mapping[str, Json], config: Mapping[str, Json], faults: list[Fault]) -> None:
    if config.get("GenerateCandidateDefinitionsOnly") and "ModelDeployConfig" in request:
        faults.append(
            Fault(
                where="ModelDeployConfig",
                problem="asks for an endpoint, and with GenerateCandidateDefinitionsOnly no model is trained",
                fix="leave out ModelDeployConfig, or GenerateCandidateDefinitionsOnly",
            )
        )


def _read_limits(criteria: Mapping[str, Json], mode: Mode, faults: list[Fault]) -> Limits:
    faults += job_limits.seconds_faults(f"{_CONFIG}.CompletionCriteria", criteria)
    default = max(DEFAULT_MAX_CANDIDATES.values()) if mode == "AUTO" else DEFAULT_MAX_CANDIDATES[mode]
    return Limits(
        max_candidates=criteria.get("MaxCandidates") or default,
        seconds_per_candidate=criteria.get("MaxRuntimePerTrainingJobInSeconds"),
        seconds_per_job=criteria.get("MaxAutoMLJobRuntimeInSeconds"),
    )


def _defaulted(
    request: Mapping[str, Json], config: Mapping[str, Json], channels: Sequence[Mapping[str, Json]]
) -> tuple[str, ...]:
    split = (request.get("DataSplitConfig") or {}).get("ValidationFraction")
    given: dict[str, Json] = {
        "Mode": config.get("Mode"),
        "ProblemType": config.get("ProblemType"),
        "AutoMLJobObjective": request.get("AutoMLJobObjective"),
        "MaxCandidates": (config.get("CompletionCriteria") or {}).get("MaxCandidates"),
        "ValidationFraction": split if len(channels) == 1 else "all of the validation channel",
    }
    return tuple(name for name, value in given.items() if value is None)
