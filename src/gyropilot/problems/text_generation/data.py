"""Reads and checks the rows of a job, and leaves them as tokens where training reads them; runs in a child, once a job.

    channels -> rows -> usable rows -> tokens -> split -> prepared/{training,validation} (tokens), prepared/rows.jsonl

Rules. A row whose output is blank has nothing to learn from: it is dropped and counted. A blank input is kept and
counted. Rows that are too long are cut as templates.Encoder.rows says; more than 60 % of them is an error. Duplicates
and rows standing in both splits are counted, never removed. All counts become findings: events, and part of the result.
"""

from __future__ import annotations

import hashlib
import itertools
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
from gyropilot.problems import tasks
from gyropilot.problems.contract import Json, ProfileTask, Reporter
from gyropilot.problems.text_generation import findings
from gyropilot.problems.text_generation.base_model import BaseModelFacts, read_base_model
from gyropilot.problems.text_generation.batches import Example, TokenCache
from gyropilot.problems.text_generation.findings import Findings
from gyropilot.problems.text_generation.hardware import prepare_process
from gyropilot.problems.text_generation.request import TextGenerationSpec, read_spec
from gyropilot.problems.text_generation.templates import Encoded, Encoder

COLUMNS = ("input", "output")
MAX_TRUNCATED_SHARE = 0.6
ROWS_FILE = "rows.jsonl"
_CHUNK_ROWS = 256
STAND_IN = "{loaded} stands in for {requested}: the model that is tuned and measured is {loaded}"


