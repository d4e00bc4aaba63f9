"""What the children of the engine tests run."""

import ctypes
import json
import os
import resource
import signal
import socket
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


def until_handed_back(arguments, reporter):
    reporter.event("ready", "")
    while not reporter.hand_back_requested():
        time.sleep(0.005)
    assert not reporter.stop_requested()
    return "saved"


def bounds(arguments, reporter):
    """Try what a child must not be able to do; give how each attempt went."""
    (Path("left.txt")).write_text("")
    names = {"cores": resource.RLIMIT_CORE, "files": resource.RLIMIT_NOFILE, "file_bytes": resource.RLIMIT_FSIZE}
    return {
        "limits": {name: resource.getrlimit(one) for name, one in names.items()},
        "outside": _tried(lambda: socket.create_connection((arguments["host"], arguments["port"]), 2).close()),
        "far": _tried(lambda: socket.create_connection(("192.0.2.1", 80), 2).close()),
        "loopback": _tried(_speak_to_self),
        "interfaces": [name for _, name in socket.if_nameindex()],
    }


def _speak_to_self():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass


def _tried(attempt):
    try:
        attempt()
    except OSError as error:
        return type(error).__name__
    return "done"


def write_much(arguments, reporter):
    with Path("big").open("wb") as file:
        file.truncate(arguments["bytes"])


def fork_bomb(arguments, reporter):
    children, bodies = 0, []
    try:
        while children < arguments["count"]:
            bodies.append(os.fork())
            if bodies[-1] == 0:
                threading.Event().wait()
            children += 1
    except OSError as error:
        return {"children": children, "error": type(error).__name__}
    return {"children": children, "error": ""}


def leave_the_group(arguments, reporter):
    """Start a process in a session of its own, out of reach of a signal to the group."""
    process = os.fork()
    if process == 0:
        os.setsid()
        threading.Event().wait()
    reporter.event("ready", "", detail={"process": process})


def flood(arguments, reporter):
    for _ in range(arguments["mib"]):
        sys.stdout.write("x" * (2**20 - 1) + "\n")
    return "done"


def grow_at_once(arguments, reporter):
    return len(bytearray(arguments["mib"] * 2**20))


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
