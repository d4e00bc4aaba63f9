"""Examples, and how the examples of one optimizer step become packs; called by the loop, filled by data.

    example  [prompt tokens | answer tokens + eos]      labels are the answer's span, never found by token identity

    pack     [shared prefix | rest of a | rest of b | rest of c]
    sees      itself          prefix+a    prefix+b    prefix+c     (causally, each with its own position numbers)

Rows of one template begin alike (system prompt, role markers). What all examples of a pack share at their start is
computed once; each rest attends to it and to itself, so every label sees exactly what it would see alone.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, overload

import numpy as np
import numpy.typing as npt

from gyropilot.errors import Fault, InvalidData
from gyropilot.files import sha256_of, write_whole

Ints = npt.NDArray[np.integer]
_TOKENS, _SPANS, _MARKER = "tokens.bin", "spans.bin", "tokens.json"


@dataclass(frozen=True, kw_only=True)
class Example:
    """One row as tokens. The answer includes its eos."""

    prompt_ids: Ints
    answer_ids: Ints
    row: int
    task: int = 0
    """Which of a multitask prompt's tasks it is of."""

    @property
    def length(self) -> int:
        """Tokens of prompt and answer together."""
        return len(self.prompt_ids) + len(self.answer_ids)


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Several examples in one sequence of T tokens, L of their positions carrying a label."""

    input_ids: Ints
    """[T] int64."""
    position_ids: Ints
    """[T] int64, restarting after the shared prefix for each example."""
    prefix_length: int
    lengths: tuple[int, ...]
    """Tokens of each example after the prefix, in order; prefix_length + sum(lengths) = T."""
    label_positions: Ints
    """[L] int64, ascending: where in the pack the label is predicted (one before the label itself)."""
    labels: Ints
    """[L] int64."""
    label_counts: tuple[int, ...]
    """Labels of each example, in order."""
    example_tokens: int
    """Tokens of the examples, the prefix counted once for each."""
    task: int = 0
    """Of all its examples."""

    @property
    def tokens(self) -> int:
        """T: what the model computes."""
        return len(self.input_ids)

    def after(self, count: int) -> Pack:
        """Give the pack with `count` places more at its start, of token 0 and no label, that every place sees."""
        if not count:
            return self
        return replace(
            self,
            input_ids=np.concatenate([np.zeros(count, np.int64), self.input_ids]),
            position_ids=np.concatenate([np.arange(count), self.position_ids + count]),
            prefix_length=self.prefix_length + count,
            label_positions=self.label_positions + count,
        )

    def visible(self) -> npt.NDArray[np.bool_]:
        """Give [T, T]: whether position i (row) attends to position j (column)."""
        owner = np.repeat(np.arange(-1, len(self.lengths)), (self.prefix_length, *self.lengths))
        order = np.arange(self.tokens)
        seen: npt.NDArray[np.bool_] = ((owner[:, None] == owner[None, :]) | (owner[None, :] == -1)) & (
            order[None, :] <= order[:, None]
        )
        return seen


class TokenCache(Sequence[Example]):
    """Examples on disk, read through a memory map; JSON and raw integers only.

    `tokens.bin` int32; `spans.bin` int64 [n, 5] (start, prompt length, answer length, row, task); `tokens.json`, last:
    counts, the sha256 of each file, and that of the examples, by which jobs and checkpoints know them.
    """

    def __init__(self, *, tokens: Ints, spans: Ints, digest: str) -> None:
        self._tokens = tokens
        self._spans = spans
        self.digest = digest

    @classmethod
    def write(cls, folder: Path, examples: Iterable[Example]) -> TokenCache:
        """Write examples in order, in bounded memory, and open them."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _MARKER).unlink(missing_ok=True)
        total, start, count = hashlib.sha256(), 0, 0
        with (folder / _TOKENS).open("wb") as tokens, (folder / _SPANS).open("wb") as spans:
            for one in examples:
                add_to_digest(total, one)
                tokens.write(one.prompt_ids.astype("<i4").tobytes() + one.answer_ids.astype("<i4").tobytes())
                spans.write(
                    np.array([start, len(one.prompt_ids), len(one.answer_ids), one.row, one.task], "<i8").tobytes()
                )
                start, count = start + one.length, count + 1
            for file in (tokens, spans):
                file.flush()
                os.fsync(file.fileno())
        files = {name: sha256_of(folder / name) for name in (_TOKENS, _SPANS)}
        marker = {"examples": count, "tokens": start, "sha256": total.hexdigest(), "files": files}
        write_whole(folder / _MARKER, json.dumps(marker))
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> TokenCache:
        """Open what `write` left; raises InvalidData where it is not whole, byte for byte."""
        if not (folder / _MARKER).exists():
            raise InvalidData(where=str(folder), problem="holds no complete token cache", fix="prepare the data again")
        marker = json.loads((folder / _MARKER).read_text(encoding="utf-8"))
        count, length = int(marker["examples"]), int(marker["tokens"])
        sizes = ((folder / _TOKENS).stat().st_size, (folder / _SPANS).stat().st_size)
        if sizes != (length * 4, count * 40):
            raise InvalidData(where=str(folder), found=sizes, problem="has lost bytes", fix="prepare the data again")
        changed = [name for name, digest in marker["files"].items() if sha256_of(folder / name) != digest]
        if changed:
            raise InvalidData(where=str(folder), found=changed, problem="has changed", fix="prepare the data again")
        if count == 0:
            return cls(tokens=np.empty(0, "<i4"), spans=np.empty((0, 5), "<i8"), digest=str(marker["sha256"]))
        tokens = np.memmap(folder / _TOKENS, dtype="<i4", mode="r", shape=(length,))
        spans = np.memmap(folder / _SPANS, dtype="<i8", mode="r", shape=(count, 5))
        # As plain arrays over the maps: a slice of a map is an object ten times as dear.
        return cls(tokens=np.asarray(tokens), spans=np.asarray(spans), digest=str(marker["sha256"]))

    @property
    def answer_lengths(self) -> Ints:
        """[n]: tokens of each answer."""
        return self._spans[:, 2]

    @property
    def lengths(self) -> Ints:
        """[n]: tokens of each example."""
        return self._spans[:, 1] + self._spans[:, 2]

    @property
    def tokens(self) -> int:
        """Tokens of all examples."""
        return len(self._tokens)

    def __len__(self) -> int:
        return len(self._spans)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        start, prompt, answer, row, task = (int(value) for value in self._spans[index])
        tokens = self._tokens[start : start + prompt + answer]
        return Example(prompt_ids=tokens[:prompt], answer_ids=tokens[prompt:], row=row, task=task)


