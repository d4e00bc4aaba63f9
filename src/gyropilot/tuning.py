"""Tuning from Python: `tune` trains a model and gives it, `load` gives one that was saved.

from gyropilot.tuning import TuningConfig, load, tune

model = tune(
    base_model="SmolLM2-135M-Instruct",
    train_stream=[{"input": "My bill is wrong", "output": "billing"}, ...],
    tuning_config=TuningConfig(num_virtual_tokens=8, prompt_tuning_init_method="SAMPLE_VOCAB"),
)
print(model.run("Where is my invoice?").generated_text)
model.save("billing")
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import wraps
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeVar

from gyropilot import settings as settings_file
from gyropilot.engine.engine import Message
from gyropilot.errors import InvalidRequest
from gyropilot.local import in_process, on_server
from gyropilot.local import load as loading
from gyropilot.local.child_runs import Tell
from gyropilot.local.generated import GeneratedPiece, GeneratedText
from gyropilot.local.progress import ProgressBar
from gyropilot.local.tuned_model import TunedModel
from gyropilot.local.wishes import Wish
from gyropilot.problems.text_generation.tuning import reading
from gyropilot.sdk.client import Client

__all__ = ["GeneratedPiece", "GeneratedText", "TunedModel", "TuningConfig", "load", "tune"]

Json = Any
_Config = TypeVar("_Config")
Rows = Iterable[object] | str | PathLike[str]
"""Mappings, or objects with attributes: `input` and `output`, or `text` and `labels`; or a CSV or Parquet file."""


def _refusing_by_name(config: type[_Config]) -> type[_Config]:
    """Have a class refuse a member that it does not have as every fault is told: by its name, with the nearest."""
    make = config.__init__

    @wraps(make)
    def checked(self: _Config, *positional: Json, **given: Json) -> None:
        if faults := reading.unknown_members(given):
            raise InvalidRequest.of(faults)
        make(self, *positional, **given)

    config.__init__ = checked  # type: ignore[method-assign, assignment]
    return config


@_refusing_by_name
@dataclass(frozen=True, kw_only=True)
class TuningConfig:
    """What of a tuning depends on its type; docs/problems/tuning.md tells each. None: not given.

    Raises:
        InvalidRequest: a name is none of its members; a value is held against the others by `tune`.
    """

    num_virtual_tokens: int | None = None
    prompt_tuning_init_method: str | None = None
    prompt_tuning_init_text: str | None = None
    prompt_tuning_init_source_model: str | None = None
    output_model_types: list[str] | tuple[str, ...] | None = None
    prompt_ranks: int | None = None
    task_column: str | None = None
    lora_rank: int | None = None
    lora_alpha: float | None = None
    lora_dropout: float | None = None
    lora_targets: list[str] | tuple[str, ...] | None = None
    lora_variant: str | None = None
    lora_init: str | None = None
    peft_type: str | None = None
    peft_settings: Mapping[str, Json] | None = None


def tune(
    *,
    base_model: str | PathLike[str],
    train_stream: Rows,
    val_stream: Rows | None = None,
    validation_stream: Rows | None = None,
    tuning_type: str | None = None,
    num_epochs: int | None = None,
    learning_rate: float | None = None,
    lr: float | None = None,
    learning_rate_warmup_steps: int | None = None,
    accumulate_steps: int | None = None,
    batch_size: int | None = None,
    max_source_length: int | None = None,
    max_target_length: int | None = None,
    verbalizer: str | None = None,
    device: str | None = None,
    torch_dtype: str | None = None,
    silence_progress_bars: bool = True,
    seed: int | None = None,
    tuning_config: TuningConfig | Mapping[str, Json] | None = None,
    accept_eula: bool = False,
    server: Client | Literal[True] | None = None,
    output: str | PathLike[str] | None = None,
    home: str | PathLike[str] | None = None,
    **members: Json,
) -> TunedModel:
    """Tune a model and give it. Every parameter is in docs/problems/tuning.md; None is its default.

    Training runs in a process of its own, which Ctrl-C ends early: what was learned until then is kept.

    Args:
        base_model: Name of an installed base model, or a folder of one in Hugging Face's format.
        train_stream: The rows; read once.
        val_stream: Rows to measure on; None: a fifth of the others is held out.
        validation_stream: Another name for it.
        tuning_type: What is trained: PROMPT_TUNING, LORA or another.
        num_epochs: Passes over the rows.
        learning_rate: Found by a short probe, but for LORA and FULL.
        lr: Another name for it.
        learning_rate_warmup_steps: Steps over which the rate rises.
        accumulate_steps: An optimizer step takes as many batches.
        batch_size: Rows that are computed before the next.
        max_source_length: Tokens of the rendered prompt that are kept.
        max_target_length: Tokens of the answer that are kept.
        verbalizer: Template of the prompt, as "Complaint: {{input}} Label:".
        device: cpu, cuda or cuda:N.
        torch_dtype: Precision of the base model.
        silence_progress_bars: False shows how far it is, on standard error.
        seed: Of the split, of what is drawn, and of the order of the rows.
        tuning_config: What depends on the type.
        accept_eula: The base model's licence is accepted, where it must be.
        server: A service that trains, or True for the one that the environment names; None: this machine does.
        output: Folder that the model is written to, as `TunedModel.save` does.
        home: Folder of base models and settings; None: GYROPILOT_HOME, else ~/.gyropilot.
        **members: Those of tuning_config may stand beside it; other names are refused, with the nearest known one.

    Raises:
        InvalidRequest: something is wrong with what was asked for; told before anything is computed, all of it, each
            by its parameter's name.
        TrainingFailed: nothing usable came out; says what to mend.
        ServiceError: the service cannot be reached, or refuses.
    """
    values: dict[str, Json] = {
        "tuning_type": tuning_type,
        "num_epochs": num_epochs,
        "learning_rate": learning_rate,
        "lr": lr,
        "learning_rate_warmup_steps": learning_rate_warmup_steps,
        "accumulate_steps": accumulate_steps,
        "batch_size": batch_size,
        "max_source_length": max_source_length,
        "max_target_length": max_target_length,
        "verbalizer": verbalizer,
        "device": device,
        "torch_dtype": torch_dtype,
        "silence_progress_bars": silence_progress_bars,
        "seed": seed,
        "tuning_config": _given(tuning_config),
        **members,
    }
    wish = Wish(
        base_model=base_model,
        train_stream=train_stream,
        validation_streams={"val_stream": val_stream, "validation_stream": validation_stream},
        accept_eula=accept_eula,
        values=values,
        output=None if output is None else _folder(output, "output"),
    )
    chosen = settings_file.read({} if home is None else {"home": _folder(home, "home")})
    if silence_progress_bars is not False:
        return _tuned(wish, chosen, server, _silent)
    bar = ProgressBar()
    try:
        return _tuned(wish, chosen, server, bar)
    finally:
        bar.close()


def load(
    folder: str | PathLike[str],
    base_model: str | PathLike[str] | None = None,
    *,
    verbalizer: str | None = None,
    home: str | PathLike[str] | None = None,
) -> TunedModel:
    """Give a model that was saved: by `save`, by a job (its output), by caikit-nlp, or by PEFT (an adapter folder).

    Args:
        folder: Where it lies.
        base_model: Its base, by name or folder; None: the one that the folder holds, or names.
        verbalizer: The prompt's template, for folders of others; None: what the folder says, else the input as it is.
        home: Folder of base models and settings; None: GYROPILOT_HOME, else ~/.gyropilot.

    Raises:
        InvalidData: the folder holds no model, or is not whole.
        InvalidRequest: the base model is not here, or is another one.
        TrainingFailed: the files do not fit together.
    """
    chosen = settings_file.read({} if home is None else {"home": _folder(home, "home")})
    return loading.from_folder(_folder(folder, "folder"), base_model, verbalizer, chosen)


def _tuned(wish: Wish, chosen: settings_file.Settings, server: Client | Literal[True] | None, tell: Tell) -> TunedModel:
    if not (server is None or server is True or isinstance(server, Client)):
        fix = "give True, or a gyropilot.sdk.client.Client"
        raise InvalidRequest(where="server", found=server, problem="is no client of a service", fix=fix)
    if server is None:
        return in_process.tuned(wish, chosen, tell=tell)
    return on_server.tuned(wish, chosen, Client.from_environment() if server is True else server, tell=tell)


def _folder(given: object, where: str) -> Path:
    if not isinstance(given, str | PathLike) or not str(given):
        raise InvalidRequest(where=where, found=given, problem="is no path", fix="give the path of a folder")
    return Path(given).expanduser().absolute()


def _given(config: TuningConfig | Mapping[str, Json] | None) -> Json:
    """Give the mapping of what was given; what is neither is left to be refused by its name."""
    if not isinstance(config, TuningConfig):
        return config
    return {one.name: getattr(config, one.name) for one in fields(config) if getattr(config, one.name) is not None}


def _silent(_message: Message) -> None:
    """Show nothing."""
