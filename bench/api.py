"""How fast the API answers, over a real `gyropilot up` on a fresh home with SQLite; run by `make bench`.

Jobs wait in the queue all the while: one row in the database says that another owner works on a job, so the worker
takes no other one (it goes on asking four times a second). The client is raw HTTP over kept-alive connections; its
requests are signed before the clock runs, the cost of signing is shown apart, and boto3 beside it.

    creates      100 a second for 20 s at fixed moments over 4 connections, then as fast as they go
    describes    one after the other, with 1,000 jobs queued
    lists        every page of 100 over 10,000 jobs, by each order; the jobs beyond those created are copies of a row
    durable      the service is killed (SIGKILL) after the last acknowledged create; then the jobs are counted

moto's server is measured beside it where it is found, with the same requests: a fake of AWS for tests, which holds its
state in memory and checks neither signature nor request. It closes each connection, so its times have a new one in
them. It belongs in an environment of its own (`pip install "moto[server,sagemaker]"`); `--moto-server` names its
executable, by default that on the PATH. Ratios over it are our milliseconds divided by moto's.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
import services

DESCRIBE_P50_MS, DESCRIBE_P99_MS = 3.0, 50.0
LIST_P99_MS = 100.0
CREATES_PER_SECOND = 100
SECONDS = 20
QUEUED, LISTED = 1_000, 10_000
CONNECTIONS = 4
Json = Any


def main() -> int:
    """Measure and print; give 0 when every bar holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=2_000, help="describes measured")
    parser.add_argument("--moto-server", default=shutil.which("moto_server"), help="executable of moto's server")
    arguments = parser.parse_args()
    bars = Bars()
    with tempfile.TemporaryDirectory() as folder:
        ours = measure_ours(Path(folder), arguments.calls, bars)
    if arguments.moto_server:
        compare(ours, measure_moto(arguments.moto_server, arguments.calls))
    else:
        print("moto's server was not found; no comparison")
    return bars.told()


def measure_ours(folder: Path, calls: int, bars: Bars) -> dict[str, list[float]]:
    """Measure a service on a fresh home; give milliseconds of creates and describes."""
    service = services.Service(folder / "home", calls_per_second=100_000, open_jobs_per_account=1_000_000)
    service.start()
    try:
        prepare(service, folder)
        caller = Caller.of(service)
        role = service.variables["GYROPILOT_ROLE_ARN"]
        first = time_creates(caller, role, QUEUED)
        print(f"creates one after the other: {shown(first)}")
        described = time_calls(caller, [("DescribeAutoMLJobV2", {"AutoMLJobName": "queued-500"})] * calls)
        print(f"describes with {QUEUED} jobs queued: {shown(described)}")
        print(f"signing by botocore, apart: {shown(caller.signing_ms)}")
        print(f"describes by boto3, signing and parsing in it: {shown(time_boto3(service, calls // 4))}")
        print(f"describes over {CONNECTIONS} connections at once: {shown(describe_at_once(caller, calls))}")
        bars.add("describe p50", quantile(described, 0.50), DESCRIBE_P50_MS, "ms")
        bars.add("describe p99", quantile(described, 0.99), DESCRIBE_P99_MS, "ms")
        acknowledged = sustain_creates(caller, role, bars)
        fill(service, LISTED)
        list_everything(caller, bars)
        service.kill()
        kept = names_in(service)
        lost = [name for name in acknowledged if name not in kept]
        print(f"after SIGKILL {len(acknowledged) - len(lost)} of {len(acknowledged)} acknowledged jobs are there")
        bars.add("acknowledged creates lost", len(lost), 0, "")
    finally:
        if service.process.poll() is None:
            service.stop()
    return {"create": first, "describe": described}


def prepare(service: services.Service, folder: Path) -> None:
    """Install a tiny base model and a row of data, and keep the worker from taking jobs."""
    added = service.gyropilot("models", "add", services.TINY, services.make_tiny_model(folder / "tiny"))
    if added.returncode:
        raise SystemExit(added.stderr)
    services.put_rows(service, services.rows(40))
    service.boto3("sagemaker").create_auto_ml_job_v2(**services.request(service, "held"))
    with database(service) as connection:
        connection.execute("UPDATE jobs SET lease_owner = 'bench', lease_token = 'bench', lease_until = ?", [2**62])
    service.boto3("sagemaker").stop_auto_ml_job(AutoMLJobName="held")
    with database(service) as connection:
        connection.execute("UPDATE jobs SET status = 'InProgress', ended_at = NULL, stop_requested_at = NULL")


