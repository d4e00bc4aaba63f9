"""Reads the environment of an inference container: which outputs its answers have, and how long they may be."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from gyropilot.errors import Fault, InvalidRequest
from gyropilot.problems.contract import Json

OUTPUTS = ("generated_text", "details")
"""What SAGEMAKER_INFERENCE_OUTPUT may name, the first being there always."""
_DESCRIBING = {
    "GYROPILOT_PROBLEM": "problem",
    "GYROPILOT_BASE_MODEL": "base_model",
    "GYROPILOT_STANDS_IN_FOR": "stands_in_for",
}
"""Keys that repeat what the model's files say, with its name there."""
_CHOOSING = (
    "GYROPILOT_MAX_NEW_TOKENS",
    "SAGEMAKER_INFERENCE_INPUT",
    "SAGEMAKER_INFERENCE_OUTPUT",
    "SAGEMAKER_INFERENCE_SUPPORTED",
)
_OURS = ("GYROPILOT_", "SAGEMAKER_INFERENCE_")
"""Keys that begin so are read here; others, as those that the SageMaker SDK adds to every model, change nothing."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What a container's environment chooses."""

    max_new_tokens: int
    """How long an answer may be where the caller does not say."""
    outputs: tuple[str, ...]
    """Of OUTPUTS, what every answer has."""


def read(environment: Mapping[str, str], serving: Mapping[str, Json]) -> Environment:
    """Read the environment of a model whose files say `serving`.

    Raises:
        InvalidRequest: a key of ours is unknown, contradicts the model's files, or has a value that means nothing.
    """
    faults: list[Fault] = [*_unknown(environment), *_contradictions(environment, serving)]
    tokens = _max_new_tokens(environment, serving, faults)
    outputs = _names(environment, "SAGEMAKER_INFERENCE_OUTPUT", faults) or OUTPUTS[:1]
    _names(environment, "SAGEMAKER_INFERENCE_SUPPORTED", faults)
    if OUTPUTS[0] not in outputs:
        fix = f"add {OUTPUTS[0]}"
        faults.append(_fault("SAGEMAKER_INFERENCE_OUTPUT", ",".join(outputs), "leaves out the answer itself", fix))
    if environment.get("SAGEMAKER_INFERENCE_INPUT"):
        found = environment["SAGEMAKER_INFERENCE_INPUT"]
        problem = "text generation takes the text of a payload, there is nothing to select"
        faults.append(_fault("SAGEMAKER_INFERENCE_INPUT", found, problem, "leave it out"))
    if faults:
        raise InvalidRequest.of(faults)
    return Environment(max_new_tokens=tokens, outputs=outputs)


def _unknown(environment: Mapping[str, str]) -> list[Fault]:
    known = [*_DESCRIBING, *_CHOOSING]
    faults = []
    for key in environment:
        if key not in known and key.startswith(_OURS):
            near = difflib.get_close_matches(key, known, n=1)
            fix = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            faults.append(_fault(key, environment[key], "is not known for text generation", fix))
    return faults


def _contradictions(environment: Mapping[str, str], serving: Mapping[str, Json]) -> list[Fault]:
    return [
        _fault(
            key, environment[key], f"is not what the model's files say ({serving.get(name, '')})", "leave it as it was"
        )
        for key, name in _DESCRIBING.items()
        if key in environment and environment[key] != serving.get(name, "")
    ]


def _max_new_tokens(environment: Mapping[str, str], serving: Mapping[str, Json], faults: list[Fault]) -> int:
    text = environment.get("GYROPILOT_MAX_NEW_TOKENS")
    if text is None:
        return int(serving["max_new_tokens"])
    most = int(serving["model_tokens"])
    if text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most:
        return int(text)
    problem = f"must be a whole number from 1 to {most}, the tokens that the model takes"
    faults.append(_fault("GYROPILOT_MAX_NEW_TOKENS", text, problem, "send such a number"))
    return 1


def _names(environment: Mapping[str, str], key: str, faults: list[Fault]) -> tuple[str, ...]:
    """Give the comma list of a key, in our own order; clients put spaces after the commas."""
    names = [one.strip() for one in environment.get(key, "").split(",") if one.strip()]
    for name in names:
        if name not in OUTPUTS:
            problem = f"names {name!r}, which text generation does not give"
            faults.append(_fault(key, environment[key], problem, f"choose of: {', '.join(OUTPUTS)}"))
    return tuple(one for one in OUTPUTS if one in names)


def _fault(key: str, found: str, problem: str, fix: str) -> Fault:
    return Fault(where=f"Environment.{key}", found=found, problem=problem, fix=fix)
