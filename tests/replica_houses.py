"""A house of the small problem type whose replicas are real processes, and calls to their sockets."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from pathlib import Path

import mean_problem
from gyropilot.engine.local_process import LocalProcessEngine
from gyropilot.serve.replicas.process import ReplicaRoom

TESTS = Path(mean_problem.__file__).parent
DEADLINE_SECONDS = 60


def room(house, *, memory_bytes=2**30, **chosen):
    engine = LocalProcessEngine(
        cores=1, memory_bytes=2**31, allowed_prefixes=("gyropilot.serve.",), python_path=(TESTS,), heartbeat_seconds=0.2
    )
    return ReplicaRoom(
        house=house, engine=engine, cores=1, memory_bytes=memory_bytes, allowed_servers=("mean_problem:",), **chosen
    )


def write_model(folder, mean=2.0, **more):
    """Write an unpacked model of the small problem type."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").write_text(json.dumps({"mean": mean} | more))
    return folder


class Answer:
    def __init__(self, status, content_type, body):
        self.status, self.content_type, self.body = status, content_type, body

    @property
    def error(self):
        return json.loads(self.body)["error"]


class Connection(http.client.HTTPConnection):
    """HTTP on a Unix socket."""

    def __init__(self, path, *, seconds=DEADLINE_SECONDS):
        super().__init__("replica", timeout=seconds)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask(path, method, target, body=None, **headers):
    """One request on a connection of its own; header names with _ for -."""
    connection = Connection(path)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, target, body, named)
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers["content-type"], answer.read())
    finally:
        connection.close()


def invoke(path, name, body, content_type="text/csv", **headers):
    return ask(path, "POST", f"/models/{name}/invocations", body, Content_Type=content_type, **headers)


def wait_until(condition, what, *, seconds=DEADLINE_SECONDS):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what() if callable(what) else what}"
        threading.Event().wait(0.01)
    return found
