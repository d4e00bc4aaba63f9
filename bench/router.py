"""What the way through the service adds to a call of a replica; run by `make bench`.

One replica process with a model that answers at once, and the doors as `gyropilot up` has them, in a process of their
own. Calls go by turns straight to the replica's socket and, signed, through the door; what is between is the door:
signature, rate, database, choice of a replica. The same plain client makes both, and signs outside the measured time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from gyropilot import names
from gyropilot.cli import processes
from gyropilot.problems.contract import Call, Reply, ServeTask, StreamedReply
from gyropilot.serve.replica.app import make_app
from gyropilot.serve.replica.hosted_models import ContainerFiles, HostedModels
from gyropilot.settings import Settings
from gyropilot.store import endpoints, replicas
from gyropilot.store.named_rows import NewRow
from gyropilot.store.replicas import ReplicaRecord

MILLISECONDS_ALLOWED = 3.0
_ENDPOINT = "bench"
_MODEL = "m"
_BODY = json.dumps({"inputs": "What is the capital of France?", "parameters": {"max_new_tokens": 1}}).encode()


class Echo:
    """A model that answers at once."""

    calls_at_once = 4
    is_sound = True

    def load(self, name: str, folder: Path, environment: Mapping[str, str]) -> None:
        """Do nothing."""

    def unload(self, name: str) -> None:
        """Do nothing."""

    def answer(self, name: str, call: Call) -> Reply:
        """Give the body back."""
        return Reply(body=call.body, content_type="application/json")

    def stream(self, name: str, call: Call) -> StreamedReply:
        """Give the body back, in one part."""
        return StreamedReply(content_type="application/json", parts=iter([call.body]))

    def close(self) -> None:
        """Do nothing."""


def main() -> int:
    """Measure and print; give 0 when the bound holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--role", choices=["replica", "door"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role == "replica":
        asyncio.run(replica(arguments.folder))
        return 0
    if arguments.role == "door":
        door(arguments.folder)
        return 0
    direct, routed = measure(arguments.calls)
    overhead = statistics.median(routed) - statistics.median(direct)
    load = os.getloadavg()[0]
    print(f"direct p50 {statistics.median(direct):.2f} ms, through the door p50 {statistics.median(routed):.2f} ms")
    print(f"direct p95 {_p95(direct):.2f} ms, through the door p95 {_p95(routed):.2f} ms; load {load:.1f}")
    print(f"router overhead p50 {overhead:.2f} ms")
    print(f"{'pass' if overhead <= MILLISECONDS_ALLOWED else 'FAIL'}: at most {MILLISECONDS_ALLOWED} ms")
    return 0 if overhead <= MILLISECONDS_ALLOWED else 1


def measure(calls: int) -> tuple[list[float], list[float]]:
    """Give the milliseconds of direct and of routed calls, taken by turns."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with _process("replica", folder), _process("door", folder):
            url, key, secret = json.loads((folder / "door.ready").read_text())
            straight, through = _unix(folder / "s"), _tcp(url)
            direct, routed = [], []
            for number in range(calls + calls // 10):
                direct.append(_timed(straight, _written("replica", f"/models/{_MODEL}/invocations", {})))
                routed.append(_timed(through, _signed(url, Credentials(key, secret))))
                if number == calls // 10 - 1:  # a tenth to warm up
                    direct, routed = [], []
            return direct, routed


async def replica(folder: Path) -> None:
    """Be the replica process."""
    task = ServeTask(base_models=folder, cores=1, memory_bytes=2**30)
    models = HostedModels(lambda _: Echo(), task)
    await models.load(_MODEL, [ContainerFiles(folder=folder, environment={})], seconds=60)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "s"))
    listener.listen()
    quiet = {"access_log": False, "log_config": None}
    config = uvicorn.Config(make_app(models), http="h11", ws="none", loop="asyncio", lifespan="off", **quiet)
    (folder / "replica.ready").touch()
    await uvicorn.Server(config).serve(sockets=[listener])


def door(folder: Path) -> None:
    """Be the process with the doors, as `gyropilot up` makes them, without what works in the background."""
    settings = processes._prepared(Settings(home=folder / "home", port=0, calls_per_second=1e6, log_level="WARNING"))
    with (
        processes._listening(settings) as listener,
        processes._home(settings),
        processes._house(settings, listener) as house,
    ):
        _deploy(house.db, settings, folder / "s")
        key, secret = house.credentials.first_admin()

        def ready(_settings: Settings) -> None:
            told = folder / "door.told"
            told.write_text(json.dumps([f"http://127.0.0.1:{house.settings.port}", key, secret]))
            told.rename(folder / "door.ready")

        processes._serve(house, listener, ready)


def _deploy(db: processes.Database, settings: Settings, path: Path) -> None:
    arn = names.arn(region=settings.region, account_id=settings.account_id, kind="endpoint", name=_ENDPOINT)
    row = NewRow(account_id=settings.account_id, region=settings.region, name=_ENDPOINT, arn=arn)
    wanted = {"config_name": "bench", "variants": [{"name": "main", "weight": 1.0, "model": {}}]}
    made = endpoints.create(db, row, principal="bench", wanted=wanted, tags={})
    endpoints.set_status(db, made.id, generation=1, status="InService", serving=wanted)
    record = ReplicaRecord(
        id=names.new_id(),
        endpoint_id=made.id,
        generation=1,
        variant="main",
        number=1,
        status="Ready",
        socket=str(path),
        model=_MODEL,
        restarts=0,
    )
    replicas.put(db, record)


@contextmanager
def _process(role: str, folder: Path) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, __file__, "--role", role, "--folder", str(folder)])
    try:
        deadline = time.monotonic() + 60
        while not (folder / f"{role}.ready").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the {role} did not start")
            time.sleep(0.01)
        yield
    finally:
        process.kill()
        process.wait()


def _signed(url: str, credentials: Credentials) -> bytes:
    path = f"/endpoints/{_ENDPOINT}/invocations"
    request = AWSRequest("POST", url + path, {"Content-Type": "application/json"}, _BODY)
    SigV4Auth(credentials, "sagemaker", Settings.region).add_auth(request)
    return _written(url.removeprefix("http://"), path, dict(request.headers.items()))


def _written(host: str, path: str, headers: Mapping[str, str]) -> bytes:
    named = {"Host": host, "Content-Type": "application/json", "Content-Length": str(len(_BODY))} | dict(headers)
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + _BODY


def _timed(connection: socket.socket, request: bytes) -> float:
    started_at = time.perf_counter()
    connection.sendall(request)
    answer = b""
    while not answer.endswith(_BODY):
        part = connection.recv(65536)
        if not part or (answer and not answer.startswith(b"HTTP/1.1 200")):
            raise SystemExit(f"no answer but {answer[:500]!r}")
        answer += part
    return (time.perf_counter() - started_at) * 1000


def _unix(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    return connection


def _tcp(url: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), 30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


if __name__ == "__main__":
    sys.exit(main())
