"""Reads the environment of an inference container: its role in a chain, and which outputs its answers have."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

from gyropilot.errors import Fault, InvalidRequest
from gyropilot.problems.tabular.serving.media_types import REPLY_TYPES, MediaType

Role = Literal["whole", "feature-transform", "algorithm", "inverse-label-transform"]
"""The only container of a model, or one of a chain, which goes from features to numbers, on to class numbers or an
estimate, and to labels."""
Output = Literal["predicted_label", "probability", "probabilities", "labels"]
OUTPUTS: tuple[Output, ...] = get_args(Output)

TRANSFORM_MODE = "AUTOML_TRANSFORM_MODE"
ENCODING = "AUTOML_SPARSE_ENCODE_RECORDIO_PROTOBUF"
MODEL_NAME = "MODEL_NAME"
USUAL_ACCEPT = "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT"
INPUT, OUTPUT, SUPPORTED = (
    "SAGEMAKER_INFERENCE_INPUT",
    "SAGEMAKER_INFERENCE_OUTPUT",
    "SAGEMAKER_INFERENCE_SUPPORTED",
)
_KNOWN = (TRANSFORM_MODE, ENCODING, USUAL_ACCEPT, INPUT, OUTPUT, SUPPORTED)
_OURS = ("GYROPILOT_", "AUTOML_", "SAGEMAKER_INFERENCE_")
"""Keys that begin so are read here; others, as those that the SageMaker SDK adds to every model, change nothing."""
_MODES: tuple[Role, ...] = ("feature-transform", "inverse-label-transform")
_GIVEN: Mapping[Role, tuple[Output, ...]] = {
    "whole": OUTPUTS,
    "algorithm": ("predicted_label", "probability", "probabilities"),
    "inverse-label-transform": OUTPUTS,
}
"""What each role can give of a classification."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What a container's environment chooses."""

    outputs: tuple[Output, ...] = ("predicted_label",)
    """What an answer of a classification has, in the caller's order."""
    inputs: tuple[Output, ...] = ("predicted_label",)
    """What the answer of the container before has, in its order."""
    usual_accept: MediaType | None = None
    """What is answered where the caller does not say; None: the form of the payload."""


def role_of(environment: Mapping[str, str], containers: int) -> str:
    """Name what a container does of a candidate that has so many."""
    return environment.get(TRANSFORM_MODE) or ("whole model" if containers == 1 else "algorithm")


def find_role(environment: Mapping[str, str]) -> Role | None:
    """Give the role that the environment names; None: that of the container's files.

    Raises:
        InvalidRequest: the environment names none that there is.
    """
    named = environment.get(TRANSFORM_MODE)
    if named is None:
        return None
    for role in _MODES:
        if named == role:
            return role
    fix = f"leave it as the candidate has it: {' or '.join(_MODES)}"
    raise InvalidRequest.of([_fault(TRANSFORM_MODE, named, "is no role of a container", fix)])


def read(environment: Mapping[str, str], role: Role, *, is_regression: bool) -> Environment:
    """Read the environment of a container.

    Raises:
        InvalidRequest: a key of ours is unknown, or has a value that means nothing for this role; with every fault.
    """
    faults = _unknown(environment)
    usual_accept = _usual_accept(environment, role, faults)
    given = () if is_regression else _GIVEN.get(role, ())
    chosen = {key: _names(environment, key, given, faults) for key in (INPUT, OUTPUT, SUPPORTED)}
    if chosen[INPUT] and role != "inverse-label-transform":
        fix = "leave it out; it belongs to the container that gives labels their names"
        faults.append(_fault(INPUT, environment[INPUT], "this container takes nothing that could be selected", fix))
    outputs, inputs = chosen[OUTPUT] or ("predicted_label",), chosen[INPUT] or ("predicted_label",)
    if role == "inverse-label-transform":
        faults += _unfed(outputs, inputs)
    if faults:
        raise InvalidRequest.of(faults)
    return Environment(outputs=outputs, inputs=inputs, usual_accept=usual_accept)


def chain_faults(environments: Sequence[Mapping[str, str]]) -> list[tuple[int, Fault]]:
    """Give, of the containers of a chain, which take something else than the one before answers, by their number."""
    faults = []
    for number, (before, after) in enumerate(pairwise(environments), start=1):
        if after.get(TRANSFORM_MODE) != "inverse-label-transform":
            continue
        comes, wanted = (_split(one) or ["predicted_label"] for one in (before.get(OUTPUT, ""), after.get(INPUT, "")))
        if comes != wanted:
            problem = f"is not what comes: {OUTPUT} of the container before is {','.join(comes)}"
            fix = "name the same in both, in the same order"
            faults.append((number, _fault(INPUT, ",".join(wanted), problem, fix)))
    return faults


def _unknown(environment: Mapping[str, str]) -> list[Fault]:
    faults = []
    for key, value in environment.items():
        if key not in _KNOWN and key.startswith(_OURS):
            near = difflib.get_close_matches(key, _KNOWN, n=1)
            fix = f"did you mean {near[0]}?" if near else f"known: {', '.join(_KNOWN)}"
            faults.append(_fault(key, value, "is not known for tabular models", fix))
    return faults


def _usual_accept(environment: Mapping[str, str], role: Role, faults: list[Fault]) -> MediaType | None:
    named = environment.get(USUAL_ACCEPT)
    if named is None or role == "feature-transform":  # that one's answer is for the next container alone
        return None
    found = REPLY_TYPES.get(named.strip().lower())
    if found is None:
        fix = f"choose of: {', '.join(dict.fromkeys(REPLY_TYPES.values()))}"
        faults.append(_fault(USUAL_ACCEPT, named, "is no content type of answers here", fix))
    return found


def _names(
    environment: Mapping[str, str], key: str, given: tuple[Output, ...], faults: list[Fault]
) -> tuple[Output, ...]:
    """Give the comma list of a key, in its own order, each once; clients put spaces after the commas."""
    text = environment.get(key, "")
    asked = _split(text)
    bad = [one for one in asked if one not in given]
    if bad and not given:
        faults.append(_fault(key, text, "this container's answers have nothing to select", "leave it out"))
    elif bad:
        problem = f"names {', '.join(map(repr, bad))}, which this container does not give"
        faults.append(_fault(key, text, problem, f"choose of: {', '.join(given)}"))
    by_name: dict[str, Output] = {one: one for one in given}
    return tuple(by_name[one] for one in asked if one in by_name)


def _split(text: str) -> list[str]:
    return list(dict.fromkeys(one.strip() for one in text.split(",") if one.strip()))


def _unfed(outputs: tuple[Output, ...], inputs: tuple[Output, ...]) -> list[Fault]:
    """Give a fault where an output is wanted that the container before does not hand over."""
    missing = [one for one in outputs if one != "labels" and one not in inputs]
    if not missing:
        return []
    problem = f"asks for {', '.join(missing)}, which {INPUT} does not bring"
    fix = f"name it in {INPUT} of this container and in {OUTPUT} of the one before"
    return [_fault(OUTPUT, ",".join(outputs), problem, fix)]


def _fault(key: str, found: str, problem: str, fix: str) -> Fault:
    return Fault(where=f"Environment.{key}", found=found, problem=problem, fix=fix)
