import json
import shutil
from collections import namedtuple

import pytest
import torch

from gyropilot.errors import TrainingFailed
from gyropilot.problems.text_generation import checkpoints
from gyropilot.problems.text_generation.checkpoints import Checkpoint


def make(step, **state):
    return Checkpoint(
        step=step,
        weights={"a": torch.full((3, 2), float(step))},
        optimizer={"exp_avg.a": torch.zeros(3, 2), "rng": torch.get_rng_state()},
        state={"plan": {"seed": 1}, **state},
    )


def test_the_newest_complete_checkpoint_comes_back_whole(tmp_path):
    assert checkpoints.find_latest(tmp_path) is None
    for step in (1, 5, 12):
        checkpoints.save(tmp_path, make(step, note=step))
    found = checkpoints.find_latest(tmp_path)
    assert found.step == 12
    assert found.state["note"] == 12
    assert found.weights["a"].tolist() == [[12.0, 12.0]] * 3
    assert torch.equal(found.optimizer["rng"], torch.get_rng_state())


def test_two_are_kept_and_only_safetensors_and_json_lie_there(tmp_path):
    for step in (1, 5, 12):
        checkpoints.save(tmp_path, make(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000005", "step-00000012"]
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".safetensors", ".json"}


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "state.json", "complete.json"])
@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_a_torn_checkpoint_is_passed_over_for_the_one_before(tmp_path, name, damage):
    for step in (3, 4):
        checkpoints.save(tmp_path, make(step))
    file = tmp_path / "step-00000004" / name
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content[:-1] if damage == "cut" else bytes([content[0] ^ 1]) + content[1:])
    assert checkpoints.find_latest(tmp_path).step == 3


def test_a_write_that_was_cut_off_leaves_the_one_before_and_is_cleared_by_the_next(tmp_path, monkeypatch):
    checkpoints.save(tmp_path, make(3))
    monkeypatch.setattr(checkpoints, "sha256_of", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(tmp_path, make(4))
    monkeypatch.undo()
    assert (tmp_path / "step-00000004.partial").exists()
    assert checkpoints.find_latest(tmp_path).step == 3
    checkpoints.save(tmp_path, make(4))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000003", "step-00000004"]


def test_a_full_disk_is_told_in_numbers_and_keeps_what_was_saved(tmp_path, monkeypatch):
    checkpoints.save(tmp_path, make(3))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1 << 30, 1 << 30, 1 << 20))
    with pytest.raises(TrainingFailed, match=r"64 MiB needed, 1 MiB free"):
        checkpoints.save(tmp_path, make(4))
    assert checkpoints.find_latest(tmp_path).step == 3


def test_a_checkpoint_of_another_run_is_refused_with_both_values():
    with pytest.raises(TrainingFailed, match=r"step 3.*plan: the checkpoint has \{'seed': 1\}, this run \{'seed': 2\}"):
        checkpoints.refuse_mismatch(make(3), expected={"plan": {"seed": 2}})
    checkpoints.refuse_mismatch(make(3), expected={"plan": {"seed": 1}})


def test_the_marker_names_size_and_digest_of_every_file(tmp_path):
    checkpoints.save(tmp_path, make(3))
    marker = json.loads((tmp_path / "step-00000003" / "complete.json").read_text())
    assert marker.keys() == {"weights.safetensors", "optimizer.safetensors", "state.json"}
    assert all(len(entry["sha256"]) == 64 for entry in marker.values())
