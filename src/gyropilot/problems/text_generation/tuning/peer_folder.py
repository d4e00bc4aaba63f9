"""Trained rows in the folder layout of caikit-nlp, so that what reads its prompts reads ours, and the other way round.

    config.yml              what was tuned and how, and the names of the files beside it
    encoder.pt, decoder.pt  rows before what that side reads, float32 [virtual tokens, width]; only the sides there are
    training_logs.jsonl     a line for each update: {"name": "loss", "data": {"epoch", "step", "value", "timestamp"}}

Written by the training run as `caikit/` of a job's output; read in a child when such a folder is imported.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
import yaml
from yaml.composer import ComposerError
from yaml.events import AliasEvent

from gyropilot.errors import Fault, InvalidData
from gyropilot.problems.contract import Json
from gyropilot.problems.text_generation import file_names
from gyropilot.problems.text_generation.tuning import torch_files
from gyropilot.problems.text_generation.tuning.specification import OutputModelType, TuningType

if TYPE_CHECKING:  # to read such a folder takes no loop, which brings seconds of imports
    from gyropilot.problems.text_generation.loop import StepRecord

FOLDER = file_names.PEER
"""Its name in a job's output."""
CONFIG = "config.yml"
LOGS = "training_logs.jsonl"
_FILES: Mapping[OutputModelType, str] = {"ENCODER": "encoder.pt", "DECODER": "decoder.pt"}
_MOST_CONFIG_BYTES = 2**18
"""Many times what there is in one; it is read at 0.2 MB/s."""
_TEXTS = ("base_model_name", "verbalizer", "tuning_type", "task_type")


@dataclass(frozen=True, kw_only=True)
class PeerFacts:
    """What config.yml says beside the file names."""

    base_model_name: str
    base_model_config: Mapping[str, Json]
    """The base's config.json."""
    eos_token: str
    task_type: Literal["CAUSAL_LM", "SEQ_2_SEQ_LM"]
    tuning_type: TuningType
    """Of PROMPT_TYPES; caikit-nlp knows no P_TUNING, whose rows are written as those of PROMPT_TUNING."""
    trained_torch_dtype: str
    """Of the frozen base, as `float32` or `bfloat16`."""
    verbalizer: str


@dataclass(frozen=True, kw_only=True)
class PeerPrompt:
    """What `read` found."""

    rows: Mapping[OutputModelType, torch.Tensor]
    """float32 [virtual tokens, width] on the CPU, at least one side; all of one shape."""
    base_model_name: str
    """As the folder says it; a path, where the model was tuned from one."""
    base_model_config: Mapping[str, Json]
    verbalizer: str
    tuning_type: str
    task_type: str


def write(
    folder: Path,
    *,
    rows: Mapping[OutputModelType, torch.Tensor],
    facts: PeerFacts,
    records: Sequence[StepRecord],
    ended_at: datetime,
) -> None:
    """Write the folder, which is made if absent.

    Args:
        folder: Where to; best `FOLDER` in a job's output.
        rows: [virtual tokens, width] of each side that has any, any floating dtype and device: the effective rows, as
            prompt.safetensors has them, of the one task there is.
        facts: What config.yml says.
        records: Every optimizer step in order; a line of the log each.
        ended_at: When the last of them ended; those before it are dated by the seconds that each took.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for side, values in rows.items():
        # A clone: of a slice, torch would save all that it was cut from.
        torch.save(values.detach().to("cpu", torch.float32).clone(), folder / _FILES[side])
    config = _config(facts, tuple(rows))
    (folder / CONFIG).write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    lines = [json.dumps(one) + "\n" for one in _logged(records, ended_at)]
    (folder / LOGS).write_text("".join(lines), encoding="utf-8")


def read(folder: Path) -> PeerPrompt:
    """Read such a folder, whoever wrote it; of the .pt files tensors alone are taken, never code.

    Raises:
        InvalidData: a file is missing or not as it should be; names all that is wrong.
    """
    config = _read_config(folder / CONFIG)
    texts = _texts(config, folder / CONFIG)
    named = {side: config[side] for side in _FILES if config.get(side)}
    if not named:
        raise InvalidData(
            where=str(folder / CONFIG),
            problem="names neither an ENCODER nor a DECODER file",
            fix="give the folder that caikit-nlp saved",
        )
    rows: dict[OutputModelType, torch.Tensor] = {}
    faults: list[Fault] = []
    for side, name in named.items():
        try:
            rows[side] = _read_rows(folder, name)
        except InvalidData as error:
            faults += error.faults
    shapes = {side: list(values.shape) for side, values in rows.items()}
    if not faults and len({tuple(shape) for shape in shapes.values()}) > 1:
        problem, mend = "encoder and decoder differ in shape", "give both the same rows and width"
        faults.append(Fault(where=str(folder), found=shapes, problem=problem, fix=mend))
    if faults:
        raise InvalidData.of(faults)
    return PeerPrompt(
        rows=rows,
        base_model_config=_mapping(config.get("base_model_config")),
        **texts,
    )


def names_in(folder: Path) -> list[str]:
    """Give the names of the layout's files that lie in a folder; neither links nor anything else."""
    names = (CONFIG, *_FILES.values(), LOGS)
    return [name for name in names if (folder / name).is_file() and not (folder / name).is_symlink()]


