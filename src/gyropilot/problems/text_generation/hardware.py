"""What the machine can do for a training process: threads, waiting, precision, pack size; the child calls it first.

`prepare_process` must run before torch is imported, so nothing here imports torch at the top. What was chosen is
written beside the checkpoints and used again on resume: other threads or another precision give other bits.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

from gyropilot import clock
from gyropilot.errors import TrainingFailed
from gyropilot.files import write_whole
from gyropilot.problems.text_generation.training_memory import Dtype, Memory, goes_fast, memory_needed
from gyropilot.problems.text_generation.tuning.specification import TuningSpec

Kind = Literal["cpu", "cuda"]
_PACK_TOKENS: dict[Kind, tuple[int, ...]] = {"cpu": (512, 384, 256, 128), "cuda": (4096, 2048, 1024, 512, 256)}
"""Sizes of a pack, best first. On a CPU larger ones cost more in attention than they save."""
_FILE = "hardware.json"
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
# libgomp's default spins for milliseconds, which starves a neighbour on a shared core; sleeping at once costs a wake-up
# at each of thousands of short parallel regions. This is some tens of microseconds of spinning, then sleep: with
# five busy processes on two cores twice the work done by the default, on a nearly quiet machine a sixth less.
_SPIN_COUNT = "1000"
_PROBE_SECONDS = 0.2
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


@dataclass(frozen=True, kw_only=True)
class HardwarePlan:
    """How one training process uses its machine."""

    device: str
    """cpu, cuda, or cuda:N."""
    threads: int
    dtype: Dtype
    """What is computed in, and a frozen base kept in."""
    max_pack_tokens: int
    micro_batch: int
    needed_bytes: int
    """Estimate of the peak."""
    gflops: dict[str, float]
    """What the probe measured, as "bfloat16 x 2 threads": 380.0."""
    spin_count: str
    replaced_dtype: str = ""
    """Why `dtype` is not the one that was asked for; empty: it is, or none was asked for."""


def prepare_process(cores: int) -> None:
    """Set threads, waiting, memory reuse and offline mode of this process. Call it before anything imports torch."""
    environment = os.environ  # noqa: TID251 - libgomp, torch and the hub library read it when they are loaded
    environment["OMP_NUM_THREADS"] = str(max(1, cores))
    environment.setdefault("GOMP_SPINCOUNT", _SPIN_COUNT)
    environment.update(_OFFLINE)
    _keep_freed_memory()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(max(1, cores))


def plan_hardware(
    model_folder: Path, *, method: TuningSpec, cores: int, memory_bytes: int, longest_example: int, remembered: Path
) -> HardwarePlan:
    """Give the plan that `remembered` holds, else probe for a second, choose, and leave the plan there.

    Args:
        model_folder: the base model; its config and file sizes give the memory it takes.
        method: what is trained, and the device and precision that were asked for.
        cores: CPU cores this process was given.
        memory_bytes: memory it was given; 0: no bound.
        longest_example: tokens of the longest row; a pack is at least as long.
        remembered: folder of the checkpoints.

    Raises:
        TrainingFailed: the model and its longest example do not fit into `memory_bytes`, or the device is not here.
    """
    remembered.mkdir(parents=True, exist_ok=True)
    if (remembered / _FILE).exists():
        return HardwarePlan(**json.loads((remembered / _FILE).read_text(encoding="utf-8")))
    device, free_bytes = _accelerator(method.device)
    kind: Kind = "cpu" if device == "cpu" else "cuda"
    dtype, replaced = _wished_dtype(method.torch_dtype, kind)
    gflops = _probe(max(1, cores), dtype)
    best = max((name for name in gflops if dtype is None or name.startswith(dtype)), key=gflops.__getitem__)
    if dtype is None:
        dtype = "bfloat16" if best.startswith("bfloat16") or kind == "cuda" else "float32"
    if kind == "cuda":
        memory_bytes = free_bytes
    shares = kind == "cpu" and goes_fast(_read_config(model_folder), method)
    workers, pack_tokens, needed = _fitted(
        partial(_memory_of, model_folder, method=method, dtype=dtype),
        _PACK_TOKENS[kind],
        max(1, cores) if shares else 1,
        memory_bytes=memory_bytes,
        longest_example=longest_example + 2 * method.num_virtual_tokens,
    )
    threads = workers if shares else int(best.split()[2])
    chosen = HardwarePlan(
        device=device,
        threads=threads,
        dtype=dtype,
        max_pack_tokens=pack_tokens,
        micro_batch=1024,
        needed_bytes=needed,
        gflops=gflops,
        spin_count=os.environ.get("GOMP_SPINCOUNT", ""),  # noqa: TID251 - what prepare_process left there
        replaced_dtype=replaced,
    )
    write_whole(remembered / _FILE, json.dumps(asdict(chosen)))
    return chosen


def _read_config(model_folder: Path) -> dict[str, Any]:
    return dict(json.loads((model_folder / "config.json").read_text(encoding="utf-8")))


def _memory_of(model_folder: Path, *, method: TuningSpec, dtype: Dtype, pack_tokens: int) -> Memory:
    config = _read_config(model_folder)
    stored = sum(path.stat().st_size for path in model_folder.glob("*.safetensors"))
    weights = stored // (4 if config.get("dtype", config.get("torch_dtype")) == "float32" else 2)
    return memory_needed(config, weights=weights, method=method, dtype=dtype, pack_tokens=pack_tokens)


def _accelerator(wished: str | None) -> tuple[str, int]:
    """Give the device to train on and, of an accelerator, its free bytes.

    Raises:
        TrainingFailed: the device that was asked for is not here.
    """
    if wished == "cpu":
        return "cpu", 0
    import torch

    if wished is None:
        if torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False):
            return "cuda", int(torch.cuda.mem_get_info()[0])
        return "cpu", 0
    there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    if wished not in [*there, "cuda"] or len(there) == 1:
        raise TrainingFailed(
            f"device: {wished} is not on the machine that trains, which has {', '.join(there)}; give one of these, or"
            " leave it out"
        )
    return wished, int(torch.cuda.mem_get_info(wished)[0])


def _wished_dtype(wished: str | None, kind: Kind) -> tuple[Dtype | None, str]:
    """Give the precision that was asked for, or what comes nearest to it, and then why; None: none was asked for."""
    if wished in (None, "float32", "bfloat16"):
        return cast(Dtype | None, wished), ""
    if wished == "float16":
        nearest: Dtype = "bfloat16" if kind == "cuda" or _has_bfloat16() else "float32"
        why = "gradients of float16 vanish or overflow unless they are scaled"
    else:
        nearest, why = "float32", "models are trained and served in float32 or bfloat16"
    return nearest, f"torch_dtype {wished} was replaced by {nearest}: {why}"


def _fitted(
    memory_of: Callable[..., Memory],
    sizes: Sequence[int],
    workers: int,
    *,
    memory_bytes: int,
    longest_example: int,
) -> tuple[int, int, int]:
    """Give workers, tokens of a pack and bytes: the largest packs that fit, or fewer workers with a pack each."""
    for count in range(workers, 0, -1):
        for tokens in sizes:
            pack_tokens = max(tokens, longest_example)
            needed = memory_of(pack_tokens=pack_tokens * count)
            if needed.total <= memory_bytes or memory_bytes <= 0:
                return count, pack_tokens, needed.total
    raise TrainingFailed(
        f"training needs about {needed.total >> 20} MiB with examples of up to {longest_example} tokens"
        f" ({needed.told()}) and the job has {memory_bytes >> 20} MiB; choose a smaller base model, shorten the rows,"
        " set tuningType to LORA where it is FULL, or give the service more memory"
    )


def _probe(cores: int, wished: Dtype | None) -> dict[str, float]:
    """Time the matrix products that training spends its time on, by precision and threads, in GFLOP/s.

    Many short ones, averaged: beside busy neighbours two threads wait for each other at each, which one large product
    or the best of several would not show.
    """
    import torch

    gflops: dict[str, float] = {}
    dtypes = [torch.float32, *([torch.bfloat16] if _has_bfloat16() or wished == "bfloat16" else [])]
    before = torch.get_num_threads()
    for threads in sorted({1, cores}):
        torch.set_num_threads(threads)
        for dtype in dtypes:
            x, w = torch.ones(256, 576, dtype=dtype), torch.ones(576, 576, dtype=dtype)
            product = partial(torch.mm, x, w)
            product()
            name = f"{str(dtype).removeprefix('torch.')} x {threads} threads"
            gflops[name] = 2e-9 * 256 * 576 * 576 * _times_per_second(product)
    torch.set_num_threads(before)
    return gflops


def _has_bfloat16() -> bool:
    """Say whether the processor multiplies bfloat16 itself; emulated, it is slower than float32."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.exists() else ""
    return any(flag in flags for flag in ("avx512_bf16", "amx_bf16", " bf16"))


def _times_per_second(work: Callable[[], object]) -> float:
    started, times = clock.monotonic(), 0
    while clock.monotonic() - started < _PROBE_SECONDS:
        work()
        times += 1
    return times / (clock.monotonic() - started)


def _keep_freed_memory() -> None:
    """Let glibc reuse big blocks: mapping each activation anew costs a page fault for every 4 KiB of it."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, 1 << 30)
    mallopt(_M_TRIM_THRESHOLD, -1 & 0x7FFFFFFF)
