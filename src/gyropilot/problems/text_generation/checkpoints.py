"""Checkpoints of a training run: safetensors and JSON, whole or not there; called by the loop.

    step-00000120/ weights.safetensors  optimizer.safetensors  state.json  complete.json (sizes and sha256, last)

A folder is filled under another name, flushed, marked complete and then renamed. Whatever a kill leaves half-written
has no valid marker and is passed over; the newest complete one wins.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from gyropilot.errors import TrainingFailed
from gyropilot.files import sha256_of, sync

Json = Any
_KEPT = 2
_MARKER = "complete.json"
_SPARE_BYTES = 64 << 20


class DiskFull(TrainingFailed):
    """A checkpoint does not fit on the disk; what was saved before stays."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Everything a run goes on from."""

    step: int
    """Optimizer steps done."""
    weights: Mapping[str, torch.Tensor]
    optimizer: Mapping[str, torch.Tensor]
    """Optimizer tensors and the state of the random generator, by name."""
    state: Mapping[str, Json]
    """Plan, data digest, step records."""


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write one checkpoint durably and drop all but the last two.

    Raises:
        DiskFull: the disk has no room for it; what was saved before stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    needed = sum(one.nbytes for part in (checkpoint.weights, checkpoint.optimizer) for one in part.values())
    check_space(folder, needed)
    final = folder / f"step-{checkpoint.step:08d}"
    partial = folder / f"{final.name}.partial"
    for old in (partial, final):
        shutil.rmtree(old, ignore_errors=True)
    partial.mkdir(mode=0o700)
    try:
        _write(partial, checkpoint)
    except (OSError, SafetensorError) as error:
        if shutil.disk_usage(folder).free > needed:
            raise
        shutil.rmtree(partial, ignore_errors=True)
        raise DiskFull(f"the disk filled up while the checkpoint of step {checkpoint.step} was written") from error
    partial.rename(final)
    sync(folder)
    _drop_old(folder)


def find_latest(folder: Path) -> Checkpoint | None:
    """Give the newest complete checkpoint, or None. Torn ones are passed over."""
    for path in sorted(folder.glob("step-????????"), reverse=True):
        if _is_complete(path):
            return Checkpoint(
                step=int(path.name.removeprefix("step-")),
                weights=load_file(path / "weights.safetensors"),
                optimizer=load_file(path / "optimizer.safetensors"),
                state=json.loads((path / "state.json").read_text(encoding="utf-8")),
            )
    return None


def check_space(folder: Path, needed_bytes: int, *, of: str = "a checkpoint") -> None:
    """Raise DiskFull when the disk under `folder` cannot take `needed_bytes` and some room to spare."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes + _SPARE_BYTES:
        raise DiskFull(
            f"no room for {of}: {_mebibytes(needed_bytes + _SPARE_BYTES)} needed, {_mebibytes(free)} free"
            " on the disk of the service's home; free some and create the job again"
        )


def refuse_mismatch(checkpoint: Checkpoint, *, expected: Mapping[str, Json]) -> None:
    """Raise TrainingFailed, showing both values, when the checkpoint was made under other conditions."""
    faults = [
        f"{name}: the checkpoint has {checkpoint.state.get(name)!r}, this run {value!r}"
        for name, value in expected.items()
        if checkpoint.state.get(name) != value
    ]
    if faults:
        raise TrainingFailed(f"the checkpoint of step {checkpoint.step} belongs to another run; " + "; ".join(faults))


def _write(partial: Path, checkpoint: Checkpoint) -> None:
    """Fill a folder; its marker comes last, after all else is on disk."""
    save_file(_plain(checkpoint.weights), partial / "weights.safetensors")
    save_file(_plain(checkpoint.optimizer), partial / "optimizer.safetensors")
    (partial / "state.json").write_text(json.dumps(checkpoint.state), encoding="utf-8")
    marker = {path.name: {"size_bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in partial.iterdir()}
    for path in partial.iterdir():
        sync(path)
    (partial / _MARKER).write_text(json.dumps(marker), encoding="utf-8")
    sync(partial / _MARKER)
    sync(partial)


def _plain(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: one.detach().cpu().contiguous() for name, one in tensors.items()}


def _is_complete(path: Path) -> bool:
    try:
        marker = json.loads((path / _MARKER).read_text(encoding="utf-8"))
        return {"weights.safetensors", "optimizer.safetensors", "state.json"} <= marker.keys() and all(
            (path / name).stat().st_size == entry["size_bytes"] and sha256_of(path / name) == entry["sha256"]
            for name, entry in marker.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _drop_old(folder: Path) -> None:
    for path in sorted(folder.glob("step-????????"), reverse=True)[_KEPT:]:
        shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob("step-*.partial"):
        shutil.rmtree(path, ignore_errors=True)


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"
