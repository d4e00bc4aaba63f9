"""How the time of a candidate is shared between training, measuring its two models and saving."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

import services
import tuning_jobs
from gyropilot import clock
from gyropilot.problems.text_generation import models
from gyropilot.problems.text_generation.batches import TokenCache
from gyropilot.problems.text_generation.evaluate import Evaluator
from gyropilot.problems.text_generation.loop import StepRecord
from gyropilot.problems.text_generation.measuring import BASE_EVALUATION, Measuring
from gyropilot.problems.text_generation.templates import Encoder

SAVING = 5.0
"""Seconds kept for saving a model of no size."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("job")
    job = tuning_jobs.Job(root, services.make_tiny_model(root / "tiny"), validation_fraction=0.5)
    return job, job.profile(job.stage(tuning_jobs.ROWS))


@pytest.fixture
def make(prepared, tiny, tmp_path):
    job, profile = prepared

    def measuring(seconds=math.inf, listener=None, **task):
        listener = listener or tuning_jobs.Listener()
        encoder = Encoder.of_base_model(job.base_models / services.TINY, style="chat")
        validation = TokenCache.open(job.root / "prepared" / "validation")
        evaluator = Evaluator(validation, job.root / "prepared", encoder, tiny.plan(), listener)
        given = dataclasses.replace(job.train_task(profile), checkpoints=tmp_path, **task)
        return Measuring(given, evaluator, listener, deadline=clock.monotonic() + seconds, model_bytes=0)

    return measuring


@pytest.fixture
def load(prepared):
    return lambda: models.load(prepared[0].base_models / services.TINY, dtype="float32", attention="sdpa").model


def step(seconds, tokens=100):
    return StepRecord(
        step=1, epoch=0.1, loss=1.0, learning_rate=1e-3, grad_norm=1.0, tokens=tokens, labels=9, seconds=seconds
    )


def kept_free(measuring, seconds):
    return clock.monotonic() + seconds - measuring.training_deadline()


def test_without_a_bound_training_has_no_end(make):
    assert make().training_deadline() == math.inf


def test_time_for_both_models_is_kept_free_by_the_speed_of_training(make):
    found = []
    for seconds_of_step in (0.01, 0.02):
        measuring = make(10_000)
        measuring.heard(step(seconds_of_step))
        found.append(kept_free(measuring, 10_000) - SAVING)
    assert found[0] > 0
    assert found[1] == pytest.approx(2 * found[0], abs=0.1)


def test_however_slow_half_of_the_time_is_for_training(make):
    measuring = make(100)
    measuring.heard(step(1000.0))
    assert kept_free(measuring, 100) == pytest.approx(50, abs=0.5)


def test_both_models_are_measured_on_the_same_rows_and_once(make, load):
    listener = tuning_jobs.Listener()
    measuring = make(listener=listener)
    tuned = measuring.tuned(load(), steps=7)
    base = measuring.base(load, tuned)
    assert base.loss_parts == tuned.loss_parts  # the same weights were measured twice
    assert [one.row for one in base.samples] == [one.row for one in tuned.samples]
    assert listener.phases() == ["evaluating tuned", "evaluating base"]
    again = make(listener=tuning_jobs.Listener())
    assert again.tuned(None, steps=7) == tuned
    assert again.base(None, tuned) == base


def test_what_was_measured_after_fewer_steps_is_measured_again(make, load):
    listener = tuning_jobs.Listener()
    make().tuned(load(), steps=7)
    make(listener=listener).tuned(load(), steps=8)
    assert listener.phases() == ["evaluating tuned"]


def test_a_base_for_which_no_time_is_left_is_given_up_and_said_so(make, load, tmp_path):
    tuned = dataclasses.replace(make().tuned(load(), steps=1), least_seconds=4.2)
    listener = tuning_jobs.Listener()
    assert make(3.0, listener=listener).base(load, tuned) is None
    ((kind, message, _),) = listener.events
    assert kind == "base_not_measured"
    assert "its first rows alone take about 5 s" in message
    assert not (tmp_path / BASE_EVALUATION).exists()


def test_a_short_time_measures_the_base_on_fewer_rows(make, load, monkeypatch, tmp_path):
    monkeypatch.setattr("gyropilot.problems.text_generation.evaluate.BATCH_ROWS", 5)
    tuned = make().tuned(load(), steps=1)
    measuring = make(1e-9)
    base = measuring.base(load, dataclasses.replace(tuned, least_seconds=-10.0))
    assert 0 < base.loss_rows < tuned.loss_rows
    assert 0 < len(base.samples) < len(tuned.samples)
    assert json.loads((tmp_path / BASE_EVALUATION).read_text())["loss_rows"] == base.loss_rows
