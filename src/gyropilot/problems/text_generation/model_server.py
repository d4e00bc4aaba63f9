"""The text-generation models of one replica process; inference.py opens it once the process is prepared.

base of the store --Scheduler-- adapter of model a, adapter of model b, ...     one copy of the base's weights
merged weights of model c --Scheduler                                           tuned whole, or its base is not here
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from gyropilot.errors import Fault, InvalidData, InvalidRequest, LimitExceeded, NotFound, TrainingFailed
from gyropilot.problems.contract import Call, Json, Reply, ServeTask, StreamedReply
from gyropilot.problems.text_generation import artifacts, environment, openai, payloads, templates
from gyropilot.problems.text_generation.answers import Answer
from gyropilot.problems.text_generation.base_model import verified_base_model
from gyropilot.problems.text_generation.decoding.scheduler import Scheduler
from gyropilot.problems.text_generation.fields import raise_faults
from gyropilot.problems.text_generation.models import DTYPES, DtypeName
from gyropilot.problems.text_generation.payloads import EVENTS, JSON, Invocation
from gyropilot.problems.text_generation.served_model import Prepared, ServedModel
from gyropilot.problems.text_generation.templates import Encoder

_CALLS_AT_ONCE = 64
_AT_WORK = 64
"""Answers that one call may have under way; more of its payloads wait, so that lines by the thousand stall nobody."""
_LOG = logging.getLogger(__name__)


class TextGenerationServer:
    """A ModelServer."""

    calls_at_once = _CALLS_AT_ONCE

    def __init__(self, task: ServeTask) -> None:
        self._task = task
        self._models: dict[str, ServedModel] = {}
        self._bases: dict[tuple[str, DtypeName], Scheduler] = {}
        self._encoders: dict[str, Encoder] = {}
        self._changing = threading.Lock()

    @property
    def base_digests(self) -> list[str]:
        """The base models in memory that adapters share."""
        return [digest for digest, _ in self._bases]

    def load(self, name: str, folder: Path, environment_: Mapping[str, str]) -> None:
        """Load a model folder that training saved: model.tar.gz unpacked, or `model/`.

        Raises:
            TrainingFailed: the folder is not whole, or its tokenizer and template are not those of the training.
            InvalidRequest: the environment holds what cannot be honoured.
            LimitExceeded: there is no room for it.
        """
        serving = _read_serving(folder)
        chosen = environment.read(environment_, serving)
        with self._changing:
            encoder = self._encoder(folder)
            scheduler = self._scheduler(name, folder, serving)
            model_tokens = int(serving["model_tokens"])
            self._models[name] = ServedModel(name, scheduler, encoder, chosen, model_tokens=model_tokens)

    def unload(self, name: str) -> None:
        """Let go of a model, and of its base when it was the last one on it."""
        with self._changing:
            model = self._models.pop(name)
            model.scheduler.remove(name)
            if all(one.scheduler is not model.scheduler for one in self._models.values()):
                self._bases = {key: one for key, one in self._bases.items() if one is not model.scheduler}
                model.scheduler.close()

    def answer(self, name: str, call: Call) -> Reply:
        """Answer a call whole; events that it asks for come in one body.

        Raises:
            InvalidRequest: the payload does not fit: the caller's fault.
            LimitExceeded: more than can be taken now.
        """
        model = self._model(name)
        if call.style == "invoke":
            invocation = payloads.read(call, model.environment)
            return self._answered(model, invocation, call)
        asked = openai.read(call)
        answers = model.begin(model.prepare(asked.question), call.cancelled)
        if asked.is_streamed:
            return Reply(body=b"".join(_ending(asked.parts(answers, call.model_name), answers)), content_type=EVENTS)
        return Reply(body=asked.reply(_waited_for(answers), call.model_name), content_type=JSON)

    def stream(self, name: str, call: Call) -> StreamedReply:
        """Answer a call part by part where its body asks for events; else whole, in one part."""
        model = self._model(name)
        if call.style != "invoke":
            asked = openai.read(call)
            if asked.is_streamed:
                answers = model.begin(model.prepare(asked.question), call.cancelled)
                return StreamedReply(content_type=EVENTS, parts=_ending(asked.parts(answers, call.model_name), answers))
        else:
            invocation = payloads.read(call, model.environment)
            if invocation.is_streamed:
                (payload,) = invocation.payloads
                answers = model.begin(model.prepare(payload.question), call.cancelled)
                return StreamedReply(content_type=EVENTS, parts=_ending(payload.parts(answers[0][0]), answers))
        reply = self.answer(name, call)
        return StreamedReply(content_type=reply.content_type, parts=iter([reply.body]))

    def close(self) -> None:
        """End the threads that compute; answers under way break off."""
        with self._changing:
            for scheduler in {id(one.scheduler): one.scheduler for one in self._models.values()}.values():
                scheduler.close()
            self._models, self._bases = {}, {}

    def _model(self, name: str) -> ServedModel:
        model = self._models.get(name)
        if model is None:
            raise NotFound(f"no model {name!r} is loaded here")
        return model

    def _answered(self, model: ServedModel, invocation: Invocation, call: Call) -> Reply:
        prepared = _prepared(model, invocation)
        if invocation.is_streamed:
            answers = model.begin(prepared[0], call.cancelled)
            events = invocation.payloads[0].parts(answers[0][0])
            return Reply(body=b"".join(_ending(events, answers)), content_type=EVENTS)
        found = _in_turn(model, prepared, call.cancelled)
        return invocation.reply(
            [payload.reply(answers) for payload, answers in zip(invocation.payloads, found, strict=True)]
        )

    def _encoder(self, folder: Path) -> Encoder:
        """Give the folder's encoder, one for all models that have the same: a tokenizer takes tens of MiB."""
        files = [folder / name for name in ("tokenizer.json", templates.FILE)]
        absent = [one.name for one in files if not one.is_file()]
        if absent:
            raise TrainingFailed(f"the model's files lack {' and '.join(absent)}; the archive is not whole")
        digest = sha256(b"".join(sha256(one.read_bytes()).digest() for one in files)).hexdigest()
        if digest not in self._encoders:
            self._encoders[digest] = Encoder.of_tuned_model(folder)
        return self._encoders[digest]

    def _scheduler(self, name: str, folder: Path, serving: Mapping[str, Json]) -> Scheduler:
        """Give the scheduler that answers for the model, which it knows by then."""
        dtype: DtypeName = serving["dtype"]
        adapter, digest = folder / artifacts.ADAPTER, str(serving.get("base_model_digest", ""))
        if adapter.is_dir() and digest:
            shared = self._bases.get((digest, dtype))
            base = shared or self._opened_base(str(serving["base_model"]), digest, dtype)
            if base is not None:
                try:
                    taken = base.add(name, adapter)
                except BaseException:
                    if shared is None:
                        base.close()
                    raise
                self._bases[digest, dtype] = base
                _LOG.info("model %s: %d KiB of adapter beside its base %s", name, taken >> 10, serving["base_model"])
                return base
        scheduler = self._opened(folder, dtype)
        scheduler.add(name, None)
        return scheduler

    def _opened_base(self, base_model: str, digest: str, dtype: DtypeName) -> Scheduler | None:
        """Load the base a model was tuned on, every byte verified; None where it is not here as it was."""
        try:
            facts = verified_base_model(self._task.base_models, base_model, requested=base_model)
        except (TrainingFailed, InvalidData) as error:
            _LOG.warning("the merged weights are loaded instead of base model and adapter: %s", error)
            return None
        if facts.digest != digest:
            _LOG.warning("the merged weights are loaded: base model %s is not the one of the training", base_model)
            return None
        return self._opened(facts.folder, dtype)

    def _opened(self, folder: Path, dtype: DtypeName) -> Scheduler:
        granted = self._task.memory_bytes
        if not granted:
            return Scheduler(folder, dtype=dtype, cores=self._task.cores)
        others = {id(one.scheduler): one.scheduler.weight_bytes for one in self._models.values()}
        left = granted - sum(others.values())
        if left <= 0:
            raise LimitExceeded(f"the models loaded already take the replica's {granted >> 20} MiB")
        return Scheduler(folder, dtype=dtype, cores=self._task.cores, memory_bytes=left)


