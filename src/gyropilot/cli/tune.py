"""`gyropilot tune`: a tuned model out of rows, on this machine or by a service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from gyropilot import settings as settings_file
from gyropilot.cli import completing, options, texts, tuning_options
from gyropilot.cli import watch as watching
from gyropilot.cli.source_training import TrainingLine
from gyropilot.engine.engine import Message
from gyropilot.errors import InvalidRequest
from gyropilot.local import in_process, on_server
from gyropilot.local.tuned_model import TunedModel
from gyropilot.local.wishes import Wish
from gyropilot.problems.text_generation.request import hyperparameters_of
from gyropilot.problems.text_generation.tuning import config_object
from gyropilot.problems.text_generation.tuning.parameters import named
from gyropilot.problems.text_generation.tuning.reading import TUNING_CONFIG
from gyropilot.settings import Settings

Json = Any
_OTHERS = {"train_stream": "DATA", "val_stream": "--validation", "": "the options"}
"""What the parameters are called here that are no options of their own name."""


@click.command(cls=tuning_options.GroupedCommand)
@click.argument("data", type=click.Path(path_type=Path), shell_complete=completing.files)
@click.option(
    "--base-model",
    metavar="NAME|FOLDER",
    shell_complete=completing.base_models,
    help="Installed base model, of `gyropilot models list`, or a folder of one.  [default: what --config says]",
)
@click.option("--output", required=True, type=options.Folder(), metavar="FOLDER", help="Where the model goes.")
@click.option(
    "--validation",
    type=click.Path(path_type=Path),
    metavar="FILE",
    shell_complete=completing.files,
    help="Rows to measure on.  [default: a fifth of DATA is held out]",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="JSON object of parameters by their names, base_model and tuning_config among them; options go before it.",
)
@click.option("--accept-eula", is_flag=True, help="Accept the base model's licence, where it must be.")
@click.option("--server", "by_server", is_flag=True, help="Have the running service train, and fetch what it made.")
@options.home
@options.as_json
@tuning_options.parameters
def tune(
    data: Path,
    *,
    base_model: str | None,
    output: Path,
    validation: Path | None,
    config: Path | None,
    accept_eula: bool,
    by_server: bool,
    home: Path | None,
    as_json: bool,
    **given: str | None,
) -> None:
    """Tune a model on DATA, a CSV or Parquet file with the columns input and output, or text and labels.

    Needs no running service. Everything is checked before training begins. The first Ctrl-C ends training early and
    keeps what was learned.

    \b
    gyropilot tune rows.csv --base-model SmolLM2-135M-Instruct --output billing \\
        --tuning-type PROMPT_TUNING --num-virtual-tokens 16 --prompt-tuning-init-method SAMPLE_VOCAB
    gyropilot tune rows.csv --base-model SmolLM2-135M-Instruct --output billing --tuning-type LORA
    """
    settings = settings_file.read({"home": home})
    configured = {} if config is None else _read(config)
    asked = tuning_options.values_of(given)
    kept = _without(configured, asked)
    values = {**kept, **asked}
    of_file = None if config is None else config.name
    wish = Wish(
        base_model=base_model if base_model is not None else values.get("base_model"),
        train_stream=data,
        validation_streams={"val_stream": validation},
        accept_eula=accept_eula,
        values={name: value for name, value in values.items() if name != "base_model"},
        output=output.expanduser().absolute(),
        where=lambda path: _place(path, kept if base_model is None else {**kept, "base_model": None}, of_file),
    )
    _tell(_tuned(wish, settings, home, by_server=by_server), output, as_json=as_json)


def _tuned(wish: Wish, settings: Settings, home: Path | None, *, by_server: bool) -> TunedModel:
    is_silent = wish.values.get("silence_progress_bars") is True
    line = TrainingLine()
    try:
        if by_server:
            return on_server.tuned(wish, settings, watching.connect(home), tell=_silent if is_silent else line)
        return in_process.tuned(wish, settings, tell=_silent if is_silent else line)
    finally:
        line.close()


def _read(config: Path) -> dict[str, Json]:
    try:
        return config_object.parsed(config.read_bytes(), config.name)
    except OSError as error:
        raise click.BadParameter(f"{config}: {error.strerror or error}", param_hint="--config") from error
    except InvalidRequest as error:
        told = [replace(one, where=one.where.replace(config_object.WHERE, "--config")) for one in error.faults]
        raise InvalidRequest.of(told) from error


def _without(configured: Mapping[str, Json], asked: Mapping[str, Json]) -> dict[str, Json]:
    """Give what the file says of what no option says."""
    options_given = [named(name) for name in asked]

    def is_asked(name: str) -> bool:
        return (one := named(name)) is not None and one in options_given

    kept = {name: value for name, value in configured.items() if not is_asked(name)}
    inner = kept.get(TUNING_CONFIG)
    if isinstance(inner, Mapping):
        kept[TUNING_CONFIG] = {name: value for name, value in inner.items() if not is_asked(name)}
    return kept


def _place(path: str, kept: Mapping[str, Json], of_file: str | None) -> str:
    """Name a parameter as it was given: by its option, or by its place in the file."""
    outer, _, inner = path.rpartition(".")
    holder = kept.get(outer) if outer else kept
    if of_file is not None and isinstance(holder, Mapping) and holder.get(inner) is not None:
        return f"{of_file}: {path}"
    if path in _OTHERS:
        return _OTHERS[path]
    return tuning_options.flag(inner)


def _tell(model: TunedModel, output: Path, *, as_json: bool) -> None:
    with model:
        spec = model.spec
        told: dict[str, Json] = {
            "output": str(output),
            "base_model": model.base_model,
            "ended_by": model.ended_by,
            "metrics": dict(model.metrics),
            "base_metrics": dict(model.base_metrics),
            "hyperparameters": {} if spec is None else hyperparameters_of(spec),
        }
    if as_json:
        click.echo(texts.as_json(told))
        return
    loss, before = told["metrics"].get("ValidationLoss"), told["base_metrics"].get("ValidationLoss")
    if loss is not None:
        click.echo(f"validation loss {loss:.4f}" + ("" if before is None else f", of the untouched base {before:.4f}"))
    click.echo(f'The model is in {output}.  Ask it: from gyropilot.tuning import load; load("{output}").run("...")')


def _silent(_message: Message) -> None:
    """Tell nothing."""
