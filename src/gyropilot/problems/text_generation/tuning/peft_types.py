"""PEFT's other methods that can be tuned here, and which fields of their configs may be set; light to import.

Read where a request is checked (peft_type, peft_settings) and by tuning/peft_methods.py, which builds the config.
Each stands here because a test trains it, saves it, loads it again and folds it into the base.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal

from gyropilot.errors import Fault

Json = Any
FieldKind = Literal["whole", "number", "share", "flag"] | tuple[str, ...]
"""A whole number from 1; a finite number above 0; a number from 0 to below 1; true or false; or one of these words."""

PEFT_TYPES: Mapping[str, Mapping[str, FieldKind]] = {
    "LOHA": {"r": "whole", "alpha": "whole", "rank_dropout": "share", "module_dropout": "share"},
    "LOKR": {
        "r": "whole",
        "alpha": "whole",
        "rank_dropout": "share",
        "module_dropout": "share",
        "decompose_both": "flag",
        "decompose_factor": "whole",
    },
    "VERA": {"r": "whole", "projection_prng_key": "whole", "vera_dropout": "share", "d_initial": "number"},
    "OFT": {
        "r": "whole",
        "oft_block_size": "whole",
        "module_dropout": "share",
        "coft": "flag",
        "eps": "number",
        "block_share": "flag",
        "use_cayley_neumann": "flag",
        "num_cayley_neumann_terms": "whole",
    },
    "HRA": {"r": "whole", "apply_GS": "flag"},
    "VBLORA": {
        "r": "whole",
        "num_vectors": "whole",
        "vector_length": "whole",
        "topk": "whole",
        "vblora_dropout": "share",
    },
    "GRALORA": {"r": "whole", "alpha": "whole", "gralora_k": "whole", "gralora_dropout": "share"},
    "DELORA": {"r": "whole", "delora_lambda": "whole", "module_dropout": "share"},
    "SHIRA": {"r": "whole", "random_seed": "whole"},
    "RANDLORA": {
        "r": "whole",
        "randlora_alpha": "whole",
        "projection_prng_key": "whole",
        "sparse": "flag",
        "very_sparse": "flag",
        "randlora_dropout": "share",
    },
    "C3A": {"block_size": "whole"},
    "ROAD": {"variant": ("road_1", "road_2", "road_4"), "group_size": "whole"},
    "WAVEFT": {"n_frequency": "whole", "scaling": "number", "random_loc_seed": "whole"},
    "FOURIERFT": {"n_frequency": "whole", "scaling": "number", "random_loc_seed": "whole"},
    "LN_TUNING": {},
    "MISS": {"r": "whole", "miss_dropout": "share", "mini_r": "whole"},
}
"""Settable fields by PEFT's name of the method; what is not set has PEFT's default."""

NOT_OFFERED: Mapping[str, str] = {
    "LORA": "has a tuning type of its own, LORA",
    "IA3": "has a tuning type of its own, IA3",
    "PROMPT_TUNING": "has a tuning type of its own, PROMPT_TUNING",
    "MULTITASK_PROMPT_TUNING": "has a tuning type of its own, MULTITASK_PROMPT_TUNING",
    "P_TUNING": "has a tuning type of its own, P_TUNING",
    "PREFIX_TUNING": "has a tuning type of its own, PREFIX_TUNING",
    "ADALORA": "must be told of every step of training and cannot be loaded again to the same loss",
    "ADAPTION_PROMPT": "cannot be folded into the base",
    "BOFT": "compiles a program for CUDA each time a model is made, which is not there on most machines",
    "CARTRIDGE": "cannot be folded into the base",
    "CPT": "cannot be folded into the base",
    "POLY": "cannot be folded into the base",
    "XLORA": "needs LoRA adapters that were trained before",
    "TRAINABLE_TOKENS": "trains rows of the embedding, which many models share with their head",
}
"""PEFT's methods that are left out, each with its reason."""


def faults_of(peft_type: str | None, settings: Mapping[str, Json], *, where: str) -> list[Fault]:
    """Give what is wrong with a method of PEFT and its settings; `where` names the field that holds the settings."""
    if peft_type is None or peft_type not in PEFT_TYPES:
        return [_of_type(peft_type, where)]
    known = PEFT_TYPES[peft_type]
    faults = []
    for name, value in settings.items():
        kind = known.get(name)
        if kind is None:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            fix = f"{hint}known are {', '.join(known)}" if known else f"{peft_type} has none"
            faults.append(Fault(where=f"{where}.{name}", found=value, problem=f"is no setting of {peft_type}", fix=fix))
        elif not _fits(value, kind):
            faults.append(Fault(where=f"{where}.{name}", found=value, problem=f"is not {_told(kind)}", fix="give one"))
    return faults


def _of_type(peft_type: str | None, where: str) -> Fault:
    reason = NOT_OFFERED.get(peft_type or "", "is no method of PEFT that is known here")
    place = where.rsplit(".", 1)[0] + ".peft_type" if "." in where else "peft_type"
    return Fault(where=place, found=peft_type, problem=reason, fix=f"give one of {', '.join(PEFT_TYPES)}")


def _fits(value: Json, kind: FieldKind) -> bool:
    if isinstance(kind, tuple):
        return value in kind
    if kind == "flag" or isinstance(value, bool):
        return kind == "flag" and isinstance(value, bool)
    if kind == "whole":
        return isinstance(value, int) and value >= 1
    if not isinstance(value, int | float):
        return False
    return 0 <= value < 1 if kind == "share" else 0 < value < float("inf")


def _told(kind: FieldKind) -> str:
    if isinstance(kind, tuple):
        return f"one of {', '.join(kind)}"
    return {
        "whole": "a whole number from 1",
        "number": "a number above 0",
        "share": "a number from 0 to below 1",
        "flag": "true or false",
    }[kind]
