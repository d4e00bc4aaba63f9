"""The text-generation models of one replica process; inference.py opens it once the process is prepared.

base of the store --Scheduler-- LoRA of model a, prompt of model b, model c ... one copy of the base's weights
weights of model d --Scheduler                                                  tuned whole, or its base is not here
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import torch

from gyropilot.errors import Fault, InvalidData, InvalidRequest, NotFound, TrainingFailed, Unavailable
from gyropilot.problems.contract import Call, Json, Reply, ServeTask, StreamedReply
from gyropilot.problems.text_generation import artifacts, templates
from gyropilot.problems.text_generation.base_model import read_base_model, verified_base_model
from gyropilot.problems.text_generation.decoding import adapters, virtual_tokens
from gyropilot.problems.text_generation.decoding.memory import Memory
from gyropilot.problems.text_generation.decoding.opening import give_back_freed_memory, weight_bytes
from gyropilot.problems.text_generation.decoding.scheduler import Scheduler
from gyropilot.problems.text_generation.models import DTYPES, DtypeName
from gyropilot.problems.text_generation.serving import environment, openai, payloads
from gyropilot.problems.text_generation.serving.answers import Answer
from gyropilot.problems.text_generation.serving.fields import raise_faults
from gyropilot.problems.text_generation.serving.openai import Asked
from gyropilot.problems.text_generation.serving.payloads import EVENTS, JSON, Invocation
from gyropilot.problems.text_generation.serving.served_model import Prepared, ServedModel
from gyropilot.problems.text_generation.serving.under_way import UnderWay
from gyropilot.problems.text_generation.templates import Encoder

_CALLS_AT_ONCE = 64
_VIRTUAL = f"{artifacts.ADAPTER}/{virtual_tokens.PROMPT} or {artifacts.ADAPTER}/{virtual_tokens.PREFIX}"
_LOG = logging.getLogger(__name__)


class TextGenerationServer:
    """A ModelServer."""

    calls_at_once = _CALLS_AT_ONCE

    def __init__(self, task: ServeTask) -> None:
        self._task, self._memory = task, Memory(task.memory_bytes)
        self._models: dict[str, ServedModel] = {}
        self._bases: dict[tuple[str, DtypeName], Scheduler] = {}
        self._encoders: dict[str, Encoder] = {}
        self._changing = threading.Lock()

    @property
    def encoder_count(self) -> int:
        """How many tokenizers are in memory: one for all models that have the same."""
        return len(self._encoders)

    @property
    def is_sound(self) -> bool:
        """Say whether everything that computes still does; else the process must be started afresh."""
        return all(one.scheduler.is_sound for one in list(self._models.values()))

    @property
    def base_digests(self) -> list[str]:
        """The base models in memory that adapters share."""
        return [digest for digest, _ in self._bases]

    @property
    def base_precisions(self) -> list[DtypeName]:
        """What these are computed in."""
        return [precision for _, precision in self._bases]

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
            try:
                encoder = self._encoder(folder)
                scheduler = self._scheduler(name, folder, serving)
                self._models[name] = ServedModel(
                    _names(name, serving),
                    scheduler,
                    encoder,
                    chosen,
                    model_tokens=int(serving["model_tokens"]),
                    tasks=serving["tasks"],
                )
            finally:
                self._drop_unused_encoders()

    def unload(self, name: str) -> None:
        """Let go of a model, and of its base when it was the last one on it."""
        with self._changing:
            model = self._models.pop(name)
            for each in model.names:
                model.scheduler.remove(each)
            if all(one.scheduler is not model.scheduler for one in self._models.values()):
                self._bases = {key: one for key, one in self._bases.items() if one is not model.scheduler}
                model.scheduler.close()
            self._drop_unused_encoders()
        del model
        give_back_freed_memory()

    def answer(self, name: str, call: Call) -> Reply:
        """Answer a call whole; events that it asks for come in one body.

        Raises:
            InvalidRequest: the payload does not fit: the caller's fault.
            LimitExceeded: more than can be taken now.
        """
        model = self._model(name)
        if call.style == "invoke":
            invocation = payloads.read(call, model.environment)
            if invocation.is_streamed:
                return Reply(body=b"".join(_events(model, invocation, call)), content_type=EVENTS)
            prepared = _prepared(model, invocation, call.cancelled)
            return invocation.reply(_replies(model, invocation, prepared, call.cancelled))
        asked = openai.read(call)
        if asked.is_streamed:
            return Reply(body=b"".join(_events_asked(model, asked, call)), content_type=EVENTS)
        answers = model.answers(model.prepare(asked.question), call.cancelled)
        _begun(model, answers).wait()
        return Reply(body=asked.reply(answers, call.model_name), content_type=JSON)

    def stream(self, name: str, call: Call) -> StreamedReply:
        """Answer a call part by part where its body asks for events; else whole, in one part."""
        model = self._model(name)
        if call.style != "invoke":
            asked = openai.read(call)
            if asked.is_streamed:
                return StreamedReply(content_type=EVENTS, parts=_events_asked(model, asked, call))
        else:
            invocation = payloads.read(call, model.environment)
            if invocation.is_streamed:
                return StreamedReply(content_type=EVENTS, parts=_events(model, invocation, call))
        reply = self.answer(name, call)
        return StreamedReply(content_type=reply.content_type, parts=iter([reply.body]))

    def close(self) -> None:
        """End the threads that compute; answers under way break off."""
        with self._changing:
            for scheduler in {id(one.scheduler): one.scheduler for one in self._models.values()}.values():
                scheduler.close()
            self._models, self._bases, self._encoders = {}, {}, {}

    def _model(self, name: str) -> ServedModel:
        model = self._models.get(name)
        if model is None:
            raise NotFound(f"no model {name!r} is loaded here")
        return model

    def _drop_unused_encoders(self) -> None:
        used = {id(one.encoder) for one in self._models.values()}
        self._encoders = {digest: one for digest, one in self._encoders.items() if id(one) in used}

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
        adapter, digest = folder / artifacts.ADAPTER, str(serving.get("base_model_digest", ""))
        has_weights, has_virtual_tokens = _has_weights(folder), virtual_tokens.are_in(adapter)
        if serving["virtual_tokens"] and not has_virtual_tokens:
            raise TrainingFailed(f"the model's files lack its virtual tokens ({_VIRTUAL}); the archive is not whole")
        why_not = adapters.why_not(adapter) if adapter.is_dir() else "there is none"
        if digest and not why_not:
            try:
                return self._shared_base(name, folder, serving, digest)
            except _BaseNotHere as absent:
                if not has_weights:
                    raise _lacks_base(serving, absent) from absent
                _LOG.warning("model %s: its own weights are loaded, since its base %s", name, absent)
        if not has_weights:
            raise TrainingFailed(f"the model's files hold no weights, and no adapter that is served: {why_not}")
        scheduler = self._opened(folder, self._precision(folder, serving["dtype"]))
        try:
            _add(scheduler, name, adapter if has_virtual_tokens else None, serving)
        except BaseException:
            scheduler.close()
            raise
        return scheduler

    def _shared_base(self, name: str, folder: Path, serving: Mapping[str, Json], digest: str) -> Scheduler:
        """Give the scheduler of the base in the store with the model's adapter on it."""
        base_model = str(serving["base_model"])
        weighed = folder if _has_weights(folder) else self._folder_of(base_model)
        dtype = self._precision(weighed, serving["dtype"])
        shared = self._bases.get((digest, dtype))
        base = shared or self._opened(self._verified_base(base_model, digest), dtype)
        try:
            taken = _add(base, name, folder / artifacts.ADAPTER, serving)
        except BaseException:
            if shared is None:
                base.close()
            raise
        self._bases[digest, dtype] = base
        _LOG.info("model %s: %d KiB of adapter beside its base %s", name, taken >> 10, base_model)
        return base

    def _folder_of(self, base_model: str) -> Path | None:
        """Give where a base model of the store lies; None where it is not there."""
        try:
            return read_base_model(self._task.base_models, base_model, requested=base_model).folder
        except TrainingFailed:
            return None

    def _verified_base(self, base_model: str, digest: str) -> Path:
        """Give where the base lies that a model was tuned on, every byte of it verified."""
        try:
            facts = verified_base_model(self._task.base_models, base_model, requested=base_model)
        except (TrainingFailed, InvalidData) as error:
            raise _BaseNotHere(f"is not in the base-model store as it was: {error}") from error
        if facts.digest != digest:
            raise _BaseNotHere(f"is another one in the base-model store: its digest begins with {facts.digest[:12]}")
        return facts.folder

    def _precision(self, folder: Path | None, trained_in: DtypeName) -> DtypeName:
        """Give what a model is computed in: float32 on a CPU where that takes half of the room at most.

        In bfloat16 a text's sums are rounded otherwise beside other texts, and one question gets two answers.
        """
        room = self._memory.for_texts
        fits = room is None or folder is None or weight_bytes(folder, dtype="float32") <= room // 2
        return "float32" if fits and not torch.cuda.is_available() else trained_in

    def _opened(self, folder: Path, dtype: DtypeName) -> Scheduler:
        return Scheduler(folder, dtype=dtype, cores=self._task.cores, memory=self._memory)


