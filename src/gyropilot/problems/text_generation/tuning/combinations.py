"""What the parameters of tuning say of each other, and of base model, data and machine; called by reading.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gyropilot.errors import Fault
from gyropilot.problems.contract import BaseModelRecord
from gyropilot.problems.text_generation import positions, verbalizer
from gyropilot.problems.text_generation.architectures import ARCHITECTURES
from gyropilot.problems.text_generation.source_prompts.record import SourcePrompt, Wanted, misfits
from gyropilot.problems.text_generation.source_prompts.store import SourcePrompts
from gyropilot.problems.text_generation.tuning import peft_types
from gyropilot.problems.text_generation.tuning.kinds import Json
from gyropilot.problems.text_generation.tuning.specification import (
    PROMPT_TYPES,
    SOURCE_METHODS,
    VIRTUAL_TOKEN_TYPES,
    InitMethod,
    TuningSpec,
    TuningType,
)

INPUT, OUTPUT = verbalizer.INPUT, "output"
LEAST_ROOM = 64
"""Tokens that rows before the text leave to it: a chat template alone may take half of them."""
_SHOWN_COLUMNS = 20


def _no_columns() -> None:
    """Know of no columns."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What is known beside the parameters, before anything is loaded; None where it is not known."""

    is_encoder_decoder: bool | None = None
    context_tokens: int | None = None
    """Tokens that an input may have."""
    model_tokens: int | None = None
    """Tokens that rows, prompt and answer may have together."""
    linear_layers: tuple[str, ...] | None = None
    """Last names of the linear layers of the base model's blocks."""
    base_model: str = ""
    base_folder: Path | None = None
    """Where the base model lies."""
    columns: Callable[[], tuple[str, ...] | None] = _no_columns
    """Gives the columns of the training data."""
    cuda_devices: int | None = None
    source_prompts: SourcePrompts | None = None
    """The folder of source prompts; None: the service that is asked next looks into its own."""

    def beside(self, found: BaseModelRecord | None) -> Surroundings:
        """Give the same with what is known of a base model; None: of none."""
        if found is None:
            return self
        return replace(
            self,
            is_encoder_decoder=found.kind == "seq2seq",
            context_tokens=found.context_tokens,
            model_tokens=_model_tokens(found),
            linear_layers=next(
                (one.linear_layers for one in ARCHITECTURES if one.class_name == found.architecture), None
            ),
            base_model=found.name,
            base_folder=found.path,
        )


_BEGINNINGS: Mapping[TuningType, tuple[InitMethod, ...]] = {
    "PROMPT_TUNING": ("RANDOM", "TEXT", "SAMPLE_VOCAB"),
    "PREFIX_TUNING": ("RANDOM", "TEXT"),
}
"""The methods to begin by, of types that do not know all."""

Places = Mapping[str, str]
"""Where each parameter stands, or would stand."""
_Check = Callable[[TuningSpec, Surroundings, Places], Iterator[Fault]]


def unused(values: Mapping[str, Json], tuning_type: TuningType) -> Collection[str]:
    """Give the names of what may be given and does nothing beside the other values."""
    return () if values.get("prompt_tuning_init_method") == "TEXT" else ("prompt_tuning_init_text",)


def following(values: Mapping[str, Json], tuning_type: TuningType, around: Surroundings) -> dict[str, Json]:
    """Give the values that are not given and follow from others."""
    found: dict[str, Json] = {}
    if "lora_rank" in values:
        found["lora_alpha"] = 2.0 * values["lora_rank"]
    if tuning_type in PROMPT_TYPES:
        found["output_model_types"] = ("ENCODER",) if around.is_encoder_decoder else ("DECODER",)
    method = values.get("prompt_tuning_init_method")
    source = _source(values.get("prompt_tuning_init_source_model"), around) if method in SOURCE_METHODS else None
    if source is not None:
        found["num_virtual_tokens"] = source.rows
        found["prompt_ranks"] = source.ranks if method == "AVERAGE_SOURCE" and source.ranks else 1
    return {name: value for name, value in found.items() if name not in values}


def source_digest(spec: TuningSpec, around: Surroundings) -> str | None:
    """Give the digest of the source prompt that rows begin with; None where there is none, or it is not known here."""
    if spec.prompt_tuning_init_method not in SOURCE_METHODS:
        return None
    source = _source(spec.prompt_tuning_init_source_model, around)
    return None if source is None else source.digest


def faults_between(spec: TuningSpec, around: Surroundings, places: Places) -> Iterator[Fault]:
    """Give what is wrong with a specification whose values fit one by one."""
    for check in _CHECKS:
        yield from check(spec, around, places)


