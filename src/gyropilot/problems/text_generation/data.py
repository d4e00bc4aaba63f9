"""Reads and checks the rows of a job, and leaves them as tokens where training reads them; runs in a child, once a job.

    channels -> rows -> usable rows -> tokens -> split -> prepared/{training,validation} (tokens), prepared/rows.jsonl
                                                          prepared/profile.json (what was found; written last)

Rules. A row whose output is blank has nothing to learn from: it is dropped and counted. A blank input is kept and
counted. Rows that are too long are cut as fitting says; more than 60 % of them is an error. Duplicates
and rows standing in both splits are counted, never removed; our own split keeps copies on one side. All counts become
findings: events, and part of the result. Memory does not grow with the rows, but for some hundred bytes a row.

An attempt that finds the profile of the same inputs, base model, template, limits and split takes it over.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import numpy as np

from gyropilot.data.frames import read_rows
from gyropilot.data.splits import split
from gyropilot.errors import InvalidData
from gyropilot.files import sha256_of, write_whole
from gyropilot.problems import tasks
from gyropilot.problems.contract import Json, ProfileTask, Reporter
from gyropilot.problems.text_generation import findings
from gyropilot.problems.text_generation.base_model import BaseModelFacts, read_base_model
from gyropilot.problems.text_generation.batches import Example, TokenCache
from gyropilot.problems.text_generation.findings import Findings
from gyropilot.problems.text_generation.fitting import Encoded, Limits, encode_rows
from gyropilot.problems.text_generation.hardware import prepare_process
from gyropilot.problems.text_generation.request import TextGenerationSpec, read_spec
from gyropilot.problems.text_generation.row_keys import RowKeys
from gyropilot.problems.text_generation.templates import Encoder

COLUMNS = ("input", "output")
MAX_TRUNCATED_SHARE = 0.6
ROWS_FILE = "rows.jsonl"
PROFILE_FILE = "profile.json"
_FORMAT = 3
"""Of what is prepared; another format is prepared again."""
_CHUNK_ROWS, _CHUNK_CHARACTERS = 256, 1 << 18
_TOKEN_CHARACTERS = 64
"""Text beyond so many characters for each token that fits is cut before it is encoded: that takes 100 bytes a token."""
_COUNTED = 10
"""Rows beyond the limit are counted up to this many times the limit, and no further."""
STAND_IN = "{loaded} stands in for {requested}: the model that is tuned and measured is {loaded}"


@dataclass(frozen=True, kw_only=True)
class PreparedRow:
    """A usable row as text."""

    place: str
    """As messages name it: `s3://bucket/key: row 7`."""
    input: str
    output: str
    is_input_cut: bool = False
    """It was longer than any model takes, and its beginning was left out before it was encoded."""
    is_output_cut: bool = False
    """The same, of its end."""


def profile(arguments: Mapping[str, Json], reporter: Reporter) -> dict[str, Json]:
    """Check the rows of a ProfileTask, leave them as tokens in its `prepared` folder, and give what was found.

    Raises:
        InvalidData: the data cannot be used; names file, row and column.
        TrainingFailed: the base model's files cannot be used.
    """
    task = tasks.profile_task(arguments)
    prepare_process(task.cores)
    spec = read_spec(task.spec)
    base = read_base_model(task.base_models, spec.loaded_model, requested=spec.base_model)
    if base.stands_in_for:
        reporter.event("stand_in", STAND_IN.format(loaded=base.name, requested=base.stands_in_for))
    encoder = Encoder.of_base_model(base.folder, style=base.template_style, verbalizer=spec.method.verbalizer)
    task.prepared.mkdir(parents=True, exist_ok=True)
    files = _files(task)
    key = _key(task, spec, base, encoder, files)
    result = _known(task.prepared, key)
    if result is None:
        (task.prepared / PROFILE_FILE).unlink(missing_ok=True)
        result = _prepared(task, spec, base, encoder, reporter, files)
        _keep(task.prepared, key, result)
    else:
        reporter.event(
            "prepared_rows_kept", "the rows of an earlier attempt were taken over: their digests are the same"
        )
    for one in result["findings"]:
        reporter.event("finding", one["message"], detail=one)
    return result


def _prepared(
    task: ProfileTask,
    spec: TextGenerationSpec,
    base: BaseModelFacts,
    encoder: Encoder,
    reporter: Reporter,
    files: list[dict[str, Json]],
) -> dict[str, Json]:
    reading = _Reading(task, base, encoder, reporter)
    training, validation = reading.prepare(spec)
    return {
        "job_name": task.job_name,
        "base_model": base.to_json(),
        "template": {"kind": encoder.template.kind, "digest": encoder.template.digest},
        "rows": {
            "read": reading.rows_read,
            "dropped": reading.rows_read - len(reading.keys),
            "training": len(training),
            "validation": len(validation),
        },
        "files": [{**one, "rows": reading.rows_by_uri.get(one["uri"], 0)} for one in files],
        "split": {
            "kind": "channels" if spec.validation_fraction is None else "random",
            "fraction": spec.validation_fraction,
            "seed": None if spec.validation_fraction is None else spec.seed,
        },
        "tokens": {"prompt": _percentiles(reading.prompt_lengths), "answer": _percentiles(reading.answer_lengths)},
        "limits": {"side_tokens": base.context_tokens, "model_tokens": base.model_tokens, "rows": base.max_rows},
        "cache": {"training": training.digest, "validation": validation.digest},
        "findings": [one.to_json() for one in reading.found.all()],
    }


def read_prepared_rows(prepared: Path, numbers: Iterable[int]) -> dict[int, PreparedRow]:
    """Give the usable rows of these numbers (Example.row) as text."""
    wanted = set(numbers)
    with (prepared / ROWS_FILE).open(encoding="utf-8") as lines:
        return {number: PreparedRow(**json.loads(line)) for number, line in enumerate(lines) if number in wanted}


class _Reading:
    """One pass over the channels, and what it counted."""

    def __init__(self, task: ProfileTask, base: BaseModelFacts, encoder: Encoder, reporter: Reporter) -> None:
        self._task, self._base, self._encoder, self._reporter = task, base, encoder, reporter
        self.found = Findings()
        self.rows_read = 0
        self.rows_by_uri: dict[str, int] = {}
        self.keys = RowKeys()
        self.prompt_lengths, self.answer_lengths = array("i"), array("i")
        self._most_characters = _TOKEN_CHARACTERS * base.context_tokens
        self._channel_ends: dict[str, int] = {}
        self._bytes_read = 0
        self._is_all_read = False

    def prepare(self, spec: TextGenerationSpec) -> tuple[TokenCache, TokenCache]:
        """Read everything, split it, and write the caches of training and validation rows."""
        everything = self._task.prepared / "all"
        with (self._task.prepared / ROWS_FILE).open("w", encoding="utf-8") as file:
            cache = TokenCache.write(everything, self._examples(file))
        self._check_counts(cache)
        training, validation = self._split(spec, len(cache))
        findings.note_duplicates(self.found, self.keys, training, validation)
        self._note_long_rows()
        findings.note_size(self.found, len(training))
        findings.note_learning_rate(self.found, spec.learning_rate)
        caches = tuple(
            TokenCache.write(self._task.prepared / name, (cache[number] for number in numbers))
            for name, numbers in (("training", training), ("validation", validation))
        )
        del cache
        shutil.rmtree(everything)
        return caches[0], caches[1]

    def _examples(self, file: IO[str]) -> Iterator[Example]:
        number = 0
        for rows in self._chunks():
            for row, encoded in zip(rows, self._encoded(rows), strict=True):
                file.write(json.dumps(asdict(row), ensure_ascii=True) + "\n")
                self._note_row(row, encoded)
                yield Example(
                    prompt_ids=np.array(encoded.prompt_ids, dtype=np.int32),
                    answer_ids=np.array(encoded.answer_ids, dtype=np.int32),
                    row=number,
                )
                number += 1
            self._report()
        self._reporter.progress("reading data", done=self.rows_read, total=self.rows_read, unit="rows")

    def _chunks(self) -> Iterator[list[PreparedRow]]:
        """Give usable rows, as many at once as are few and short."""
        chunk: list[PreparedRow] = []
        characters = 0
        for row in self._usable_rows():
            chunk.append(row)
            characters += len(row.input) + len(row.output)
            if len(chunk) == _CHUNK_ROWS or characters > _CHUNK_CHARACTERS:
                yield chunk
                chunk, characters = [], 0
        self._is_all_read = True
        if chunk:
            yield chunk

    def _encoded(self, rows: Sequence[PreparedRow]) -> list[Encoded]:
        limits = Limits(side=self._base.context_tokens, model=self._base.model_tokens)
        return encode_rows(self._encoder, [row.input for row in rows], [row.output for row in rows], limits)

    def _usable_rows(self) -> Iterator[PreparedRow]:
        for channel in self._task.channels:
            for row in read_rows(channel, COLUMNS):
                self.rows_read += 1
                self.rows_by_uri[row.source_uri] = self.rows_by_uri.get(row.source_uri, 0) + 1
                if self.rows_read > self._base.max_rows:
                    if self.rows_read > _COUNTED * self._base.max_rows:
                        return
                    continue
                text, answer = (value or "" for value in row.values)
                self._bytes_read += len(text) + len(answer) + 2
                if not answer.strip():
                    self.found.add("blank_output", row.place)
                    continue
                self.keys.add(text, answer)
                findings.note_text(self.found, row.place, (("input", text), ("output", answer)))
                most = self._most_characters
                yield PreparedRow(
                    place=row.place,
                    input=text[-most:],
                    output=answer[:most],
                    is_input_cut=len(text) > most,
                    is_output_cut=len(answer) > most,
                )
            self._channel_ends[channel.channel_type] = len(self.keys)

    def _note_row(self, row: PreparedRow, encoded: Encoded) -> None:
        self.prompt_lengths.append(len(encoded.prompt_ids))
        self.answer_lengths.append(len(encoded.answer_ids))
        is_input_cut = encoded.is_input_cut or row.is_input_cut
        is_output_cut = encoded.is_output_cut or row.is_output_cut
        kinds = {
            "blank_input": not row.input.strip(),
            "cut_input": is_input_cut,
            "cut_output": is_output_cut,
            "cut_row": is_input_cut or is_output_cut,
            "control_text": any(self._encoder.holds_control_text(text) for text in (row.input, row.output)),
        }
        for kind, holds in kinds.items():
            if holds:
                self.found.add(kind, row.place)

    def _note_long_rows(self) -> None:
        lengths = np.asarray(self.prompt_lengths) + np.asarray(self.answer_lengths)
        numbers = findings.long_rows(lengths)
        first = numbers[: findings.NAMED_ROWS].tolist()
        places = read_prepared_rows(self._task.prepared, first)
        for number in first:
            self.found.add("long_row", places[number].place)
        self.found.add("long_row", count=len(numbers) - len(first))

    def _report(self) -> None:
        total = self.rows_read
        if not self._is_all_read:
            size = sum(file.size_bytes for channel in self._task.channels for file in channel.files)
            total = max(total, round(self.rows_read * size / max(1, self._bytes_read)))
        self._reporter.progress("reading data", done=self.rows_read, total=total, unit="rows")

    def _check_counts(self, cache: TokenCache) -> None:
        channels = " and ".join(channel.channel_type for channel in self._task.channels)
        if self.rows_read > self._base.max_rows:
            many = "more than " if self.rows_read > _COUNTED * self._base.max_rows else ""
            counts = ", ".join(f"{uri}: {count}" for uri, count in list(self.rows_by_uri.items())[:10])
            raise InvalidData(
                where=f"{channels} channel",
                found=f"{many}{self.rows_read} rows ({counts})",
                problem=f"more than the {self._base.max_rows} rows that {self._base.name} takes, all files together",
                fix="give fewer rows or choose a base model that takes more",
            )
        if self.rows_read == 0:
            raise InvalidData(
                where=f"{channels} channel",
                found=[file.uri for channel in self._task.channels for file in channel.files][:5],
                problem="the files hold a header and no rows",
                fix="add rows",
            )
        if len(cache) == 0:
            raise InvalidData(
                where=f"{channels} channel",
                found=f"{findings.rows_of(self.rows_read)}, {self.found.count('blank_output')} with a blank output",
                problem="no row is left to learn from",
                fix="fill the column output",
            )
        share = self.found.count("cut_row") / len(cache)
        if share > MAX_TRUNCATED_SHARE:
            raise InvalidData(
                where=f"{channels} channel, {findings.joined(self.found.rows('cut_row')[:3])}",
                found=f"{self.found.count('cut_row')} of {findings.rows_of(len(cache))} ({share:.1%}) longer than that",
                problem=f"more than {MAX_TRUNCATED_SHARE:.0%} of the rows exceed the {self._base.context_tokens} tokens"
                f" that {self._base.name} takes for an input, and for an output",
                fix="shorten the rows or choose a base model with a longer context",
            )

    def _split(self, spec: TextGenerationSpec, count: int) -> tuple[list[int], list[int]]:
        if spec.validation_fraction is not None:
            return split(count, spec.validation_fraction, spec.seed, alike=self.keys.alike())
        numbers: dict[str, list[int]] = {}
        start = 0
        for name, end in self._channel_ends.items():
            numbers[name], start = list(range(start, end)), end
        for name in ("training", "validation"):
            if not numbers.get(name):
                raise InvalidData(
                    where=f"{name} channel",
                    found=f"{findings.rows_of(self.found.count('blank_output'))} with a blank output in both channels",
                    problem="no usable row is left in it",
                    fix="fill the column output",
                )
        return numbers["training"], numbers["validation"]


def _percentiles(lengths: Sequence[int]) -> dict[str, int]:
    values = np.asarray(lengths)
    named = {"p50": 50, "p90": 90, "p95": 95, "p99": 99}
    found = {name: int(np.percentile(values, at, method="higher")) for name, at in named.items()}
    return {**found, "max": int(values.max()), "total": int(values.sum())}


def _files(task: ProfileTask) -> list[dict[str, Json]]:
    """Give what is to be read: each file with its digest."""
    return [
        {
            "channel": channel.channel_type,
            "uri": file.uri,
            "size_bytes": file.size_bytes,
            "etag": file.etag,
            "sha256": sha256_of(file.path),
        }
        for channel in task.channels
        for file in channel.files
    ]


def _key(
    task: ProfileTask, spec: TextGenerationSpec, base: BaseModelFacts, encoder: Encoder, files: list[dict[str, Json]]
) -> str:
    """Give the digest of all that the prepared rows depend on."""
    parts = {
        "format": _FORMAT,
        "job_name": task.job_name,
        "files": files,
        "content_types": [channel.content_type for channel in task.channels],
        "base_model": base.to_json(),
        "template": encoder.template.digest,
        "learning_rate": spec.learning_rate,
        "split": [spec.validation_fraction, spec.seed],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _known(prepared: Path, key: str) -> dict[str, Json] | None:
    """Give the profile that an earlier attempt left of the same things, if its rows and caches are whole."""
    file = prepared / PROFILE_FILE
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["key"] != key or kept["rows"] != sha256_of(prepared / ROWS_FILE):
            return None
        found = {name: TokenCache.open(prepared / name).digest for name in ("training", "validation")}
        return dict(kept["profile"]) if found == kept["profile"]["cache"] else None
    except (OSError, ValueError, KeyError, TypeError, InvalidData):
        return None


def _keep(prepared: Path, key: str, profile: Mapping[str, Json]) -> None:
    rows = sha256_of(prepared / ROWS_FILE)
    write_whole(prepared / PROFILE_FILE, json.dumps({"key": key, "rows": rows, "profile": profile}))