class _BaseNotHere(Exception):
    """The base that a model was tuned on cannot be loaded from the store; the message says what is instead."""


def _names(name: str, serving: Mapping[str, Json]) -> list[str]:
    """Give the names of a model in its scheduler: one, or one a task."""
    return [name, *(f"{name}, task {number}" for number in range(1, len(serving["tasks"])))]


def _add(scheduler: Scheduler, name: str, adapter: Path | None, serving: Mapping[str, Json]) -> int:
    """Make a model known to a scheduler, each of its tasks by itself; give the bytes taken.

    Raises:
        TrainingFailed: the adapter does not fit, or is not of the model's description; nothing of it is kept then.
        LimitExceeded: memory has no room for it.
    """
    added: list[str] = []
    size = 0
    try:
        for task, each in enumerate(_names(name, serving)):
            size += scheduler.add(each, adapter, task=task)
            added.append(each)
            found = scheduler.virtual_tokens(each)
            if found != serving["virtual_tokens"]:
                raise TrainingFailed(
                    f"{artifacts.SERVING} says that {serving['virtual_tokens']} virtual tokens stand before a text, and"
                    f" the adapter has {found}: they are of two trainings; deploy a model.tar.gz that a job here wrote"
                )
    except BaseException:
        for each in added:
            scheduler.remove(each)
        raise
    return size