def _rows(spec: TuningSpec, around: Surroundings, places: Places) -> Iterator[Fault]:
    where, rows = places["num_virtual_tokens"], spec.num_virtual_tokens
    if spec.tuning_type in VIRTUAL_TOKEN_TYPES and not rows and not _is_source_unseen(spec, around):
        yield Fault(where=where, problem=f"is missing: {spec.tuning_type} needs it", fix="give an integer from 1 up")
    most = _most_rows(len(spec.output_model_types) or 1, around)
    if most is not None and rows > most:
        on = " on both sides" if len(spec.output_model_types) > 1 else ""
        problem = f"leaves no room for text: with {LEAST_ROOM} tokens of it the base model takes {most} rows{on}"
        yield Fault(where=where, found=rows, problem=problem, fix="give fewer; 8 to 100 are customary")


def _most_rows(sides: int, around: Surroundings) -> int | None:
    """Give the most rows on each side that leave room for text; None where the base model is not known."""
    if around.context_tokens is None:
        return None
    together = around.context_tokens if around.model_tokens is None else around.model_tokens
    return max(0, min((together - LEAST_ROOM) // sides, around.context_tokens - 1))


def _beginning(spec: TuningSpec, around: Surroundings, places: Places) -> Iterator[Fault]:
    method, source = spec.prompt_tuning_init_method, spec.prompt_tuning_init_source_model
    where, source_where = places["prompt_tuning_init_method"], places["prompt_tuning_init_source_model"]
    if method == "TEXT" and spec.prompt_tuning_init_text is None:
        fix = "give the text, or another prompt_tuning_init_method"
        yield Fault(where=places["prompt_tuning_init_text"], problem="is missing: the method TEXT needs it", fix=fix)
    if spec.tuning_type != "MULTITASK_PROMPT_TUNING":
        known = _BEGINNINGS.get(spec.tuning_type, ("RANDOM",))
        if method not in known:
            fix = f"give one of {', '.join(known)}, or ask for MULTITASK_PROMPT_TUNING, which knows all"
            yield Fault(where=where, found=method, problem=f"means nothing for {spec.tuning_type}", fix=fix)
    elif method in SOURCE_METHODS and source is None:
        fix = "name a source prompt; `gyropilot prompts list` shows those there are"
        yield Fault(where=source_where, problem=f"is missing: the method {method} needs it", fix=fix)
    elif source is not None and method not in SOURCE_METHODS:
        problem = f"means nothing for the method {method}"
        fix = f"leave it out, or ask for {' or '.join(SOURCE_METHODS)}"
        yield Fault(where=source_where, found=source, problem=problem, fix=fix)


def _source_fit(spec: TuningSpec, around: Surroundings, places: Places) -> Iterator[Fault]:
    name, where = spec.prompt_tuning_init_source_model, places["prompt_tuning_init_source_model"]
    if name is None or spec.prompt_tuning_init_method not in SOURCE_METHODS:
        return
    if around.source_prompts is None:
        return
    source = _source(name, around)
    if source is None:
        fix = "`gyropilot prompts list` shows those there are, `gyropilot prompts train` makes one"
        yield Fault(where=where, found=name, problem="there is no source prompt of this name", fix=fix)
    elif around.base_folder is not None:
        wanted = Wanted(
            method=spec.prompt_tuning_init_method,
            base_model=around.base_model,
            base_folder=around.base_folder,
            num_virtual_tokens=spec.num_virtual_tokens,
            prompt_ranks=spec.prompt_ranks,
            submodules=len(spec.output_model_types),
        )
        yield from misfits(source, wanted, where=places.__getitem__)


def _sides(spec: TuningSpec, around: Surroundings, places: Places) -> Iterator[Fault]:
    if around.is_encoder_decoder is False and "ENCODER" in spec.output_model_types:
        problem = "a causal model has no encoder"
        found = list(spec.output_model_types)
        yield Fault(where=places["output_model_types"], found=found, problem=problem, fix="give DECODER alone")
    if around.is_encoder_decoder and spec.tuning_type == "PREFIX_TUNING":
        problem = "is for causal models, and the base model has an encoder"
        fix = "ask for PROMPT_TUNING or P_TUNING"
        yield Fault(where=places["tuning_type"], found=spec.tuning_type, problem=problem, fix=fix)


def _template(spec: TuningSpec, around: Surroundings, places: Places) -> Iterator[Fault]:
    where, given = places["verbalizer"], spec.verbalizer
    if given is None:
        return
    found = verbalizer.faults(given, where=where)
    yield from found
    others = [name for name in verbalizer.fields(given) if name != INPUT]
    for name in () if found else others:
        problem = f"names the field {name}, which a question to the tuned model does not give"
        if name == OUTPUT:
            problem = "names the answer: the model would be trained to repeat it, and has none to read when it is asked"
        yield Fault(where=where, found=f"{{{{{name}}}}}", problem=problem, fix=f"name {{{{{INPUT}}}}} alone")


def _tasks(spec: TuningSpec, around: Surroundings, places: Places) -> Iterator[Fault]:
    where, column = places["task_column"], spec.task_column
    if column is None:
        return
    columns = around.columns()
    texts = (INPUT, OUTPUT) if columns is None or {INPUT, OUTPUT} & set(columns) else ("text", "labels")
    if column in texts:
        problem = "is a column of the rows' text, which names no task"
        yield Fault(where=where, found=column, problem=problem, fix="name a further column")
    elif columns is not None and column not in columns:
        problem = "is no column of the training data"
        fix = f"name the column of the tasks; there are {', '.join(columns[:_SHOWN_COLUMNS])}"
        yield Fault(where=where, found=column, problem=problem, fix=fix)
    if spec.prompt_tuning_init_method == "AVERAGE_SOURCE":
        problem = "means nothing with AVERAGE_SOURCE, which begins one task with the mean of others"
        fix = "leave it out, or ask for ONLY_SOURCE_SHARED"
        yield Fault(where=where, found=column, problem=problem, fix=fix)


def _device(spec: TuningSpec, around: Surroundings, places: Places) -> Iterator[Fault]:
    device, count = spec.device, around.cuda_devices
    if device is None or device == "cpu" or count is None:
        return
    number = int(device.partition(":")[2] or 0)
    if number >= count:
        here = ", ".join(["cpu", *(f"cuda:{one}" for one in range(count))])
        problem = f"there is no such device on this machine, which has {here}"
        yield Fault(where=places["device"], found=device, problem=problem, fix="name one of these, or leave it out")


def _adapters(spec: TuningSpec, around: Surroundings, places: Places) -> Iterator[Fault]:
    if spec.lora_init == "ORTHOGONAL" and spec.lora_rank % 2:
        problem = "must be even where adapters begin ORTHOGONAL"
        yield Fault(where=places["lora_rank"], found=spec.lora_rank, problem=problem, fix="give an even rank")
    known = around.linear_layers
    if spec.peft_type == "LN_TUNING" and spec.lora_targets:
        problem = "means nothing for LN_TUNING, which trains the norms"
        yield Fault(where=places["lora_targets"], found=list(spec.lora_targets), problem=problem, fix="leave it out")
    missing = [] if known is None else [name for name in spec.lora_targets if name not in known]
    if missing and known is not None:
        problem = "are no linear layers of the base model's blocks"
        fix = f"its layers are {', '.join(known)}"
        yield Fault(where=places["lora_targets"], found=missing, problem=problem, fix=fix)


def _peft(spec: TuningSpec, around: Surroundings, places: Places) -> Iterator[Fault]:
    if spec.tuning_type != "PEFT":
        return
    if spec.peft_type is None:
        fix = f"give one of {', '.join(peft_types.PEFT_TYPES)}"
        yield Fault(where=places["peft_type"], problem="is missing: PEFT needs it", fix=fix)
    else:
        where = places["peft_settings"]
        faults = peft_types.faults_of(spec.peft_type, spec.peft_settings, where=where)
        yield from faults
        if not faults:
            # Layers that are named may neither read nor write that width as a whole.
            width = None if spec.lora_targets or around.base_folder is None else _width(around.base_folder)
            yield from peft_types.misfits_of(spec.peft_type, spec.peft_settings, width=width, where=where)


def _model_tokens(found: BaseModelRecord) -> int | None:
    try:
        return positions.model_tokens(found)
    except FileNotFoundError:  # removed since it was found, which is told where it is read
        return None


def _width(base_folder: Path) -> int | None:
    """Give the hidden width that the model's config.json tells; None where it tells none."""
    try:
        config = json.loads((base_folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:  # as above
        return None
    return next((int(config[name]) for name in ("hidden_size", "d_model", "n_embd") if config.get(name)), None)


def _is_source_unseen(spec: TuningSpec, around: Surroundings) -> bool:
    """Say whether the number of rows is that of a source prompt which is not to be seen from here."""
    is_asked = spec.prompt_tuning_init_method in SOURCE_METHODS and spec.prompt_tuning_init_source_model is not None
    return is_asked and around.source_prompts is None


def _source(name: Json, around: Surroundings) -> SourcePrompt | None:
    return None if name is None or around.source_prompts is None else around.source_prompts.find(name)


_CHECKS: Sequence[_Check] = (
    _rows,
    _beginning,
    _source_fit,
    _sides,
    _template,
    _tasks,
    _device,
    _adapters,
    _peft,
)
