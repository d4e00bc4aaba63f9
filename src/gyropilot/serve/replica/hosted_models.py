"""The models that one replica process has loaded, and the threads that answer for them; on the event loop alone.

A model of several containers is a serial chain: the answer of one is the payload of the next. Each place in the chain
has a ModelServer of its own, with as many threads as calls may be inside it at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from gyropilot.errors import AlreadyExists, InvalidData, InvalidRequest, LimitExceeded, NotFound, Unavailable
from gyropilot.problems.contract import Call, ModelServer, Reply, ServeTask
from gyropilot.serve.replica.part_flow import PartFlow
from gyropilot.serve.replicas.calls import QUEUE_SECONDS

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")
OpenServer = Callable[[ServeTask], ModelServer]

MOST_WAITING = 256
"""Calls that may wait for a thread of one ModelServer; what comes beyond is better sent elsewhere."""


@dataclass(frozen=True, kw_only=True)
class ContainerFiles:
    """One container of a model: where its files lie, and its environment."""

    folder: Path
    environment: Mapping[str, str]


class LoadOverdue(Exception):
    """A model is not loaded within its time; it is let go of once its loading ends."""


class HostedModels:
    """Loads, answers and unloads."""

    def __init__(self, open_server: OpenServer, task: ServeTask) -> None:
        """Open the first server, in this thread: what it imports and sets comes before everything else."""
        self._open_server, self._task = open_server, task
        self._places = [_Place(open_server(task))]
        self._models: dict[str, _Model] = {}
        self._loads: dict[str, _Load] = {}
        """Those that wait or run, without those that nobody wants any more."""
        self._running: set[asyncio.Task[None]] = set()
        self._loading = asyncio.Lock()
        """One model at a time: what loading needs beside the model itself is needed once."""

    async def load(self, name: str, containers: Sequence[ContainerFiles], *, seconds: float) -> None:
        """Load a model; it takes calls when this returns.

        Args:
            name: what calls name it by.
            containers: its files, in the order of the chain.
            seconds: how long it may take, from when it begins: one at a time does.

        Raises:
            AlreadyExists: one of that name is loaded, or being loaded.
            LoadOverdue: it takes longer than that.
            Unavailable: it was unloaded meanwhile, or waited too long for those before it.
            GyropilotError: as ModelServer.load.
        """
        if name in self._models or name in self._loads:
            raise AlreadyExists(f"A model named {name} is loaded already.")
        load = self._loads[name] = _Load()
        try:
            await self._wait_for_turn(load)
            running = asyncio.create_task(self._run(load, name, containers))
            self._running.add(running)
            running.add_done_callback(self._running.discard)
            await _either(running, load.is_dropped, seconds)
            if load.is_dropped.is_set():
                raise Unavailable("The model is not wanted any more.")
            if not running.done():
                raise LoadOverdue(f"It was not loaded within {seconds:g} s.")
            running.result()
        finally:
            load.is_dropped.set()
            self._loads.pop(name, None)

    async def _wait_for_turn(self, load: _Load) -> None:
        """Take the lock; given back by `_run`."""
        turn = asyncio.create_task(self._loading.acquire())
        try:
            await _either(turn, load.is_dropped, QUEUE_SECONDS)
            if turn.done() and not load.is_dropped.is_set():
                return
        except BaseException:
            self._give_up_turn(turn)
            raise
        self._give_up_turn(turn)
        if load.is_dropped.is_set():
            raise Unavailable("The model is not wanted any more.")
        raise Unavailable(f"Other models were being loaded in its process for {QUEUE_SECONDS:g} s.")

    def _give_up_turn(self, turn: asyncio.Task[Literal[True]]) -> None:
        turn.cancel()
        turn.add_done_callback(lambda done: None if done.cancelled() else self._loading.release())

    async def _run(self, load: _Load, name: str, containers: Sequence[ContainerFiles]) -> None:
        """Load, and let go again of what is not wanted any more by then."""
        try:
            places = await self._loaded(name, containers)
            if not load.is_dropped.is_set():
                self._models[name] = _Model(places)
                return
            for place in places:
                await _guarded(None, place.server.unload, name)
        except Exception:
            if not load.is_dropped.is_set():
                raise
            logger.warning("a model whose load was given up did not load", exc_info=True)
        finally:
            self._loading.release()

    async def _loaded(self, name: str, containers: Sequence[ContainerFiles]) -> list[_Place]:
        while len(self._places) < len(containers):
            self._places.append(_Place(await asyncio.to_thread(self._open_server, self._task)))
        places = self._places[: len(containers)]
        loaded: list[_Place] = []
        try:
            for place, container in zip(places, containers, strict=True):
                await _guarded(None, place.server.load, name, container.folder, container.environment)
                loaded.append(place)
        except BaseException:
            for place in loaded:
                await _guarded(None, place.server.unload, name)
            raise
        return places

    async def unload(self, name: str) -> None:
        """Take no more calls for a model, wait until those in it have ended, and let go of it.

        One that is being loaded is given up: at once where it waits, else when its loading ends.

        Raises:
            NotFound: it is neither loaded nor being loaded.
        """
        if (load := self._loads.get(name)) is not None and name not in self._models:
            load.is_dropped.set()
            return
        model = self._models.get(name)
        if model is None:
            raise NotFound(f"No model named {name} is loaded.")
        model.is_draining = True
        await model.is_idle.wait()
        if self._models.pop(name, None) is model:
            for place in model.places:
                await _guarded(None, place.server.unload, name)

    async def answer(self, name: str, call: Call) -> Reply:
        """Answer a call.

        Raises:
            Unavailable: the model takes no calls.
            GyropilotError: as ModelServer.answer.
        """
        with self._counted(name) as model:
            reply = None
            for number, place in enumerate(model.places, start=1):
                call = call if reply is None else _passed_on(call, reply)
                with _naming(number):
                    reply = await place.answer(name, call)
            assert reply is not None
            return reply

    @asynccontextmanager
    async def stream(self, name: str, call: Call) -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
        """Give content type and parts of an answer; the first part is there already, later ones may raise.

        Raises:
            Unavailable: the model takes no calls.
            GyropilotError: as ModelServer.stream.
        """
        with self._counted(name) as model:
            for number, place in enumerate(model.places[:-1], start=1):
                with _naming(number):
                    call = _passed_on(call, await place.answer(name, call))
            async with AsyncExitStack() as stack:
                with _naming(len(model.places)):
                    opened = await stack.enter_async_context(model.places[-1].streaming(name, call))
                yield opened

    @property
    def is_sound(self) -> bool:
        """Whether every server can still answer."""
        return all(place.server.is_sound for place in self._places)

    def close(self) -> None:
        """End what works in the background."""
        for place in self._places:
            place.server.close()

    def _counted(self, name: str) -> _Counted:
        model = self._models.get(name)
        if model is None:
            raise Unavailable("The model is not loaded in this replica.")
        if model.is_draining:
            raise Unavailable("The model is being unloaded from this replica.")
        return _Counted(model)


class _Load:
    """A load on its way."""

    def __init__(self) -> None:
        self.is_dropped = asyncio.Event()
        """Nobody wants it (any more)."""


class _Model:
    def __init__(self, places: list[_Place]) -> None:
        self.places = places
        self.is_draining = False
        self.calls = 0
        self.is_idle = asyncio.Event()
        self.is_idle.set()


class _Counted:
    """One call more in a model, while the block runs."""

    def __init__(self, model: _Model) -> None:
        self._model = model

    def __enter__(self) -> _Model:
        self._model.calls += 1
        self._model.is_idle.clear()
        return self._model

    def __exit__(self, *_: object) -> None:
        self._model.calls -= 1
        if self._model.calls == 0:
            self._model.is_idle.set()


class _Place:
    """One ModelServer, its threads, and the calls that wait for one of them."""

    def __init__(self, server: ModelServer) -> None:
        self.server = server
        at_once = max(1, server.calls_at_once)
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="call")
        self._free = asyncio.Semaphore(at_once)
        self._waiting = 0

    async def answer(self, name: str, call: Call) -> Reply:
        async with self._admitted(call):
            return await _guarded(self._pool, self.server.answer, name, call)

    @asynccontextmanager
    async def streaming(self, name: str, call: Call) -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
        async with self._admitted(call):
            flow = PartFlow(self._pool, partial(self.server.stream, name, call))
            try:
                yield await flow.content_type(), flow.parts()
            finally:
                call.cancelled.set()
                await flow.close()

    @asynccontextmanager
    async def _admitted(self, call: Call) -> AsyncIterator[None]:
        if self._waiting >= MOST_WAITING:
            raise LimitExceeded(f"{self._waiting} calls wait for this model already; try again.")
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        try:
            if call.cancelled.is_set():
                raise Unavailable("Nobody waits for this answer any more.")
            yield
        finally:
            self._free.release()


async def _either(work: asyncio.Task[Any], event: asyncio.Event, seconds: float) -> None:
    """Wait for the end of the work, or for the event, but no longer; the work goes on."""
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({work, waiting}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


@contextmanager
def _naming(number: int) -> Iterator[None]:
    """Say of a refusal by a container that is not the first which one it is: the caller did not write its payload."""
    try:
        yield
    except (InvalidRequest, InvalidData) as error:
        if number == 1:
            raise
        raise type(error).of(
            [replace(one, where=f"container {number}: {one.where}") for one in error.faults]
        ) from error


def _passed_on(call: Call, reply: Reply) -> Call:
    """Give the call that the next container of a chain gets."""
    content_type = reply.content_type.partition(";")[0].strip().lower()
    return replace(call, body=reply.body, content_type=content_type)


async def _guarded(pool: ThreadPoolExecutor | None, function: Callable[..., Answer], *arguments: object) -> Answer:
    """Call it in a thread; None: one of the loop's own. What would end the loop, or hang it, becomes RuntimeError."""

    def call() -> Answer:
        try:
            return function(*arguments)
        except Exception as error:
            if isinstance(error, StopIteration):
                raise RuntimeError("StopIteration out of a model") from error
            raise
        except BaseException as error:
            raise RuntimeError(f"{type(error).__name__} out of a model") from error

    return await asyncio.get_running_loop().run_in_executor(pool, partial(call))
