"""Computes the answers of many requests together, in one thread; a replica has one for each base model in it.

Each turn of the thread is one pass through the model:

    waiting ──room──> reading ──prompt read──> answering ──stop token, length, time, cancelled──> gone
                      a part of the prompt      one token
                      a turn

Every row that answers gets a token each turn, and beside them parts of prompts are read, as much as keeps the turn
short. So a request begins at the next turn, a long prompt delays the others by a part of itself at a time, and a long
answer by nothing but its share of each step. What goes wrong with a request ends that request.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from gyropilot import clock
from gyropilot.errors import InvalidRequest, LimitExceeded, NotFound, Unavailable
from gyropilot.problems.text_generation.decoding.admission import Admission
from gyropilot.problems.text_generation.decoding.decoder import Decoder, LoadedAdapter, Read
from gyropilot.problems.text_generation.decoding.generations import Generation
from gyropilot.problems.text_generation.decoding.memory import Memory
from gyropilot.problems.text_generation.decoding.opening import open_decoder, weight_bytes
from gyropilot.problems.text_generation.decoding.prefill import PART_TOKENS, Prefill
from gyropilot.problems.text_generation.decoding.prompt_tokens import PromptTokens
from gyropilot.problems.text_generation.decoding.requests import Begun, Request
from gyropilot.problems.text_generation.decoding.sampling import Chooser, Sampling, Token, choose_all
from gyropilot.problems.text_generation.decoding.threads import Threads
from gyropilot.problems.text_generation.decoding.virtual_tokens import NOTHING
from gyropilot.problems.text_generation.training_memory import Dtype

_MOST_ROWS = 256
_ROOM_SECONDS = 0.02
"""How often to look whether other schedulers of the process have left room."""
_LOG = logging.getLogger(__name__)


@dataclass
class _Work:
    """What callers and the thread share; guarded by `changed`."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    adapter_by_name: dict[str, LoadedAdapter | None] = field(default_factory=dict)
    ended: Unavailable | None = None
    """Why nothing is taken on any more."""
    is_closed: bool = False