def check(examples: Sequence[Example]) -> None:
    """Raise InvalidData naming the rows from which nothing could be learned: no label, or no prompt to predict from."""
    faults = [
        Fault(where=f"row {one.row}", problem="has no tokens in its " + part, fix="fill or remove the row")
        for one in examples
        for part, ids in (("input", one.prompt_ids), ("output", one.answer_ids))
        if len(ids) == 0
    ]
    if not len(examples):
        faults = [Fault(where="training rows", problem="none are left to learn from", fix="add rows")]
    if faults:
        raise InvalidData.of(faults[:50])


def digest(examples: Sequence[Example]) -> str:
    """Give the sha256 of all tokens and spans; a checkpoint belongs to one."""
    known = getattr(examples, "digest", None)
    if isinstance(known, str):
        return known
    total = hashlib.sha256()
    for one in examples:
        add_to_digest(total, one)
    return total.hexdigest()


def add_to_digest(total: hashlib._Hash, example: Example) -> None:
    """Feed one example into a running sha256."""
    task = [example.task] if example.task else []
    total.update(np.array([len(example.prompt_ids), len(example.answer_ids), *task], dtype="<i8").tobytes())
    total.update(example.prompt_ids.astype("<i4").tobytes())
    total.update(example.answer_ids.astype("<i4").tobytes())


