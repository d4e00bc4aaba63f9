"""PEFT's other methods that can be tuned here, and which fields of their configs may be set; light to import.

Read where a request is checked (peft_type, peft_settings) and by tuning/peft_methods.py, which builds the config.
Each stands here because a test trains it, saves it, loads it again and folds it into the base.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from gyropilot.errors import Fault
from gyropilot.problems.text_generation.tuning.kinds import Kind, Number, Truth, Unfit, Whole, Word

Json = Any
_RANK = Whole(lowest=1, highest=1024)
_SIZE = Whole(lowest=1, highest=16384)
_SCALE = Whole(lowest=1, highest=1_000_000)
_FREQUENCIES = Whole(lowest=1, highest=1_000_000)
_SEED = Whole(lowest=1, highest=2**32 - 1)
_NUMBER = Number(lowest=0, highest=1e6, above=True)
_SHARE = Number(lowest=0, highest=1, below=True)
_FLAG = Truth()

PEFT_TYPES: Mapping[str, Mapping[str, Kind]] = {
    "LOHA": {"r": _RANK, "alpha": _SCALE, "rank_dropout": _SHARE, "module_dropout": _SHARE},
    "LOKR": {
        "r": _RANK,
        "alpha": _SCALE,
        "rank_dropout": _SHARE,
        "module_dropout": _SHARE,
        "decompose_both": _FLAG,
        "decompose_factor": _SIZE,
    },
    "VERA": {"r": _RANK, "projection_prng_key": _SEED, "vera_dropout": _SHARE, "d_initial": _NUMBER},
    "OFT": {
        "r": _RANK,
        "oft_block_size": _SIZE,
        "module_dropout": _SHARE,
        "coft": _FLAG,
        "eps": _NUMBER,
        "block_share": _FLAG,
        "use_cayley_neumann": _FLAG,
        "num_cayley_neumann_terms": Whole(lowest=1, highest=100),
    },
    "HRA": {"r": _RANK, "apply_GS": _FLAG},
    "VBLORA": {
        "r": _RANK,
        "num_vectors": Whole(lowest=2, highest=4096),
        "vector_length": _SIZE,
        "topk": _RANK,
        "vblora_dropout": _SHARE,
    },
    "GRALORA": {"r": _RANK, "alpha": _SCALE, "gralora_k": _RANK, "gralora_dropout": _SHARE},
    "DELORA": {"r": _RANK, "delora_lambda": _SCALE, "module_dropout": _SHARE},
    "SHIRA": {"r": _RANK, "random_seed": _SEED},
    "RANDLORA": {
        "r": _RANK,
        "randlora_alpha": _SCALE,
        "projection_prng_key": _SEED,
        "sparse": _FLAG,
        "very_sparse": _FLAG,
        "randlora_dropout": _SHARE,
    },
    "C3A": {"block_size": _SIZE},
    "ROAD": {"variant": Word(words=("road_1", "road_2", "road_4")), "group_size": _SIZE},
    "WAVEFT": {"n_frequency": _FREQUENCIES, "scaling": _NUMBER, "random_loc_seed": _SEED},
    "FOURIERFT": {"n_frequency": _FREQUENCIES, "scaling": _NUMBER, "random_loc_seed": _SEED},
    "LN_TUNING": {},
    "MISS": {"r": _RANK, "miss_dropout": _SHARE, "mini_r": _RANK},
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

_DIVISORS = frozenset({"block_size", "group_size", "gralora_k", "vector_length"})
"""Settings that must divide the width of the layers, each of which reads or writes the hidden width."""
_DEFAULTS: Mapping[str, Mapping[str, int]] = {
    "C3A": {"block_size": 256},
    "ROAD": {"group_size": 64},
    "GRALORA": {"r": 32, "gralora_k": 2},
    "VBLORA": {"num_vectors": 256, "vector_length": 256, "topk": 2},
    "SHIRA": {"r": 32},
}
"""PEFT's own, of the settings that must fit each other or the model."""


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
        else:
            faults += _unfit(f"{where}.{name}", value, kind)
    return faults


def misfits_of(peft_type: str, settings: Mapping[str, Json], *, width: int | None, where: str) -> list[Fault]:
    """Give what is wrong with settings that fit one by one, between them and with a model's hidden width, if known."""
    held: dict[str, Json] = {**_DEFAULTS.get(peft_type, {}), **settings}
    faults = []

    def refused(name: str, problem: str, fix: str) -> None:
        by_default = "" if name in settings else "by default "
        faults.append(Fault(where=f"{where}.{name}", found=held[name], problem=f"{by_default}{problem}", fix=fix))

    for name in _DIVISORS & held.keys():
        if peft_type == "ROAD" and held[name] % 2:
            refused(name, "must be even", "give an even number")
        elif width is not None and width % held[name]:
            fix = f"give one of {', '.join(map(str, _divisors(width, is_even=peft_type == 'ROAD')))}"
            refused(name, f"does not divide the base model's width, {width}", fix)
    if peft_type == "GRALORA" and held["r"] % held["gralora_k"]:
        refused("gralora_k", f"does not divide r, {held['r']}", "give a divisor of r")
    if peft_type == "VBLORA" and held["topk"] > held["num_vectors"]:
        refused("topk", f"is more than num_vectors, {held['num_vectors']}", "give at most num_vectors")
    if peft_type == "SHIRA" and width is not None and 2 * held["r"] > width:
        refused("r", f"is more than half of the base model's width, {width}", f"give at most {width // 2}")
    return faults


def _of_type(peft_type: str | None, where: str) -> Fault:
    reason = NOT_OFFERED.get(peft_type or "", "is no method of PEFT that is known here")
    place = where.rsplit(".", 1)[0] + ".peft_type" if "." in where else "peft_type"
    return Fault(where=place, found=peft_type, problem=reason, fix=f"give one of {', '.join(PEFT_TYPES)}")


def _unfit(where: str, value: Json, kind: Kind) -> list[Fault]:
    try:
        kind.read(value)
    except Unfit as error:
        return [Fault(where=where, found=value, problem=error.problem, fix=f"give {kind.accepted}")]
    return []


def _divisors(width: int, *, is_even: bool) -> list[int]:
    return [one for one in range(2 if is_even else 1, width + 1, 2 if is_even else 1) if width % one == 0][-8:]