@dataclass(frozen=True)
class Caller:
    """Signs requests for one address and sends them."""

    port: int
    key: str
    secret: str
    signing_ms: list[float]

    @classmethod
    def of(cls, service: services.Service) -> Caller:
        """Give the caller of a service, with its first key."""
        given = service.variables
        port = int(given["AWS_ENDPOINT_URL"].rpartition(":")[2])
        return cls(port, given["AWS_ACCESS_KEY_ID"], given["AWS_SECRET_ACCESS_KEY"], [])

    def signed(self, operation: str, body: Json) -> bytes:
        """Give the bytes of a signed call."""
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"SageMaker.{operation}"}
        started_at = time.perf_counter()
        request = AWSRequest("POST", f"http://127.0.0.1:{self.port}/", headers, data)
        SigV4Auth(Credentials(self.key, self.secret), "sagemaker", "us-east-1").add_auth(request)
        self.signing_ms.append((time.perf_counter() - started_at) * 1000)
        lines = [f"{name}: {value}" for name, value in request.headers.items()]
        lines += [f"Host: 127.0.0.1:{self.port}", f"Content-Length: {len(data)}"]
        return "\r\n".join(["POST / HTTP/1.1", *lines, "", ""]).encode() + data


class Connection:
    """One connection, kept alive as long as the server does; made anew, within a call's time, when it does not."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open()

    def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send one call and give status and body of its answer."""
        if self._ends:
            self._socket.close()
            self._open()
        self._socket.sendall(request)
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))
        while len(self._buffer) < length:
            self._receive()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        self._ends = b"connection: close" in lines
        return int(lines[0].split()[1]), body

    def _open(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self._ends = False

    def _receive(self) -> None:
        data = self._socket.recv(1 << 20)
        if not data:
            raise SystemExit("the service closed a connection")
        self._buffer += data


def time_calls(caller: Caller, calls: list[tuple[str, Json]]) -> list[float]:
    """Give the milliseconds that each call took, one after the other, all answered with 200."""
    requests = [caller.signed(*call) for call in calls]
    connection = Connection(caller.port)
    return [timed(connection, request) for request in requests]


def timed(connection: Connection, request: bytes) -> float:
    """Give the milliseconds until the answer."""
    started_at = time.perf_counter()
    status, body = connection.ask(request)
    milliseconds = (time.perf_counter() - started_at) * 1000
    if status != 200:
        raise SystemExit(f"a call was answered with {status}: {body[:1000]!r}")
    return milliseconds


def create_call(role: str, name: str) -> tuple[str, Json]:
    """Give the call that creates a job."""
    channel = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/train/"}}
    # moto cannot do without CompletionCriteria.
    config = {"BaseModelName": services.TINY, "CompletionCriteria": {"MaxCandidates": 1}}
    request = {
        "AutoMLJobName": name,
        "AutoMLJobInputDataConfig": [{"DataSource": channel}],
        "OutputDataConfig": {"S3OutputPath": "s3://data/out"},
        "AutoMLProblemTypeConfig": {"TextGenerationJobConfig": config},
        "RoleArn": role,
    }
    return "CreateAutoMLJobV2", request


def time_creates(caller: Caller, role: str, count: int) -> list[float]:
    """Create jobs one after the other."""
    return time_calls(caller, [create_call(role, f"queued-{number}") for number in range(count)])


def time_boto3(service: services.Service, count: int) -> list[float]:
    """Describe by boto3."""
    client = service.boto3("sagemaker")
    taken = []
    for _ in range(count):
        started_at = time.perf_counter()
        client.describe_auto_ml_job_v2(AutoMLJobName="queued-500")
        taken.append((time.perf_counter() - started_at) * 1000)
    return taken


def describe_at_once(caller: Caller, count: int) -> list[float]:
    """Describe over several connections at once."""
    requests = [caller.signed("DescribeAutoMLJobV2", {"AutoMLJobName": "queued-500"}) for _ in range(count)]
    return spread(caller, requests, lambda connection, _, request: timed(connection, request))


def sustain_creates(caller: Caller, role: str, bars: Bars) -> list[str]:
    """Create at fixed moments for a while, then as fast as it goes; give the names that were acknowledged."""
    count = CREATES_PER_SECOND * SECONDS
    names = [f"steady-{number}" for number in range(count)]
    requests = [caller.signed(*create_call(role, name)) for name in names]
    begin = time.perf_counter() + 0.2

    def at_its_moment(connection: Connection, number: int, request: bytes) -> float:
        due = begin + number / CREATES_PER_SECOND
        time.sleep(max(0.0, due - time.perf_counter()))
        timed(connection, request)
        return (time.perf_counter() - due) * 1000

    taken = spread(caller, requests, at_its_moment)
    seconds = time.perf_counter() - begin
    print(f"creates at {CREATES_PER_SECOND}/s, counted from the moment each was due: {shown(taken)}")
    bars.add(f"{CREATES_PER_SECOND} creates/s for {SECONDS} s took", seconds, SECONDS + 0.5, "s")
    more = [f"fast-{number}" for number in range(QUEUED)]
    requests = [caller.signed(*create_call(role, name)) for name in more]
    begin = time.perf_counter()
    taken = spread(caller, requests, lambda connection, _, request: timed(connection, request))
    rate = len(more) / (time.perf_counter() - begin)
    print(f"creates over {CONNECTIONS} connections as fast as they go: {rate:.0f}/s, {shown(taken)}")
    return names + more


def spread(caller: Caller, requests: list[bytes], ask: Callable[[Connection, int, bytes], float]) -> list[float]:
    """Send requests over several connections, each by a thread that takes every n-th."""
    taken: list[float] = []

    def run(first: int) -> None:
        connection = Connection(caller.port)
        mine = range(first, len(requests), CONNECTIONS)
        taken.extend([ask(connection, number, requests[number]) for number in mine])

    threads = [threading.Thread(target=run, args=(first,)) for first in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(taken) != len(requests):
        raise SystemExit(f"only {len(taken)} of {len(requests)} calls were answered")
    return taken


def fill(service: services.Service, count: int) -> None:
    """Copy a job's row until there are `count` of them."""
    with database(service) as connection:
        found = connection.execute("SELECT * FROM jobs WHERE name = 'queued-1'")
        names = [column[0] for column in found.description]
        row = dict(zip(names, found.fetchone(), strict=True))
        missing = count - connection.execute("SELECT count(*) FROM jobs").fetchone()[0]
        copies = []
        for number in range(missing):
            name = f"copy-{number}"
            changed = {"id": f"{number:032}", "name": name, "folded_name": name, "arn": f"{row['arn']}-{number}"}
            copies.append([(row | changed | {"created_at": row["created_at"] + number})[one] for one in names])
        places = ", ".join("?" for _ in names)
        connection.executemany(f"INSERT INTO jobs VALUES ({places})", copies)


def list_everything(caller: Caller, bars: Bars) -> None:
    """Walk all pages by each order."""
    connection = Connection(caller.port)
    taken = []
    for sort_by in ("Name", "CreationTime", "Status"):
        request: Json = {"SortBy": sort_by, "MaxResults": 100}
        seen = 0
        while True:
            signed = caller.signed("ListAutoMLJobs", request)
            started_at = time.perf_counter()
            _, body = connection.ask(signed)
            taken.append((time.perf_counter() - started_at) * 1000)
            page = json.loads(body)
            seen += len(page["AutoMLJobSummaries"])
            if "NextToken" not in page:
                break
            request["NextToken"] = page["NextToken"]
        if seen != LISTED:
            raise SystemExit(f"the pages held {seen} jobs")
    print(f"list pages of 100 over {LISTED} jobs: {shown(taken)}")
    bars.add("list page p99", quantile(taken, 0.99), LIST_P99_MS, "ms")


def measure_moto(executable: str, calls: int) -> dict[str, list[float]]:
    """Measure the same creates and describes on moto's server."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    process = subprocess.Popen([executable, "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        services.wait_until(lambda: answers(port), seconds=60, what="moto's server")
        caller = Caller(port, "key", "secret", [])
        created = time_creates(caller, "arn:aws:iam::123456789012:role/any", QUEUED)
        print(f"moto: creates one after the other: {shown(created)}")
        described = time_calls(caller, [("DescribeAutoMLJobV2", {"AutoMLJobName": "queued-500"})] * calls)
        print(f"moto: describes with {QUEUED} jobs: {shown(described)}")
    finally:
        process.terminate()
        process.wait(30)
    return {"create": created, "describe": described}


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def compare(ours: dict[str, list[float]], motos: dict[str, list[float]]) -> None:
    """Print the ratios."""
    for name in ("create", "describe"):
        mine, other = quantile(ours[name], 0.5), quantile(motos[name], 0.5)
        print(f"{name} p50: {mine:.2f} ms, moto {other:.2f} ms; ratio over moto {mine / other:.2f}")


class Bars:
    """What was measured beside what is asked for."""

    def __init__(self) -> None:
        self._lines: list[tuple[bool, str]] = []

    def add(self, name: str, value: float, bar: float, unit: str) -> None:
        """Note a figure and the most that it may be."""
        ratio = f"ratio to the bar {value / bar:.2f}" if bar else "no more"
        holds = value <= bar
        self._lines.append((holds, f"{'pass' if holds else 'FAIL'}: {name} {value:.2f} {unit}, bar {bar:g}; {ratio}"))

    def told(self) -> int:
        """Print the lines; give 1 when a bar does not hold."""
        for _, line in self._lines:
            print(line)
        return int(not all(holds for holds, _ in self._lines))


def shown(milliseconds: list[float]) -> str:
    parts = [f"{name} {quantile(milliseconds, at):.2f}" for name, at in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))]
    return f"{', '.join(parts)}, most {max(milliseconds):.2f} ms ({len(milliseconds)} calls)"


def quantile(values: list[float], at: float) -> float:
    return statistics.quantiles(values, n=1000, method="inclusive")[round(at * 1000) - 1]


def names_in(service: services.Service) -> set[str]:
    with database(service) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM jobs")}


@contextmanager
def database(service: services.Service) -> Iterator[sqlite3.Connection]:
    """Open the service's database beside it."""
    connection = sqlite3.connect(service.home / "gyropilot.db", timeout=30)
    try:
        with connection:
            yield connection
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
