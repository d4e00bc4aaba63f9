"""The keys of TextGenerationHyperParameters: their ranges, our defaults, and how a request's strings are read.

Called by request.py; the documentation's table is made from them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gyropilot.errors import Fault

_WHERE = "AutoMLProblemTypeConfig.TextGenerationJobConfig.TextGenerationHyperParameters"
_WHOLE = re.compile(r"-?[0-9]{1,9}")
_DECIMAL = re.compile(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]-?[0-9]{1,3})?")
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)

Tuning = Literal["LORA", "FULL"]
TUNING_TYPE = "tuningType"
"""Key of TextGenerationHyperParameters that says what is tuned; ours, AWS knows no such choice."""
TUNINGS: Mapping[Tuning, str] = {
    "LORA": "low-rank adapters beside every linear layer; the default: a tenth of the memory, hardly less quality",
    "FULL": "every weight of the model, in float32: for much data, and where 20 bytes for each weight fit into memory",
}
DEFAULT_TUNING: Tuning = "LORA"


@dataclass(frozen=True, kw_only=True)
class Hyperparameter:
    """One numeric key of TextGenerationHyperParameters."""

    key: str
    field: str
    kind: Literal["integer", "float"]
    lowest: float
    highest: float
    default: float
    why: str
    """Why the default is what it is; AWS publishes none."""
    default_of_full: float | None = None
    """Default where every weight is tuned, if another."""

    def default_of(self, tuning: Tuning) -> float:
        """Give the default under a way of tuning."""
        return self.default_of_full if tuning == "FULL" and self.default_of_full is not None else self.default


HYPERPARAMETERS: tuple[Hyperparameter, ...] = (
    Hyperparameter(
        key="epochCount",
        field="epochs",
        kind="integer",
        lowest=1,
        highest=10,
        default=3,
        why="adapters on small sets go on improving for two to three passes, and begin to repeat the rows after that",
    ),
    Hyperparameter(
        key="batchSize",
        field="batch_size",
        kind="integer",
        lowest=1,
        highest=64,
        default=8,
        why="examples per optimizer step: enough to average a step's noise, few enough for many steps on small sets",
    ),
    Hyperparameter(
        key="learningRate",
        field="learning_rate",
        kind="float",
        lowest=0,
        highest=1,
        default=2e-4,
        default_of_full=5e-5,
        why="the customary rate of low-rank adapters; of whole models a quarter of it, between what small ones"
        " (1e-4) and those of billions of weights (2e-5) take best",
    ),
    Hyperparameter(
        key="learningRateWarmupSteps",
        field="warmup_steps",
        kind="integer",
        lowest=0,
        highest=250,
        default=10,
        why="steps over which the rate rises from 0; a few protect the first steps of the optimizer",
    ),
)


def read(given: Mapping[str, str], faults: list[Fault]) -> tuple[Tuning, dict[str, float], tuple[str, ...]]:
    """Give the tuning, each field's value, and the keys that the request left to us; what is wrong goes to `faults`."""
    tuning = _read_tuning(given, faults)
    keys = [*(one.key for one in HYPERPARAMETERS), TUNING_TYPE]
    folded = {key.lower(): key for key in keys}
    for key in given:
        if key not in keys:
            near = difflib.get_close_matches(key.lower(), folded, n=1, cutoff=0.5)
            hint = f"did you mean {folded[near[0]]}? " if near else ""
            faults.append(
                Fault(
                    where=f"{_WHERE}.{key}",
                    found=given[key],
                    problem="is no hyperparameter of text generation",
                    fix=f"{hint}known are {', '.join(keys)}",
                )
            )
    values = {}
    for one in HYPERPARAMETERS:
        text = given.get(one.key)
        values[one.field] = one.default_of(tuning) if text is None else _read_number(one, text, faults)
    return tuning, values, tuple(key for key in keys if key not in given)


def _read_tuning(given: Mapping[str, str], faults: list[Fault]) -> Tuning:
    text = given.get(TUNING_TYPE, DEFAULT_TUNING)
    found = next((one for one in TUNINGS if one == text), None)
    if found is None:
        faults.append(
            Fault(
                where=f"{_WHERE}.{TUNING_TYPE}",
                found=text,
                problem="is no way of tuning known here",
                fix=f"give one of {', '.join(TUNINGS)}, or leave it out for {DEFAULT_TUNING}",
            )
        )
    return found or DEFAULT_TUNING


def _read_number(one: Hyperparameter, text: str, faults: list[Fault]) -> float:
    where = f"{_WHERE}.{one.key}"
    allowed = f"give a string with {_article(one.kind)} {one.kind} from {one.lowest:g} to {one.highest:g}"
    pattern = _WHOLE if one.kind == "integer" else _DECIMAL
    if not isinstance(text, str) or not pattern.fullmatch(text):
        is_number = isinstance(text, str) and _NOT_FINITE.fullmatch(text)
        problem = "is not a finite number" if is_number else f"is not {_article(one.kind)} {one.kind}"
        faults.append(Fault(where=where, found=text, problem=problem, fix=allowed))
        return one.default
    value = float(text)
    if not one.lowest <= value <= one.highest:
        problem = f"is outside {one.lowest:g} to {one.highest:g}"
        faults.append(Fault(where=where, found=text, problem=problem, fix=allowed))
        return one.default
    return value


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
