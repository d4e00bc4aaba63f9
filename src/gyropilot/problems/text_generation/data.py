"""Reads and checks the rows of a job, and leaves them as tokens where training reads them; runs in a child, once a job.

    channels -> rows -> usable rows -> tokens -> split -> prepared/{training,validation} (tokens), prepared/rows.jsonl
                                                          prepared/profile.json (what was found; written last)

Rules. A row whose output is blank has nothing to learn from: it is dropped and counted. A blank input is kept and
counted. Rows that are too long are cut as fitting says; more than 60 % of them is an error, but where the job asks for
lengths of its own. Duplicates and rows standing in both splits are counted, never removed; our own split keeps copies
on one side, and holds out rows of every task. All counts become findings: events, and part of the result. Memory does
not grow with the rows, but for some hundred bytes a row.

An attempt that finds the profile of the same inputs, base model, template, limits and split takes it over.
"""

from __future__ import annotations

import json
import shutil
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from gyropilot.data.frames import Row, read_rows
from gyropilot.data.splits import split, split_by_group
from gyropilot.errors import InvalidData
from gyropilot.files import sha256_of
from gyropilot.problems import tasks
from gyropilot.problems.contract import Json, ProfileTask, Reporter
from gyropilot.problems.text_generation import findings, kept_profile, verbalizer
from gyropilot.problems.text_generation.base_model import BaseModelFacts, read_base_model
from gyropilot.problems.text_generation.batches import Example, TokenCache
from gyropilot.problems.text_generation.findings import Findings
from gyropilot.problems.text_generation.fitting import Encoded, encode_rows, limits_of
from gyropilot.problems.text_generation.hardware import prepare_process
from gyropilot.problems.text_generation.kept_profile import PROFILE_FILE
from gyropilot.problems.text_generation.request import TextGenerationSpec, read_spec
from gyropilot.problems.text_generation.row_columns import PAIRS, RowColumns, columns_of
from gyropilot.problems.text_generation.row_keys import RowKeys
from gyropilot.problems.text_generation.row_tasks import RowTasks
from gyropilot.problems.text_generation.templates import Encoder, Values

