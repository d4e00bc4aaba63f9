from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys

import pytest

from gyropilot.errors import LimitExceeded
from gyropilot.store import home_locks


def holder(home, call):
    """Start a process that takes a lock and keeps it."""
    program = (
        "import sys, threading\nfrom pathlib import Path\nfrom gyropilot.store import home_locks\n"
        f"held = home_locks.{call.format(home=f'Path({str(home)!r})')}\n"
        "print('held', flush=True)\nthreading.Event().wait()"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    return process


def test_a_home_has_one_owner(tmp_path):
    home = tmp_path / "home"
    with home_locks.own(home):
        for take in (home_locks.own, home_locks.share):
            with pytest.raises(LimitExceeded, match=rf"in use by another gyropilot service \(process {os.getpid()}\)"):
                take(home)
    home_locks.own(home).release()
    assert stat.S_IMODE((home / "lock").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


@pytest.mark.parametrize("call", ["own({home})", "share({home})"])
def test_a_killed_holder_frees_its_home(tmp_path, call):
    with holder(tmp_path, call) as process:
        with pytest.raises(LimitExceeded):
            home_locks.own(tmp_path)
        process.send_signal(signal.SIGKILL)
    home_locks.own(tmp_path).release()


def test_those_who_share_keep_an_owner_out(tmp_path):
    with holder(tmp_path, "share({home})") as process, home_locks.share(tmp_path):
        with pytest.raises(LimitExceeded, match="processes that share a database"):
            home_locks.own(tmp_path)
        process.kill()
    home_locks.own(tmp_path).release()


def test_the_first_of_a_crew_clears_up_and_no_other(tmp_path):
    calls = []
    with home_locks.join_crew(tmp_path, when_first=lambda: calls.append("first")):
        home_locks.join_crew(tmp_path, when_first=lambda: calls.append("second")).release()
    assert calls == ["first"]
    with holder(tmp_path, "join_crew({home}, when_first=lambda: None)") as process:
        home_locks.join_crew(tmp_path, when_first=lambda: calls.append("beside a living one")).release()
        process.kill()
    home_locks.join_crew(tmp_path, when_first=lambda: calls.append("after a dead one")).release()
    assert calls == ["first", "after a dead one"]


def test_a_first_one_that_fails_holds_nothing(tmp_path):
    def fail():
        raise RuntimeError("the database is away")

    with pytest.raises(RuntimeError):
        home_locks.join_crew(tmp_path, when_first=fail)
    calls = []
    home_locks.join_crew(tmp_path, when_first=lambda: calls.append("first")).release()
    assert calls == ["first"]
