"""Has the model answer the records of one object, several at once, and keeps the answers in their order."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable
from typing import BinaryIO

from gyropilot import clock
from gyropilot.control import transform_plans
from gyropilot.control.transform_plans import TransformPlan
from gyropilot.errors import InvalidData
from gyropilot.serve.replicas.client import ReplicaAnswer
from gyropilot.serve.transforms import assembling, filters, inputs, splitting
from gyropilot.serve.transforms.answering import Answering, NoAnswer
from gyropilot.serve.transforms.filters import Payload
from gyropilot.serve.transforms.splitting import Batch
from gyropilot.serve.transforms.work_folder import Progress, WorkFolder

NOTE_SECONDS = 1.0
"""How often a mark is made of how far the object is."""


class ObjectRun:
    """One object, from its mark to its end."""

    def __init__(
        self,
        plan: TransformPlan,
        answering: Answering,
        folder: WorkFolder,
        part: BinaryIO,
        number: int,
        progress: Progress,
        count: Callable[[str, int], None],
    ) -> None:
        self._plan, self._answering = plan, answering
        self._folder, self._part, self._number = folder, part, number
        self._progress, self._count = progress, count
        self._waiting: deque[tuple[Batch, Payload, asyncio.Task[ReplicaAnswer]]] = deque()
        self._noted_at = clock.monotonic()

    @property
    def records(self) -> int:
        """How many are answered."""
        return self._progress.mark.records

    async def run(self, source: inputs.Source, uri: str) -> None:
        """Have every record answered.

        Raises:
            InvalidData: one cannot be; the first in the order of the object is told.
        """
        try:
            await self._ask_all(source, uri)
        except BaseException:
            for _, _, task in self._waiting:
                task.cancel()
            await asyncio.gather(*(task for _, _, task in self._waiting), return_exceptions=True)
            raise
        finally:
            self._folder.note(self._number, self._part, self._progress)

    async def _ask_all(self, source: inputs.Source, uri: str) -> None:
        width = self._plan.calls_at_once * self._plan.replicas
        try:
            for batch in splitting.batches(source, self._plan, uri, self._progress.mark):
                payload = filters.payload_of(batch.records, self._plan, uri)
                while self._waiting and (len(self._waiting) >= width or self._has_no_room_for(payload)):
                    await self._settle()
                self._waiting.append((batch, payload, asyncio.create_task(self._answering.ask(payload.body))))
        except InvalidData:
            while self._waiting:  # what stands before it may be at fault too
                await self._settle()
            raise
        while self._waiting:
            await self._settle()

    def _has_no_room_for(self, payload: Payload) -> bool:
        held = sum(len(one.body) for _, one, _ in self._waiting)
        return held + len(payload.body) > transform_plans.WHOLE_OBJECT_BYTES

    def _unanswered(self, payload: Payload, said: str) -> InvalidData:
        if payload.count == 1:  # the model's "line 1" is the one that is named in front
            said = re.sub(r"(: |\| )line 1: ", r"\1", said)
        fix = "correct the record, or take it out of the input"
        if self._plan.input_format in ("json", "jsonlines") and self._plan.processing.input_filter.is_whole:
            fix += "; DataProcessing.InputFilter picks what of a record the model gets"
        return InvalidData(where=payload.where, problem=said, fix=fix)

    async def _settle(self) -> None:
        """Keep the answer that is next in order; one that cannot be kept stays the next."""
        batch, payload, task = self._waiting[0]
        try:
            answer = await task
        except NoAnswer as error:
            raise self._unanswered(payload, str(error)) from error
        kept = filters.output_of(payload, answer.body, answer.headers.get("content-type", ""), self._plan)
        self._waiting.popleft()
        written = self._part.write(assembling.piece(kept, self._plan))
        self._progress = Progress(mark=batch.after, written=self._progress.written + written)
        self._count("records_done", len(batch.records))
        if clock.monotonic() - self._noted_at > NOTE_SECONDS:
            self._folder.note(self._number, self._part, self._progress)
            self._noted_at = clock.monotonic()
