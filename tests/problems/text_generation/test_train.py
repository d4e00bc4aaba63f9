from __future__ import annotations

import json
import shutil

import pytest

import services
import tuning_jobs
from gyropilot.errors import InvalidData, TrainingFailed
from gyropilot.problems.contract import HandBack
from gyropilot.problems.text_generation import artifacts

STEPS = 24
"""Of the job below: 48 training rows, 4 a step, 2 epochs."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("job")
    job = tuning_jobs.Job(root, services.make_tiny_model(root / "tiny"))
    return job, job.profile(job.stage(tuning_jobs.ROWS))


@pytest.fixture(scope="module")
def straight(prepared):
    """The job trained without a break."""
    job, profile = prepared
    listener = tuning_jobs.Listener()
    task = job.train_task(profile, attempt="straight")
    return task, job.train(task, listener), listener


def metric(result, name):
    (found,) = [one.value for one in result.metrics if one.name == name]
    return found


def evaluation(task):
    return json.loads((task.output / artifacts.EVALUATION).read_text())


def records(task):
    lines = [json.loads(line) for line in (task.output / artifacts.TRAINING).read_text().splitlines()]
    return [(one["step"], one["loss"], one["grad_norm"]) for one in lines]


def test_the_tuned_model_beats_the_base_on_data_with_a_known_answer(straight):
    task, result, _ = straight
    measured = evaluation(task)["models"]
    assert measured["tuned"]["ValidationLoss"] < 0.3 * measured["base"]["ValidationLoss"]
    assert measured["tuned"]["RougeL"] > measured["base"]["RougeL"] + 0.3
    assert measured["tuned"]["ended_share"] > 0.9
    assert evaluation(task)["verdict"].startswith("Too few rows to say")
    assert result.ended_by == "finished"


def test_the_result_names_the_metrics_and_what_ranks(straight):
    task, result, _ = straight
    assert [(one.name, one.split) for one in result.metrics] == [
        ("TrainingLoss", "Train"),
        *((name, "Validation") for name in ("ValidationLoss", "Perplexity", "Rouge1", "Rouge2", "RougeL", "RougeLSum")),
    ]
    assert result.score == metric(result, "ValidationLoss") == evaluation(task)["models"]["tuned"]["ValidationLoss"]
    assert (result.score_name, result.direction) == ("ValidationLoss", "Minimize")
    (container,) = result.containers
    assert container.image.startswith("gyropilot/text-generation:")
    assert (task.output / container.model_path).exists()
    assert all((task.output / place).exists() for place in result.artifacts.values())


def test_phases_come_in_order_with_loss_and_speed(straight):
    _, _, listener = straight
    assert listener.phases() == ["training", "evaluating tuned", "saving", "evaluating base"]
    last = [one for one in listener.progressed if one["phase"] == "training"][-1]
    assert last["done"] == last["total"] == STEPS
    assert {"loss", "tokens_per_second", "seconds_left"} <= last.keys()
    for phase in listener.phases():
        ends = [one for one in listener.progressed if one["phase"] == phase]
        assert ends[-1]["done"] == ends[-1]["total"]


@pytest.mark.parametrize(
    ("phase", "done"),
    [("training", 1), ("training", 17), ("evaluating tuned", 6), ("saving", 2), ("evaluating base", 6)],
)
def test_a_killed_training_goes_on_to_the_same_bits(prepared, straight, phase, done):
    job, profile = prepared
    task = job.train_task(profile, attempt=f"killed-{phase}-{done}".replace(" ", "-"))
    # the probe chooses by the clock; two runs are alike to the bit only with the same choice
    shutil.copyfile(straight[0].checkpoints / "hardware.json", task.checkpoints / "hardware.json")
    with pytest.raises(tuning_jobs.Killed):
        job.train(task, tuning_jobs.Listener(die_when=lambda at, count: (at, count) == (phase, done)))
    again = tuning_jobs.Listener()
    result = job.train(task, again)
    assert result == straight[1]
    assert records(task) == records(straight[0])
    if phase == "saving":
        assert "evaluating tuned" not in again.phases()
    weights = artifacts.MODEL + "/model.safetensors"
    assert (task.output / weights).read_bytes() == (straight[0].output / weights).read_bytes()


def test_a_hand_back_at_the_end_of_an_epoch_leaves_no_gap_in_the_curve(prepared, straight):
    job, profile = prepared
    task = job.train_task(profile, attempt="handed-back")
    shutil.copyfile(straight[0].checkpoints / "hardware.json", task.checkpoints / "hardware.json")
    leaving = tuning_jobs.Listener()
    leaving.hand_back_requested = lambda: [one["done"] for one in leaving.progressed][-1:] == [STEPS // 2]
    with pytest.raises(HandBack):
        job.train(task, leaving)
    assert not [kind for kind, _, _ in leaving.events if kind == "validation_loss"]
    job.train(task)
    assert evaluation(task)["epochs"] == evaluation(straight[0])["epochs"]
    assert [one["epoch"] for one in evaluation(task)["epochs"]] == [1, 2]


def test_a_stop_keeps_what_was_trained_so_far(prepared):
    job, profile = prepared
    task = job.train_task(profile, attempt="stopped")
    result = job.train(task, tuning_jobs.Listener(stop_when=lambda phase, done: phase == "training" and done >= 9))
    assert result.ended_by == "stop"
    assert len(records(task)) == 9
    measured = evaluation(task)["models"]
    assert measured["tuned"]["ValidationLoss"] < measured["base"]["ValidationLoss"]
    assert "stopped after 9 of 24 steps" in (task.output / artifacts.REPORT).read_text()


def test_a_stop_before_the_first_step_leaves_no_model(prepared):
    job, profile = prepared
    task = job.train_task(profile, attempt="stopped-early")
    listener = tuning_jobs.Listener()
    listener.stop_requested = lambda: True
    with pytest.raises(TrainingFailed, match="stopped before its first training step"):
        job.train(task, listener)
    assert list(task.output.iterdir()) == []


def test_the_first_step_is_told_with_what_came_before_it(straight):
    _, _, listener = straight
    (detail,) = [detail for kind, _, detail in listener.events if kind == "first_step"]
    assert list(detail["parts"]) == ["interpreter", "libraries", "digests", "hardware", "model", "first step"]
    assert detail["seconds"] == pytest.approx(sum(detail["parts"].values()), abs=0.01)


def test_a_base_that_cannot_be_measured_in_time_is_left_out_and_said_so(tmp_path, prepared, monkeypatch):
    monkeypatch.setattr("gyropilot.problems.text_generation.measuring.Measuring.base", lambda *_: None)
    job, profile = prepared
    task = job.train_task(profile, attempt="no-base")
    result = job.train(task)
    assert metric(result, "ValidationLoss") == evaluation(task)["models"]["tuned"]["ValidationLoss"]
    assert evaluation(task)["models"]["base"] is None
    assert evaluation(task)["verdict"].startswith("Whether to use the tuned model is not known:")
    assert "too short to measure the base model" in (task.output / artifacts.REPORT).read_text()


def test_the_time_limit_keeps_what_was_trained_so_far(tmp_path, prepared):
    job = tuning_jobs.Job(tmp_path, prepared[0].root / "tiny", epochs=10, batch_size=1)
    profile = job.profile(job.stage(tuning_jobs.ROWS * 8))
    task = job.train_task(profile, seconds_left=9.0)
    result = job.train(task)
    assert result.ended_by == "time limit"
    assert 0 < len(records(task)) < 3840
    assert metric(result, "ValidationLoss") == evaluation(task)["models"]["tuned"]["ValidationLoss"]


def test_no_time_at_all_says_which_limit_to_raise(prepared):
    job, profile = prepared
    task = job.train_task(profile, attempt="no-time", seconds_left=0.0)
    with pytest.raises(TrainingFailed, match="Raise MaxRuntimePerTrainingJobInSeconds"):
        job.train(task)


def test_rows_other_than_the_checked_ones_are_refused(prepared):
    job, profile = prepared
    changed = {**profile, "cache": {**profile["cache"], "training": "0" * 64}}
    with pytest.raises(InvalidData, match="are not those that were checked"):
        job.train(job.train_task(changed, attempt="other-rows"))


def test_a_diverging_training_says_what_to_lower(tmp_path, prepared):
    job = tuning_jobs.Job(tmp_path, prepared[0].root / "tiny", learning_rate=1e30, warmup_steps=0)
    task = job.train_task(job.profile(job.stage(tuning_jobs.ROWS)))
    with pytest.raises(TrainingFailed, match="lower learningRate"):
        job.train(task)
    assert list(task.output.iterdir()) == []


def test_a_base_model_that_left_the_store_is_named(tmp_path, prepared):
    job = tuning_jobs.Job(tmp_path, prepared[0].root / "tiny", loaded_model="Gone")
    with pytest.raises(TrainingFailed, match="Gone is not in the store any more"):
        job.profile(job.stage(tuning_jobs.ROWS))
