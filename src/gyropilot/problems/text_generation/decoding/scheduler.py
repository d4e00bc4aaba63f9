"""Computes the answers of many requests together, in one thread; a replica has one for each base model in it.

Each turn of the thread is one pass through the model:

    waiting ──room──> reading ──prompt read──> answering ──stop token, length, cancelled──> gone
                      a part of the prompt      one token
                      a turn

Every row that answers gets a token each turn, and beside them parts of prompts are read, as much as keeps the turn
short. So a request begins at the next turn, a long prompt delays the others by a part of itself at a time, and a long
answer by nothing but its share of each step. What goes wrong with a request ends that request.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from gyropilot import clock
from gyropilot.errors import InvalidRequest, LimitExceeded, NotFound, Unavailable
from gyropilot.problems.text_generation.decoding.decoder import Decoder, LoadedAdapter, Read, Row
from gyropilot.problems.text_generation.decoding.generations import Generation
from gyropilot.problems.text_generation.decoding.opening import open_decoder
from gyropilot.problems.text_generation.decoding.sampling import Chooser, Sampling, Token, choose_all
from gyropilot.problems.text_generation.decoding.threads import Threads
from gyropilot.problems.text_generation.hardware import Dtype

_MOST_ROWS = 64
_MOST_WAITING = 1024
_PART_TOKENS = 256
"""Most tokens of prompts that a turn reads."""
_LEAST_PART = 16
_TURN_SECONDS = 0.1
"""How long reading prompts may take in a turn that others wait for."""
_LIBRARY_BYTES = 500 << 20
"""What the libraries and the work of a step take beside weights, keys and values."""
_FIRST_RATE = 300.0
_LOG = logging.getLogger(__name__)


@dataclass(eq=False)
class _Request:
    """A request from its arrival to its end."""

    generation: Generation
    prompt: Sequence[int]
    sampling: Sampling
    adapter: LoadedAdapter | None
    tokens_needed: int
    row: Row | None = None
    chooser: Chooser | None = None
    read: int = 0
    """Tokens of the prompt that have been read."""
    chosen: int = 0
    last: int = 0
    """The token that is read next."""

    @property
    def left(self) -> int:
        return len(self.prompt) - self.read


@dataclass
class _Work:
    """What callers and the thread share; guarded by `changed`."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    waiting: deque[_Request] = field(default_factory=deque)
    adapter_by_name: dict[str, LoadedAdapter | None] = field(default_factory=dict)
    is_closed: bool = False


