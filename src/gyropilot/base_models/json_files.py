"""Reads the JSON files of a model folder and reduces them to keys and values that are allowed; called by `folder`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from gyropilot.base_models import architectures
from gyropilot.base_models.architectures import Architecture
from gyropilot.errors import InvalidData

Json = Any

_WORD = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_MAX_LIST = 4096
_MAX_TOKEN_CHARACTERS = 512
MAX_TEMPLATE_CHARACTERS = 200_000
_UNTOLD = {"transformers_version", "_name_or_path", "architectures", "model_type"}
"""Keys whose loss is no news."""

_SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")
_TOKENIZER_FLAGS = ("clean_up_tokenization_spaces", "add_prefix_space", "add_bos_token", "add_eos_token")
_TOKENIZER_KINDS = {"BPE", "Unigram", "WordPiece", "WordLevel"}
_TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")


def parse(data: bytes, name: str) -> dict[str, Json]:
    """Give the JSON object that a file holds.

    Raises:
        InvalidData: it is not UTF-8, no JSON, no object, or holds a key twice.
    """
    try:
        value = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise InvalidData(
            where=name, found=data[:40], problem=f"is not JSON: {error}", fix="get the file anew"
        ) from error
    if not isinstance(value, dict):
        raise InvalidData(where=name, found=data[:40], problem="is no JSON object", fix="get the file anew")
    return value


def clean_config(config: Mapping[str, Json]) -> tuple[Architecture, dict[str, Json], list[str]]:
    """Give the family, the configuration that may be loaded, and the keys that were dropped.

    Raises:
        InvalidData: the family is not known, the weights are quantised, or a kept value is no plain number or word.
    """
    config = architectures.as_known_today(config)
    family = architectures.find(config.get("model_type"))
    if family is None:
        known = ", ".join(one.model_type for one in architectures.ARCHITECTURES)
        raise InvalidData(
            where="config.json: model_type",
            found=config.get("model_type"),
            problem="models of this type cannot be used",
            fix=f"known types: {known}",
        )
    if config.get("quantization_config") is not None:
        raise InvalidData(
            where="config.json: quantization_config",
            problem="the weights are quantised, and tuning needs them in full",
            fix="get the model in bfloat16, float16 or float32",
        )
    allowed = architectures.COMMON_KEYS | family.keys
    kept = {key: _clean(value, key) for key, value in config.items() if key in allowed and value is not None}
    if "torch_dtype" in kept:
        kept.setdefault("dtype", kept.pop("torch_dtype"))
    dropped = [key for key in config if key not in allowed and key not in _UNTOLD]
    return family, {"architectures": [family.name], "model_type": family.model_type, **kept}, dropped


def clean_generation_config(config: Mapping[str, Json]) -> dict[str, Json]:
    """Give the token numbers alone: how to sample is decided where text is generated."""
    return {
        key: _clean(config[key], key, "generation_config.json") for key in _TOKEN_IDS if config.get(key) is not None
    }


def clean_tokenizer_config(config: Mapping[str, Json], special_tokens: Mapping[str, Json]) -> dict[str, Json]:
    """Give a tokenizer_config.json for which tokenizer.json alone decides how text is cut.

    Args:
        config: the found tokenizer_config.json, empty if there is none.
        special_tokens: the found special_tokens_map.json; the former has the last word.
    """
    kept: dict[str, Json] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    for name in _SPECIAL_TOKENS:
        token = _token(config.get(name) or special_tokens.get(name), name)
        if token is not None:
            kept[name] = token
    for flag in _TOKENIZER_FLAGS:
        if isinstance(config.get(flag), bool):
            kept[flag] = config[flag]
    length = config.get("model_max_length")
    if isinstance(length, int) and 0 < length < 2**31:
        kept["model_max_length"] = length
    kept["padding_side"] = "right"
    return kept


def chat_template_of(config: Mapping[str, Json]) -> str | None:
    """Give the chat template that a tokenizer_config.json carries, the one named `default` if there are several."""
    template = config.get("chat_template")
    if isinstance(template, list):
        named = {one.get("name"): one.get("template") for one in template if isinstance(one, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else None


def check_chat_template(template: bytes) -> None:
    """Refuse a chat template that is long or no text; it is only data here, rendered in the trainer's sandbox."""
    try:
        text = template.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidData(where="chat template", problem=f"is not UTF-8: {error.reason}") from error
    if len(text) > MAX_TEMPLATE_CHARACTERS or "\0" in text:
        raise InvalidData(
            where="chat template",
            found=len(text),
            problem=f"has more than {MAX_TEMPLATE_CHARACTERS} characters, or NUL",
        )


def check_tokenizer(tokenizer: Mapping[str, Json]) -> None:
    """Refuse a tokenizer.json whose outline is not one of a fast tokenizer."""
    model = tokenizer.get("model")
    kind = model.get("type") if isinstance(model, dict) else None
    if kind not in _TOKENIZER_KINDS or not isinstance(tokenizer.get("added_tokens", []), list):
        raise InvalidData(
            where="tokenizer.json",
            found=kind,
            problem="is no fast tokenizer",
            fix="save the tokenizer once with AutoTokenizer.from_pretrained(...).save_pretrained(...)",
        )


def vocabulary_size(tokenizer: Mapping[str, Json]) -> int:
    """Give one more than the highest token number of a tokenizer.json."""
    vocabulary = tokenizer["model"].get("vocab", {})
    numbers: Iterable[Json] = vocabulary.values() if isinstance(vocabulary, dict) else [len(vocabulary) - 1]
    added = [token.get("id") for token in tokenizer.get("added_tokens", []) if isinstance(token, dict)]
    return 1 + max((number for number in [*numbers, *added] if isinstance(number, int)), default=-1)


def _without_duplicates(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key stands twice")
    return values


def _clean(value: Json, key: str, file: str = "config.json") -> Json:
    if isinstance(value, dict) and key in architectures.NESTED_KEYS:
        allowed = architectures.NESTED_KEYS[key]
        return {name: _clean(inner, f"{key}.{name}") for name, inner in value.items() if name in allowed}
    if isinstance(value, list) and len(value) <= _MAX_LIST and all(_is_plain(one) for one in value):
        return value
    if _is_plain(value):
        return value
    raise InvalidData(where=f"{file}: {key}", found=value, problem="is no plain number, word or list of such")


def _is_plain(value: Json) -> bool:
    if isinstance(value, str):
        return _WORD.fullmatch(value) is not None
    if isinstance(value, bool) or value is None:
        return True
    if isinstance(value, int):
        return abs(value) < 2**40
    return isinstance(value, float) and math.isfinite(value)


def _token(value: Json, name: str) -> str | None:
    if isinstance(value, dict):
        value = value.get("content")
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_TOKEN_CHARACTERS:
        raise InvalidData(where=f"tokenizer_config.json: {name}", found=value, problem="is no token text")
    return value
