"""What every engine must do; a new engine adds its maker to ENGINES and passes."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gyropilot.engine import memory
from gyropilot.engine.engine import Ending, Engine, Message, Run, Task
from gyropilot.engine.local_process import LocalProcessEngine
from gyropilot.errors import LimitExceeded, NotAllowed

FUNCTIONS = Path(__file__).parents[1] / "engine" / "functions"
SECONDS = 30.0


def local_process() -> Engine:
    return LocalProcessEngine(
        cores=2,
        memory_bytes=2**30,
        allowed_prefixes=("engine_functions:",),
        python_path=(FUNCTIONS,),
        heartbeat_seconds=0.05,
    )


ENGINES = {"local_process": local_process}


@pytest.fixture(params=ENGINES.values(), ids=ENGINES.keys())
def engine(request) -> Engine:
    return request.param()


def a_task(
    folder: Path, function: str, arguments=None, *, memory_bytes: int = 2**30, python: str = sys.executable
) -> Task:
    return Task(
        function=f"engine_functions:{function}",
        arguments=arguments or {},
        scratch=folder / "scratch",
        log=lambda data: append(folder / "log", data),
        cores=1,
        memory_bytes=memory_bytes,
        python=python,
    )


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def finish(run: Run) -> tuple[Ending, list[Message]]:
    """Take every message until the run has ended."""
    heard = []
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        message = run.next_message(0.5)
        if message is not None:
            heard.append(message)
        elif (ending := run.ending()) is not None:
            return ending, heard
    run.kill()
    raise AssertionError(f"still running; heard {heard[-5:]}")


def wait_for(run: Run, kind: str) -> Message:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        message = run.next_message(0.5)
        if message is not None and message.kind == kind:
            return message
        assert run.ending() is None, run.ending()
    raise AssertionError(f"no {kind}")


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until(condition) -> None:
    until = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def test_a_result_comes_back_with_what_was_said(engine, tmp_path):
    ending, heard = finish(engine.start(a_task(tmp_path, "echo", {"a": [1, "é\ud800", None]})))
    assert ending == Ending(outcome="result", result={"arguments": {"a": [1, "é\ud800", None]}})
    event = next(one for one in heard if one.kind == "event")
    assert event.body == {
        "kind": "seen",
        "message": "arguments came",
        "detail": {"count": 1, "folder": "a/b", "loss": None},
    }
    progress = next(one for one in heard if one.kind == "progress")
    assert progress.body == {"phase": "training", "done": 1, "total": 2, "unit": "steps", "values": {"loss": 0.5}}
    heartbeat = next(one for one in heard if one.kind == "heartbeat")
    assert heartbeat.body["memory_bytes"] > 2**20
    assert heartbeat.body["cpu_seconds"] > 0


def test_prints_go_to_the_log_and_add_to_it(engine, tmp_path):
    task = a_task(tmp_path, "echo")
    for _ in range(2):
        finish(engine.start(task))
    text = (tmp_path / "log").read_text()
    assert text.count("also to the log") == text.count("to the log\n") - text.count("also to the log") == 2
    assert stat.S_IMODE((task.scratch / "task.json").stat().st_mode) == 0o600


def test_the_last_progress_is_heard_though_there_is_much(engine, tmp_path):
    ending, heard = finish(engine.start(a_task(tmp_path, "many_progress")))
    assert ending.outcome == "result"
    done = [one.body["done"] for one in heard if one.kind == "progress"]
    assert done[-1] == 20_000
    assert len(done) < 200


def test_every_event_is_heard_in_order_by_a_slow_reader(engine, tmp_path):
    run = engine.start(a_task(tmp_path, "chatter", {"count": 5000}))
    time.sleep(0.5)  # the reader is away; the pipe and the queue fill up
    ending, heard = finish(run)
    assert ending.result == 1
    assert [one.body["detail"]["number"] for one in heard if one.kind == "event"] == list(range(5000))


def test_the_child_sees_no_secret_and_nothing_it_does_not_need(engine, tmp_path, monkeypatch):
    for name in (
        "AWS_SECRET_ACCESS_KEY",
        "GYROPILOT_HOME",
        "HF_TOKEN",
        "PIP_INDEX_URL",
        "PYTHONSTARTUP",
        "LD_PRELOAD_X",
    ):
        monkeypatch.setenv(name, "secret")
    ending, _ = finish(engine.start(a_task(tmp_path, "surroundings")))
    found = ending.result
    allowed = {
        "PATH",
        "HOME",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "TZ",
        "LD_LIBRARY_PATH",
        "CUDA_VISIBLE_DEVICES",
        "CUDA_HOME",
    }
    allowed |= {"NVIDIA_VISIBLE_DEVICES", "TMPDIR", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "PYTHONHASHSEED"}
    allowed |= {"PYTHONUNBUFFERED", "PYTHONPATH"}
    assert set(found["environment"]) <= allowed
    assert "secret" not in found["environment"].values()
    assert found["environment"]["TMPDIR"] == str(tmp_path / "scratch" / "tmp")
    assert found["folder"] == str(tmp_path / "scratch")
    assert str(tmp_path / "scratch") not in found["path"]
    assert "" not in found["path"]
    assert found["is_leader"]
    assert found["stdin"] == "/dev/null"
    assert found["core"] == [0, 0]
    assert found["umask"] == 0o077
    assert found["descriptors"] < 12


def test_a_known_failure_keeps_its_class_and_words(engine, tmp_path):
    ending, _ = finish(engine.start(a_task(tmp_path, "known_failure")))
    assert (ending.outcome, ending.error) == ("failure", "InvalidData")
    assert ending.message.startswith("s3://b/a.csv row 3: has \\x1b[31m3 fields; quote the comma")
    assert len(ending.message) <= 1024


def test_a_failure_of_a_subclass_reads_as_its_family(engine, tmp_path):
    ending, _ = finish(engine.start(a_task(tmp_path, "own_failure")))
    assert (ending.error, ending.message) == ("TrainingFailed", "special")


def test_an_unknown_failure_is_internal_and_logged_whole(engine, tmp_path):
    task = a_task(tmp_path, "unknown_failure")
    ending, _ = finish(engine.start(task))
    assert (ending.outcome, ending.error) == ("failure", "InternalFailure")
    assert "KeyError" in ending.message
    assert "secret detail" not in ending.message
    assert "KeyError: 'secret detail'" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("function", ["leave", "not_json", "too_large", "no_such_function"])
def test_what_gives_no_result_is_an_internal_failure(engine, tmp_path, function):
    ending, _ = finish(engine.start(a_task(tmp_path, function)))
    assert (ending.outcome, ending.error) == ("failure", "InternalFailure")


def test_want_of_memory_says_so(engine, tmp_path):
    ending, _ = finish(engine.start(a_task(tmp_path, "want_of_memory")))
    assert (ending.outcome, ending.error) == ("failure", "TrainingFailed")
    assert ending.message.startswith("ran out of memory")
    assert "1.0 GiB" in ending.message
    assert ending.is_out_of_memory


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGTERM"])
def test_a_death_by_signal_names_it(engine, tmp_path, name):
    ending, _ = finish(engine.start(a_task(tmp_path, "die", {"signal": name})))
    assert ending.outcome == "died"
    assert f"signal {name}; its last sign of life" in ending.message
    assert not ending.is_out_of_memory


@pytest.mark.parametrize("status", [0, 7])
def test_leaving_without_a_result_is_a_death(engine, tmp_path, status):
    ending, _ = finish(engine.start(a_task(tmp_path, "vanish", {"status": status})))
    assert ending.outcome == "died"
    assert f"exit status {status} and no result" in ending.message


def test_a_stop_is_graceful(engine, tmp_path):
    run = engine.start(a_task(tmp_path, "until_stopped"))
    wait_for(run, "event")
    run.request_stop()
    run.request_stop()
    ending, _ = finish(run)
    assert ending == Ending(outcome="result", result="stopped")
    run.request_stop()
    run.kill()
    assert run.ending() == ending


def test_a_run_is_asked_to_hand_back_what_it_did(engine, tmp_path):
    run = engine.start(a_task(tmp_path, "until_handed_back"))
    wait_for(run, "event")
    run.request_hand_back()
    ending, _ = finish(run)
    assert ending == Ending(outcome="result", result="saved")
    run.request_hand_back()


def test_what_holds_a_run_is_told(engine):
    assert set(engine.confinement()) == {"memory", "processes", "network"}
    engine.clear_leftovers()


def test_a_hanging_child_still_sends_heartbeats_until_it_is_killed(engine, tmp_path):
    run = engine.start(a_task(tmp_path, "hang"))
    process = wait_for(run, "event").body["detail"]["process"]
    for _ in range(3):
        wait_for(run, "heartbeat")
    run.kill()
    assert not is_alive(process)
    ending, _ = finish(run)
    assert ending == Ending(outcome="died", message="the run was ended by the service")


@pytest.mark.parametrize("then", ["return", "be killed"])
def test_no_process_of_a_child_outlives_it(engine, tmp_path, then):
    run = engine.start(a_task(tmp_path, "hang_with_family", {"then": then}))
    processes = wait_for(run, "event").body["detail"]["processes"]
    if then == "be killed":
        run.kill()
    finish(run)
    assert [one for one in processes if is_alive(one)] == []


@pytest.mark.parametrize("function", ["hang", "hang_with_interpreter_lock", "hang_with_family"])
def test_a_child_dies_with_a_killed_parent(tmp_path, function):
    program = f"""
