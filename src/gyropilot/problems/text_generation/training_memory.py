"""What training takes of memory at its peak, estimated from a model's config.json; light to import, for hardware.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gyropilot.problems.text_generation.architectures import FAST_TYPES
from gyropilot.problems.text_generation.tuning.specification import PROMPT_TYPES, TuningSpec

Dtype = Literal["float32", "bfloat16"]
_PEFT_RANK = 64
"""As which rank of LoRA the parameters of PEFT's other methods are counted at least; most have fewer."""
_LINEAR_LAYERS = 7
"""Of a block."""


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
    config: dict[str, Any], *, weights: int, method: TuningSpec, dtype: Dtype, pack_tokens: int
) -> Memory:
    """Estimate the peak memory of training.

    Args:
        config: the model's config.json.
        weights: number of weights of the base.
        method: what is tuned: parts beside a base in `dtype`, or every weight in float32.
        dtype: what is computed in.
        pack_tokens: tokens computed at a time, by all threads together, virtual ones among them.

    Measured on SmolLM2-135M in bfloat16: adapters with packs of 512 tokens took 1,010 MiB the fast way and 1,320 to
    1,540 the plain way, one row of 2,048 tokens 1,970 and 4,160; estimated are 1,350, 1,870, 2,740 and 4,790. Two
    threads with a pack each took 2,100 to 2,700 in whole runs. Every weight, with packs of 360 tokens: 4,030; estimated
    are 4,080.
    """
    width = 2 if dtype == "bfloat16" else 4
    hidden, layers, inner, heads = _sizes(config)
    per_token = layers * (12 * hidden + 5 * inner) * width
    if not goes_fast(config, method):
        per_token = int(2.2 * per_token)
    attention = layers * width * min(heads * pack_tokens * pack_tokens, 1 << 22)
    work = pack_tokens * per_token + attention + (450 << 20)
    if method.tuning_type == "FULL":
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
    if method.tuning_type == "PEFT":
        work += weights * 8  # most of them build what they add to each weight, and keep it for the backward pass
    trained = 4 * _trained(method, hidden=hidden, layers=layers, inner=inner)
    return Memory(weights=weights * width + trained, gradients=trained, optimizer=2 * trained, work=work)


def goes_fast(config: dict[str, Any], method: TuningSpec) -> bool:
    """Say whether packs will go the fast way, where threads compute whole packs each: busy neighbours hardly hurt."""
    is_plain_lora = method.tuning_type == "LORA" and method.lora_variant != "DORA" and not method.lora_dropout
    return (is_plain_lora or method.tuning_type in PROMPT_TYPES) and config.get("model_type") in FAST_TYPES


def _trained(method: TuningSpec, *, hidden: int, layers: int, inner: int) -> int:
    """Give how many parameters are trained beside the base, rather too many than too few."""
    rows = method.num_virtual_tokens
    per_rank = layers * (12 * hidden + 3 * inner)
    return {
        "LORA": per_rank * method.lora_rank,
        "PEFT": _of_peft(method, per_rank=per_rank, layers=layers),
        "IA3": per_rank,
        "PROMPT_TUNING": 2 * rows * hidden,
        "MULTITASK_PROMPT_TUNING": 4 * rows * hidden,
        "P_TUNING": 4 * hidden * hidden + 2 * rows * hidden,
        "PREFIX_TUNING": 2 * layers * rows * hidden,
    }[method.tuning_type]


def _of_peft(method: TuningSpec, *, per_rank: int, layers: int) -> int:
    """Give the same of one of PEFT's other methods, by those of its settings that count."""
    given: Mapping[str, int] = method.peft_settings
    rank, vectors, length = given.get("r", 0), given.get("num_vectors", 0), given.get("vector_length", 256)
    return max(
        per_rank * _PEFT_RANK,
        2 * per_rank * rank,  # two pairs of matrices, of LOHA
        per_rank * given.get("oft_block_size", 0),
        layers * _LINEAR_LAYERS * given.get("n_frequency", 0),
        vectors * length + per_rank * max(rank, 4) * vectors // length,
    )


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
