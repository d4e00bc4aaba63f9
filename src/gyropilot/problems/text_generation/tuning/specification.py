"""What a job tunes and how: one value behind the ways to ask for it (Python call, command line, AWS call).

Read by tuning/parameters.py, kept in TextGenerationSpec.method, turned into a Method by tuning/methods.py. Light to
import. Names are those of caikit-nlp's parameters, so that who knows them knows these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Json = Any
TuningType = Literal[
    "LORA", "FULL", "PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "IA3", "PEFT"
]
InitMethod = Literal["RANDOM", "TEXT", "SAMPLE_VOCAB", "ONLY_SOURCE_SHARED", "AVERAGE_SOURCE"]
OutputModelType = Literal["ENCODER", "DECODER"]
VIRTUAL_TOKEN_TYPES: tuple[TuningType, ...] = ("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING")
"""What is trained stands before the text; the base stays as it is, also in what is served."""
PROMPT_TYPES: tuple[TuningType, ...] = ("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING")
"""Of these, what is trained comes down to rows of the width of an embedding."""
SOURCE_METHODS: tuple[InitMethod, ...] = ("ONLY_SOURCE_SHARED", "AVERAGE_SOURCE")
"""Ways to begin that need a source prompt."""
DOCUMENTED_RATES: Mapping[TuningType, float] = {
    "LORA": 2e-4,
    "FULL": 5e-5,
    "PROMPT_TUNING": 0.01,
    "MULTITASK_PROMPT_TUNING": 0.03,
    "P_TUNING": 0.001,
    "PREFIX_TUNING": 0.01,
    "IA3": 0.01,
    "PEFT": 0.001,
}
"""The learning rate of each type that is neither given nor found by a probe."""
UNPROBED_TYPES: tuple[TuningType, ...] = ("LORA", "FULL")
"""Of these it holds as it stands; of all others it is where a probe begins to look."""


@dataclass(frozen=True, kw_only=True)
class TuningSpec:
    """A way of tuning with every default filled in; what a type does not know is at its default and means nothing."""

    tuning_type: TuningType = "LORA"
    num_virtual_tokens: int = 0
    """Rows before the text, of VIRTUAL_TOKEN_TYPES; 0 for all others."""
    prompt_tuning_init_method: InitMethod = "RANDOM"
    prompt_tuning_init_text: str | None = None
    prompt_tuning_init_source_model: str | None = None
    """Name of a source prompt in the folder of source prompts."""
    prompt_tuning_init_source_digest: str | None = None
    """Which one that was when the job was created: SHA-256 of its vectors; None: not told, or no source prompt."""
    output_model_types: tuple[OutputModelType, ...] = ()
    """On which side rows stand; causal: ("DECODER",). Empty but for PROMPT_TYPES."""
    prompt_ranks: int = 1
    """num_ranks of multitask prompt tuning."""
    verbalizer: str | None = None
    """Template of the prompt with {{field}}s; None: the base model's own template."""
    task_column: str | None = None
    """Column that names each row's task; multitask prompt tuning of a source. None: one task."""
    max_source_length: int | None = None
    """Tokens of the rendered prompt that are kept; None: what the model takes."""
    max_target_length: int | None = None
    """Tokens of the answer that are kept, its end token among them; None: what the model takes."""
    accumulate_steps: int = 1
    """An optimizer step takes batch_size times so many examples."""
    device: str | None = None
    """cpu, cuda, cuda:N; None: what there is."""
    torch_dtype: str | None = None
    """Of the frozen base: float32, float16, bfloat16, float64; None: what the machine computes fastest in."""
    lora_rank: int = 16
    lora_alpha: float = 32.0
    lora_dropout: float = 0.0
    lora_targets: tuple[str, ...] = ()
    """Last names of the layers to adapt, of LORA, IA3 and PEFT; empty: every linear layer of the blocks."""
    lora_variant: Literal["LORA", "RSLORA", "DORA"] = "LORA"
    lora_init: str = "DEFAULT"
    """DEFAULT, GAUSSIAN, ORTHOGONAL, OLORA, PISSA, or PISSA_NITER_<n>."""
    peft_type: str | None = None
    """PEFT's name of the method, as LOHA; only with tuning_type PEFT."""
    peft_settings: Mapping[str, Json] = field(default_factory=dict)
    """Fields of PEFT's config of that method."""

    @property
    def has_virtual_tokens(self) -> bool:
        """Whether what is trained stands before the text."""
        return self.tuning_type in VIRTUAL_TOKEN_TYPES

    def to_json(self) -> dict[str, Json]:
        """Give the spec as JSON values, read back by `read_tuning_spec`."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def read_tuning_spec(values: Mapping[str, Json]) -> TuningSpec:
    """Read back what `TuningSpec.to_json` gave; fields that were not there when it was kept have their defaults."""
    settled: dict[str, Json] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    return TuningSpec(**settled)