import sys, threading
sys.path.insert(0, {str(Path(__file__).parent)!r})
import pathlib, test_engines as tests
run = tests.local_process().start(tests.a_task(pathlib.Path({str(tmp_path)!r}), {function!r}))
detail = tests.wait_for(run, "event").body["detail"]
print(*detail.get("processes", [detail.get("process")]), flush=True)
threading.Event().wait()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        processes = [int(one) for one in parent.stdout.readline().split()]
        assert processes
        assert all(is_alive(one) for one in processes)
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(is_alive(one) for one in processes))


@pytest.mark.parametrize("function", ["grow", "grow_in_family"])
def test_a_run_that_outgrows_its_memory_is_ended_and_says_so(engine, tmp_path, function):
    run = engine.start(a_task(tmp_path, function, memory_bytes=256 * 2**20))
    ending, _ = finish(run)
    assert (ending.outcome, ending.is_out_of_memory) == ("died", True)
    assert ending.message.startswith("out of memory: the run ")
    assert "granted" in ending.message
    assert "256 MiB" in ending.message


@pytest.mark.slow
def test_mapped_files_do_not_count_as_memory(engine, tmp_path):
    ending, _ = finish(engine.start(a_task(tmp_path, "map_a_file", {"mib": 128}, memory_bytes=64 * 2**20)))
    assert ending.outcome == "result", ending


