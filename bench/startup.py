"""How fast `gyropilot up` answers, and what it holds when idle; run by `make bench`.

Each run starts the real command and asks for /health until it answers. A first start makes the home and the database;
a later one finds them. Memory is the resident size of the process and its children after a quiet while.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil

GYROPILOT = Path(sys.executable).with_name("gyropilot")
SECONDS_ALLOWED = 1.0
MEGABYTES_ALLOWED = 120.0
_GIVE_UP_SECONDS = 60.0


def main() -> int:
    """Measure and print; give 0 when both bounds hold for a later start's median."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--idle-seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    first, later, memory = [], [], []
    for _ in range(arguments.runs):
        with tempfile.TemporaryDirectory() as home:
            first.append(start(home, 0.0)[0])
            seconds, megabytes = start(home, arguments.idle_seconds)
            later.append(seconds)
            memory.append(megabytes)
    figures = {
        "first_start_seconds": statistics.median(first),
        "start_seconds": statistics.median(later),
        "idle_megabytes": statistics.median(memory),
        "runs": arguments.runs,
    }
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))
    passes = figures["start_seconds"] <= SECONDS_ALLOWED and figures["idle_megabytes"] <= MEGABYTES_ALLOWED
    print(f"{'pass' if passes else 'FAIL'}: at most {SECONDS_ALLOWED} s and {MEGABYTES_ALLOWED:.0f} MB")
    return 0 if passes else 1


def start(home: str, idle_seconds: float) -> tuple[float, float]:
    """Start a service on `home`, let it idle, end it; give seconds to the first answer and megabytes held."""
    port = _free_port()
    started_at = time.monotonic()
    process = subprocess.Popen(
        [GYROPILOT, "up", "--home", home, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not _answers(port):
            if process.poll() is not None or time.monotonic() - started_at > _GIVE_UP_SECONDS:
                raise SystemExit(f"gyropilot up did not start on {home}")
            time.sleep(0.005)
        seconds = time.monotonic() - started_at
        time.sleep(idle_seconds)
        return seconds, _resident_megabytes(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _resident_megabytes(pid: int) -> float:
    process = psutil.Process(pid)
    return float(sum(one.memory_info().rss for one in [process, *process.children(recursive=True)]) / 1e6)


if __name__ == "__main__":
    sys.exit(main())
