"""Writes the parts of the documentation that repeat the code; `--check` says which are out of date instead.

A generated part stands between `<!-- generated: NAME -->` and `<!-- end of NAME -->`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import click

from gyropilot.api import catalog as operations_catalog
from gyropilot.base_models.catalog import CATALOG
from gyropilot.cli.main import gyropilot
from gyropilot.metrics.standard_metrics import OBJECTIVES, REPORTED, STANDARD_METRICS
from gyropilot.problems.tabular.ensembling.plan import TRIALS
from gyropilot.problems.tabular.hpo.pipelines import PIPELINES
from gyropilot.problems.text_generation.findings import KINDS, told
from gyropilot.problems.text_generation.templates import PLAIN
from gyropilot.problems.text_generation.tuning.kinds import Kind, Unfit
from gyropilot.problems.text_generation.tuning.parameters import PARAMETERS, TUNING_TYPES, Parameter
from gyropilot.problems.text_generation.tuning.peft_types import NOT_OFFERED, PEFT_TYPES
from gyropilot.settings import Settings

TOP = Path(__file__).resolve().parent.parent
PAGES = [TOP / "README.md", *sorted((TOP / "docs").rglob("*.md"))]
_PART = re.compile(r"<!-- generated: (?P<name>[\w-]+) -->\n.*?<!-- end of (?P=name) -->", re.DOTALL)


def main() -> int:
    """Write or check every page; give 1 when a check found one out of date."""
    old = [page for page in PAGES if _written(page) != page.read_text(encoding="utf-8")]
    for page in old:
        if "--check" not in sys.argv:
            page.write_text(_written(page), encoding="utf-8")
        print(f"{'out of date, run make docs' if '--check' in sys.argv else 'written'}: {page.relative_to(TOP)}")
    return int(bool(old) and "--check" in sys.argv)


def settings() -> str:
    """Give every setting with its variable, default and meaning."""
    rows = [
        (f"`{one.name}`", f"`GYROPILOT_{one.name.upper()}`", _default(one.name), one.metadata["about"])
        for one in fields(Settings)
    ]
    return _table(("setting", "environment", "default", "what it is"), rows)


def commands() -> str:
    """Give the help text of every command."""
    return "\n\n".join(f"### {path}\n\n```text\n{text}\n```" for path, text in _help(gyropilot, "gyropilot"))


def hyperparameters() -> str:
    """Give the keys of TextGenerationHyperParameters that AWS documents, with their ranges, defaults and reasons."""
    rows = [(f"`{one.key}`", one.key_kind.accepted, _default_told(one), one.why) for one in PARAMETERS if one.key_kind]
    return _table(("key", "value, as a string", "default", "why this default"), rows)


def tuning_types() -> str:
    """Give the types of tuning, and what each is for."""
    return _table(("type", "what is trained"), [(f"`{name}`", why) for name, why in TUNING_TYPES.items()])


def tuning_parameters() -> str:
    """Give every parameter of tuning with its names, what it takes, its default and what is refused."""
    rows = [
        (
            ", ".join(f"`{name}`" for name in (one.name, *one.aliases)),
            f"`{one.key}`" + (f": {one.key_kind.accepted}" if one.key_kind else "") if one.key else "–",
            one.kind.accepted,
            _default_told(one),
            ", ".join(f"`{name}`" for name in one.types) or "all",
            "; ".join(filter(None, (*_refusals(one.kind), one.refused))),
            one.why,
        )
        for one in PARAMETERS
    ]
    headings = (
        "parameter",
        "key in the AWS map",
        "takes",
        "default",
        "types",
        "fault when it",
        "what it does, and why",
    )
    return _table(headings, rows)


def peft_types() -> str:
    """Give the methods of PEFT that can be had by name, and those that cannot."""
    rows = [
        (f"`{name}`", "; ".join(f"`{one}` {kind.accepted}" for one, kind in settings.items()) or "none")
        for name, settings in PEFT_TYPES.items()
    ]
    refused = "; ".join(f"`{name}` {why}" for name, why in NOT_OFFERED.items())
    return f"{_table(('peft_type', 'peft_settings'), rows)}\n\nNot offered: {refused}."


def _default_told(one: Parameter) -> str:
    if one.default_told:
        return one.default_told
    return "none" if one.default in (None, (), {}) else f"`{_as_json(one.default)}`"


def _as_json(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _refusals(kind: Kind) -> list[str]:
    """Give what a kind says of values that it does not take, each once."""
    told = []
    for value in ("no such", "", True, 1.5, -1, 10**12, float("nan"), [], ["x", "x"]):
        try:
            kind.read(value)
        except Unfit as error:
            told.append(error.problem)
    return list(dict.fromkeys(told))


def base_models() -> str:
    """Give the catalog of base models."""
    rows = [
        (
            f"`{one.name}`",
            f"{one.parameters / 1e9:.3g} B" if one.parameters >= 1e9 else f"{one.parameters / 1e6:.3g} M",
            f"{one.context_tokens:,}",
            f"{one.max_rows:,}",
            one.licence,
            "yes" if one.needs_eula else "no",
            one.architecture.removesuffix("ForCausalLM").removesuffix("ForConditionalGeneration"),
        )
        for one in CATALOG
    ]
    headings = ("BaseModelName", "parameters", "context (tokens)", "rows at most", "licence", "AcceptEula", "family")
    return _table(headings, rows)


def findings() -> str:
    """Give what looking at the rows can bring up."""
    rows = [(f"`{kind}`", severity, told(kind, "N")) for kind, (severity, _) in KINDS.items()]
    return _table(("kind", "weight", "what is told"), rows)


def operations() -> str:
    """Give every operation that the API answers, and who may call it."""
    rows = [
        (
            f"`{entry.operation.name}`",
            f"`{target.partition('.')[0]}`",
            (entry.function.__doc__ or "").partition("\n")[0],
            ", ".join(entry.allowed_kinds),
        )
        for target, entry in sorted(operations_catalog.read().entries.items())
    ]
    return _table(("operation", "service", "what it does", "who may call it"), rows)


def plain_template() -> str:
    """Give the template of base models."""
    return f"```text\n{PLAIN.rstrip()}\n```"


def objectives() -> str:
    """Give what tabular jobs may be after."""
    rows = [
        (f"`{kind}`", f"`{names[0]}`", ", ".join(f"`{name}`" for name in sorted(names[1:])))
        for kind, names in OBJECTIVES.items()
    ]
    return _table(("problem type", "default", "others"), rows)


def tabular_metrics() -> str:
    """Give what is measured of tabular candidates."""
    short = {"BinaryClassification": "binary", "MulticlassClassification": "multiclass", "Regression": "regression"}
    rows = [
        (
            f"`{one.name}`",
            ", ".join(short[kind] for kind, names in REPORTED.items() if one.name in names) or "all",
            one.formula,
            {"Maximize": "higher", "Minimize": "lower"}[one.direction],
            "yes" if one.is_weighted else "no",
        )
        for one in STANDARD_METRICS.values()
    ]
    return _table(("StandardMetricName", "of", "what it is", "better", "sample weights count"), rows)


def trials() -> str:
    """Give the trials of ensembling."""
    rows = [
        (str(number), one.title, ", ".join(one.models), "yes" if one.is_bagged else "no", str(one.stack_levels))
        for number, one in enumerate(TRIALS, start=1)
    ]
    return _table(("", "trial", "models", "folds", "stacked levels"), rows)


def pipelines() -> str:
    """Give the pipelines of hyperparameter tuning."""
    rows = [(f"`{one.name}`", f"`{one.algorithm}`", one.numbers, one.categories, one.texts) for one in PIPELINES]
    return _table(("", "algorithm", "numbers", "categories", "text"), rows)


PARTS: dict[str, Callable[[], str]] = {
    "settings": settings,
    "commands": commands,
    "hyperparameters": hyperparameters,
    "tuning-parameters": tuning_parameters,
    "tuning-types": tuning_types,
    "peft-types": peft_types,
    "base-models": base_models,
    "findings": findings,
    "operations": operations,
    "plain-template": plain_template,
    "objectives": objectives,
    "pipelines": pipelines,
    "tabular-metrics": tabular_metrics,
    "trials": trials,
}


def _written(page: Path) -> str:
    return _PART.sub(_part, page.read_text(encoding="utf-8"))


def _part(found: re.Match[str]) -> str:
    name = found["name"]
    return f"<!-- generated: {name} -->\n{PARTS[name]()}\n<!-- end of {name} -->"


def _help(command: click.Command, path: str) -> Iterator[tuple[str, str]]:
    context = click.Context(
        command, info_name=path, max_content_width=100, terminal_width=100, **gyropilot.context_settings
    )
    yield path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None:
                yield from _help(found, f"{path} {name}")


def _default(name: str) -> str:
    value = getattr(Settings(), name)
    if isinstance(value, Path):
        return f"`{str(value).replace(str(Path.home()), '~')}`"
    return "(empty)" if value == "" else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [headings, tuple("---" for _ in headings), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