HOSTILE = {
    "no JSON": [["hello\n", 1]],
    "binary": [["\0\1\x7f\n", 1]],
    "an array": [["[]\n", 1]],
    "deep": [["[" * 100_000 + "\n", 1]],
    "huge number": [['{"kind":"heartbeat","body":{"memory_bytes":1' + "0" * 5000 + ',"cpu_seconds":1}}\n', 1]],
    "NaN": [['{"kind":"heartbeat","body":{"memory_bytes":NaN,"cpu_seconds":1}}\n', 1]],
    "infinite": [['{"kind":"heartbeat","body":{"memory_bytes":1e999,"cpu_seconds":1}}\n', 1]],
    "boolean": [['{"kind":"heartbeat","body":{"memory_bytes":true,"cpu_seconds":1}}\n', 1]],
    "unknown kind": [['{"kind":"sql","body":{}}\n', 1]],
    "kind of no text": [['{"kind":["event"],"body":{}}\n', 1]],
    "extra field": [['{"kind":"event","body":{"kind":"a","message":"b","detail":{},"lease":1}}\n', 1]],
    "long event": [['{"kind":"event","body":{"kind":"a","message":"' + "x" * 5000 + '","detail":{}}}\n', 1]],
    "large detail": [
        ['{"kind":"event","body":{"kind":"a","message":"b","detail":{"a":"' + "x" * 300_000 + '"}}}\n', 1]
    ],
    "many events": [['{"kind":"event","body":{"kind":"a","message":"b","detail":{}}}\n', 200_001]],
    "two results": [['{"kind":"result","body":1}\n', 2]],
    "more after a failure": [
        ['{"kind":"failure","body":{"error":"a","message":"b","is_out_of_memory":false}}\nx\n', 1]
    ],
}


@pytest.mark.parametrize("lines", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_child_that_speaks_out_of_protocol_is_ended(engine, tmp_path, lines):
    run = engine.start(a_task(tmp_path, "say", {"lines": lines, "then": "hang"}))
    ending, _ = finish(run)
    assert (ending.outcome, ending.error) == ("failure", "InternalFailure")
    assert "spoke out of protocol" in ending.message


def test_an_endless_line_is_ended_in_bounded_memory(engine, tmp_path):
    before = memory.of_process(os.getpid())
    run = engine.start(a_task(tmp_path, "say", {"lines": [["x" * 65536, 400]], "then": "hang"}))
    ending, _ = finish(run)
    assert "a line is too long" in ending.message
    assert memory.of_process(os.getpid()) - before < 64 * 2**20


def test_a_child_that_names_a_foreign_error_reads_internal(engine, tmp_path):
    line = '{"kind":"failure","body":{"error":"SystemExit","message":"a\\u0000b","is_out_of_memory":false}}\n'
    ending, _ = finish(engine.start(a_task(tmp_path, "say", {"lines": [[line, 1]], "then": "hang"})))
    assert (ending.outcome, ending.error, ending.message) == ("failure", "InternalFailure", "a\\x00b")


@pytest.mark.slow
def test_a_child_that_closes_its_pipe_and_stays_is_ended(engine, tmp_path):
    ending, _ = finish(engine.start(a_task(tmp_path, "close_pipe")))
    assert ending.outcome == "died"


@pytest.mark.parametrize(
    "function",
    ["os:system", "engine_functions", "engine_functions:a.b", "engine_functions:echo\n", "x.engine_functions:echo", ""],
)
def test_only_listed_functions_run(engine, tmp_path, function):
    task = Task(**(vars(a_task(tmp_path, "echo")) | {"function": function}))
    with pytest.raises(NotAllowed):
        engine.start(task)


def test_by_default_only_functions_of_problems_run(tmp_path):
    with pytest.raises(NotAllowed):
        LocalProcessEngine(cores=1, memory_bytes=2**30).start(a_task(tmp_path, "echo"))


def test_a_missing_interpreter_is_told(engine, tmp_path):
    with pytest.raises(LimitExceeded, match="/nowhere/python"):
        engine.start(a_task(tmp_path, "echo", python="/nowhere/python"))


def test_runs_leave_no_descriptor_and_no_thread(engine, tmp_path):
    import threading

    finish(engine.start(a_task(tmp_path, "echo")))
    descriptors, threads = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    for _ in range(3):
        finish(engine.start(a_task(tmp_path, "echo")))
    wait_until(lambda: threading.active_count() <= threads)
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
