"""The way of tuning that a specification asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gyropilot.problems.text_generation.tuning.full import Full
from gyropilot.problems.text_generation.tuning.lora import Lora
from gyropilot.problems.text_generation.tuning.method import Method
from gyropilot.problems.text_generation.tuning.specification import TuningSpec, TuningType

_METHODS: Mapping[TuningType, Callable[[TuningSpec], Method]] = {
    "LORA": lambda spec: Lora(),
    "FULL": lambda spec: Full(),
}


def method_of(spec: TuningSpec) -> Method:
    """Give the method of a specification."""
    return _METHODS[spec.tuning_type](spec)
