"""What a child may not do; each bound is tried by a child that goes beyond it."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gyropilot.engine import cgroups, local_process, sandbox
from gyropilot.engine.engine import Task
from gyropilot.engine.local_process import LocalProcessEngine

FUNCTIONS = Path(__file__).parent / "functions"
SECONDS = 30.0
HERE = sandbox.probe()
NO_GROUPS = cgroups.Places(version=None, memory=None, processes=None)

needs_groups = pytest.mark.skipif(HERE.groups.version is None, reason=f"no control groups: {HERE.why_not}")
needs_namespace = pytest.mark.skipif(HERE.network == "shared", reason=f"no network namespace: {HERE.why_not}")


def an_engine(**changes):
    return LocalProcessEngine(
        cores=1,
        memory_bytes=2**30,
        allowed_prefixes=("engine_functions:",),
        python_path=(FUNCTIONS,),
        heartbeat_seconds=0.05,
        chosen_sandbox=replace(HERE, **changes),
    )


def ended(folder, engine, function, arguments=None, *, memory_bytes=2**30, printed=lambda data: None):
    task = Task(
        function=f"engine_functions:{function}",
        arguments=arguments or {},
        scratch=folder / "scratch",
        log=printed,
        cores=1,
        memory_bytes=memory_bytes,
        python=sys.executable,
    )
    run, heard = engine.start(task), []
    until = time.monotonic() + SECONDS
    while (ending := run.ending()) is None and time.monotonic() < until:
        if (message := run.next_message(0.5)) is not None:
            heard.append(message)
    run.kill()
    return ending, heard


def groups_left():
    parents = {one for one in (HERE.groups.memory, HERE.groups.processes) if one is not None}
    return [folder for parent in parents for folder in parent.glob(f"gyropilot-{_own_process()}-*")]


def _own_process():
    return Path("/proc/self").resolve().name


MEANS = {
    "cgroup": pytest.param({}, marks=needs_groups, id="cgroup"),
    "data limit": pytest.param({"memory": "data limit", "groups": NO_GROUPS}, id="data limit"),
    "polling": pytest.param({"memory": "polling", "groups": NO_GROUPS}, id="polling"),
}


@pytest.mark.parametrize("changes", MEANS.values())
def test_memory_beyond_the_grant_ends_the_run_alone_and_is_told(tmp_path, changes):
    ending, _ = ended(tmp_path, an_engine(**changes), "grow", memory_bytes=128 * 2**20)
    assert ending.is_out_of_memory, ending
    assert "128 MiB" in ending.message
    assert groups_left() == []


@pytest.mark.parametrize("changes", [MEANS["cgroup"], MEANS["polling"]])
def test_the_memory_of_a_whole_family_counts(tmp_path, changes):
    ending, _ = ended(tmp_path, an_engine(**changes), "grow_in_family", memory_bytes=128 * 2**20)
    assert ending.is_out_of_memory, ending


@pytest.mark.parametrize("changes", [MEANS["cgroup"], MEANS["data limit"]])
def test_one_huge_allocation_is_refused_before_anybody_looks(tmp_path, changes):
    arguments = {"mib": 3000}
    ending, _ = ended(tmp_path, an_engine(**changes), "grow_at_once", arguments, memory_bytes=128 * 2**20)
    assert ending.is_out_of_memory, ending
    assert "128 MiB" in ending.message


@needs_groups
def test_a_run_within_its_grant_leaves_no_group(tmp_path):
    assert ended(tmp_path, an_engine(), "grow_at_once", {"mib": 50})[0].result == 50 * 2**20
    assert groups_left() == []


@needs_groups
@pytest.mark.skipif(HERE.groups.processes is None, reason="no control group for processes")
def test_a_fork_bomb_ends_at_the_cap(tmp_path):
    ending, _ = ended(tmp_path, an_engine(), "fork_bomb", {"count": 3000}, memory_bytes=8 * 2**30)
    assert ending.outcome == "result", ending
    assert ending.result["error"] == "BlockingIOError"
    assert ending.result["children"] < 1200


@needs_groups
def test_a_process_that_left_the_session_ends_with_the_run_too(tmp_path):
    ending, heard = ended(tmp_path, an_engine(), "leave_the_group")
    assert ending.outcome == "result"
    process = next(one for one in heard if one.kind == "event").body["detail"]["process"]
    assert not Path(f"/proc/{process}").exists() or "Z" in Path(f"/proc/{process}/stat").read_text()


@needs_namespace
def test_a_child_has_no_network_but_its_own_loopback(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        found = ended(tmp_path, an_engine(), "bounds", {"host": host, "port": port})[0].result
    assert found["outside"] == "ConnectionRefusedError"  # at that number nobody listens on the child's loopback
    assert found["far"] == "OSError"
    assert found["loopback"] == "done"
    assert found["interfaces"] == ["lo"]
    assert found["limits"]["cores"] == [0, 0]
    assert found["limits"]["files"][0] <= 8192
    assert found["limits"]["file_bytes"][0] < 2**60


def test_with_a_shared_network_the_same_child_gets_out(tmp_path):
    """The mutant of the test above: without its namespace the child reaches this machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        found = ended(tmp_path, an_engine(network="shared"), "bounds", {"host": host, "port": port})[0].result
    assert found["outside"] == "done"


def test_no_file_may_be_larger_than_the_disk(tmp_path):
    ending, _ = ended(tmp_path, an_engine(), "write_much", {"bytes": 2**50})
    assert (ending.outcome, ending.error) == ("failure", "Unavailable")
    assert "no space left" in ending.message


def test_what_a_child_prints_is_carried_whole_while_it_lives_and_after(tmp_path):
    sizes, threads = [], threading.active_count()
    ending, _ = ended(tmp_path, an_engine(), "flood", {"mib": 8}, printed=lambda data: sizes.append(len(data)))
    assert ending.result == "done"
    assert sum(sizes) == 8 * 2**20
    assert threading.active_count() <= threads


@needs_groups
def test_the_groups_of_a_killed_service_are_cleared_and_those_of_a_living_one_stay():
    program = """
import os, signal, sys, threading
from gyropilot.engine import cgroups
group = cgroups.Group(cgroups.find())
print(*group._folders(), flush=True)
threading.Event().wait()
"""
    ours = cgroups.Group(HERE.groups)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as other:
        theirs = [Path(one) for one in other.stdout.readline().split()]
        cgroups.clear_leftovers(HERE.groups)
        assert theirs
        assert all(one.exists() for one in theirs)
        other.kill()
    cgroups.clear_leftovers(HERE.groups)
    assert not any(one.exists() for one in theirs)
    assert len(groups_left()) == len(theirs)
    ours.close()
    assert groups_left() == []


def test_every_bound_is_described():
    for text in (HERE.described(), replace(HERE, network="shared", why_not={"network": "not allowed"}).described()):
        assert set(text) == {"memory", "processes", "network"}
    assert "not allowed" in text["network"]


def test_a_child_of_another_version_than_its_service_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(local_process, "VERSION", "0.0.1")
    ending, _ = ended(tmp_path, an_engine(), "never_called")
    assert ending.error == "Unavailable"
    assert ending.message.endswith("while the service of version 0.0.1 runs; restart the service")
