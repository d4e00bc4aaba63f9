"""Chooses what the containers of a model answer with, by their environment, as the SageMaker SDK does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gyropilot.sdk.errors import NotDeployed

Json = Any

_INPUT, _OUTPUT, _SUPPORTED = (
    "SAGEMAKER_INFERENCE_INPUT",
    "SAGEMAKER_INFERENCE_OUTPUT",
    "SAGEMAKER_INFERENCE_SUPPORTED",
)


def chosen(containers: Sequence[dict[str, Json]], answers: Sequence[str]) -> list[dict[str, Json]]:
    """Give containers that answer with these, in their order; of none, the containers as they are.

    Args:
        containers: as BestCandidate.InferenceContainers has them: each takes what the one before it answers with.
        answers: as predicted_label, probability, probabilities, labels.

    Raises:
        NotDeployed: the last container cannot give one of them.
    """
    if not answers:
        return list(containers)
    supported = _supported(containers[-1])
    strange = [one for one in answers if one not in supported]
    if strange:
        can = f"it gives {', '.join(supported)}" if supported else "what it answers with cannot be chosen"
        raise NotDeployed(f"the model cannot answer with {', '.join(strange)}; {can}")
    made, before = [], ""
    for container in containers:
        kept = ",".join(one for one in answers if one in _supported(container))
        changed = ({_OUTPUT: kept} if kept else {}) | ({_INPUT: before} if kept and before else {})
        made.append({**container, "Environment": {**container.get("Environment", {}), **changed}})
        before = kept
    return made


def _supported(container: dict[str, Json]) -> list[str]:
    named = str(container.get("Environment", {}).get(_SUPPORTED, ""))
    return [one.strip() for one in named.split(",") if one.strip()]
