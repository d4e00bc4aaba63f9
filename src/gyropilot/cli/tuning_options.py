"""The options of `gyropilot tune`, made of the table of tuning parameters: names, help and groups; values as given."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import click

from gyropilot.problems.text_generation.tuning.kinds import Kind, Number, Settings, Truth, Whole, Words
from gyropilot.problems.text_generation.tuning.parameters import EPOCHS, PARAMETERS, Parameter, named
from gyropilot.problems.text_generation.tuning.reading import TUNE

Json = Any
_GROUPS = ("Training", "Virtual tokens", "LoRA and other adapters")
_METAVARS: Mapping[type, str] = {Whole: "N", Number: "X", Truth: "true|false", Words: "NAME,NAME", Settings: "JSON"}
_SHOWN_HERE = "[default: false]"
_DEFAULTS = {
    "tuning_type": TUNE.tuning_type,
    "num_epochs": f"{EPOCHS}; types with virtual tokens: {TUNE.epochs_of_virtual_tokens}",
}
"""Of parameters whose default depends on the way to ask."""


class GroupedCommand(click.Command):
    """A command whose help tells its options in groups: those of tuning parameters apart."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the groups one after the other."""
        groups: dict[str, list[tuple[str, str]]] = {"Options": [], **{name: [] for name in _GROUPS}}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                groups[_group_of(named(parameter.name or ""))].append(record)
        for name, records in groups.items():
            with formatter.section(name):
                formatter.write_dl(records)


def parameters(function: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each parameter of the table."""
    for one in reversed(PARAMETERS):
        metavar = _METAVARS.get(type(one.kind), "TEXT")
        for alias in one.aliases:
            same = f"The same as {flag(one.name)}."
            function = click.option(flag(alias), alias, metavar=metavar, help=same)(function)
        function = click.option(flag(one.name), one.name, metavar=metavar, help=_help(one))(function)
    return function


def flag(name: str) -> str:
    """Give the option of a parameter."""
    return f"--{name.replace('_', '-')}"


def values_of(given: Mapping[str, str | None]) -> dict[str, Json]:
    """Give the values of the options that were given; a text that says none stays one, and is refused by its name."""
    asked = {name: text for name, text in given.items() if text is not None}
    return {name: _read(one.kind, text) for name, text in asked.items() if (one := named(name)) is not None}


def _read(kind: Kind, text: str) -> Json:
    if isinstance(kind, Words):
        return [one.strip() for one in text.split(",")]
    if isinstance(kind, Truth):
        return {"true": True, "false": False}.get(text.lower(), text)
    readers: Mapping[type, Callable[[str], Json]] = {Whole: int, Number: float, Settings: json.loads}
    try:
        return readers.get(type(kind), str)(text)
    except (ValueError, RecursionError):
        return text


def _group_of(parameter: Parameter | None) -> str:
    if parameter is None:
        return "Options"
    if parameter.part == "job":
        return _GROUPS[0]
    return _GROUPS[2] if parameter.name.startswith(("lora_", "peft_")) else _GROUPS[1]


def _help(one: Parameter) -> str:
    what = one.why[:1].upper() + one.why[1:]
    accepted = one.kind.accepted
    if isinstance(one.kind, Truth):
        return f"Say nothing of how far it is. {_SHOWN_HERE}"
    told = _DEFAULTS.get(one.name) or one.default_told or ("" if one.default in (None, (), {}) else f"{one.default}")
    default = f"  [default: {told}]" if told else ""
    return f"{what}. Takes {accepted}.{default}".replace("`", "")
