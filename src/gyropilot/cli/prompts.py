"""`gyropilot prompts`: the source prompts of a home; works with and without a running service."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from gyropilot import settings as settings_file
from gyropilot.base_models import catalog
from gyropilot.base_models.records import InstalledModel
from gyropilot.base_models.store import BaseModelStore
from gyropilot.cli import completing, options, source_prompt_files, texts
from gyropilot.cli.source_training import TrainingLine, columns_of, training_tasks
from gyropilot.errors import InvalidData, MissingExtra, NotFound
from gyropilot.local import child_runs
from gyropilot.log import printable
from gyropilot.problems.text_generation.problem import TEXT_GENERATION
from gyropilot.problems.text_generation.request import TextGenerationSpec
from gyropilot.problems.text_generation.source_prompts import asking, vectors
from gyropilot.problems.text_generation.source_prompts.record import SourcePrompt, config_digest, embedding_width
from gyropilot.problems.text_generation.source_prompts.store import SourcePrompts
from gyropilot.settings import Settings

Json = Any
_ROOM = "gyropilot.problems.text_generation.source_prompts"
_PARAMETERS = {
    "num_epochs": "--epochs",
    "prompt_tuning_init_method": "--init",
    "prompt_tuning_init_text": "--init-text",
    "prompt_ranks": "--ranks",
}
"""Options that are not called as the parameter they give."""


@click.group()
def prompts() -> None:
    """Train, import, list, show and remove source prompts: what multitask prompt tuning begins with."""


@prompts.command("list")
@options.home
@options.as_json
def list_prompts(home: Path | None, as_json: bool) -> None:
    """List the source prompts that a job may name."""
    found = _prompts(settings_file.read({"home": home})).list()
    if as_json:
        click.echo(texts.as_json([one.to_json() for one in found]))
        return
    rows = [
        (one.name, one.base_model or "unknown", str(one.rows), str(one.width), str(len(one.tasks) or "-"), one.made_by)
        for one in found
    ]
    click.echo(texts.columns(rows, headings=("NAME", "BASE MODEL", "ROWS", "WIDTH", "TASKS", "MADE BY")))


@prompts.command()
@click.argument("name")
@options.home
@options.as_json
def show(name: str, home: Path | None, as_json: bool) -> None:
    """Show a source prompt, after reading all of it: what it is of, and which jobs can begin with it."""
    found = _prompts(settings_file.read({"home": home})).verify(name)
    if as_json:
        click.echo(texts.as_json({**found.to_json(), "path": str(found.folder)}))
        return
    click.echo(texts.facts(_facts(found)))


@prompts.command()
@click.argument("name")
@options.home
def remove(name: str, home: Path | None) -> None:
    """Delete a source prompt."""
    _prompts(settings_file.read({"home": home})).remove(name)
    click.echo(f"Removed {name}.")


@prompts.command("import")
@click.argument("path", metavar="FOLDER|S3_URI", shell_complete=completing.folders)
@click.option("--name", help="Name of the source prompt.  [default: the folder's]")
@click.option(
    "--base-model",
    metavar="NAME",
    shell_complete=completing.base_models,
    help="The installed base model it was made on.  [default: what the folder says, if that is installed]",
)
@options.home
def import_prompt(path: str, name: str | None, base_model: str | None, home: Path | None) -> None:
    """Take a prompt that was tuned elsewhere as a source prompt.

    \b
    A folder with
      adapter_config.json    an adapter of PEFT: MULTITASK_PROMPT_TUNING, PROMPT_TUNING, P_TUNING
      adapter/               the output of a job, also in a bucket
      config.yml             what caikit-nlp saved: encoder.pt, decoder.pt

    Of all but MULTITASK_PROMPT_TUNING there are no tasks: jobs can begin with it by ONLY_SOURCE_SHARED alone. Code in
    the files is never run.
    """
    settings = settings_file.read({"home": home})
    _check_installed()
    name = name or Path(path.rstrip("/")).name
    _prompts(settings).check_free(name)
    named = None if base_model is None else _named_base(base_model, settings)
    with _working_folder(settings) as working:
        folder = source_prompt_files.brought(path, settings, working / "fetched")
        arguments = {"folder": str(folder), "to": str(working / "vectors.safetensors")}
        made = child_runs.run(f"{_ROOM}.conversion:convert", arguments, settings, working / "child", tell=_silent)
        of_tasks = tuple(f"task-{number}" for number in range(1, made["tasks"] + 1))
        base = named or _base_said(made["base_model"], settings)
        shape = vectors.read_shape(working / "vectors.safetensors", submodules=made["submodules"], tasks=of_tasks)
        _check_width(shape.width, base)
        added = _prompts(settings).add(
            name,
            tensors=working / "vectors.safetensors",
            submodules=made["submodules"],
            tasks=of_tasks,
            base_model="" if base is None else base.name,
            base_config_digest="" if base is None else config_digest(base.path),
            made_by=f"imported: {made['kind']}",
        )
    if base is None:
        of = f" ({printable(made['base_model'])})" if made["base_model"] else ""
        click.echo(f"its base model{of} is not installed: only its width is known; --base-model names one", err=True)
    click.echo(_told(added))


@prompts.command()
@click.argument("data", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", required=True, help="Name of the source prompt.")
@click.option(
    "--base-model",
    required=True,
    metavar="NAME",
    shell_complete=completing.base_models,
    help="The installed base model to make it on.",
)
@click.option("--task-column", default="task", show_default=True, help="Column that names each row's task.")
@click.option("--num-virtual-tokens", type=int, default=20, show_default=True, help="Rows before the text.")
@click.option("--epochs", "num_epochs", type=int, help="Passes over the rows.  [default: 20]")
@click.option("--learning-rate", type=float, help="[default: found by a short probe]")
@click.option("--batch-size", type=int, help="Examples computed at once.")
@click.option("--accumulate-steps", type=int, help="An optimizer step takes as many batches.")
@click.option(
    "--init",
    "prompt_tuning_init_method",
    type=click.Choice(["RANDOM", "TEXT", "SAMPLE_VOCAB"], case_sensitive=False),
    default="SAMPLE_VOCAB",
    show_default=True,
    help="What the rows begin with.",
)
@click.option("--init-text", "prompt_tuning_init_text", help="The text that --init TEXT begins with.")
@click.option("--ranks", "prompt_ranks", type=int, help="Ranks of the task matrices.  [default: 1]")
@click.option("--verbalizer", help="Template of the prompt.  [default: {{input}}]")
@click.option("--seed", type=int, help="[default: 42]")
@click.option("--accept-eula", is_flag=True, help="Accept the base model's licence, where it must be.")
@options.home
def train(
    data: Path, name: str, base_model: str, accept_eula: bool, home: Path | None, **parameters: str | float | None
) -> None:
    """Make a source prompt of a CSV or Parquet file with the columns input, output and one that names the task.

    Trains by multitask prompt tuning in a process of its own, as a job does; the first Ctrl-C ends it early and keeps
    what was learned.

    \b
    gyropilot prompts train rows.csv --name topics --base-model SmolLM2-135M-Instruct
    """
    settings = settings_file.read({"home": home})
    _check_installed()
    store = BaseModelStore(settings.base_models, settings.allow_downloads)
    _prompts(settings).check_free(name)
    spec = asking.spec_of(
        parameters,
        base_model=base_model,
        accept_eula=accept_eula,
        store=store,
        columns=lambda: columns_of(data),
        where=_option,
    )
    line = TrainingLine()
    with _working_folder(settings) as working:
        arguments = training_tasks(name, data, spec, settings, working)
        made = child_runs.run(f"{_ROOM}.training:make", arguments, settings, working / "child", tell=line)
        line.close()
        base = store.verify(spec.loaded_model)
        added = _prompts(settings).add(
            name,
            tensors=Path(arguments["to"]),
            submodules=made["submodules"],
            tasks=tuple(made["tasks"]),
            base_model=base.name,
            base_config_digest=config_digest(base.path),
            made_by=_told_training(data, spec, made),
        )
    click.echo(f"validation loss {made['loss']:.4f} over {len(added.tasks)} tasks")
    click.echo(_told(added))


def _told_training(data: Path, spec: TextGenerationSpec, made: Json) -> str:
    epochs = f"{spec.epochs} epochs" if made["ended_by"] == "finished" else f"ended early of {spec.epochs} epochs"
    return f"trained on {data.name}, {made['rows']['training']} rows, {epochs}, seed {spec.seed}"


def _check_installed() -> None:
    missing = [module for module in TEXT_GENERATION.modules if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingExtra(TEXT_GENERATION.extra, f"gyropilot prompts ({', '.join(missing)} cannot be found)")


def _silent(_message: object) -> None:
    """Tell nothing."""


def _option(parameter: str) -> str:
    name = parameter.rpartition(".")[2]
    return _PARAMETERS.get(name, f"--{name.replace('_', '-')}")


def _prompts(settings: Settings) -> SourcePrompts:
    return SourcePrompts(settings.source_prompts)


@contextmanager
def _working_folder(settings: Settings) -> Iterator[Path]:
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".source-prompt-", dir=settings.home) as folder:
        yield Path(folder)


def _check_width(width: int, base: InstalledModel | None) -> None:
    wanted = None if base is None else embedding_width(base.path)
    if base is not None and wanted is not None and width != wanted:
        raise InvalidData(
            where="--base-model",
            found=base.name,
            problem=f"takes rows {wanted} numbers wide, and those of the prompt have {width}",
            fix="name the base model that the prompt was tuned on",
        )


def _told(added: SourcePrompt) -> str:
    methods = " or ".join(added.init_methods)
    return f"{added.name} is in {added.folder} ({added.rows} rows of {added.width}); begin with it by {methods}"


def _facts(found: SourcePrompt) -> list[tuple[str, str]]:
    return [
        ("name", found.name),
        ("base model", found.base_model or "unknown"),
        ("rows", str(found.rows)),
        ("width", str(found.width)),
        ("sides", "ENCODER and DECODER" if found.submodules == 2 else "one"),
        ("tasks", ", ".join(found.tasks) or "none: a bare vector"),
        ("ranks", str(found.ranks or "-")),
        ("begin by", ", ".join(found.init_methods)),
        ("made by", found.made_by),
        ("created", texts.moment(found.created_at)),
        ("digest", found.digest),
        ("path", str(found.folder)),
    ]


def _named_base(name: str, settings: Settings) -> InstalledModel:
    found = BaseModelStore(settings.base_models, settings.allow_downloads).find(name)
    if found is None:
        raise NotFound(f"--base-model: {name!r} is not installed; `gyropilot models list` shows what is")
    return found


def _base_said(said: str, settings: Settings) -> InstalledModel | None:
    """Give the base model of which a folder says that it is its own, by our name or the hub's, if it is installed."""
    known = {one.hub_id: one.name for one in catalog.CATALOG}.get(said, said)
    installed = BaseModelStore(settings.base_models, settings.allow_downloads).installed()
    return next((one for one in installed if one.name == known), None)
