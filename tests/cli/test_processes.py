import errno
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from gyropilot.cli import notes, processes, service
from gyropilot.cli.env import env
from gyropilot.errors import InvalidRequest
from gyropilot.local import machine
from gyropilot.settings import Settings


def test_localhost_is_the_loopback_address(tmp_path):
    assert processes.fitted(Settings(home=tmp_path, host="Localhost")).host == "127.0.0.1"
    assert processes.fitted(Settings(home=tmp_path, host="::1")).host == "::1"


@pytest.mark.parametrize(
    ("host", "said"), [("example.org", "no IP address"), ("", "no IP address"), ("0.0.0.0", "loopback")]
)
def test_other_hosts_are_refused(tmp_path, host, said):
    with pytest.raises(InvalidRequest, match=said):
        processes.fitted(Settings(home=tmp_path, host=host))


def test_no_more_jobs_run_at_once_than_there_are_cores(tmp_path):
    assert processes.fitted(Settings(home=tmp_path, cores=2, jobs_at_once=8)).jobs_at_once == 2
    assert processes.fitted(Settings(home=tmp_path, cores=8, jobs_at_once=2)).jobs_at_once == 2
    assert processes.fitted(Settings(home=tmp_path, jobs_at_once=4096)).jobs_at_once == machine.cores()


_SIGNALLED = """
import os, signal, sys, threading
from gyropilot.cli import processes

begun = threading.Semaphore(0)

def signal_again_and_again():
    for number in range(5000):
        begun.acquire()
        for _ in range(number % 50):
            pass
        os.kill(os.getpid(), signal.SIGINT if number % 2 else signal.SIGTERM)

threading.Thread(target=signal_again_and_again, daemon=True).start()
for _ in range(5000):
    with processes.signals() as wait_for_signal:
        begun.release()
        wait_for_signal()
"""


def test_a_signal_ends_the_wait_however_soon_it_comes():
    subprocess.run([sys.executable, "-c", _SIGNALLED], check=True, timeout=60)


def test_the_machine_is_what_this_process_may_use():
    assert 1 <= machine.cores() <= (os.cpu_count() or 1)
    assert 0 < machine.memory_bytes() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_the_smallest_limit_of_the_control_groups_counts(tmp_path):
    own, groups = tmp_path / "own", tmp_path / "groups"
    assert machine.cgroup_limit_bytes(groups, own) is None
    for group, limit in (("", "max"), ("a", "3000"), ("a/b", "5000"), ("c", "10")):
        (groups / group).mkdir(parents=True, exist_ok=True)
        (groups / group / "memory.max").write_text(f"{limit}\n")
    assert machine.cgroup_limit_bytes(groups, own) is None
    own.write_text("0::/a/b\n")
    assert machine.cgroup_limit_bytes(groups, own) == 3000
    own.write_text("4:cpu,memory:/d\n1:name=systemd:/a\n")
    (groups / "memory" / "d").mkdir(parents=True)
    (groups / "memory" / "d" / "memory.limit_in_bytes").write_text("2000\n")
    (groups / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert machine.cgroup_limit_bytes(groups, own) == 2000


def test_a_port_that_the_home_s_own_service_holds_is_told_as_such(tmp_path, monkeypatch):
    settings, taken = Settings(home=tmp_path, port=8800), OSError(errno.EADDRINUSE, "Address already in use")
    with notes.noted(settings):
        assert "Address already in use" in str(processes._not_listening(settings, taken))
        monkeypatch.setattr(service, "answers", lambda _: True)
        told = str(processes._not_listening(settings, taken))
    assert f"is held by the service that runs on this home (process {os.getpid()})" in told
    assert "stop it" in told


def test_a_start_is_told_with_the_port_that_a_killed_service_had(tmp_path):
    for noted, told in ((1, f"--home {tmp_path} --port 1"), (Settings().port, f"--home {tmp_path}")):
        with notes.noted(Settings(home=tmp_path, port=noted)):
            ran = CliRunner().invoke(env, ["--home", str(tmp_path)])
        assert ran.exit_code == 1
        assert ran.output.strip().endswith(f"start it: gyropilot up {told}")


def test_a_store_that_is_away_is_warned_of(tmp_path, caplog):
    processes._warn_of_silent_store(Settings(home=tmp_path, s3_endpoint="http://127.0.0.1:9"))
    assert "nothing answers at http://127.0.0.1:9" in caplog.text
