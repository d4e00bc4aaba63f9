"""What the machine can do for a training process: threads, waiting, precision, pack size; the child calls it first.

`prepare_process` must run before torch is imported, so nothing here imports torch at the top. What was chosen is
written beside the checkpoints and used again on resume: other threads or another precision give other bits.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from gyropilot import clock
from gyropilot.errors import TrainingFailed

Dtype = Literal["float32", "bfloat16"]
Device = Literal["cpu", "cuda"]
_PACK_TOKENS: dict[Device, tuple[int, ...]] = {"cpu": (512, 384, 256, 128), "cuda": (4096, 2048, 1024, 512, 256)}
"""Sizes of a pack, best first. On a CPU larger ones cost more in attention than they save."""
_FAST_TYPES = ("llama", "mistral", "qwen2")
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

    device: Device
    threads: int
    dtype: Dtype
    max_pack_tokens: int
    micro_batch: int
    needed_bytes: int
    """Estimate of the peak."""
    gflops: dict[str, float]
    """What the probe measured, as "bfloat16 x 2 threads": 380.0."""
    spin_count: str


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
    model_folder: Path, *, cores: int, memory_bytes: int, longest_example: int, remembered: Path
) -> HardwarePlan:
    """Give the plan that `remembered` holds, else probe for a second, choose, and leave the plan there.

    Args:
        model_folder: the base model; its config and file sizes give the memory it takes.
        cores: CPU cores this process was given.
        memory_bytes: memory it was given; 0: no bound.
        longest_example: tokens of the longest row; a pack is at least as long.
        remembered: folder of the checkpoints.

    Raises:
        TrainingFailed: the model and its longest example do not fit into `memory_bytes`.
    """
    remembered.mkdir(parents=True, exist_ok=True)
    if (remembered / _FILE).exists():
        return HardwarePlan(**json.loads((remembered / _FILE).read_text(encoding="utf-8")))
    gflops = _probe(max(1, cores))
    best = max(gflops, key=lambda name: gflops[name])
    dtype: Dtype = "bfloat16" if best.startswith("bfloat16") else "float32"
    device, free_bytes = _accelerator()
    if device == "cuda":
        dtype, memory_bytes = "bfloat16", free_bytes
    threads = max(1, cores) if _shares_packs(model_folder, device) else int(best.split()[2])
    threads, pack_tokens, needed = _fitted(
        model_folder, dtype, device, threads, memory_bytes=memory_bytes, longest_example=longest_example
    )
    chosen = HardwarePlan(
        device=device,
        threads=threads,
        dtype=dtype,
        max_pack_tokens=pack_tokens,
        micro_batch=1024,
        needed_bytes=needed,
        gflops=gflops,
        spin_count=os.environ.get("GOMP_SPINCOUNT", ""),  # noqa: TID251 - what prepare_process left there
    )
    unfinished = remembered / (_FILE + ".partial")
    unfinished.write_text(json.dumps(asdict(chosen)), encoding="utf-8")
    unfinished.replace(remembered / _FILE)
    return chosen


def needed_bytes(config: dict[str, Any], *, weights: int, dtype: Dtype, pack_tokens: int) -> int:
    """Estimate the peak memory of LoRA training, in bytes.

    Args:
        config: the model's config.json.
        weights: number of weights of the base.
        dtype: of the base.
        pack_tokens: tokens computed at a time, by all threads together.

    Counts weights, adapters with gradient and optimizer, what is kept for the backward pass, logits of one chunk and
    the libraries themselves. Measured on SmolLM2-135M in bfloat16: packs of 512 tokens took 1,010 MiB the fast way and
    1,320 to 1,540 the plain way, one row of 2,048 tokens 1,970 and 4,160;
    estimated are 1,350, 1,870, 2,740 and 4,790. Two threads with a pack each took 2,100 to 2,700 in whole runs.
    """
    width = 2 if dtype == "bfloat16" else 4
    hidden, layers, inner, heads = _sizes(config)
    per_token = layers * (12 * hidden + 5 * inner) * width
    if config.get("model_type") not in _FAST_TYPES:
        per_token = int(2.2 * per_token)
    attention = layers * width * min(heads * pack_tokens * pack_tokens, 1 << 22)
    adapters = layers * (12 * hidden + 3 * inner) * 16 * 4 * 4
    return weights * width + pack_tokens * per_token + attention + adapters + (450 << 20)


def _sizes(config: dict[str, Any]) -> tuple[int, int, int, int]:
    """Give hidden width, blocks, width inside a block's MLP and heads, by whatever names a family calls them."""

    def named(*names: str, default: int) -> int:
        return int(next((config[name] for name in names if config.get(name)), default))

    hidden = named("hidden_size", "d_model", default=1024)
    layers = named("num_hidden_layers", "n_layers", "num_layers", default=24)
    if config.get("is_encoder_decoder") or config.get("model_type") == "t5":
        # a decoder's block attends twice, and each token is in one half alone
        layers = max(layers, round(1.33 * named("num_decoder_layers", default=layers)))
    inner = named("intermediate_size", "ffn_hidden_size", "d_ff", default=4 * hidden)
    return hidden, layers, inner, named("num_attention_heads", "n_heads", "num_heads", default=1)


def _shares_packs(model_folder: Path, device: Device) -> bool:
    """Say whether threads will compute whole packs each, which busy neighbours hardly hurt."""
    config = json.loads((model_folder / "config.json").read_text(encoding="utf-8"))
    return device == "cpu" and config.get("model_type") in _FAST_TYPES


def _accelerator() -> tuple[Device, int]:
    """Give the device to train on and, of an accelerator, its free bytes."""
    import torch

    if torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False):
        return "cuda", int(torch.cuda.mem_get_info()[0])
    return "cpu", 0


def _fitted(
    model_folder: Path, dtype: Dtype, device: Device, threads: int, *, memory_bytes: int, longest_example: int
) -> tuple[int, int, int]:
    """Give threads, tokens of a pack and bytes: the largest packs that fit, or fewer threads where each has its own."""
    config = json.loads((model_folder / "config.json").read_text(encoding="utf-8"))
    stored = sum(path.stat().st_size for path in model_folder.glob("*.safetensors"))
    weights = stored // (4 if config.get("dtype", config.get("torch_dtype")) == "float32" else 2)
    shares = _shares_packs(model_folder, device)
    for workers in range(threads, 0, -1) if shares else (threads,):
        for tokens in _PACK_TOKENS[device]:
            pack_tokens = max(tokens, longest_example)
            at_once = pack_tokens * (workers if shares else 1)
            needed = needed_bytes(config, weights=weights, dtype=dtype, pack_tokens=at_once)
            if needed <= memory_bytes or memory_bytes <= 0:
                return workers, pack_tokens, needed
    raise TrainingFailed(
        f"training needs about {needed >> 20} MiB with examples of up to {longest_example} tokens and the job has"
        f" {memory_bytes >> 20} MiB; choose a smaller base model, shorten the rows or give the service more memory"
    )


def _probe(cores: int) -> dict[str, float]:
    """Time the matrix products that training spends its time on, by precision and threads, in GFLOP/s.

    Many short ones, averaged: beside busy neighbours two threads wait for each other at each, which one large product
    or the best of several would not show.
    """
    import torch

    gflops: dict[str, float] = {}
    dtypes = [torch.float32, *([torch.bfloat16] if _has_bfloat16() else [])]
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