class Scheduler:
    """One base model in memory, the models that differ from it by an adapter, and the thread that computes answers.

    Its functions may be called from any thread.
    """

    def __init__(self, folder: Path, *, dtype: Dtype, cores: int, memory_bytes: int = 0) -> None:
        """Load a base model, or a whole tuned one.

        Args:
            folder: config.json and safetensors.
            dtype: what its weights are kept and computed in.
            cores: threads that may compute.
            memory_bytes: what this process may take in all; what it leaves beside the weights bounds the texts that
                are kept at once. 0: no bound but the number of texts.

        Raises:
            TrainingFailed: the folder holds no model of a family known here.
            LimitExceeded: the memory leaves no room for a text beside the weights.
        """
        self._decoder: Decoder = open_decoder(folder, dtype=dtype)
        self.model_tokens: int | None = self._decoder.model_tokens
        """Most tokens of prompt and answer together by the model's configuration; None: it names no bound."""
        self.capacity = _MOST_ROWS
        """Requests computed at once; more wait for their turn."""
        self.tokens_at_once: int | None = _tokens_that_fit(self._decoder, memory_bytes, folder.name)
        """Tokens, of all texts computed at once, that memory holds; None: no bound."""
        self._work = _Work()
        self._rows: list[_Request] = []
        self._turns = 0
        self._rate = _FIRST_RATE
        self._threads = Threads(cores)
        self._thread = threading.Thread(target=self._run, name="decoding", daemon=True)
        self._thread.start()

    @property
    def way(self) -> str:
        """Give the name of the way in which the model is computed."""
        return self._decoder.name

    @property
    def weight_bytes(self) -> int:
        """Give the memory of the base's weights."""
        return self._decoder.weight_bytes

    def add(self, name: str, adapter: Path | None) -> int:
        """Make a model known: the base with the adapter of a PEFT folder, or as it is; others are computed meanwhile.

        Gives the bytes that it takes.

        Raises:
            TrainingFailed: the folder is not whole, or its adapter is of another base.
        """
        loaded = None if adapter is None else self._decoder.read_adapter(adapter)
        with self._work.changed:
            self._work.adapter_by_name[name] = loaded
        return 0 if loaded is None else loaded.size_bytes

    def remove(self, name: str) -> None:
        """Forget a model; its running answers go on to their end."""
        with self._work.changed:
            self._work.adapter_by_name.pop(name, None)

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
        needed = len(prompt_ids) + sampling.max_new_tokens
        self.check_room(needed)
        with self._work.changed:
            if self._work.is_closed:
                raise Unavailable("the model is being unloaded")
            if name not in self._work.adapter_by_name:
                raise NotFound(f"no model {name!r} is loaded here")
            if len(self._work.waiting) >= _MOST_WAITING:
                raise LimitExceeded(f"{_MOST_WAITING} requests wait already; try again later")
            request = _Request(
                generation=Generation(cancelled),
                prompt=prompt_ids,
                sampling=sampling,
                adapter=self._work.adapter_by_name[name],
                tokens_needed=needed,
            )
            self._work.waiting.append(request)
            self._work.changed.notify()
        return request.generation

    def check_room(self, tokens: int) -> None:
        """Check that a text of `tokens`, prompt and answer together, can be computed here.

        Raises:
            LimitExceeded: it is longer than memory holds.
        """
        if self.tokens_at_once is not None and tokens > self.tokens_at_once:
            raise LimitExceeded(
                f"prompt and answer together may be {tokens} tokens long, and this replica's memory holds"
                f" {self.tokens_at_once}; ask for a shorter answer or give replicas more memory"
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
        while self._admit():
            try:
                with torch.inference_mode():
                    self._drop_cancelled()
                    if self._rows:
                        self._turn()
            except Exception as error:
                self._give_up(error)
        for request in self._rows:
            request.generation.fail(Unavailable("the model was unloaded before the answer was finished"))
        self._rows = []

    def _admit(self) -> bool:
        """Sleep until there is work and take in what there is room for; false: closed."""
        work = self._work
        with work.changed:
            work.changed.wait_for(lambda: self._rows or work.waiting or work.is_closed)
            if work.is_closed:
                self._rows.extend(work.waiting)
                work.waiting.clear()
                return False
            while work.waiting and self._has_room(work.waiting[0]):
                self._rows.append(work.waiting.popleft())
            if any(one.generation.is_cancelled for one in work.waiting):
                gone = [one for one in work.waiting if one.generation.is_cancelled]
                work.waiting = deque(one for one in work.waiting if one not in gone)
                for request in gone:
                    request.generation.finish("cancelled")
        return True

    def _has_room(self, request: _Request) -> bool:
        if len(self._rows) >= self.capacity:
            return False
        if self.tokens_at_once is None:
            return True
        lengths = [one.tokens_needed for one in [*self._rows, request]]
        return self._decoder.tokens_kept(lengths) <= self.tokens_at_once

    def _drop_cancelled(self) -> None:
        for request in [one for one in self._rows if one.generation.is_cancelled]:
            self._leave(request)
            request.generation.finish("cancelled")

    def _turn(self) -> None:
        self._turns += 1
        self._begin()
        going = [one for one in self._rows if one.left == 0]
        parts = self._parts(is_awaited=bool(going))
        reads = [Read(_row(one), [one.last]) for one in going]
        reads += [Read(_row(one), one.prompt[one.read : one.read + size]) for one, size in parts]
        logits = self._computed(reads, read=sum(size for _, size in parts))
        asked = list(going)
        places = list(range(len(going)))
        for place, (one, size) in enumerate(parts, start=len(going)):
            one.read += size
            if one.left == 0:
                asked.append(one)
                places.append(place)
        if asked:
            choosers = [_chooser(one) for one in asked]
            found = choose_all(choosers, logits if len(asked) == len(reads) else logits[places])
            for one, token in zip(asked, found, strict=True):
                self._take(one, token)

    def _begin(self) -> None:
        for request in self._rows:
            if request.row is None:
                before = self._decoder.text_before(request.prompt)
                request.chooser = Chooser(request.sampling, before, self._decoder.vocabulary)
                request.row = self._decoder.begin(request.prompt, request.adapter)

    def _parts(self, *, is_awaited: bool) -> list[tuple[_Request, int]]:
        """Give which prompts are read this turn, and how many tokens of each.

        In turn the oldest and the shortest come first: neither waits for all of the other.
        """
        unread = [one for one in self._rows if one.left]
        if self._turns % 2:
            unread.sort(key=lambda one: one.left)
        budget = _PART_TOKENS
        if is_awaited:
            budget = max(_LEAST_PART, min(budget, int(self._rate * _TURN_SECONDS)))
        parts: list[tuple[_Request, int]] = []
        for request in unread:
            size = min(request.left, budget) if self._decoder.reads_in_parts else request.left
            if size > budget and parts:
                continue
            parts.append((request, size))
            budget -= size
            if budget <= 0:
                break
        return parts

    def _computed(self, reads: Sequence[Read], *, read: int) -> torch.Tensor:
        """Compute a pass, with the best number of threads; note how many tokens of prompts are `read` in a second."""
        tokens = sum(len(one.tokens) for one in reads)
        number = self._threads.next(tokens)
        torch.set_num_threads(number)
        started_at = clock.monotonic()
        logits = self._decoder.compute(reads)
        seconds = clock.monotonic() - started_at
        self._threads.note(tokens, number, seconds)
        if read >= _LEAST_PART and seconds > 0:
            self._rate = 0.7 * self._rate + 0.3 * read / seconds
        return logits

    def _take(self, request: _Request, token: Token | Exception) -> None:
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
        _chooser(request).note(token.id)
        request.generation.put(token)
        if request.chosen >= request.sampling.max_new_tokens:
            self._leave(request)
            request.generation.finish("length")

    def _leave(self, request: _Request) -> None:
        if request.row is not None:
            self._decoder.end(request.row)
        self._rows.remove(request)

    def _give_up(self, error: Exception) -> None:
        """End all that was computed together, since what broke cannot be told apart, and begin afresh."""
        _LOG.exception("a step of %d rows failed", len(self._rows))
        requests, self._rows = self._rows, []
        self._decoder.reset()
        for request in requests:
            request.generation.fail(Unavailable(f"computing the answer failed: {error}"))


def _row(request: _Request) -> Row:
    assert request.row is not None
    return request.row


def _chooser(request: _Request) -> Chooser:
    assert request.chooser is not None
    return request.chooser


def _tokens_that_fit(decoder: Decoder, memory_bytes: int, name: str) -> int | None:
    if memory_bytes <= 0:
        return None
    left = memory_bytes - decoder.weight_bytes - _LIBRARY_BYTES
    if left < decoder.token_bytes * _PART_TOKENS:
        raise LimitExceeded(
            f"{name} takes {decoder.weight_bytes >> 20} MiB and the libraries {_LIBRARY_BYTES >> 20} MiB, which leaves"
            f" {max(0, left) >> 20} of the replica's {memory_bytes >> 20} MiB for texts; give replicas more memory"
        )
    return left // decoder.token_bytes
