"""Works off asynchronous invocations: input from its bucket, answer or failure to the bucket that was promised.

    look       rows that wait, for endpoints with room     in a thread, some times a second
    work       input -> router -> answer                   a task each, on this runner's own event loop
    done       the row is removed once the answer lies where it belongs; a crash before that repeats the work

An invocation that finds no replica, no database or no object store waits on, until its RequestTTLSeconds are over; one
whose replica dies is tried again, three times in all. A failure that cannot be stored is kept, and tried again for
RequestTTLSeconds more. Accounts come in turn, and so do the endpoints of each.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from gyropilot import clock
from gyropilot.control import roles
from gyropilot.control.house import House
from gyropilot.engine.trouble import may_pass
from gyropilot.errors import InvalidData, ModelNotReady, NotFound, Unavailable
from gyropilot.names import split_s3_uri
from gyropilot.serve.async_calls import failures
from gyropilot.serve.async_calls.held_bytes import HeldBytes
from gyropilot.serve.replicas.client import Grow, ReplicaBroke, ReplicaCall
from gyropilot.serve.router import CUSTOM_ATTRIBUTES, INFERENCE_ID, Answer, Router
from gyropilot.store import async_invocations, endpoints, replicas
from gyropilot.store.async_invocations import AsyncInvocation
from gyropilot.store.object_info import ObjectInfo
from gyropilot.wire.rest import MAX_BODY_BYTES

Json = Any

MOST_AT_ONCE = 64
MOST_OF_ACCOUNT = 48
MOST_LATE = 16
"""Of those that only have to be failed."""
CALLS_PER_REPLICA = 4
"""Where the endpoint's configuration has no MaxConcurrentInvocationsPerInstance."""
MOST_ATTEMPTS = 3

_POLL_SECONDS = 0.25
_FAILURE_AGAIN_SECONDS = 60.0

_LATE = "It waited for longer than its RequestTTLSeconds."

logger = logging.getLogger(__name__)


