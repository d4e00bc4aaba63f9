"""Puts processes together out of the rooms; the only place that knows which doors share a port."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import os
import resource
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import uvicorn

from gyropilot import log, names
from gyropilot.api import app as api_app
from gyropilot.base_models.store import BaseModelStore
from gyropilot.cli import notes, service
from gyropilot.cli.connections import BoundedProtocol
from gyropilot.control.entrance import Entrance
from gyropilot.control.house import House
from gyropilot.engine.local_process import LocalProcessEngine
from gyropilot.errors import InvalidRequest
from gyropilot.local import machine
from gyropilot.problems.catalog import PROBLEMS
from gyropilot.s3 import app as s3_app
from gyropilot.serve.async_calls.runner import AsyncInvocations
from gyropilot.serve.doors import openai as openai_door
from gyropilot.serve.doors import runtime as runtime_door
from gyropilot.serve.doors.knocks import Shared
from gyropilot.serve.replicas.held_processes import HeldProcesses
from gyropilot.serve.replicas.model_files import ModelFiles
from gyropilot.serve.replicas.process import ReplicaRoom
from gyropilot.serve.replicas.standby import Runner, Standby
from gyropilot.serve.replicas.supervisor import Supervisor
from gyropilot.serve.transforms.runner import TransformRunner
from gyropilot.settings import Settings
from gyropilot.store import home_locks, homes, leases, objects, remote_objects, roles, sealed_rows
from gyropilot.store.database import Database
from gyropilot.store.folder_objects import FolderObjects
from gyropilot.store.home_locks import HomeLock
from gyropilot.store.principals import Credentials
from gyropilot.store.role_objects import RoleStores
from gyropilot.store.seals import Seal
from gyropilot.wire import signature
from gyropilot.worker.loop import Worker

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Announce = Callable[[Settings], None]

SERVER_PREFIXES = ("gyropilot.problems.",)
"""What the function that opens a model server must begin with."""


def serve_all(settings: Settings, announce: Announce) -> None:
    """Run every part of the service in this process until a signal ends it.

    `announce` is called once requests are taken, with the port that was really bound.
    """
    settings = _prepared(settings)
    # The port first: a start that fails on it leaves no new folders.
    with contextlib.ExitStack() as parts:
        listener = parts.enter_context(_listening(settings))
        parts.enter_context(_home(settings))
        house = parts.enter_context(_house(settings, listener))
        parts.enter_context(_working(house))
        parts.enter_context(_serving(house))
        _serve(house, listener, announce)


def serve_api(settings: Settings, announce: Announce) -> None:
    """Answer calls in this process until a signal ends it; others work on the jobs.

    Raises:
        InvalidRequest: the database is an SQLite file.
    """
    settings = _prepared(settings)
    _refuse_sqlite(settings, "api")
    with _listening(settings) as listener, _home(settings), _house(settings, listener) as house:
        _serve(house, listener, announce)


def work(settings: Settings, announce: Announce) -> None:
    """Work on jobs in this process until a signal ends it; others answer calls.

    `announce` is called once jobs are taken.

    Raises:
        InvalidRequest: the database is an SQLite file.
    """
    settings = _prepared(settings)
    _refuse_sqlite(settings, "worker")
    with _home(settings), _house(settings) as house, signals() as wait_for_signal, _working(house):
        announce(settings)
        wait_for_signal()


def serve_models(settings: Settings, announce: Announce) -> None:
    """Keep the replicas of endpoints in this process until a signal ends it; others answer calls.

    `announce` is called once it has begun; it may stand by for another one.

    Raises:
        InvalidRequest: the database is an SQLite file.
    """
    settings = _prepared(settings)
    _refuse_sqlite(settings, "serve")
    with _home(settings), _house(settings) as house, signals() as wait_for_signal, _serving(house):
        announce(settings)
        wait_for_signal()


@contextmanager
def signals() -> Iterator[Callable[[], object]]:
    """Give what waits, in the main thread, until SIGTERM or SIGINT has come since the block began.

    It waits at a socket that the interpreter writes to in the very moment. Handlers run between two steps of the main
    thread: one that sets an event can wait for ever for a lock that the thread below it holds in `wait`, and does not
    run at all where the signal comes just before a call that blocks.
    """
    reader, writer = socket.socketpair()
    writer.settimeout(0)
    with reader, writer:
        signal.set_wakeup_fd(writer.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        try:
            yield lambda: reader.recv(1)
        finally:
            signal.set_wakeup_fd(-1)


def fitted(settings: Settings) -> Settings:
    """Give the settings as this machine can keep them: an address for the host, no more jobs at once than cores.

    Raises:
        InvalidRequest: the host is no loopback address.
    """
    jobs_at_once = min(settings.jobs_at_once, _cores(settings))
    if jobs_at_once < settings.jobs_at_once:
        logger.warning("jobs_at_once is %d, one for each core, not %d", jobs_at_once, settings.jobs_at_once)
    return replace(settings, host=_loopback_address(settings.host), jobs_at_once=jobs_at_once)


def _loopback_address(host: str) -> str:
    if host.lower() == "localhost":
        return "127.0.0.1"
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError as error:
        raise InvalidRequest(
            where="setting host", found=host, problem="is no IP address", fix="use 127.0.0.1, ::1 or localhost"
        ) from error
    if not is_loopback:
        raise InvalidRequest(
            where="setting host",
            found=host,
            problem="is not a loopback address; the service speaks no TLS yet",
            fix="use 127.0.0.1 or ::1",
        )
    return host


def _prepared(settings: Settings) -> Settings:
    log.set_up(level=logging.getLevelNamesMapping()[settings.log_level.upper()])
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold the secrets of all keys
    # Until a part takes over, a request to end reads like Ctrl-C: what was begun is undone on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return fitted(settings)


def _refuse_sqlite(settings: Settings, command: str) -> None:
    if not settings.database_url:
        raise InvalidRequest(
            where="setting database_url",
            problem=f"is empty, so the database is an SQLite file, which one process must own; gyropilot {command} is"
            " for several processes that meet in a PostgreSQL database",
            fix="run everything in one process with gyropilot up, or set GYROPILOT_DATABASE_URL",
        )


def _serve(house: House, listener: socket.socket, announce: Announce) -> None:
    config = uvicorn.Config(
        _doors(house),
        http=BoundedProtocol,
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    # uvicorn raises the signal that ended it once more; unhandled, it would kill us before jobs are handed back.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ended_by_uvicorn)
    with notes.noted(house.settings):
        announce(house.settings)
        uvicorn.Server(config).run(sockets=[listener])


def _ended_by_uvicorn(_number: int, _frame: object) -> None:
    """Do nothing: serving has ended, and what follows it ends the process."""


@contextmanager
def _house(settings: Settings, listener: socket.socket | None = None) -> Iterator[House]:
    if listener is not None:
        settings = replace(settings, port=listener.getsockname()[1])
    db = Database.open(settings.database)
    try:
        if settings.database_url:
            homes.join(db, settings.home)
        roles.ensure_default(db, names.role_arn(settings.account_id, names.DEFAULT_ROLE_NAME))
        store = objects.open_objects(settings)
        _warn_of_silent_store(settings)
        seal = Seal.open(settings.seal)
        _warn_of_lost_secrets(db, seal, settings)
        yield House(
            settings=settings,
            db=db,
            objects=store,
            base_models=BaseModelStore(settings.base_models, settings.allow_downloads),
            credentials=Credentials.open(settings.credentials, settings.account_id, db=db, seal=seal),
            seal=seal,
            role_stores=RoleStores(store, seal),
            problems=PROBLEMS,
        )
    finally:
        db.close()


def _warn_of_silent_store(settings: Settings) -> None:
    if settings.s3_endpoint and (why := remote_objects.trouble(settings.s3_endpoint)):
        logger.warning("nothing answers at %s, the setting s3_endpoint: %s", settings.s3_endpoint, why)


def _warn_of_lost_secrets(db: Database, seal: Seal, settings: Settings) -> None:
    with db.read() as connection:
        rows = sealed_rows.read(connection)
    if lost := sealed_rows.lost(rows, seal):
        logger.warning("%s", sealed_rows.fault(lost, settings.seal))


@contextmanager
def _working(house: House) -> Iterator[None]:
    """Work on jobs while the block runs; at its end they are handed back."""
    settings = house.settings
    engine = LocalProcessEngine(cores=_cores(settings), memory_bytes=machine.job_memory_bytes(settings))
    worker = Worker(house, engine)
    with home_locks.join_crew(settings.home, when_first=lambda: leases.release_all(house.db)):
        worker.start()
        try:
            yield
        finally:
            worker.stop()


@contextmanager
def _serving(house: House) -> Iterator[None]:
    """Keep the replicas of endpoints while the block runs; they end with it."""
    standby = Standby(house.settings.home, lambda: _serving_runners(house))
    standby.start()
    try:
        yield
    finally:
        standby.stop()


def _serving_runners(house: House) -> list[Runner]:
    settings = house.settings
    memory_bytes = machine.replica_memory_bytes(settings)
    cores = settings.replica_cores or machine.cores()
    engine = LocalProcessEngine(cores=cores, memory_bytes=memory_bytes, allowed_prefixes=("gyropilot.serve.",))
    room = ReplicaRoom(
        house=house, engine=engine, cores=cores, memory_bytes=memory_bytes, allowed_servers=SERVER_PREFIXES
    )
    files, processes = ModelFiles(house), HeldProcesses(room)
    # Stopped in the other order: the supervisor ends the processes that both hold.
    return [Supervisor(house, processes, files), TransformRunner(house, processes, files), AsyncInvocations(house)]


def _doors(house: House) -> App:
    """Give one app that sends each request to its door, by the service name in its signature and its path."""
    entrance = Entrance(house.credentials, house.settings)
    api = api_app.make_app(house, entrance=entrance)
    shared = Shared.of(house, entrance)
    runtime = runtime_door.make_app(house, shared)
    openai = openai_door.make_app(house, shared)
    s3 = None
    if isinstance(house.objects, FolderObjects):
        s3 = s3_app.make_app(house.objects, house.credentials, house.settings)

    async def door(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path", "").startswith(openai_door.PATH_PREFIX):  # no bucket has a name so short
            await openai(scope, receive, send)
        elif scope["type"] == "lifespan" or _is_for_runtime(scope):
            await runtime(scope, receive, send)
        else:
            await (s3 if s3 and _is_for_s3(scope) else api)(scope, receive, send)

    return door


def _is_for_runtime(scope: Scope) -> bool:
    if not scope.get("path", "").startswith(runtime_door.PATH_PREFIX):
        return False
    service = signature.service_of(scope.get("headers", []), scope.get("query_string", b""))
    return service in (None, runtime_door.SIGNING_NAME)


def _is_for_s3(scope: Scope) -> bool:
    service = signature.service_of(scope.get("headers", []), scope.get("query_string", b""))
    if service is not None:
        return service == "s3"
    return scope.get("path") not in {"/", "/health"}


def _home(settings: Settings) -> HomeLock:
    """Take the home, alone if the database lies in it, and make the folders in it."""
    try:
        lock = home_locks.share(settings.home) if settings.database_url else home_locks.own(settings.home)
        for folder in (settings.scratch, settings.logs):
            folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InvalidRequest(
            where="setting home",
            found=str(settings.home),
            problem=f"cannot be made or written to: {error.strerror or error}",
            fix="choose a folder of your own with --home or GYROPILOT_HOME",
        ) from error
    return lock


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio switches Nagle's wait off only on sockets that name TCP; with it, answers in two sends take 40 ms more.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except OSError as error:
            raise _not_listening(settings, error) from error
        listener.listen(128)
        yield listener


def _not_listening(settings: Settings, error: OSError) -> InvalidRequest:
    problem, fix = f"cannot be listened on: {error.strerror}", "another service may hold it"
    here = (one for one in notes.newest_first(settings) if one["url"].endswith(f":{settings.port}"))
    note = next((one for one in here if notes.is_running(one) and service.answers(one["url"])), None)
    if error.errno == errno.EADDRINUSE and note is not None:
        problem = f"is held by the service that runs on this home (process {note.get('pid', 'unknown')})"
        fix = "use that one, or stop it"
    return InvalidRequest(
        where="setting port",
        found=settings.port,
        problem=problem,
        fix=f"{fix}; choose one with --port, or 0 for a free one",
    )


def _cores(settings: Settings) -> int:
    return settings.cores or machine.cores()
