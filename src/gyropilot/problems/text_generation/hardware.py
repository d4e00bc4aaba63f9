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
from typing import Any, Literal

from gyropilot import clock
from gyropilot.errors import TrainingFailed
from gyropilot.files import write_whole
from gyropilot.problems.text_generation.architectures import FAST_TYPES
from gyropilot.problems.text_generation.tuning.specification import TuningType

Dtype = Literal["float32", "bfloat16"]
Device = Literal["cpu", "cuda"]
_PACK_TOKENS: dict[Device, tuple[int, ...]] = {"cpu": (512, 384, 256, 128), "cuda": (4096, 2048, 1024, 512, 256)}
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
    model_folder: Path, *, tuning: TuningType, cores: int, memory_bytes: int, longest_example: int, remembered: Path
) -> HardwarePlan:
    """Give the plan that `remembered` holds, else probe for a second, choose, and leave the plan there.

    Args:
        model_folder: the base model; its config and file sizes give the memory it takes.
        tuning: what is trained: adapters, or every weight.
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
    shares = device == "cpu" and _is_fast(_read_config(model_folder), tuning)
    workers, pack_tokens, needed = _fitted(
        partial(_memory_of, model_folder, tuning=tuning, dtype=dtype),
        _PACK_TOKENS[device],
        max(1, cores) if shares else 1,
        memory_bytes=memory_bytes,
        longest_example=longest_example,
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
    )
    write_whole(remembered / _FILE, json.dumps(asdict(chosen)))
    return chosen


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What training takes at its peak, in bytes."""

    weights: int
    gradients: int
    optimizer: int
    work: int
    """What is kept for the backward pass, logits of one chunk, and the libraries themselves."""

    @property
    def total(self) -> int:
        """Give the sum."""
        return self.weights + self.gradients + self.optimizer + self.work

    def told(self) -> str:
        """Give the parts for a message."""
        parts = {"weights": self.weights, "gradients": self.gradients, "optimizer": self.optimizer, "work": self.work}
        return ", ".join(f"{name} {size >> 20}" for name, size in parts.items())


def memory_needed(
    config: dict[str, Any], *, weights: int, tuning: TuningType, dtype: Dtype, pack_tokens: int
) -> Memory:
    """Estimate the peak memory of training.

    Args:
        config: the model's config.json.
        weights: number of weights of the base.
        tuning: adapters beside a base in `dtype`, or every weight in float32.
        dtype: what is computed in.
        pack_tokens: tokens computed at a time, by all threads together.

    Measured on SmolLM2-135M in bfloat16: adapters with packs of 512 tokens took 1,010 MiB the fast way and 1,320 to
    1,540 the plain way, one row of 2,048 tokens 1,970 and 4,160; estimated are 1,350, 1,870, 2,740 and 4,790. Two
    threads with a pack each took 2,100 to 2,700 in whole runs. Every weight, with packs of 360 tokens: 4,030; estimated
    are 4,080.
    """
    width = 2 if dtype == "bfloat16" else 4
    hidden, layers, inner, heads = _sizes(config)
    per_token = layers * (12 * hidden + 5 * inner) * width
    if not _is_fast(config, tuning):
        per_token = int(2.2 * per_token)
    attention = layers * width * min(heads * pack_tokens * pack_tokens, 1 << 22)
    work = pack_tokens * per_token + attention + (450 << 20)
    if tuning == "FULL":
        # Autocast keeps a bfloat16 copy of each weight for the pass; the head's gradient is made apart, in two steps;
        # the rest is what the heap loses between blocks of such sizes.
        copies = weights * 2 if dtype == "bfloat16" else 0
        head = 4 * hidden * int(config.get("vocab_size", 0))
        return Memory(
            weights=weights * 4 + copies,
            gradients=weights * 4,
            optimizer=weights * 8,
            work=work + 3 * head + weights * 2,
        )
    adapters = layers * (12 * hidden + 3 * inner) * 16 * 4
    return Memory(weights=weights * width + adapters, gradients=adapters, optimizer=2 * adapters, work=work)


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


def _is_fast(config: dict[str, Any], tuning: TuningType) -> bool:
    """Say whether packs will go the fast way, where threads compute whole packs each: busy neighbours hardly hurt."""
    return tuning == "LORA" and config.get("model_type") in FAST_TYPES


def _read_config(model_folder: Path) -> dict[str, Any]:
    return dict(json.loads((model_folder / "config.json").read_text(encoding="utf-8")))


def _memory_of(model_folder: Path, *, tuning: TuningType, dtype: Dtype, pack_tokens: int) -> Memory:
    config = _read_config(model_folder)
    stored = sum(path.stat().st_size for path in model_folder.glob("*.safetensors"))
    weights = stored // (4 if config.get("dtype", config.get("torch_dtype")) == "float32" else 2)
    return memory_needed(config, weights=weights, tuning=tuning, dtype=dtype, pack_tokens=pack_tokens)


def _accelerator() -> tuple[Device, int]:
    """Give the device to train on and, of an accelerator, its free bytes."""
    import torch

    if torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False):
        return "cuda", int(torch.cuda.mem_get_info()[0])
    return "cpu", 0


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