class AsyncInvocations:
    """The runner; one process of a home has one at work, the one that holds the lock `serve`.

    `wait_seconds` go by before what did not succeed is tried again.
    """

    def __init__(self, house: House, *, wait_seconds: float = 1.0) -> None:
        self._house, self._wait_seconds = house, wait_seconds
        self._running: Counter[str] = Counter()
        """By endpoint."""
        self._late = 0
        self._bytes = HeldBytes()
        self._accounts: dict[str, str] = {}
        """Of the endpoints that were looked at; empty of those that were deleted."""
        self._going_down = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()), name="async-invocations")

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """Give back what runs, and wait until that is done."""
        self._going_down.set()
        self._thread.join()

    async def _work(self) -> None:
        router = Router(self._house)
        tasks: set[asyncio.Task[None]] = set()
        try:
            await self._written(async_invocations.give_all_back, self._house.db)
            while not self._going_down.is_set():
                for invocation, why_not in await self._looked():
                    self._running[invocation.endpoint_id] += 1
                    self._late += why_not == _LATE
                    task = asyncio.create_task(self._worked_off(router, invocation, why_not))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                await asyncio.sleep(_POLL_SECONDS)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await router.close()

    async def _looked(self) -> list[tuple[AsyncInvocation, str]]:
        try:
            return await asyncio.to_thread(self._look, self._running.copy())
        except Unavailable as error:
            logger.warning("no asynchronous invocations can be looked for, trying again: %s", error)
        except Exception:
            logger.exception("looking for asynchronous invocations failed; trying again")
        await asyncio.sleep(self._wait_seconds)
        return []

    def _look(self, running: Counter[str]) -> list[tuple[AsyncInvocation, str]]:
        """Take invocations that there is room for, and those that have to be failed; the latter with the reason."""
        db, room = self._house.db, MOST_AT_ONCE - running.total()
        if room <= 0:
            return []
        found = [(one, _LATE) for one in async_invocations.take_expired(db, min(room, max(0, MOST_LATE - self._late)))]
        running += Counter(one.endpoint_id for one, _ in found)
        waiting = async_invocations.waiting_endpoints(db)
        places = {one: self._room_of(one, running[one]) for one in waiting}
        # Those in work count for their accounts too, though none of theirs may wait.
        self._accounts = {one: account for one, account in self._accounts.items() if one in running or one in places}
        for endpoint_id, most in self._shares({one: most for one, (most, _) in places.items()}, running).items():
            why_not = places[endpoint_id][1]
            found += [(one, why_not) for one in async_invocations.take(db, endpoint_id, most)]
        return found

    def _shares(self, places: Mapping[str, int], running: Counter[str]) -> Counter[str]:
        """Share the free places out: each to the account, and there to the endpoint, that has the fewest."""
        running, given = Counter(running), Counter[str]()
        of_account = Counter[str]()
        for endpoint_id, count in running.items():
            of_account[self._accounts.get(endpoint_id, "")] += count
        while running.total() < MOST_AT_ONCE:
            taking = [
                one for one, most in places.items()
                if given[one] < most and of_account[self._accounts[one]] < MOST_OF_ACCOUNT
            ]  # fmt: skip
            if not taking:
                break
            chosen = min(taking, key=lambda one: (of_account[self._accounts[one]], running[one], given[one]))
            for counter, key in ((running, chosen), (given, chosen), (of_account, self._accounts[chosen])):
                counter[key] += 1
        return given

    def _room_of(self, endpoint_id: str, running: int) -> tuple[int, str]:
        """Give how many more calls an endpoint takes; of one that takes none ever again, why."""
        endpoint = endpoints.get(self._house.db, endpoint_id)
        self._accounts[endpoint_id] = "" if endpoint is None else endpoint.account_id
        if endpoint is None or endpoint.status == "Deleting":
            return MOST_AT_ONCE, "The endpoint was deleted."
        if endpoint.serving is None:
            is_lost = endpoint.status == "Failed"
            return (MOST_AT_ONCE, f"The endpoint failed: {endpoint.failure_reason}") if is_lost else (0, "")
        client = endpoint.serving.get("async", {}).get("ClientConfig", {})
        each = client.get("MaxConcurrentInvocationsPerInstance", CALLS_PER_REPLICA)
        ready = [one for one in replicas.of_endpoint(self._house.db, endpoint_id) if one.status == "Ready"]
        return each * len(ready) - running, ""

    async def _worked_off(self, router: Router, invocation: AsyncInvocation, why_not: str) -> None:
        try:
            await self._answered(router, invocation, why_not)
        except asyncio.CancelledError:
            await self._given_back(invocation, is_counted=False)
            raise
        except Exception:
            logger.exception("asynchronous invocation %s could not even be failed", invocation.id)
            await self._given_back(invocation, is_counted=True)
        finally:
            self._late -= why_not == _LATE
            self._running[invocation.endpoint_id] -= 1
            if not self._running[invocation.endpoint_id]:
                del self._running[invocation.endpoint_id]

    async def _answered(self, router: Router, invocation: AsyncInvocation, why_not: str) -> None:
        try:
            if not why_not and "failure" not in invocation.request:
                await self._asked(router, invocation)
        except Exception as error:
            # A replica that died on it may do so again; what else is away says nothing about the invocation.
            is_counted = isinstance(error.__cause__, ReplicaBroke)
            is_worth_it = isinstance(error, ModelNotReady) or may_pass(error)
            if is_worth_it and not (is_counted and invocation.attempts >= MOST_ATTEMPTS):
                logger.info("asynchronous invocation %s waits again: %s", invocation.id, error)
                await asyncio.sleep(self._wait_seconds)
                await self._given_back(invocation, is_counted=is_counted)
                return
            why_not = failures.told(invocation, error)
        if "failure" in invocation.request:
            why_not = str(invocation.request["failure"]["why"])
        if why_not and not await asyncio.to_thread(self._store_failure, invocation, why_not):
            await self._failure_kept(invocation, why_not)
            return
        await self._written(async_invocations.remove, self._house.db, invocation.id)

    async def _asked(self, router: Router, invocation: AsyncInvocation) -> None:
        """Ask the model and store its answer."""
        found = await asyncio.to_thread(self._input, invocation)
        size = 0 if found is None else found.size_bytes
        async with self._bytes.of_call(invocation.request["account_id"], size) as held:
            answer = await self._answer(router, invocation, found, held.grow)
            await asyncio.to_thread(self._store_answer, invocation, answer)

    async def _answer(
        self, router: Router, invocation: AsyncInvocation, found: ObjectInfo | None, grow: Grow
    ) -> Answer:
        request = invocation.request
        body = await asyncio.to_thread(self._body, invocation, found)
        name = request["endpoint_name"]
        target = await asyncio.to_thread(router.find, request["account_id"], request["region"], name)
        if target.endpoint.id != invocation.endpoint_id:
            raise NotFound(f"The endpoint {name} was deleted; the one of that name came later.")
        passed_on = {CUSTOM_ATTRIBUTES: request["custom_attributes"], INFERENCE_ID: request["inference_id"]}
        call = ReplicaCall(
            body=body,
            content_type=request["content_type"],
            accept=request["accept"],
            model_name=name,
            more_headers={header: text for header, text in passed_on.items() if text},
        )
        return await router.invoke(target, call, seconds=request["invocation_seconds"], grow=grow)

    def _input(self, invocation: AsyncInvocation) -> ObjectInfo | None:
        """Give the object that is the input; None where the input came with the call."""
        request = invocation.request
        if request["body"] is not None:
            return None
        uri = request["input_location"]
        found = roles.objects_of_job(self._house, request["role_arn"]).head(*split_s3_uri(uri))
        if found is None or found.size_bytes > MAX_BODY_BYTES:
            what = "is gone" if found is None else f"has {found.size_bytes} bytes, of {MAX_BODY_BYTES} at most"
            raise NotFound(f"InputLocation: {uri} {what}, since it was changed after the invocation was taken.")
        return found

    def _body(self, invocation: AsyncInvocation, found: ObjectInfo | None) -> bytes:
        request = invocation.request
        if found is None:
            return base64.b64decode(request["body"])
        objects = roles.objects_of_job(self._house, request["role_arn"])
        try:
            return b"".join(objects.stream(found.bucket, found.key, etag=found.etag))
        except InvalidData as error:
            raise NotFound(f"InputLocation: {found.uri} was changed or deleted while it was read.") from error

    def _store_answer(self, invocation: AsyncInvocation, answer: Answer) -> None:
        self._put(invocation, invocation.request["output_location"], answer.body, answer.content_type)
        logger.info("asynchronous invocation %s: answered", invocation.id)

    def _store_failure(self, invocation: AsyncInvocation, why: str) -> bool:
        """Store what went wrong where it was promised; False: it has to be tried again."""
        logger.warning("asynchronous invocation %s failed: %s", invocation.id, why)
        place = invocation.request["failure_location"]
        if place is None:
            return True
        try:
            self._put(
                invocation,
                place,
                json.dumps(failures.notice(invocation, why), indent=1).encode(),
                "application/json",
            )
        except Exception as error:
            given_up_at = failures.until(invocation)
            if may_pass(error) and clock.now() < given_up_at:
                logger.warning(
                    "the failure of asynchronous invocation %s cannot be stored, which is tried until %s: %s",
                    invocation.id,
                    given_up_at.isoformat(timespec="seconds"),
                    error,
                )
                return False
            logger.error("the failure of asynchronous invocation %s cannot be stored: %s", invocation.id, error)
        return True

    async def _failure_kept(self, invocation: AsyncInvocation, why: str) -> None:
        """Let an invocation wait with its failure, which is not asked of the model anew."""
        failure = {"why": why, "until": failures.until(invocation).isoformat()}
        again_at = clock.now() + timedelta(seconds=_FAILURE_AGAIN_SECONDS)
        await asyncio.sleep(self._wait_seconds)
        await self._written(async_invocations.give_back_failed, self._house.db, invocation, failure, again_at)

    def _put(self, invocation: AsyncInvocation, uri: str, body: bytes, content_type: str) -> None:
        objects = roles.objects_of_job(self._house, invocation.request["role_arn"])
        objects.put_bytes(*split_s3_uri(uri), body, content_type or "application/octet-stream")

    async def _given_back(self, invocation: AsyncInvocation, *, is_counted: bool) -> None:
        await self._written(lambda: async_invocations.give_back(self._house.db, invocation, is_counted=is_counted))

    async def _written(self, write: Callable[..., object], *given: object) -> None:
        """Write to the database, again and again while it is away; at the end of the service once only.

        What is not written then is as if it still ran, and waits again when the next runner starts.
        """
        while True:
            try:
                await asyncio.shield(asyncio.to_thread(write, *given))
                return
            except Unavailable as error:
                logger.warning("an asynchronous invocation cannot be written, trying again: %s", error)
                if self._going_down.is_set():
                    return
                await asyncio.sleep(self._wait_seconds)
