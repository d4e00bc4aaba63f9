"""The ModelServers of a model's containers in a process that knows nothing of the training: calls in, answers out.

`python server_process.py` is that process; ServerProcess starts it and asks.
"""

from __future__ import annotations

import base64
import importlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from gyropilot.errors import InvalidRequest, LimitExceeded
from gyropilot.problems.contract import Call, ServeTask


class Refused(Exception):
    """The call was refused as the caller's fault."""


class ServerProcess:
    """One process with one model loaded; use it as a context."""

    def __init__(self, open_server, base_models, containers):
        """`containers` are (folder, environment) in the order of the chain."""
        told = {"open_server": open_server, "base_models": str(base_models)}
        told["containers"] = [(str(folder), dict(environment)) for folder, environment in containers]
        self._process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(told)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def ask(self, body, *, content_type="application/json", accept="", style="invoke", is_streamed=False):
        """Give content type and body; Refused where the call is; anything else that is raised ends the test."""
        told = {"body": base64.b64encode(body).decode(), "content_type": content_type, "accept": accept}
        self._process.stdin.write(json.dumps({**told, "style": style, "is_streamed": is_streamed}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the process died"
        answer = json.loads(line)
        if "refused" in answer:
            raise Refused(answer["refused"])
        assert "broke" not in answer, (answer["broke"], body)
        return answer["content_type"], base64.b64decode(answer["body"])

    @property
    def is_alive(self):
        return self._process.poll() is None


def main():
    told = json.loads(sys.argv[1])
    module, _, function = told["open_server"].partition(":")
    task = ServeTask(base_models=Path(told["base_models"]), cores=1, memory_bytes=0)
    servers = []
    for folder, environment in told["containers"]:
        servers.append(getattr(importlib.import_module(module), function)(task))
        servers[-1].load("model", Path(folder), environment)
    for line in sys.stdin:
        print(json.dumps(answered(servers, json.loads(line))), flush=True)
    for server in servers:
        server.close()


def answered(servers, told):
    is_streamed = told.pop("is_streamed")
    call = Call(**{**told, "body": base64.b64decode(told["body"])}, model_name="shop")
    *before, server = servers
    try:
        for one in before:
            reply = one.answer("model", call)
            call = replace(call, body=reply.body, content_type=reply.content_type)
        if is_streamed:
            streamed = server.stream("model", call)
            content_type, body = streamed.content_type, b"".join(streamed.parts)
        else:
            reply = server.answer("model", call)
            content_type, body = reply.content_type, reply.body
    except (InvalidRequest, LimitExceeded) as error:
        return {"refused": str(error)}
    except Exception as error:
        return {"broke": repr(error)}
    return {"content_type": content_type, "body": base64.b64encode(body).decode()}


if __name__ == "__main__":
    main()