class Scheduler:
    """One base model in memory, the models that differ from it by an adapter, and the thread that computes answers.

    Its functions may be called from any thread.
    """

    def __init__(
        self, folder: Path, *, dtype: Dtype, cores: int, memory_bytes: int = 0, memory: Memory | None = None
    ) -> None:
        """Load a base model, or a whole tuned one.

        Args:
            folder: config.json and safetensors.
            dtype: what its weights are kept and computed in.
            cores: threads that may compute.
            memory_bytes: what this process may take in all; what it leaves beside the weights bounds the texts that
                are kept at once. 0: no bound but the number of texts.
            memory: the same, where several schedulers of a process share it.

        Raises:
            TrainingFailed: the folder holds no model of a family known here.
            LimitExceeded: the memory leaves no room for a text beside the weights.
        """
        self._memory = memory or Memory(memory_bytes)
        self._decoder: Decoder = _opened(self._memory, folder, dtype)
        self._kept_bytes = self._decoder.weight_bytes
        """Of the weights and all adapters."""
        self.model_tokens: int | None = self._decoder.model_tokens
        """Most tokens of prompt and answer together by the model's configuration; None: it names no bound."""
        self.capacity = _MOST_ROWS
        """Requests computed at once; more wait for their turn."""
        self._work = _Work()
        self._admission = Admission(self._memory, self._decoder)
        self._prefill = Prefill(in_parts=self._decoder.reads_in_parts)
        self._rows: list[Request] = []
        self._threads = Threads(cores)
        self._thread = threading.Thread(target=self._run, name="decoding", daemon=True)
        self._thread.start()

    @property
    def way(self) -> str:
        """Give the name of the way in which the model is computed."""
        return self._decoder.name

    @property
    def tokens_at_once(self) -> int | None:
        """Give how many tokens, of all texts computed at once, memory holds; None: no bound."""
        room = self._memory.for_texts
        return None if room is None else room // self._decoder.token_bytes

    @property
    def is_sound(self) -> bool:
        """Say whether it takes requests: False once its thread ended by an error."""
        return self._work.ended is None

    @property
    def weight_bytes(self) -> int:
        """Give the memory of the base's weights."""
        return self._decoder.weight_bytes

    def add(self, name: str, adapter: Path | None, *, task: int = 0) -> int:
        """Make a model known: the base with the adapter of a folder, or as it is; others are computed meanwhile.

        Of an adapter tuned on several tasks, each is a model of its own. Gives the bytes that it takes.

        Raises:
            TrainingFailed: the folder is not whole, or its adapter is of another base.
            LimitExceeded: memory has no room for it.
        """
        loaded = None if adapter is None else self._decoder.read_adapter(adapter, task=task)
        size = 0 if loaded is None else loaded.size_bytes
        self._memory.keep(f"the adapter of {name}", size, beside=_least_bytes(self._decoder))
        with self._work.changed:
            self._kept_bytes += size
            self._work.adapter_by_name[name] = loaded
        return size

    def remove(self, name: str) -> None:
        """Forget a model; its running answers go on to their end."""
        with self._work.changed:
            adapter = self._work.adapter_by_name.pop(name, None)
            size = 0 if adapter is None else adapter.size_bytes
            self._kept_bytes -= size
        self._memory.give_back(size)

    def virtual_tokens(self, name: str) -> int:
        """Give how many virtual tokens stand before the texts of a model that was added."""
        with self._work.changed:
            adapter = self._work.adapter_by_name[name]
        return 0 if adapter is None else adapter.before.count

    def submit(
        self,
        name: str,
        prompt_ids: Sequence[int],
        sampling: Sampling,
        *,
        cancelled: threading.Event | None = None,
    ) -> Generation:
        """Begin an answer by the model `name`; it ends at once when `cancelled` is set.

        Raises:
            NotFound: no such model was added.
            InvalidRequest: the prompt is empty or holds tokens that the model does not have.
            LimitExceeded: the text is longer than memory holds, or too many requests wait.
        """
        self._check(prompt_ids)
        with self._work.changed:
            if self._work.is_closed:
                raise self._work.ended or Unavailable("the model is being unloaded")
            if name not in self._work.adapter_by_name:
                raise NotFound(f"no model {name!r} is loaded here")
            adapter = self._work.adapter_by_name[name]
            before = NOTHING if adapter is None else adapter.before
            needed = before.count + len(prompt_ids) + sampling.max_new_tokens
            self.check_room(needed)
            self._admission.check()
            request = Request(
                generation=Generation(cancelled),
                prompt=[0] * before.read + [*prompt_ids] if before.read else prompt_ids,
                rows_before=before.read,
                sampling=sampling,
                adapter=adapter,
                tokens_needed=needed,
                ends_at=None if sampling.max_seconds is None else clock.monotonic() + sampling.max_seconds,
            )
            self._admission.waiting.append(request)
            self._work.changed.notify()
        return request.generation

    def check_room(self, tokens: int) -> None:
        """Check that a text of `tokens`, prompt, answer and virtual ones together, can be computed here.

        Raises:
            LimitExceeded: it is longer than memory holds.
        """
        room = self.tokens_at_once
        if room is not None and self._decoder.tokens_kept([tokens]) > room:
            raise LimitExceeded(
                f"prompt and answer together may be {tokens} tokens long, and this replica's memory holds"
                f" {room}; ask for a shorter answer or give replicas more memory"
            )

    def close(self) -> None:
        """End the thread; answers that are not finished break off with Unavailable."""
        with self._work.changed:
            self._work.is_closed = True
            self._work.changed.notify()
        self._thread.join()

    def _check(self, prompt_ids: Sequence[int]) -> None:
        if not prompt_ids:
            raise InvalidRequest(where="inputs", problem="holds no token", fix="send a text")
        if min(prompt_ids) < 0 or max(prompt_ids) >= self._decoder.vocabulary:
            raise InvalidRequest(
                where="inputs",
                found=max(prompt_ids),
                problem=f"holds a token that is not one of the model's {self._decoder.vocabulary}",
                fix="encode it with the model's own tokenizer",
            )

    def _run(self) -> None:
        error = Unavailable("the model was unloaded before the answer was finished")
        try:
            while self._admit():
                self._turn_guarded()
        except BaseException as broken:
            _LOG.critical("the thread that computes answers ended", exc_info=True)
            error = Unavailable(
                f"the replica computes no more answers, since {type(broken).__name__} ended it: {broken}"
            )
            self._work.ended = error
        finally:
            with self._work.changed:
                self._work.is_closed = True
                requests = [*self._rows, *self._admission.waiting]
                self._rows = []
                self._admission.waiting.clear()
            for request in requests:
                request.generation.fail(error)
            self._admission.let_go()
            self._memory.give_back(self._kept_bytes)

    def _turn_guarded(self) -> None:
        try:
            with torch.inference_mode():
                self._drop_over()
                if self._rows:
                    self._turn()
        except Exception as error:
            self._give_up(error)

    def _admit(self) -> bool:
        """Sleep until there is work and take in what there is room for; false: closed."""
        admission, changed = self._admission, self._work.changed
        with changed:
            admission.hold(self._rows)
            changed.wait_for(lambda: self._rows or admission.waiting or self._work.is_closed)
            if self._work.is_closed:
                return False
            admission.end_over()
            admission.take_in(self._rows, capacity=self.capacity)
            if admission.waiting and not self._rows:
                # the memory is with other schedulers of this process
                changed.wait(_ROOM_SECONDS)
        return True

    def _drop_over(self) -> None:
        """End the answers that nobody waits for, and those whose time is over."""
        for request in list(self._rows):
            reason = request.over
            if reason is not None:
                self._leave(request)
                request.generation.finish(reason)

    def _turn(self) -> None:
        self._begin()
        if not self._rows:
            return
        going = [one for one in self._rows if one.left == 0]
        parts = self._prefill.parts(self._rows, is_awaited=bool(going))
        reads = [one.step() for one in going] + [one.part(size) for one, size in parts]
        logits = self._computed(reads, read=sum(size for _, size in parts))
        asked = list(going)
        places = list(range(len(going)))
        for place, (one, size) in enumerate(parts, start=len(going)):
            one.read += size
            if one.left == 0:
                asked.append(one)
                places.append(place)
        if asked:
            choosers = [one.computed.chooser for one in asked]
            found = choose_all(choosers, logits if len(asked) == len(reads) else logits[places])
            for one, token in zip(asked, found, strict=True):
                self._take(one, token)

    def _begin(self) -> None:
        for request in [one for one in self._rows if one.begun is None]:
            try:
                request.begun = self._begun(request)
            except Exception as error:
                self._leave(request)
                request.generation.fail(error)

    def _begun(self, request: Request) -> Begun:
        before, sampling = request.rows_before, request.sampling
        told = None
        if sampling.tells_prompt:
            told = PromptTokens(request.prompt, before=before, tells_rank=sampling.tells_rank)
            request.generation.prompt_tokens = told
        chooser = Chooser(sampling, self._decoder.text_before(request.prompt[before:]), self._decoder.vocabulary)
        return Begun(self._decoder.begin(request.prompt, request.adapter), chooser, told)

    def _computed(self, reads: Sequence[Read], *, read: int) -> torch.Tensor:
        """Compute a pass, with the best number of threads; note how many tokens of prompts are `read` in a second."""
        tokens = sum(len(one.tokens) for one in reads)
        with self._threads.shared() as most:
            number = self._threads.next(tokens, most=most)
            torch.set_num_threads(number)
            started_at = clock.monotonic()
            logits = self._decoder.compute(reads)
            seconds = clock.monotonic() - started_at
        self._threads.note(tokens, number, seconds, most=most)
        self._prefill.note(read, seconds)
        return logits

    def _take(self, request: Request, token: Token | Exception) -> None:
        told = request.computed.prompt_tokens
        if told is not None and not request.chosen and not told.is_sound:
            token = ArithmeticError("the model computed no numbers for a token of this prompt")
        if isinstance(token, Exception):
            self._leave(request)
            request.generation.fail(token)
            return
        if token.id in request.sampling.stop_ids:
            self._leave(request)
            request.generation.finish("stop")
            return
        request.chosen += 1
        request.last = token.id
        request.computed.chooser.note(token.id)
        request.generation.put(token)
        if request.chosen >= request.sampling.max_new_tokens:
            self._leave(request)
            request.generation.finish("length")

    def _leave(self, request: Request) -> None:
        if request.begun is not None:
            self._decoder.end(request.begun.row)
        self._rows.remove(request)

    def _give_up(self, error: Exception) -> None:
        """End all that was computed together, since what broke cannot be told apart, and begin afresh."""
        _LOG.exception("a step of %d rows failed", len(self._rows))
        requests, self._rows = self._rows, []
        for request in requests:
            request.generation.fail(Unavailable(f"computing the answer failed: {error}"))
        self._decoder.reset()


def _opened(memory: Memory, folder: Path, dtype: Dtype) -> Decoder:
    """Load a model that memory has room for, which its files say before they are read."""
    needed = weight_bytes(folder, dtype=dtype)
    memory.keep(folder.name, needed)
    try:
        decoder = open_decoder(folder, dtype=dtype)
    finally:
        memory.give_back(needed)
    memory.keep(folder.name, decoder.weight_bytes, beside=_least_bytes(decoder))
    return decoder


def _least_bytes(decoder: Decoder) -> int:
    """Give the memory of the texts without which a model is not worth loading."""
    return decoder.token_bytes * PART_TOKENS
