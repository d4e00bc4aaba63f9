"""What the children of the engine tests run."""

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path


def echo(arguments, reporter):
    reporter.event(
        "seen", "arguments came", detail={"count": len(arguments), "folder": Path("a/b"), "loss": float("nan")}
    )
    reporter.progress("training", done=1, total=2, unit="steps", values={"loss": 0.5, "bad": float("inf")})
    print("to the log")
    print("also to the log", file=sys.stderr)
    return {"arguments": arguments}


def many_progress(arguments, reporter):
    for step in range(20_000):
        reporter.progress("training", done=step + 1, total=20_000, unit="steps")
    return


def surroundings(arguments, reporter):
    return {
        "environment": dict(os.environ),
        "folder": str(Path.cwd()),
        "path": sys.path,
        "is_leader": os.getpid() == os.getsid(0) == os.getpgrp(),
        "stdin": str(Path("/proc/self/fd/0").readlink()),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "umask": os.umask(0o077),
    }


def known_failure(arguments, reporter):
    from gyropilot.errors import InvalidData

    raise InvalidData(where="s3://b/a.csv row 3", problem="has \x1b[31m3 fields", fix="quote the comma" * 200)


def own_failure(arguments, reporter):
    from gyropilot.errors import TrainingFailed

    class Special(TrainingFailed):
        pass

    raise Special("special")


def unknown_failure(arguments, reporter):
    raise KeyError("secret detail")


def leave(arguments, reporter):
    sys.exit(3)


def want_of_memory(arguments, reporter):
    raise MemoryError


def not_json(arguments, reporter):
    return {"score": float("nan")}


def too_large(arguments, reporter):
    return "x" * (17 * 1024 * 1024)


def die(arguments, reporter):
    os.kill(os.getpid(), getattr(signal, arguments["signal"]))
    time.sleep(60)


def vanish(arguments, reporter):
    os._exit(arguments["status"])


def until_stopped(arguments, reporter):
    reporter.event("ready", "")
    while not reporter.stop_requested():
        time.sleep(0.005)
    return "stopped"


def hang(arguments, reporter):
    reporter.event("ready", "", detail={"process": os.getpid()})
    threading.Event().wait()


def hang_with_interpreter_lock(arguments, reporter):
    reporter.event("ready", "", detail={"process": os.getpid()})
    ctypes.PyDLL(None).sleep(60)


def hang_with_family(arguments, reporter):
    family = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid]
    fork = os.fork()
    if fork == 0:
        time.sleep(600)
    reporter.event("ready", "", detail={"processes": [os.getpid(), fork, *family]})
    if arguments.get("then") == "return":
        return
    threading.Event().wait()
    return


def grow(arguments, reporter):
    held = []
    reporter.event("ready", "")
    while True:
        held.append(b"\1" * (8 * 1024 * 1024))


def grow_in_family(arguments, reporter):
    if os.fork() == 0:
        grow(arguments, reporter)
    threading.Event().wait()


def map_a_file(arguments, reporter):
    import mmap

    path = Path("weights")
    with path.open("wb") as file:
        for _ in range(arguments["mib"]):
            file.write(os.urandom(1024) * 1024)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        total = sum(view[place] for place in range(0, len(view), 4096))
        time.sleep(1.5)
    return total


def say(arguments, reporter):
    """Write raw bytes to the message pipe, as a hijacked child could."""
    descriptor = reporter._descriptor
    reporter._writing.acquire()
    for text, count in arguments["lines"]:
        data = text.encode() * count
        while data:
            data = data[os.write(descriptor, data) :]
    if arguments.get("then") == "hang":
        threading.Event().wait()
    reporter._writing.release()
    return "unharmed"


def close_pipe(arguments, reporter):
    os.close(reporter._descriptor)
    threading.Event().wait()


def chatter(arguments, reporter):
    for number in range(arguments["count"]):
        reporter.event("number", str(number), detail={"number": number})
    return json.loads("1")
