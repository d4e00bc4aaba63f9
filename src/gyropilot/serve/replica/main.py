"""What runs in a replica process: models behind HTTP on an owner-only Unix socket, without network or credentials.

The supervisor starts it through the engine; `replica_app.py` has the calls it answers. A model that breaks on a call
does not end the process; what must end it, as want of memory, the supervisor sees.
"""

from __future__ import annotations

import asyncio
import importlib
import socket
from collections.abc import Mapping
from pathlib import Path

import uvicorn

from gyropilot import log
from gyropilot.errors import NotAllowed
from gyropilot.problems.contract import Json, Reporter, ServeTask
from gyropilot.serve.replica.app import make_app
from gyropilot.serve.replica.hosted_models import HostedModels, OpenServer

LEAVE_SECONDS = 5
"""How long the calls inside may go on once the process is asked to end."""
_ORDER_SECONDS = 0.1
_KEEP_ALIVE_SECONDS = 3600
"""Longer than any client keeps a connection: it, not we, ends an idle one, so that no call meets its end."""


def run(arguments: Mapping[str, Json], reporter: Reporter) -> Json:
    """Answer calls until told to stop; gives an empty object.

    `arguments`: open_server ("module:function"), allowed_prefixes (what that must begin with), socket, base_models,
    cores, memory_bytes.
    """
    log.set_up()
    task = ServeTask(
        base_models=Path(arguments["base_models"]),
        cores=arguments["cores"],
        memory_bytes=arguments["memory_bytes"],
    )
    open_server = _resolved(arguments["open_server"], tuple(arguments["allowed_prefixes"]))
    asyncio.run(_serve(open_server, task, Path(arguments["socket"]), reporter))
    return {}


async def _serve(open_server: OpenServer, task: ServeTask, path: Path, reporter: Reporter) -> None:
    models = HostedModels(open_server, task)
    config = uvicorn.Config(
        make_app(models),
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=LEAVE_SECONDS,
    )
    server = uvicorn.Server(config)
    listener = _listening(path)
    orders = asyncio.create_task(_obey(server, reporter))
    try:
        await server.serve(sockets=[listener])
    finally:
        orders.cancel()
        path.unlink(missing_ok=True)
        models.close()


async def _obey(server: uvicorn.Server, reporter: Reporter) -> None:
    while not (reporter.stop_requested() or reporter.hand_back_requested()):
        await asyncio.sleep(_ORDER_SECONDS)
    server.should_exit = True


def _listening(path: Path) -> socket.socket:
    """Give a socket that only this user can connect to; the folder is closed to others as well."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(1024)
    except BaseException:
        listener.close()
        raise
    return listener


def _resolved(name: str, allowed_prefixes: tuple[str, ...]) -> OpenServer:
    if not name.startswith(allowed_prefixes):
        raise NotAllowed(f"{name} is not a function that opens a model server")
    module, _, function = name.partition(":")
    found: OpenServer = getattr(importlib.import_module(module), function)
    return found
