"""What asynchronous invocations hold in memory, so that many large ones leave the process small; on one event loop.

    input     waits until it fits beside those of all others, and of its account
    answer    goes on growing beyond what is small when no more than one other does, of another account

An input waits for nothing that a large answer needs, so each ends.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

MOST_BYTES = 64 * 2**20
MOST_BYTES_OF_ACCOUNT = MOST_BYTES // 2
"""What is larger than that comes alone."""
SMALL_BYTES = 2**18
"""Of an answer."""
MOST_LARGE = 2


class HeldBytes:
    """Counts what all invocations hold."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._inputs: Counter[str] = Counter()
        self._large: set[str] = set()

    @asynccontextmanager
    async def of_call(self, account_id: str, input_bytes: int) -> AsyncIterator[CallBytes]:
        """Wait until there is room for an input, and hold it, and what its answer takes, as long as the block."""
        call = CallBytes(self, account_id)
        async with self._changed:
            await self._changed.wait_for(lambda: self._fits(account_id, input_bytes))
            self._inputs[account_id] += input_bytes
        try:
            yield call
        finally:
            self._inputs[account_id] -= input_bytes
            if not self._inputs[account_id]:
                del self._inputs[account_id]
            if call.is_large:
                self._large.discard(account_id)
            async with self._changed:
                self._changed.notify_all()

    async def wait_for_large(self, account_id: str) -> None:
        """Wait until an answer of the account may be large."""
        async with self._changed:
            await self._changed.wait_for(lambda: account_id not in self._large and len(self._large) < MOST_LARGE)
            self._large.add(account_id)

    def _fits(self, account_id: str, size: int) -> bool:
        of_account, of_all = self._inputs[account_id], self._inputs.total()
        fits_account = not of_account or of_account + size <= MOST_BYTES_OF_ACCOUNT
        return fits_account and of_all + size <= MOST_BYTES


class CallBytes:
    """What one invocation holds."""

    def __init__(self, held: HeldBytes, account_id: str) -> None:
        self._held, self._account_id = held, account_id
        self.is_large = False

    async def grow(self, size: int) -> None:
        """Let the answer be that large; waits where too many are."""
        if size > SMALL_BYTES and not self.is_large:
            await self._held.wait_for_large(self._account_id)
            self.is_large = True
