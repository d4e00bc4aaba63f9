"""Memory does not grow with the rows: ten times as many take no more but for the bounds stated here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import row_memory
import services

FEW, MANY = 1_000, 10_000
BYTES_A_ROW = 1000
"""What a further row may add to preparing: keys, lengths, its place in the split; a process never shrinks."""
TRAINING_BYTES = 96 * 2**20
"""What may lie between two trainings: packs are of other rows, and what is freed stays with the process."""


def peak(what, root, count):
    command = [sys.executable, row_memory.__file__, what, str(root), str(count)]
    path = str(Path(row_memory.__file__).parent)
    ran = services.run(command, env=services.clean_environment() | {"PYTHONPATH": path})
    assert ran.returncode == 0, ran.stderr
    return int(ran.stdout.split()[-1])


@pytest.mark.slow
def test_memory_does_not_grow_with_rows(tmp_path):
    peaks = {}
    for count in (FEW, MANY):
        root = tmp_path / str(count)
        services.make_tiny_model(root / "tiny")
        for what in ("profile", "train"):
            peaks[what, count] = peak(what, root, count)
    assert peaks["profile", MANY] - peaks["profile", FEW] < BYTES_A_ROW * (MANY - FEW)
    assert peaks["train", MANY] - peaks["train", FEW] < TRAINING_BYTES


@pytest.mark.slow
def test_memory_that_does_grow_is_seen(tmp_path):
    """The measure itself: a list of the rows, kept, is told."""
    services.make_tiny_model(tmp_path / "tiny")
    program = (
        "import sys, pathlib, row_memory\n"
        "from gyropilot.problems.text_generation import data\n"
        "kept, real = [], data.read_rows\n"
        "data.read_rows = lambda *given: (kept.append((one, bytearray(3000))) or one for one in real(*given))\n"
        f"print(row_memory.main('profile', pathlib.Path({str(tmp_path)!r}), {MANY}))\n"
    )
    environment = services.clean_environment() | {"PYTHONPATH": str(Path(row_memory.__file__).parent)}
    ran = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    services.make_tiny_model(tmp_path / "few" / "tiny")
    assert int(ran.stdout.split()[-1]) - peak("profile", tmp_path / "few", FEW) > BYTES_A_ROW * (MANY - FEW)