COLUMNS = PAIRS[0]
MAX_TRUNCATED_SHARE = 0.6
ROWS_FILE = "rows.jsonl"
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
    task: int = 0
    fields: Mapping[str, str] = field(default_factory=dict)
    """What the verbalizer names beside the input."""
    is_input_cut: bool = False
    """It was longer than any model takes, and the part that fitting leaves out was left out before it was encoded."""
    is_output_cut: bool = False
    """The same, of its end."""

    @property
    def values(self) -> Values:
        """What its prompt is made of."""
        return {verbalizer.INPUT: self.input, **self.fields} if self.fields else self.input


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
    key, rows_file = kept_profile.key_of(task, spec, base, encoder, files), task.prepared / ROWS_FILE
    result = kept_profile.find(task.prepared, key, rows_file=rows_file)
    if result is None:
        (task.prepared / PROFILE_FILE).unlink(missing_ok=True)
        result = _prepared(task, spec, base, encoder, reporter, files)
        kept_profile.keep(task.prepared, key, result, rows_file=rows_file)
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
    reading = _Reading(task, spec, base, encoder, reporter)
    training, validation = reading.prepare()
    limits = reading.limits
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
        "limits": {
            "side_tokens": limits.side,
            "model_tokens": limits.model,
            "source_tokens": limits.source,
            "target_tokens": limits.target,
            "rows": base.max_rows,
        },
        "tasks": reading.tasks.names,
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

    def __init__(
        self, task: ProfileTask, spec: TextGenerationSpec, base: BaseModelFacts, encoder: Encoder, reporter: Reporter
    ) -> None:
        self._task, self._spec, self._base, self._encoder, self._reporter = task, spec, base, encoder, reporter
        self.limits = limits_of(spec.method, base)
        self.found = Findings()
        self.rows_read = 0
        self.rows_by_uri: dict[str, int] = {}
        self.keys, self.tasks = RowKeys(), RowTasks()
        self.prompt_lengths, self.answer_lengths = array("i"), array("i")
        kept = max(self.limits.side, self.limits.source or 0, self.limits.target or 0)
        self._most_characters = _TOKEN_CHARACTERS * min(kept, base.model_tokens)
        self._channel_ends: dict[str, int] = {}
        self._bytes_read = 0
        self._is_all_read = False
        self._output = COLUMNS[1]

    def prepare(self) -> tuple[TokenCache, TokenCache]:
        """Read everything, split it, and write the caches of training and validation rows."""
        everything = self._task.prepared / "all"
        with (self._task.prepared / ROWS_FILE).open("w", encoding="utf-8") as file:
            cache = TokenCache.write(everything, self._examples(file))
        self._check_counts(cache)
        training, validation = self._split(len(cache))
        findings.note_duplicates(self.found, self.keys, training, validation)
        self._note_long_rows()
        findings.note_size(self.found, len(training))
        findings.note_learning_rate(self.found, self._spec.learning_rate)
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
                    task=row.task,
                )
                number += 1
            self._report()
        self._reporter.progress("reading data", done=self.rows_read, total=self.rows_read, unit="rows")

    def _chunks(self) -> Iterator[list[PreparedRow]]:
        """Give usable rows, as many at once as are few and short."""
        chunk: list[PreparedRow] = []
        characters = 0
        method = self._spec.method
        places = 1 if method.verbalizer is None else verbalizer.place_count(method.verbalizer)
        for row in self._usable_rows():
            chunk.append(row)
            characters += places * (len(row.input) + sum(map(len, row.fields.values()))) + len(row.output)
            if len(chunk) == _CHUNK_ROWS or characters > _CHUNK_CHARACTERS:
                yield chunk
                chunk, characters = [], 0
        self._is_all_read = True
        if chunk:
            yield chunk

    def _encoded(self, rows: Sequence[PreparedRow]) -> list[Encoded]:
        return encode_rows(self._encoder, [row.values for row in rows], [row.output for row in rows], self.limits)

    def _usable_rows(self) -> Iterator[PreparedRow]:
        for channel in self._task.channels:
            columns = columns_of(channel, self._spec.method)
            self._output = columns.output
            for row in read_rows(channel, columns.names):
                self.rows_read += 1
                self.rows_by_uri[row.source_uri] = self.rows_by_uri.get(row.source_uri, 0) + 1
                if self.rows_read > self._base.max_rows:
                    if self.rows_read > _COUNTED * self._base.max_rows:
                        return
                    continue
                self._bytes_read += sum(len(value or "") + 1 for value in row.values)
                usable = self._usable(row, columns)
                if usable is not None:
                    yield usable
            self._channel_ends[channel.channel_type] = len(self.keys)

    def _usable(self, row: Row, columns: RowColumns) -> PreparedRow | None:
        """Give a row as it is prepared; None where nothing can be learned of it."""
        said = columns.read(row.values)
        lacks = "blank_output" if not said.output.strip() else "blank_task" if columns.task and not said.task else ""
        if lacks:
            self.found.add(lacks, row.place)
            return None
        self.keys.add(said.input, said.output, said.task, *said.fields.values())
        findings.note_text(self.found, row.place, columns.texts(said))
        most = self._most_characters
        kept = slice(most) if self._encoder.template.is_verbalizer else slice(-most, None)
        return PreparedRow(
            place=row.place,
            input=said.input[kept],
            output=said.output[:most],
            task=self.tasks.add(said.task) if columns.task else 0,
            fields={name: text[:most] for name, text in said.fields.items()},
            is_input_cut=any(len(text) > most for text in (said.input, *said.fields.values())),
            is_output_cut=len(said.output) > most,
        )

    def _note_row(self, row: PreparedRow, encoded: Encoded) -> None:
        self.prompt_lengths.append(len(encoded.prompt_ids))
        self.answer_lengths.append(len(encoded.answer_ids))
        is_input_cut = encoded.is_input_cut or row.is_input_cut
        is_output_cut = encoded.is_output_cut or row.is_output_cut
        kinds = {
            "blank_input": not row.input.strip(),
            "cut_prompt" if self._encoder.template.is_verbalizer else "cut_input": is_input_cut,
            "cut_output": is_output_cut,
            "cut_row": (is_input_cut or is_output_cut) and not self._has_own_lengths,
            "control_text": any(
                self._encoder.holds_control_text(text) for text in (row.input, row.output, *row.fields.values())
            ),
        }
        for kind, holds in kinds.items():
            if holds:
                self.found.add(kind, row.place)

    @property
    def _has_own_lengths(self) -> bool:
        return self.limits.source is not None or self.limits.target is not None

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

    def _channels(self) -> str:
        return " and ".join(channel.channel_type for channel in self._task.channels)

    def _dropped(self) -> str:
        outputs, tasks_ = self.found.count("blank_output"), self.found.count("blank_task")
        return f"{outputs} with a blank output" + (f", {tasks_} with a blank task" if tasks_ else "")

    def _check_counts(self, cache: TokenCache) -> None:
        channels = self._channels()
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
                found=f"{findings.rows_of(self.rows_read)}, {self._dropped()}",
                problem="no row is left to learn from",
                fix=f"fill the column {self._output}",
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

    def _split(self, count: int) -> tuple[list[int], list[int]]:
        column = self._spec.method.task_column
        where = f"{self._channels()} channel, column {column}"
        if column is not None:
            self.tasks.check(where)
        training, validation = self._sides(count)
        if column is not None:
            self.tasks.check_split(where, training, validation, self.found)
        return training, validation

    def _sides(self, count: int) -> tuple[list[int], list[int]]:
        fraction, seed, alike = self._spec.validation_fraction, self._spec.seed, self.keys.alike()
        if fraction is not None and self._spec.method.task_column is not None:
            return split_by_group(self.tasks.numbers.tolist(), fraction, seed, alike=alike)
        if fraction is not None:
            return split(count, fraction, seed, alike=alike)
        numbers: dict[str, list[int]] = {}
        start = 0
        for name, end in self._channel_ends.items():
            numbers[name], start = list(range(start, end)), end
        for name in ("training", "validation"):
            if not numbers.get(name):
                raise InvalidData(
                    where=f"{name} channel",
                    found=f"in both channels {self._dropped()}",
                    problem="no usable row is left in it",
                    fix=f"fill the column {self._output}",
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
