"""A process killed at any call that writes a checkpoint leaves the old checkpoint or the new one, never a mix."""

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys
from pathlib import Path
import torch
from gyropilot.problems.text_generation import checkpoints
from gyropilot.problems.text_generation.checkpoints import Checkpoint

folder, mutant = Path(sys.argv[1]), sys.argv[2]
CALLS = {"open", "write", "fsync", "rename", "mkdir", "unlink", "rmdir", "rmtree", "serialize_file", "scandir", "close"}


def make(step):
    tensors = {"a": torch.full((64, 64), float(step)), "b": torch.full((64,), float(step))}
    return Checkpoint(step=step, weights=tensors, optimizer=tensors, state={"step": step})


def is_whole(found):
    values = {float(one.min()) for part in (found.weights, found.optimizer) for one in part.values()}
    values |= {float(one.max()) for part in (found.weights, found.optimizer) for one in part.values()}
    return values == {float(found.step)} and found.state == {"step": found.step}


def die_at(number):
    seen = [0]

    def profile(frame, event, called):
        if event == "c_call" and called.__name__ in CALLS:
            seen[0] += 1
            if seen[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(profile)


def attempt(number):
    child = os.fork()
    if child == 0:
        die_at(number)
        checkpoints.save(folder, make(2))
        sys.setprofile(None)
        os._exit(0)
    return os.waitpid(child, 0)[1]


if mutant == "no own name":
    checkpoints._is_complete = lambda path: True
    real_save = checkpoints._write

    def write_in_place(partial, checkpoint):
        final = partial.with_name(partial.name.removesuffix(".partial"))
        final.mkdir()
        real_save(final, checkpoint)

    checkpoints._write = write_in_place
    Path.rename = lambda self, to: self.rmdir()

torch.set_num_threads(1)
kills, olds, news, number, status = 0, 0, 0, 0, 1
while status:
    number += 1
    for path in folder.iterdir():
        checkpoints.shutil.rmtree(path)
    checkpoints.save(folder, make(1))
    status = attempt(number)
    kills += bool(status)
    try:
        found = checkpoints.find_latest(folder)
        assert is_whole(found), found
    except Exception as error:
        print("MIX", number, type(error).__name__)
        sys.exit(1)
    olds, news = olds + (found.step == 1), news + (found.step == 2)
    checkpoints.save(folder, make(3))
    assert is_whole(checkpoints.find_latest(folder)) and checkpoints.find_latest(folder).step == 3
    assert not list(folder.glob("*.partial"))
print(kills, olds, news)
"""


def ran(folder, mutant):
    command = [sys.executable, "-c", PROGRAM, str(folder), mutant]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.slow
def test_a_kill_at_each_call_leaves_the_old_or_the_new_checkpoint(tmp_path):
    done = ran(tmp_path, "")
    assert done.returncode == 0, done.stdout + done.stderr
    kills, olds, news = map(int, done.stdout.split())
    assert kills > 20
    assert olds > 10
    assert news > 1


@pytest.mark.slow
def test_without_marker_and_a_name_of_its_own_a_kill_leaves_a_mix(tmp_path):
    done = ran(tmp_path, "no own name")
    assert done.returncode == 1
    assert "MIX" in done.stdout
