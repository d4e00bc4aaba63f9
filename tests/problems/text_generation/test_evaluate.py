from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

import prompted_models
import services
import tuning_jobs
from gyropilot.metrics.rouge import rouge
from gyropilot.problems.text_generation import evaluate, models
from gyropilot.problems.text_generation.batches import TokenCache
from gyropilot.problems.text_generation.evaluate import Budget, Evaluation, Evaluator, LossPart, Sample, read_evaluation
from gyropilot.problems.text_generation.templates import Encoder


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    root = tmp_path_factory.mktemp("job")
    job = tuning_jobs.Job(root, services.make_tiny_model(root / "tiny"), validation_fraction=0.5)
    rows = [(f"What is {number} and {number}?", "word " * (1 + number % 7)) for number in range(200)]
    job.profile(job.stage(rows))
    return job


@pytest.fixture
def evaluator(job, tiny):
    return make(job, tiny, tuning_jobs.Listener())


def make(job, tiny, listener):
    encoder = Encoder.of_base_model(job.base_models / services.TINY, style="chat")
    validation = TokenCache.open(job.root / "prepared" / "validation")
    return Evaluator(validation, job.root / "prepared", encoder, tiny.plan(), listener)


@pytest.fixture(scope="module")
def model(job):
    return models.load(job.base_models / services.TINY, dtype="float32", attention="sdpa").model


def measure(evaluator, model, budget=None):
    whole = evaluator.whole(loss_seconds=math.inf, answer_seconds=math.inf)
    return evaluator.evaluate(model, budget or whole, phase="evaluating base")


def test_the_loss_is_that_of_all_rows_and_perplexity_its_exponential(job, tiny, evaluator, model):
    found = measure(evaluator, model)
    cache = TokenCache.open(job.root / "prepared" / "validation")
    assert found.loss == pytest.approx(evaluate.evaluate_loss(model, cache, tiny.plan()).mean, rel=1e-5)
    assert found.perplexity == pytest.approx(math.exp(found.loss))
    assert (found.loss_rows, found.rows) == (100, 100)
    assert found.labels == sum(len(one.answer_ids) for one in cache)


def test_a_sample_of_stated_size_is_answered_and_scored(evaluator, model):
    found = measure(evaluator, model)
    assert len(found.samples) == evaluate.MAX_SAMPLE_ROWS < found.rows
    wanted = rouge([one.answer for one in found.samples], [one.reference for one in found.samples], found.mode)
    assert found.score("rougeL") == pytest.approx(wanted.rougeL)
    assert found.score("rougeLsum") == pytest.approx(wanted.rougeLsum)
    assert found.max_new_tokens == evaluator.max_new_tokens


def test_rows_are_answered_behind_the_virtual_tokens_of_their_task(job, tiny, model, tmp_path):
    tuned = prompted_models.prompted(model, before_text=4, tasks=2)
    cache = TokenCache.open(job.root / "prepared" / "validation")
    cache = TokenCache.write(tmp_path / "tasks", [replace(one, task=one.row % 2) for one in cache])
    encoder = Encoder.of_base_model(job.base_models / services.TINY, style="chat")
    evaluator = Evaluator(cache, job.root / "prepared", encoder, tiny.plan(), tuning_jobs.Listener())
    found = measure(evaluator, tuned, Budget(loss_rows=1, loss_seconds=0, answer_rows=8, answer_seconds=math.inf))
    example_by_row = {one.row: one for one in cache}
    for sample in found.samples:
        example = example_by_row[sample.row]
        answer = prompted_models.full_forwards(tuned, example.prompt_ids.tolist(), 12, task=example.task)
        ends = [place for place, token in enumerate(answer) if token in encoder.template.stop_ids]
        assert sample.answer.startswith(encoder.text(answer[: ends[0] if ends else None]).rstrip("\ufffd"))
    assert {example_by_row[sample.row].task for sample in found.samples} == {0, 1}