def _config(facts: PeerFacts, sides: Sequence[OutputModelType]) -> dict[str, Json]:
    tuning_type = "PROMPT_TUNING" if facts.tuning_type == "P_TUNING" else facts.tuning_type
    return {
        **{side: name if side in sides else "" for side, name in _FILES.items()},
        # Through JSON: tuples and the like of a configuration would become tags that a safe reader refuses.
        "base_model_config": json.loads(json.dumps(facts.base_model_config, default=str)),
        "base_model_name": facts.base_model_name,
        "eos_token": facts.eos_token,
        "has_base_model": False,
        "output_model_types": json.dumps([side for side in _FILES if side in sides]),
        "task_type": facts.task_type,
        "tuning_type": tuning_type,
        "trained_torch_dtype": facts.trained_torch_dtype,
        "training_logs": LOGS,
        "verbalizer": facts.verbalizer,
    }


def _logged(records: Sequence[StepRecord], ended_at: datetime) -> list[dict[str, Json]]:
    left = sum(one.seconds for one in records)
    lines: list[dict[str, Json]] = []
    for one in records:
        left -= one.seconds
        data = {
            "epoch": max(0, math.ceil(one.epoch - 1e-9) - 1),
            "step": one.step,
            "value": one.loss,
            "timestamp": (ended_at - timedelta(seconds=left)).isoformat(),
        }
        lines.append({"name": "loss", "data": data})
    return lines


def _read_config(path: Path) -> Mapping[str, Json]:
    fix = "give the folder that caikit-nlp saved"
    try:
        if path.stat().st_size > _MOST_CONFIG_BYTES:
            raise InvalidData(where=str(path), found=path.stat().st_size, problem="is too long", fix=fix)
        config = yaml.load(path.read_text(encoding="utf-8"), Loader=_PlainLoader)
    except OSError as error:
        raise InvalidData(where=str(path), problem=f"cannot be read: {error.strerror}", fix=fix) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidData(where=str(path), problem=f"is not YAML: {error}", fix=fix) from error
    if not isinstance(config, dict):
        raise InvalidData(where=str(path), found=type(config).__name__, problem="holds no keys and values", fix=fix)
    return config


def _texts(config: Mapping[str, Json], path: Path) -> dict[str, str]:
    fix = "give the folder that caikit-nlp saved"
    given = {key: config.get(key) or "" for key in _TEXTS}
    faults = [
        Fault(where=f"{path}: {key}", found=type(value).__name__, problem="is no text", fix=fix)
        for key, value in given.items()
        if not isinstance(value, str)
    ]
    if faults:
        raise InvalidData.of(faults)
    return given


class _PlainLoader(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types
    """Reads plain values; refuses references, by which a few lines become as many values as one likes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(AliasEvent):
            mark = self.peek_event().start_mark
            raise ComposerError(None, None, "it refers to another part of itself", mark)
        return super().compose_node(parent, index)


def _read_rows(folder: Path, name: Json) -> torch.Tensor:
    fix = "save it with torch.save as one 2-D float tensor [virtual tokens, width]"
    path = folder / name if isinstance(name, str) else folder
    if path.name != name or path.is_symlink() or not path.is_file():
        raise InvalidData(where=str(path), problem="is no file of the folder itself", fix=fix)
    return checked_rows(torch_files.read(path, what="a tensor", fix=fix), where=str(path), fix=fix)


def checked_rows(values: object, *, where: str, fix: str) -> torch.Tensor:
    """Give `values` as float32 rows.

    Raises:
        InvalidData: they are no 2-D floating tensor with at least one row and column, or not all finite.
    """
    if not isinstance(values, torch.Tensor) or not values.is_floating_point() or values.dim() != 2:
        found = list(values.shape) if isinstance(values, torch.Tensor) else type(values).__name__
        raise InvalidData(where=where, found=found, problem="is no 2-D tensor of floating numbers", fix=fix)
    if not values.numel() or not bool(torch.isfinite(values).all()):
        found = list(values.shape)
        raise InvalidData(where=where, found=found, problem="is empty or holds numbers that are not finite", fix=fix)
    return values.detach().float().clone()


def _mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}