@dataclass(frozen=True, kw_only=True)
class PreparedRow:
    """A usable row as text."""

    place: str
    """As messages name it: `s3://bucket/key: row 7`."""
    input: str
    output: str


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
    encoder = Encoder.of_base_model(base.folder, style=base.template_style)
    task.prepared.mkdir(parents=True, exist_ok=True)
    reading = _Reading(task, base, encoder, reporter)
    training, validation = reading.prepare(spec)
    for one in reading.found.all():
        reporter.event("finding", one.message, detail=one.to_json())
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
        "files": reading.files(),
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
        self.keys: list[bytes] = []
        """Digest of input and output of each usable row."""
        self.input_keys: list[bytes] = []
        self.prompt_lengths, self.answer_lengths = array("q"), array("q")
        self._channel_ends: dict[str, int] = {}
        self._rows_by_uri: dict[str, int] = {}
        self._bytes_read = 0

    def prepare(self, spec: TextGenerationSpec) -> tuple[TokenCache, TokenCache]:
        """Read everything, split it, and write the caches of training and validation rows."""
        everything = self._task.prepared / "all"
        with (self._task.prepared / ROWS_FILE).open("w", encoding="utf-8") as file:
            cache = TokenCache.write(everything, self._examples(file))
        self._check_counts(cache)
        training, validation = self._split(spec, len(cache))
        findings.note_duplicates(self.found, self.keys, self.input_keys, training, validation)
        findings.note_size(self.found, len(training))
        findings.note_learning_rate(self.found, spec.learning_rate)
        caches = tuple(
            TokenCache.write(self._task.prepared / name, (cache[number] for number in numbers))
            for name, numbers in (("training", training), ("validation", validation))
        )
        del cache
        shutil.rmtree(everything)
        return caches[0], caches[1]

    def files(self) -> list[dict[str, Json]]:
        """Give what was read: each file with its digest and rows."""
        return [
            {
                "channel": channel.channel_type,
                "uri": file.uri,
                "size_bytes": file.size_bytes,
                "etag": file.etag,
                "sha256": _sha256(file.path),
                "rows": self._rows_by_uri.get(file.uri, 0),
            }
            for channel in self._task.channels
            for file in channel.files
        ]

    def _examples(self, file: IO[str]) -> Iterator[Example]:
        number = 0
        usable = self._usable_rows()
        while rows := list(itertools.islice(usable, _CHUNK_ROWS)):
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

    def _encoded(self, rows: Sequence[PreparedRow]) -> list[Encoded]:
        return self._encoder.rows(
            [row.input for row in rows],
            [row.output for row in rows],
            side_limit=self._base.context_tokens,
            model_limit=self._base.model_tokens,
        )

    def _usable_rows(self) -> Iterator[PreparedRow]:
        for channel in self._task.channels:
            for row in read_rows(channel, COLUMNS):
                self.rows_read += 1
                self._rows_by_uri[row.source_uri] = self._rows_by_uri.get(row.source_uri, 0) + 1
                text, answer = (value or "" for value in row.values)
                if self.rows_read > self._base.max_rows:
                    continue
                self._bytes_read += len(text) + len(answer) + 2
                if not answer.strip():
                    self.found.add("blank_output", row.place)
                    continue
                self._note_key(text, answer)
                yield PreparedRow(place=row.place, input=text, output=answer)
            self._channel_ends[channel.channel_type] = len(self.keys)

    def _note_key(self, text: str, answer: str) -> None:
        self.input_keys.append(_key(text))
        self.keys.append(_key(text, answer))

    def _note_row(self, row: PreparedRow, encoded: Encoded) -> None:
        self.prompt_lengths.append(len(encoded.prompt_ids))
        self.answer_lengths.append(len(encoded.answer_ids))
        kinds = {
            "blank_input": not row.input.strip(),
            "cut_input": encoded.is_input_cut,
            "cut_output": encoded.is_output_cut,
            "cut_row": encoded.is_input_cut or encoded.is_output_cut,
            "control_text": any(self._encoder.holds_control_text(text) for text in (row.input, row.output)),
        }
        for kind, holds in kinds.items():
            if holds:
                self.found.add(kind, row.place)

    def _report(self) -> None:
        size = sum(file.size_bytes for channel in self._task.channels for file in channel.files)
        estimate = self.rows_read * size / max(1, self._bytes_read)
        total = max(self.rows_read, round(estimate))
        self._reporter.progress("reading data", done=self.rows_read, total=total, unit="rows")

    def _check_counts(self, cache: TokenCache) -> None:
        channels = " and ".join(channel.channel_type for channel in self._task.channels)
        if self.rows_read > self._base.max_rows:
            counts = ", ".join(f"{uri}: {count}" for uri, count in list(self._rows_by_uri.items())[:10])
            raise InvalidData(
                where=f"{channels} channel",
                found=f"{self.rows_read} rows ({counts})",
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
                found=f"{self.rows_read} rows, {self.found.count('blank_output')} of them with a blank output",
                problem="no row is left to learn from",
                fix="fill the column output",
            )
        share = self.found.count("cut_row") / len(cache)
        if share > MAX_TRUNCATED_SHARE:
            raise InvalidData(
                where=f"{channels} channel, rows as {', '.join(self.found.rows('cut_row')[:3])}",
                found=f"{self.found.count('cut_row')} of {len(cache)} rows ({share:.1%}) are longer",
                problem=f"more than {MAX_TRUNCATED_SHARE:.0%} of the rows exceed the {self._base.context_tokens} tokens"
                f" that {self._base.name} takes for an input, and for an output",
                fix="shorten the rows or choose a base model with a longer context",
            )

    def _split(self, spec: TextGenerationSpec, count: int) -> tuple[list[int], list[int]]:
        if spec.validation_fraction is not None:
            return split(count, spec.validation_fraction, spec.seed)
        numbers: dict[str, list[int]] = {}
        start = 0
        for name, end in self._channel_ends.items():
            numbers[name], start = list(range(start, end)), end
        for name in ("training", "validation"):
            if not numbers.get(name):
                raise InvalidData(
                    where=f"{name} channel",
                    found=f"{self.found.count('blank_output')} rows with a blank output in both channels",
                    problem="no usable row is left in it",
                    fix="fill the column output",
                )
        return numbers["training"], numbers["validation"]


def _percentiles(lengths: Sequence[int]) -> dict[str, int]:
    values = np.asarray(lengths)
    named = {"p50": 50, "p90": 90, "p95": 95, "p99": 99}
    found = {name: int(np.percentile(values, at, method="higher")) for name, at in named.items()}
    return {**found, "max": int(values.max()), "total": int(values.sum())}


def _key(*texts: str) -> bytes:
    total = hashlib.blake2b(digest_size=16)
    for text in texts:
        total.update(len(text).to_bytes(8, "little") + text.encode("utf-8", "surrogatepass"))
    return total.digest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