def test_the_same_rows_are_measured_each_time(job, tiny, evaluator, model):
    first, second = measure(evaluator, model), measure(make(job, tiny, tuning_jobs.Listener()), model)
    assert first.samples == second.samples
    assert first.loss == second.loss


def test_short_time_measures_fewer_rows_and_says_so(evaluator, model, monkeypatch):
    monkeypatch.setattr(evaluate, "_LOSS_ROWS", 10)
    found = measure(evaluator, model, Budget(loss_rows=100, loss_seconds=0, answer_rows=64, answer_seconds=0))
    assert (found.loss_rows, found.rows, len(found.samples)) == (10, 100, evaluate.BATCH_ROWS)


def test_a_stop_shortens_the_measuring_to_what_was_begun(job, tiny, model, monkeypatch):
    monkeypatch.setattr(evaluate, "LATE_SECONDS", 0.0)
    monkeypatch.setattr(evaluate, "_LOSS_ROWS", 10)
    found = measure(make(job, tiny, tuning_jobs.Listener(stop_when=lambda phase, done: done >= 30)), model)
    assert (found.loss_rows, found.rows, len(found.samples)) == (30, 100, evaluate.BATCH_ROWS)


def test_progress_counts_rows_up_to_all(job, tiny, model):
    listener = tuning_jobs.Listener()
    measure(make(job, tiny, listener), model)
    for unit, total in (("rows", 100), ("answers", evaluate.MAX_SAMPLE_ROWS)):
        heard = [one for one in listener.progressed if one["unit"] == unit]
        assert [one["done"] for one in heard] == sorted(one["done"] for one in heard)
        assert heard[-1]["done"] == heard[-1]["total"] == total


def test_an_evaluation_survives_json(evaluator, model):
    found = measure(evaluator, model)
    assert read_evaluation(json.loads(json.dumps(found.to_json()))) == found


def made(scores, *, rows, loss=1.0):
    samples = tuple(
        Sample(row=row, place="", input="", reference="", answer="", is_ended=row == 0, scores={"rougeL": score})
        for row, score in enumerate(scores)
    )
    return Evaluation(
        loss=loss,
        labels=1,
        loss_rows=rows,
        rows=rows,
        mode="reference",
        max_new_tokens=1,
        samples=samples,
        seconds=0,
        loss_parts=(LossPart(rows=rows, loss_sum=loss, labels=1),),
    )


def test_the_base_is_compared_on_no_more_rows_than_the_tuned_model_saw():
    first, second = LossPart(rows=2, loss_sum=6.0, labels=3), LossPart(rows=2, loss_sum=100.0, labels=1)
    base = replace(made([0.0, 1.0], rows=4), loss=26.5, labels=4, loss_parts=(first, second))
    tuned = replace(made([1.0], rows=4), loss_rows=2, loss_parts=(first,))
    narrowed = base.on_rows_of(tuned)
    assert (narrowed.loss, narrowed.labels, narrowed.loss_rows) == (2.0, 3, 2)
    assert narrowed.score("rougeL") == 0.0
    assert base.on_rows_of(base).loss == base.loss


def test_the_margin_follows_the_textbook_and_vanishes_where_all_rows_are_taken():
    scores = [0.0, 1.0] * 20
    deviation = math.sqrt(40 * 0.25 / 39)
    wanted = 1.96 * deviation / math.sqrt(40) * math.sqrt((1000 - 40) / 999)
    assert made(scores, rows=1000).margin("rougeL") == pytest.approx(wanted)
    assert made(scores, rows=40).margin("rougeL") == 0.0
    assert made([0.5], rows=9).margin("rougeL") == 0.0


def test_a_hopeless_loss_has_a_finite_perplexity():
    assert json.dumps(made([0.0], rows=1, loss=5000.0).perplexity, allow_nan=False)


def test_the_share_of_answers_that_end_by_themselves():
    assert made([0.0, 0.0, 0.0, 0.0], rows=4).ended_share == 0.25
