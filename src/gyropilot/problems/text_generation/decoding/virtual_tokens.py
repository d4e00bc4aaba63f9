"""Reads the virtual tokens of a tuned model from its adapter folder; called by the decoders.

    prompt.safetensors   encoder, decoder: [tokens, width] float32, rows of embeddings; of a causal model decoder alone
    prefix.safetensors   keys, values: [layers, key heads, tokens, head width] float32, positions already in the keys

Of several tasks the first has these names, the others `<name>.<task>`. What else lies in the folder is PEFT's and not
read here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from gyropilot.errors import TrainingFailed
from gyropilot.problems.text_generation import file_names

PROMPT, PREFIX = file_names.PROMPT, file_names.PREFIX


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a model has room for before its texts."""

    is_causal: bool
    width: int
    """Of an embedding."""
    cache: tuple[int, int, int]
    """Layers, key heads and head width of a causal model."""
    model_tokens: int | None
    """Most tokens of a text; None: no bound is known."""


@dataclass(frozen=True, kw_only=True)
class TokensBefore:
    """Virtual tokens in memory, in the precision that is computed in."""

    text_rows: torch.Tensor | None = None
    """[tokens, width]: before the text of a causal model, or before what the encoder reads."""
    answer_rows: torch.Tensor | None = None
    """[tokens, width]: before the start token of a decoder."""
    prefix: tuple[torch.Tensor, torch.Tensor] | None = None
    """Keys and values, each [layers, key heads, tokens, head width]."""

    @property
    def read(self) -> int:
        """Tokens that are read before a text as it is, a row of `text_rows` each."""
        return 0 if self.text_rows is None else len(self.text_rows)

    @property
    def known(self) -> int:
        """Tokens whose keys and values are there before anything is read."""
        return 0 if self.prefix is None else self.prefix[0].shape[2]

    @property
    def count(self) -> int:
        """All of them."""
        return self.read + self.known + (0 if self.answer_rows is None else len(self.answer_rows))

    @property
    def size_bytes(self) -> int:
        """Give the memory the tensors take."""
        return sum(one.nbytes for one in (self.text_rows, self.answer_rows, *(self.prefix or ())) if one is not None)


NOTHING = TokensBefore()


def are_in(folder: Path) -> bool:
    """Say whether an adapter folder holds virtual tokens."""
    return any((folder / name).is_file() for name in (PROMPT, PREFIX))


def read(folder: Path, place: Place, *, task: int, dtype: torch.dtype, device: torch.device) -> TokensBefore:
    """Give the virtual tokens of one task of a folder that holds some.

    Raises:
        TrainingFailed: the file cannot be read, or its tensors have no place before the model's texts.
    """
    name = PROMPT if (folder / PROMPT).is_file() else PREFIX
    try:
        with safe_open(str(folder / name), framework="pt", device=str(device)) as file:
            keys = [key.partition(".") for key in file.keys()]  # noqa: SIM118 - no mapping
            own = str(task) if task else ""
            tensors = {side: file.get_tensor(side + dot + of) for side, dot, of in keys if of == own}
    except (OSError, SafetensorError) as error:
        raise TrainingFailed(f"the adapter's {name} cannot be read: {error}") from error
    faults = [*(_prompt_faults if name == PROMPT else _prefix_faults)(tensors, place)]
    faults += [
        f"{key} holds what is no finite number" for key, one in tensors.items() if not bool(one.isfinite().all())
    ]
    if faults:
        of_task = f" in its task {task}" if task else ""
        raise TrainingFailed(
            f"the adapter's {name} does not fit the model{of_task}: {'; '.join(faults)}; tune again on this base model"
        )
    kept = {key: one.to(dtype, copy=True).contiguous() for key, one in tensors.items()}
    if name == PREFIX:
        return TokensBefore(prefix=(kept["keys"], kept["values"]))
    if place.is_causal:
        return TokensBefore(text_rows=kept["decoder"])
    return TokensBefore(text_rows=kept.get("encoder"), answer_rows=kept.get("decoder"))


def _prompt_faults(tensors: Mapping[str, torch.Tensor], place: Place) -> Iterator[str]:
    sides = ["decoder"] if place.is_causal else ["encoder", "decoder"]
    if not tensors or tensors.keys() - set(sides):
        yield f"it holds {', '.join(sorted(tensors)) or 'nothing'}, not {' or '.join(sides)}"
    for side, rows in tensors.items():
        if rows.dim() != 2 or not len(rows) or rows.shape[1] != place.width:
            yield f"{side} is {list(rows.shape)}, not one token or more of width {place.width}"
    yield from _excess(sum(len(rows) for rows in tensors.values() if rows.dim()), place)


def _prefix_faults(tensors: Mapping[str, torch.Tensor], place: Place) -> Iterator[str]:
    if tensors.keys() != {"keys", "values"}:
        yield f"it holds {', '.join(sorted(tensors)) or 'nothing'}, not keys and values"
        return
    if not place.is_causal:
        yield "models with an encoder are served without attention prefixes"
        return
    layers, heads, width = place.cache
    shapes = {tuple(one.shape) for one in tensors.values()}
    tokens = next(iter(shapes))[2:3]
    if shapes != {(layers, heads, *tokens, width)} or not tokens or not tokens[0]:
        found = " and ".join(str(list(one)) for one in sorted(shapes))
        yield f"keys and values are {found}, not [{layers}, {heads}, one token or more, {width}]"
    yield from _excess(sum(tokens), place)


def _excess(tokens: int, place: Place) -> Iterator[str]:
    if place.model_tokens is not None and tokens >= place.model_tokens:
        yield f"{tokens} tokens leave no room for a text in the {place.model_tokens} that the model takes"