def epoch_order(count: int, *, seed: int, epoch: int) -> Ints:
    """Give the order in which the examples of one epoch are taken: a permutation fixed by seed and epoch."""
    return np.random.Generator(np.random.PCG64([seed, epoch])).permutation(count)


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Give the optimizer steps of one epoch; the last may hold fewer examples."""
    return -(-count // batch_size)


def step_examples(examples: Sequence[Example], *, batch_size: int, seed: int, step: int) -> list[Example]:
    """Give the examples of optimizer step `step`, counted from 0 over all epochs."""
    epoch, place = divmod(step, steps_per_epoch(len(examples), batch_size))
    order = epoch_order(len(examples), seed=seed, epoch=epoch)
    return [examples[int(index)] for index in order[place * batch_size : (place + 1) * batch_size]]


def packs(examples: Sequence[Example], *, max_tokens: int, max_examples: int, multiple_of: int = 1) -> Iterator[Pack]:
    """Give the packs that hold `examples`, each of at most `max_tokens` and `max_examples`.

    An example longer than `max_tokens` makes a pack of its own. Longest first, each into the lightest pack that has
    room, out of as many as are needed, rounded up to a multiple of `multiple_of`: so packs are of about one size.
    """
    prefix = _shared_prefix(examples)
    rests = sum(one.length - prefix for one in examples)
    needed = max(-(-rests // max(1, max_tokens - prefix)), -(-len(examples) // max_examples))
    bins: list[list[Example]] = [[] for _ in range(-(-needed // multiple_of) * multiple_of)]
    filled = [prefix] * len(bins)
    for one in sorted(examples, key=lambda example: (-example.length, example.row)):
        rest = one.length - prefix
        open_bins = [
            number
            for number, members in enumerate(bins)
            if not members or (filled[number] + rest <= max_tokens and len(members) < max_examples)
        ]
        if not open_bins:
            open_bins = [len(bins)]
            bins.append([])
            filled.append(prefix)
        lightest = min(open_bins, key=filled.__getitem__)
        bins[lightest].append(one)
        filled[lightest] += rest
    for members in bins:
        if members:
            yield pack(members)


def padded(
    examples: Sequence[Example], *, max_tokens: int, max_examples: int, sides: Literal[1, 2], virtual_tokens: int = 0
) -> Iterator[Pack]:
    """Give packs without a common start for models that compute rows side by side, rows of like length together.

    Args:
        examples: to be computed.
        max_tokens: places of a pack, padding among them; a longer example makes a pack of its own.
        max_examples: of a pack.
        sides: 2 where prompts and answers are padded each to their own longest, 1 where they are one text.
        virtual_tokens: places that each row takes besides its tokens.
    """

    def places(members: Sequence[Example]) -> int:
        if sides == 1:
            return len(members) * (virtual_tokens + max(one.length for one in members))
        widths = max(len(one.prompt_ids) for one in members) + max(len(one.answer_ids) for one in members)
        return len(members) * (virtual_tokens + widths)

    members: list[Example] = []
    for one in sorted(examples, key=lambda one: (-(one.length if sides == 1 else len(one.prompt_ids)), one.row)):
        if members and (len(members) >= max_examples or places([*members, one]) > max_tokens):
            yield pack(members, start="each its own")
            members = []
        members.append(one)
    if members:
        yield pack(members, start="each its own")


def pack(examples: Sequence[Example], *, start: Literal["shared", "each its own"] = "shared") -> Pack:
    """Put examples of one task into one pack, their common start once or with each."""
    prefix = _shared_prefix(examples) if start == "shared" else 0
    tokens = [np.concatenate((one.prompt_ids, one.answer_ids)).astype(np.int64) for one in examples]
    lengths = tuple(len(one) - prefix for one in tokens)
    starts = np.cumsum((prefix, *lengths[:-1]))
    positions = [np.arange(prefix), *(np.arange(prefix, len(one)) for one in tokens)]
    label_positions = [
        start - prefix + np.arange(len(one.prompt_ids) - 1, one.length - 1)
        for start, one in zip(starts, examples, strict=True)
    ]
    return Pack(
        input_ids=np.concatenate([tokens[0][:prefix], *(one[prefix:] for one in tokens)]),
        position_ids=np.concatenate(positions).astype(np.int64),
        prefix_length=prefix,
        lengths=lengths,
        label_positions=np.concatenate(label_positions).astype(np.int64),
        labels=np.concatenate([one.answer_ids for one in examples]).astype(np.int64),
        label_counts=tuple(len(one.answer_ids) for one in examples),
        example_tokens=sum(one.length for one in examples),
        task=examples[0].task,
    )


def _shared_prefix(examples: Sequence[Example]) -> int:
    """Tokens that all prompts begin with, less the last of the shortest: that one predicts a label."""
    if len(examples) < 2:
        return 0
    longest = min(len(one.prompt_ids) for one in examples) - 1
    starts = np.stack([one.prompt_ids[:longest] for one in examples])
    differs = (starts != starts[0]).any(axis=0)
    return int(differs.argmax()) if differs.any() else longest
