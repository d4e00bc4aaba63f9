"""Every parameter of tuning: its names, what it takes, its default, and for which types it means something.

One table, behind the ways to ask: the Python call and the command line by `name`, the AWS call by `key` in
TextGenerationHyperParameters (16 characters a value) and by `name` in the JSON object that a tag names. Read by
reading.py; the documentation's table is made of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gyropilot.problems.text_generation.tuning.kinds import (
    Json,
    Kind,
    Number,
    Settings,
    Text,
    Truth,
    Whole,
    Word,
    Words,
)
from gyropilot.problems.text_generation.tuning.peft_types import NOT_OFFERED, PEFT_TYPES
from gyropilot.problems.text_generation.tuning.specification import (
    DOCUMENTED_RATES,
    PROMPT_TYPES,
    UNPROBED_TYPES,
    VIRTUAL_TOKEN_TYPES,
    TuningType,
)

SEED = 42
EPOCHS = 3
MULTITASK: tuple[TuningType, ...] = ("MULTITASK_PROMPT_TUNING",)
INIT_TYPES: tuple[TuningType, ...] = ("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING")
"""Types whose rows can begin in every way, or in all but those of a source."""
BEGINNING_TYPES: tuple[TuningType, ...] = (*INIT_TYPES, "PREFIX_TUNING")
"""Types whose virtual tokens can begin in more ways than one; a prefix by chance or with a text."""
TARGET_TYPES: tuple[TuningType, ...] = ("LORA", "IA3", "PEFT")
_LORA: tuple[TuningType, ...] = ("LORA",)
_PEFT: tuple[TuningType, ...] = ("PEFT",)
_MOST = 1_000_000_000

TUNING_TYPES: Mapping[TuningType, str] = {
    "LORA": "low-rank adapters beside every linear layer; the default: a tenth of the memory, hardly less quality",
    "FULL": "every weight of the model, in float32: for much data, and where 20 bytes for each weight fit into memory",
    "PROMPT_TUNING": "rows before the text, the base untouched: the smallest result, for one narrow task",
    "MULTITASK_PROMPT_TUNING": "rows before the text that are shared by tasks, times a small part of each task: to"
    " learn from several tasks, and to begin a further one from them",
    "P_TUNING": "rows before the text that a small network gives while training: steadier than rows alone",
    "PREFIX_TUNING": "keys and values before the text in every layer: more to learn with than rows",
    "IA3": "one factor for each result of a linear layer, or for each input of a block's last: fewer numbers than any"
    " adapter",
    "PEFT": "another method of the PEFT library by its name, `peft_type`",
}
"""What is trained, and what for."""

_INIT_WORDS = {"AVERAGE_SOURCE_TASKS": "AVERAGE_SOURCE", "SOURCE_SHARED": "ONLY_SOURCE_SHARED"}
_LORA_INIT_REFUSED = {
    "EVA": "is plain LoRA without its pass over the data",
    "LORA_GA": "is plain LoRA without its pass over the data",
    "CORDA": "needs a pass over the data before training",
    "LOFTQ": "is for bases that are quantized, which none is here",
}


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter."""

    name: str
    """As the fact sheet of caikit-nlp's parameters has it; ours where that has none."""
    part: Literal["job", "tuning_config"]
    """Where it stands; one of tuning_config may stand beside the others too."""
    kind: Kind
    why: str
    """What it does, and why the default is what it is."""
    key: str = ""
    """Its key in TextGenerationHyperParameters; empty: it does not fit there."""
    key_kind: Kind | None = None
    """What it takes there, where that is less: as AWS documents it."""
    kept: str = ""
    """Its field in Asked or TuningSpec, where it is not the name."""
    aliases: tuple[str, ...] = ()
    default: Json = None
    default_by_type: Mapping[TuningType, Json] = field(default_factory=dict)
    default_told: str = ""
    """The default in words, where it depends on more than the type."""
    types: tuple[TuningType, ...] = ()
    """Types for which it means something; empty: all."""
    ignored_by: tuple[TuningType, ...] = ()
    """Further types that take it and do nothing with it, as the fact sheet has it."""
    refused: str = ""
    """What else is refused, beside values that its kind does not take."""

    @property
    def kept_as(self) -> str:
        """Its field."""
        return self.kept or self.name

    @property
    def shown_as(self) -> str:
        """How a job shows it: by its key, or by its name where it has none."""
        return self.key or self.name

    def means_something_for(self, tuning_type: TuningType) -> bool:
        """Say whether a type knows it."""
        return not self.types or tuning_type in self.types

    def default_of(self, tuning_type: TuningType) -> Json:
        """Give the default under a type."""
        return self.default_by_type.get(tuning_type, self.default)


PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        name="tuning_type",
        key="tuningType",
        part="job",
        kind=Word(words=tuple(TUNING_TYPES), also={"MULTITASK_PROMPT": "MULTITASK_PROMPT_TUNING"}),
        default_told="`LORA` in the AWS call, `PROMPT_TUNING` in `tune`",
        why="what is trained; `MULTITASK_PROMPT` is MULTITASK_PROMPT_TUNING in 16 characters",
    ),
    Parameter(
        name="num_epochs",
        key="epochCount",
        kept="epochs",
        part="job",
        kind=Whole(lowest=1, highest=_MOST),
        key_kind=Whole(lowest=1, highest=10),
        default_told="3; types with virtual tokens: 10 in the AWS call, 20 in `tune`",
        why="adapters on small sets go on improving for two to three passes, and begin to repeat the rows after that;"
        " rows before the text learn more slowly",
    ),
    Parameter(
        name="batch_size",
        key="batchSize",
        part="job",
        kind=Whole(lowest=1, highest=_MOST),
        key_kind=Whole(lowest=1, highest=64),
        default=8,
        why="examples per optimizer step: enough to average a step's noise, few enough for many steps on small sets",
    ),
    Parameter(
        name="accumulate_steps",
        key="accumulateSteps",
        part="job",
        kind=Whole(lowest=1, highest=65536),
        default=1,
        why="an optimizer step takes batch_size times so many examples; caikit-nlp's own default is 32, which leaves"
        " small sets with a step an epoch",
    ),
    Parameter(
        name="learning_rate",
        key="learningRate",
        aliases=("lr",),
        part="job",
        kind=Number(lowest=0, above=True),
        key_kind=Number(lowest=0, highest=1),
        default_by_type={one: DOCUMENTED_RATES[one] for one in UNPROBED_TYPES},
        default_told="`LORA` 0.0002, `FULL` 5e-05, all others: found by a short probe",
        refused="learning_rate and lr with two values",
        why="the customary rate of low-rank adapters; of whole models a quarter of it, between what small ones"
        " (1e-4) and those of billions of weights (2e-5) take best; caikit-nlp's 0.3 diverges on small models",
    ),
    Parameter(
        name="learning_rate_warmup_steps",
        key="learningRateWarmupSteps",
        kept="warmup_steps",
        aliases=("warmup_steps",),
        part="job",
        kind=Whole(lowest=0, highest=_MOST),
        key_kind=Whole(lowest=0, highest=250),
        default=10,
        why="steps over which the rate rises from 0; a few protect the first steps of the optimizer",
    ),
    Parameter(
        name="max_source_length",
        key="maxSourceLength",
        part="job",
        kind=Whole(lowest=1, highest=_MOST),
        default_by_type=dict.fromkeys(INIT_TYPES, 256),
        default_told="256 for `PROMPT_TUNING` and `MULTITASK_PROMPT_TUNING`; all others: what the model takes",
        why="tokens of the prompt, as the template renders it, that are kept",
    ),
    Parameter(
        name="max_target_length",
        key="maxTargetLength",
        part="job",
        kind=Whole(lowest=1, highest=_MOST),
        default_by_type=dict.fromkeys(INIT_TYPES, 128),
        default_told="128 for `PROMPT_TUNING` and `MULTITASK_PROMPT_TUNING`; all others: what the model takes",
        why="tokens of the answer that are kept, its end token among them",
    ),
    Parameter(
        name="verbalizer",
        part="job",
        kind=Text(told="a text that names {{input}}, as 'Complaint: {{input}} Label:'"),
        default_by_type=dict.fromkeys(INIT_TYPES, "{{input}}"),
        default_told="`{{input}}` for `PROMPT_TUNING` and `MULTITASK_PROMPT_TUNING`; all others: the model's template",
        refused="no placeholder; a field that an endpoint is not given: `{{output}}`, or any but `{{input}}`",
        why="template of the prompt; kept with the model and applied by training, scoring and endpoints alike",
    ),
    Parameter(
        name="device",
        key="device",
        part="job",
        kind=Text(pattern=r"cpu|cuda(:[0-9]{1,3})?", told="cpu, cuda or cuda:N"),
        default_told="what there is",
        refused="a device that is not there",
        why="where it is trained; the AWS map does not take the colon of `cuda:N`",
    ),
    Parameter(
        name="torch_dtype",
        key="torchDtype",
        part="job",
        kind=Word(words=("float32", "float16", "bfloat16", "float64")),
        default_told="what the machine computes fastest in",
        why="precision of the base; what is trained stays in float32",
    ),
    Parameter(
        name="silence_progress_bars",
        part="job",
        kind=Truth(),
        default=True,
        why="`tune` in process alone: false shows a progress bar; a service tells the progress of its jobs, and does"
        " nothing with it",
    ),
    Parameter(
        name="seed",
        key="seed",
        part="job",
        kind=Whole(lowest=0, highest=2**32 - 1),
        default=SEED,
        why="of the split, of what is drawn at the beginning, and of the order of the rows; the same seed, the same"
        " curve",
    ),
    Parameter(
        name="num_virtual_tokens",
        key="numVirtualTokens",
        part="tuning_config",
        kind=Whole(lowest=1, highest=_MOST),
        default=0,
        default_told="none: it must be given, but with a source prompt, whose rows it then is",
        types=VIRTUAL_TOKEN_TYPES,
        refused="missing; so many that text has fewer than 64 of the model's tokens; another number than the rows of"
        " the source prompt",
        why="rows that stand before the text",
    ),
    Parameter(
        name="prompt_tuning_init_method",
        key="initMethod",
        part="tuning_config",
        kind=Word(words=("RANDOM", "TEXT", "SAMPLE_VOCAB", "ONLY_SOURCE_SHARED", "AVERAGE_SOURCE"), also=_INIT_WORDS),
        default="RANDOM",
        types=BEGINNING_TYPES,
        refused="`ONLY_SOURCE_SHARED` and `AVERAGE_SOURCE` with `PROMPT_TUNING`; all but `RANDOM` and `TEXT` with"
        " `PREFIX_TUNING`",
        why="what the rows begin with; AVERAGE_SOURCE_TASKS is AVERAGE_SOURCE, SOURCE_SHARED is ONLY_SOURCE_SHARED",
    ),
    Parameter(
        name="prompt_tuning_init_text",
        part="tuning_config",
        kind=Text(),
        types=BEGINNING_TYPES,
        refused="missing with the method `TEXT`; with another method it is not used",
        why="text whose tokens the rows begin with",
    ),
    Parameter(
        name="prompt_tuning_init_source_model",
        key="initSourceModel",
        part="tuning_config",
        kind=Text(
            pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}",
            told="the name of a source prompt: a letter or digit, then those, points, hyphens and underscores, no path",
        ),
        types=MULTITASK,
        ignored_by=("PROMPT_TUNING",),
        refused="missing with a source method; given with another; not there; of another base or number of rows",
        why="folder below the setting `source_prompt_base` that is begun with; PROMPT_TUNING does not use it",
    ),
    Parameter(
        name="output_model_types",
        key="outputModelTypes",
        part="tuning_config",
        kind=Words(words=("ENCODER", "DECODER")),
        default=(),
        default_told="`DECODER` of causal models, `ENCODER` of encoder-decoder models",
        types=PROMPT_TYPES,
        refused="`ENCODER` on a causal model",
        why="on which side rows stand; `ENCODER-DECODER` in the AWS map is both",
    ),
    Parameter(
        name="prompt_ranks",
        key="promptRanks",
        part="tuning_config",
        kind=Whole(lowest=1, highest=256),
        default=1,
        default_told="1; with `AVERAGE_SOURCE` those of the source prompt",
        types=MULTITASK,
        refused="with `AVERAGE_SOURCE` another number than the source prompt's",
        why="rank of what each task multiplies the shared rows by",
    ),
    Parameter(
        name="task_column",
        part="tuning_config",
        kind=Text(),
        types=MULTITASK,
        refused="`input`, `output`, a column that is not there",
        why="column that names each row's task, for a source prompt of several tasks; left out: one task",
    ),
    Parameter(
        name="lora_rank",
        key="loraRank",
        part="tuning_config",
        kind=Whole(lowest=1, highest=1024),
        default=16,
        types=_LORA,
        refused="odd with `ORTHOGONAL`",
        why="rank of the adapters: more learns more, and is more to keep",
    ),
    Parameter(
        name="lora_alpha",
        key="loraAlpha",
        part="tuning_config",
        kind=Number(lowest=0, above=True),
        default=32.0,
        default_told="twice the rank",
        types=_LORA,
        why="adapters count alpha / rank times, of RSLORA alpha / sqrt(rank) times",
    ),
    Parameter(
        name="lora_dropout",
        key="loraDropout",
        part="tuning_config",
        kind=Number(lowest=0, highest=1, below=True),
        default=0.0,
        types=_LORA,
        why="share of an adapter's input that is left out at each step",
    ),
    Parameter(
        name="lora_targets",
        part="tuning_config",
        kind=Words(told="last names of linear layers, as `q_proj`"),
        default=(),
        default_told="every linear layer of the blocks",
        types=TARGET_TYPES,
        refused="a layer that the base model does not have",
        why="the layers that are adapted",
    ),
    Parameter(
        name="lora_variant",
        key="loraVariant",
        part="tuning_config",
        kind=Word(words=("LORA", "RSLORA", "DORA")),
        default="LORA",
        types=_LORA,
        why="`RSLORA` keeps high ranks steady, `DORA` trains direction and length of weights apart, and more slowly",
    ),
    Parameter(
        name="lora_init",
        key="loraInit",
        part="tuning_config",
        kind=Word(
            words=("DEFAULT", "GAUSSIAN", "ORTHOGONAL", "OLORA", "PISSA"),
            pattern=r"PISSA_NITER_[1-9][0-9]{0,2}",
            told="PISSA_NITER_N",
            refused=_LORA_INIT_REFUSED,
        ),
        default="DEFAULT",
        types=_LORA,
        why="what adapters begin with; `PISSA` with the largest directions of the weights, `PISSA_NITER_N` the same"
        " faster, by N iterations",
    ),
    Parameter(
        name="peft_type",
        key="peftType",
        part="tuning_config",
        kind=Word(words=tuple(PEFT_TYPES), refused=NOT_OFFERED),
        types=_PEFT,
        refused="missing with `PEFT`",
        why="which method of the PEFT library",
    ),
    Parameter(
        name="peft_settings",
        part="tuning_config",
        kind=Settings(),
        default={},
        default_told="PEFT's own",
        types=_PEFT,
        refused="names and values that the method does not know",
        why="settings of that method by PEFT's names",
    ),
)

_ROWS = (
    "the AWS call names its rows as a channel, in AutoMLJobInputDataConfig; `gyropilot tune` as DATA and --validation"
)
ELSEWHERE: Mapping[str, str] = {
    "base_model": "the AWS call names it as BaseModelName",
    "train_stream": _ROWS,
    "val_stream": _ROWS,
    "validation_stream": _ROWS,
    "ALLOW_DOWNLOADS": "it is the service's setting allow_downloads",
    "SOURCE_PROMPT_BASE": "it is the service's setting source_prompt_base",
}
"""Parameters that are given in another place, and where."""


def named(name: str) -> Parameter | None:
    """Give the parameter of a name or alias."""
    return _BY_NAME.get(name)


def keyed(key: str) -> Parameter | None:
    """Give the parameter of a key of TextGenerationHyperParameters."""
    return _BY_KEY.get(key)


_BY_NAME = {name: one for one in PARAMETERS for name in (one.name, *one.aliases)}
_BY_KEY = {one.key: one for one in PARAMETERS if one.key}