def _read_serving(folder: Path) -> dict[str, Json]:
    try:
        serving = json.loads((folder / artifacts.SERVING).read_text(encoding="utf-8"))
        if serving["format"] != 1 or serving["problem"] != "TextGeneration" or serving["dtype"] not in DTYPES:
            raise ValueError("it is of another format")
        return {**serving, "model_tokens": int(serving["model_tokens"]), "base_model": str(serving["base_model"])}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TrainingFailed(
            f"{artifacts.SERVING} of the model cannot be read: {error}; deploy a model.tar.gz that a job here wrote"
        ) from error


def _prepared(model: ServedModel, invocation: Invocation) -> list[Prepared]:
    """Give every payload's question in tokens, before anything is computed for one of them."""
    prepared: list[Prepared] = []
    faults: list[Fault] = []
    for payload in invocation.payloads:
        try:
            prepared.append(model.prepare(payload.question))
        except InvalidRequest as error:
            faults += payloads.in_line(payload.line, error) if payload.line else error.faults
    raise_faults(faults)
    return prepared


def _in_turn(model: ServedModel, prepared: Sequence[Prepared], cancelled: threading.Event) -> list[list[list[Answer]]]:
    """Give the answers to all, whole; a bounded number of them is under way at a time."""
    done: list[list[list[Answer]]] = []
    going: deque[list[list[Answer]]] = deque()
    try:
        for one in prepared:
            while going and _count(going) + one.answer_count > _AT_WORK:
                done.append(_waited_for(going.popleft()))
            going.append(model.begin(one, cancelled))
        while going:
            done.append(_waited_for(going.popleft()))
    finally:
        for answers in going:
            _cancel(answers)
    return done


def _count(going: Iterable[Sequence[Sequence[Answer]]]) -> int:
    return sum(len(copies) for answers in going for copies in answers)


def _waited_for(answers: list[list[Answer]]) -> list[list[Answer]]:
    """Read all answers to their ends."""
    try:
        for copies in answers:
            for one in copies:
                one.wait()
    finally:
        _cancel(answers)
    return answers


def _ending(parts: Iterator[bytes], answers: Sequence[Sequence[Answer]]) -> Iterator[bytes]:
    """Give the parts; when nobody takes them any more the work for them ends."""
    try:
        yield from parts
    finally:
        _cancel(answers)


def _cancel(answers: Iterable[Sequence[Answer]]) -> None:
    for copies in answers:
        for one in copies:
            one.cancel()
