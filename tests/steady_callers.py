"""A client that calls an endpoint at a steady rate through the router, and remembers every answer."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from contextlib import contextmanager

import houses
from gyropilot import names
from gyropilot.errors import GyropilotError
from gyropilot.serve.replicas.client import ReplicaCall
from gyropilot.serve.router import Router


class SteadyCaller:
    """Sends the rows `sleep <seconds>`, `echo <number>` again and again; each answer must hold its number, and a mean.

    `lasting_seconds` is how long a call takes at least.
    """

    def __init__(self, house, endpoint_name, *, calls_per_second, lasting_seconds):
        self.means = Counter()
        """How often each mean was answered."""
        self.errors = Counter()
        """How often each error of ours came."""
        self.wrong = []
        """Answers that were not to the call they came for, and errors that are not modelled."""
        self.sent = 0
        self._house, self._name, self._seconds = house, endpoint_name, 1 / calls_per_second
        self._lasting_seconds = lasting_seconds
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._call_on()))

    @property
    def answered(self):
        return sum(self.means.values())

    def start(self):
        self._thread.start()

    def stop(self):
        """Stop sending and wait for every answer."""
        self._is_over.set()
        self._thread.join()

    async def _call_on(self):
        router = Router(self._house)
        calls = set()
        while not self._is_over.is_set():
            calls.add(asyncio.create_task(self._call(router, self.sent)))
            self.sent += 1
            await asyncio.sleep(self._seconds)
            calls = {one for one in calls if not one.done()}
        await asyncio.gather(*calls)
        await router.close()

    async def _call(self, router, number):
        body = f"sleep {self._lasting_seconds}\necho {number}".encode()
        try:
            target = await asyncio.to_thread(router.find, names.ACCOUNT_ID, houses.REGION, self._name)
            answer = await router.invoke(target, ReplicaCall(body=body, content_type="text/csv"))
        except GyropilotError as error:
            self.errors[type(error).__name__] += 1
        except Exception as error:
            self.wrong.append(repr(error))
        else:
            mean = answer.body.split(b"\n")[0]
            if answer.body != mean + b"\n" + mean + b",echo %d\n" % number:
                self.wrong.append(answer.body)
            self.means[float(mean)] += 1


@contextmanager
def calling(house, endpoint_name, *, calls_per_second=40, lasting_seconds=0.05):
    caller = SteadyCaller(house, endpoint_name, calls_per_second=calls_per_second, lasting_seconds=lasting_seconds)
    caller.start()
    try:
        yield caller
    finally:
        caller.stop()
