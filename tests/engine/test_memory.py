from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gyropilot.engine import memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other kernels do not tell")


def test_memory_of_a_process_is_what_it_holds():
    # In a process of its own: one that has done much already may take a new block from memory it kept.
    program = (
        "import os; from gyropilot.engine import memory; before = memory.of_process(os.getpid());"
        " held = b'\\1' * (32 * 2**20); print(memory.of_process(os.getpid()) - before)"
    )
    grown = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert 30 * 2**20 < int(grown.stdout) < 40 * 2**20


def test_a_process_that_is_gone_holds_nothing():
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    assert memory.of_process(int(gone.stdout)) == 0


def test_members_of_a_group_are_found_whatever_their_names():
    program = "import ctypes; ctypes.CDLL(None).prctl(15, b') Z 1 1 ('); print(flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], start_new_session=True, **pipes) as child:
        child.stdout.readline()
        assert memory.members(child.pid) == [child.pid]
        assert memory.of_group(child.pid) == pytest.approx(memory.of_process(child.pid), rel=0.1)
        child.stdin.write(b"\n")
        child.stdin.flush()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert memory.members(child.pid) == []


@pytest.mark.parametrize(("size", "text"), [(0, "0 MiB"), (300 * 2**20, "300 MiB"), (1.5 * 2**30, "1.5 GiB")])
def test_sizes_for_people(size, text):
    assert memory.shown(size) == text
