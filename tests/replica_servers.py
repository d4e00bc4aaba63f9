"""Stand-ins for replica processes: real servers on Unix sockets that keep the contract and do what a body tells them.

    {"answer": text, "type": content type, "attributes": text}      a whole answer
    {"status": 400, "error": text}                                   a refusal
    {"parts": [texts], "gate": path, "cut": true}                    a stream; waits for the file `gate` after the first
                                                                     part; breaks off at the end where it is to be cut
    {"wait": path}                                                   waits for the file before it answers
    {"reached": path}                                                makes that file, when the call is there
    {"die": true}                                                    ends the process in the midst of the call
    {"headers": true}                                                tells what headers came
    anything else                                                    comes back as it is

A file `gone.<n>` beside the socket tells of each call whose caller went away.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def running(socket):
    """Give a process of a server on that socket, once it takes calls."""
    path = Path(socket)
    command = [sys.executable, __file__, str(path)]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + 30
        while not path.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield process
    finally:
        process.kill()
        process.wait()
        path.unlink(missing_ok=True)


class _Replica:
    def __init__(self, folder, name):
        self.folder = folder
        self.name = name
        self.gone = 0

    async def __call__(self, scope, receive, send):
        path = scope["path"].strip("/").split("/")
        body = bytearray()
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        if path[-1] != "invocations":
            await _answer(send, 200, b"{}", "application/json")
            return
        try:
            asked = json.loads(bytes(body))
        except ValueError:
            asked = None
        if not isinstance(asked, dict):
            asked = {}
        answering = asyncio.create_task(self.answer(send, asked, headers, bytes(body), path[1]))
        leaving = asyncio.create_task(_left(receive))
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            self.gone += 1
            answering.cancel()
            Path(self.folder, f"gone.{self.gone}").touch()
        leaving.cancel()
        if answering.done() and not answering.cancelled() and answering.exception():
            raise answering.exception()

    async def answer(self, send, asked, headers, body, model):
        if "reached" in asked:
            Path(asked["reached"]).touch()
        if asked.get("die"):
            os._exit(9)
        if "wait" in asked:
            await _file(asked["wait"])
        if "status" in asked:
            said = json.dumps({"error": asked.get("error", "")}).encode()
            await _answer(send, asked["status"], said, "application/json")
        elif asked.get("headers"):
            told = headers | {"model": model, "replica": self.name}
            await _answer(send, 200, json.dumps(told).encode(), "application/json")
        elif headers.get("x-gyropilot-stream") == "1":
            await _stream(send, asked)
        else:
            text = asked["answer"].encode() if "answer" in asked else body
            more = (
                [(b"x-amzn-sagemaker-custom-attributes", asked["attributes"].encode())] if "attributes" in asked else []
            )
            await _answer(send, 200, text, asked.get("type", "application/json"), more)


async def _stream(send, asked):
    headers = [(b"content-type", asked.get("type", "application/jsonlines").encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for number, part in enumerate(asked.get("parts", ["all"])):
        if number == 1 and "gate" in asked:
            await _file(asked["gate"])
        await send({"type": "http.response.body", "body": part.encode(), "more_body": True})
    if asked.get("cut"):
        raise ConnectionResetError("cut, as was asked")
    await send({"type": "http.response.body", "body": b""})


async def _answer(send, status, body, content_type, more=()):
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _left(receive):
    while (await receive())["type"] != "http.disconnect":
        pass


async def _file(path):
    while not Path(path).exists():
        await asyncio.sleep(0.005)


def main(path):
    import socket

    import uvicorn

    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    unready = f"{path}.unready"
    listener.bind(unready)
    listener.listen(1024)
    Path(unready).rename(path)  # seen only once it can be connected to
    app = _Replica(Path(path).parent, Path(path).name)
    config = uvicorn.Config(
        app, http="h11", ws="none", loop="asyncio", lifespan="off", log_config=None, access_log=False,
        timeout_keep_alive=3600,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1])
