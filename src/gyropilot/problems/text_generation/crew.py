"""Computes the packs of a step, several at once where the way allows it; called by the loop.

On a CPU the work of one pack is thousands of short operations. Sharing out each of them makes threads wait for each
other at every one, most of all beside busy neighbours. So each thread computes whole packs, and they meet once a step.
Which pack has which share is fixed by the examples, and gradients are added in the packs' order: same bits every time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Literal, Self, TypeVar

import torch

from gyropilot.problems.text_generation import batches
from gyropilot.problems.text_generation.batches import Example, Pack
from gyropilot.problems.text_generation.forward import Forward

_T = TypeVar("_T")
_LEAST_TOKENS = 128
"""Below this, a product is too narrow to keep a core busy."""


class Crew:
    """Threads that compute packs; use it as a context."""

    def __init__(self, forward: Forward, *, threads: int) -> None:
        self._forward = forward
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads) if forward.is_parallel and threads > 1 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def packs(self, examples: Sequence[Example], *, max_tokens: int, max_examples: int) -> list[Pack]:
        """Give packs of the examples, each of one task; as many as threads where there is work for them.

        Virtual tokens count towards `max_tokens`: once a pack where it is one sequence, else with every example.
        """
        tasks = sorted({one.task for one in examples})
        parts = [[one for one in examples if one.task == task] for task in tasks]
        return [pack for part in parts for pack in self._packs(part, max_tokens=max_tokens, max_examples=max_examples)]

    def add_gradients(self, packs: Sequence[Pack], parameters: Sequence[torch.nn.Parameter]) -> float:
        """Add the gradients of the summed loss to the parameters' own; give the sum."""
        if self._pool is None:
            return sum(self._one_after_the_other(packs))

        def differentiated(pack: Pack) -> tuple[float, tuple[torch.Tensor, ...]]:
            loss = self._forward.loss_sum(pack)
            return float(loss.detach()), torch.autograd.grad(loss, parameters)

        total = 0.0
        for loss, gradients in self._together(differentiated, packs):
            total += loss
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
        return total

    def losses(self, packs: Sequence[Pack]) -> Iterator[float]:
        """Give each pack's summed loss, in order, without gradients."""

        def measured(pack: Pack) -> float:
            with torch.inference_mode():
                return float(self._forward.loss_sum(pack))

        return map(measured, packs) if self._pool is None else self._together(measured, packs)

    def _packs(self, examples: Sequence[Example], *, max_tokens: int, max_examples: int) -> Iterator[Pack]:
        virtual_tokens = self._forward.virtual_tokens
        if self._forward.layout != "packed":
            sides: Literal[1, 2] = 2 if self._forward.layout == "encoder-decoder" else 1
            return batches.padded(
                examples, max_tokens=max_tokens, max_examples=max_examples, sides=sides, virtual_tokens=virtual_tokens
            )
        workers = self._workers(sum(one.length for one in examples))
        left = max(1, max_tokens - virtual_tokens)
        return batches.packs(examples, max_tokens=left, max_examples=max_examples, multiple_of=workers)

    def _one_after_the_other(self, packs: Sequence[Pack]) -> Iterator[float]:
        for pack in packs:
            loss = self._forward.loss_sum(pack)
            loss.backward()  # type: ignore[no-untyped-call]
            yield float(loss.detach())

    def _together(self, work: Callable[[Pack], _T], packs: Sequence[Pack]) -> Iterator[_T]:
        assert self._pool is not None
        inner = max(1, self._threads // min(self._threads, len(packs)))

        def alone(pack: Pack) -> _T:
            torch.set_num_threads(inner)
            return work(pack)

        yield from self._pool.map(alone, packs)
        torch.set_num_threads(self._threads)

    def _workers(self, tokens: int) -> int:
        return 1 if self._pool is None else max(1, min(self._threads, tokens // _LEAST_TOKENS))