def _lacks_base(serving: Mapping[str, Json], absent: _BaseNotHere) -> TrainingFailed:
    base_model = serving["base_model"]
    return TrainingFailed(
        f"the model's files hold an adapter of base model {base_model} and no weights, and that base {absent};"
        f" install the base whose digest begins with {str(serving['base_model_digest'])[:12]}"
        f" (gyropilot models pull {base_model}, or gyropilot models add) and deploy again"
    )


def _read_serving(folder: Path) -> dict[str, Json]:
    try:
        serving = json.loads((folder / artifacts.SERVING).read_text(encoding="utf-8"))
        if serving["format"] != 1 or serving["problem"] != "TextGeneration" or serving["dtype"] not in DTYPES:
            raise ValueError("it is of another format")
        return {
            **serving,
            "model_tokens": int(serving["model_tokens"]),
            "base_model": str(serving["base_model"]),
            "virtual_tokens": int(serving.get("virtual_tokens") or 0),
            "tasks": [str(one) for one in serving.get("tasks") or ()],
        }
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TrainingFailed(
            f"{artifacts.SERVING} of the model cannot be read: {error}; deploy a model.tar.gz that a job here wrote"
        ) from error


def _has_weights(folder: Path) -> bool:
    return any(folder.glob("*.safetensors"))


def _events(model: ServedModel, invocation: Invocation, call: Call) -> Iterator[bytes]:
    """Begin the one answer that is streamed; give its events."""
    (payload,) = invocation.payloads
    ((answer,),) = model.answers(model.prepare(payload.question), call.cancelled)
    answer.begin()
    return _ending(payload.parts(answer), answer)


def _events_asked(model: ServedModel, asked: Asked, call: Call) -> Iterator[bytes]:
    """Begin the answers to a body of OpenAI's; give their events."""
    answers = model.answers(model.prepare(asked.question), call.cancelled)
    begun = _begun(model, answers)
    return _ending(asked.parts(iter(begun), answers, call.model_name), begun)


def _prepared(model: ServedModel, invocation: Invocation, cancelled: threading.Event) -> list[Prepared]:
    """Give every payload's question in tokens, before anything is computed for one of them."""
    prepared: list[Prepared] = []
    faults: list[Fault] = []
    for payload in invocation.payloads:
        if cancelled.is_set():
            raise Unavailable("the answers were not begun: nobody waits for them")
        try:
            prepared.append(model.prepare(payload.question))
        except InvalidRequest as error:
            faults += payloads.in_line(payload.line, error) if payload.line else error.faults
    raise_faults(faults)
    return prepared


def _replies(
    model: ServedModel, invocation: Invocation, prepared: Sequence[Prepared], cancelled: threading.Event
) -> list[bytes]:
    """Give what is replied to each payload, written when its answers are whole; nothing else is kept of them."""
    written = [b""] * len(prepared)
    going: dict[int, list[list[Answer]]] = {}

    def answers() -> Iterator[tuple[int, Answer]]:
        for place, one in enumerate(prepared):
            going[place] = model.answers(one, cancelled)
            yield from ((place, answer) for copies in going[place] for answer in copies)

    left = [one.answer_count for one in prepared]
    for place, word in UnderWay(answers(), most_tokens=model.most_tokens):
        left[place] -= word is None
        if not left[place]:
            written[place] = invocation.payloads[place].reply(going.pop(place))
    return written


def _begun(model: ServedModel, answers: Sequence[Sequence[Answer]]) -> UnderWay:
    flat = [one for copies in answers for one in copies]
    return UnderWay(enumerate(flat), most_tokens=model.most_tokens)


def _ending(parts: Iterator[bytes], work: Answer | UnderWay) -> Iterator[bytes]:
    """Give the parts; when nobody takes them any more the work for them ends."""
    try:
        yield from parts
    finally:
        work.cancel()
