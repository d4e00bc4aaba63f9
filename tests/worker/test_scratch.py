from __future__ import annotations

import threading

import pytest

from gyropilot.errors import LeaseLost, Unavailable
from gyropilot.worker import patience, scratch
from gyropilot.worker.patience import Patience


def test_a_claim_takes_over_what_the_one_before_left(tmp_path):
    first = scratch.take(tmp_path, "ab", 1)
    (first / "checkpoints").mkdir(parents=True)
    (first / "checkpoints" / "one").write_text("1")
    second = scratch.take(tmp_path, "ab", 4)
    assert (second / "checkpoints" / "one").read_text() == "1"
    assert not first.exists()


def test_the_owner_before_can_write_nothing_into_it(tmp_path):
    first = scratch.take(tmp_path, "ab", 1)
    first.mkdir()
    half = first / "half-written"
    with half.open("w") as file:
        second = scratch.take(tmp_path, "ab", 2)
        file.write("late")
    with pytest.raises(FileNotFoundError):
        half.rename(first / "whole")
    with pytest.raises(FileNotFoundError):
        (first / "new").write_text("late")
    assert [one.name for one in second.iterdir()] == ["half-written"]


def test_the_newest_claims_folder_counts(tmp_path):
    for epoch in (2, 10, 9):
        (tmp_path / f"ab.{epoch}").mkdir()
        (tmp_path / f"ab.{epoch}" / "mark").write_text(str(epoch))
    assert (scratch.take(tmp_path, "ab", 11) / "mark").read_text() == "10"


def test_a_claim_that_comes_late_takes_nothing_from_its_successor(tmp_path):
    successor = scratch.take(tmp_path, "ab", 4)
    successor.mkdir()
    assert not scratch.take(tmp_path, "ab", 3).exists()
    assert successor.exists()


def test_only_ended_jobs_are_wiped(tmp_path):
    for name in ("ended.1", "ended.2", "runs.1", "endedtoo.1"):
        (tmp_path / name / "inputs").mkdir(parents=True)
    scratch.wipe_ended(tmp_path, lambda job_id: job_id == "ended")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["endedtoo.1", "runs.1"]


@pytest.fixture
def events(monkeypatch):
    monkeypatch.setattr(patience, "RETRY_SECONDS", 0.01)
    return threading.Event(), threading.Event()


def test_what_the_database_cannot_do_is_tried_again(events):
    tried = []

    def work():
        tried.append("work")
        raise Unavailable("away")

    def again():
        tried.append("again")
        if len(tried) < 4:
            raise Unavailable("away")
        return "done"

    assert Patience(*events).try_again(work, again=again) == "done"
    assert tried == ["work", "again", "again", "again"]


@pytest.mark.parametrize("which", [0, 1])
def test_it_is_not_tried_again_when_there_is_no_use(events, which):
    events[which].set()

    def work():
        raise Unavailable("away")

    with pytest.raises(LeaseLost):
        Patience(*events).try_again(work)
