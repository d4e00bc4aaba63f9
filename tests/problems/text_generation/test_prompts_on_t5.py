"""Prompt tuning of an encoder-decoder model: rows before the encoder, before the decoder, before both."""

from __future__ import annotations

import json

import pytest

import served_models
import tiny_models
import tuning_jobs
from gyropilot.problems.text_generation import artifacts
from gyropilot.problems.text_generation.tuning.specification import TuningSpec

OTHER_COLOURS = [(asked, answer.replace("red", "blue")) for asked, answer in tuning_jobs.ROWS]

pytestmark = pytest.mark.slow


def tuned(root, model, method, rows, **changes):
    job = tuning_jobs.Job(root, model, method=method, **changes)
    task = job.train_task(job.profile(job.stage(rows)))
    return served_models.Tuned(job.base_models, task.output, job.train(task))


@pytest.fixture(scope="module")
def speaking(tmp_path_factory):
    """A folder with a small T5 that learned from random to answer with a colour."""
    root = tmp_path_factory.mktemp("speaking")
    method = TuningSpec(tuning_type="FULL", torch_dtype="float32", verbalizer="{{input}}")
    base = tiny_models.make("flan-t5", root / "random", dropout_rate=0.0)
    learned = tuned(root, base, method, tuning_jobs.ROWS, epochs=10)
    loss = json.loads((learned.output / artifacts.EVALUATION).read_text())["models"]["tuned"]["ValidationLoss"]
    assert loss < 1.0, "it speaks"
    return learned.output / artifacts.MODEL


@pytest.mark.parametrize("sides", [("ENCODER",), ("DECODER",), ("ENCODER", "DECODER")], ids="+".join)
def test_rows_on_any_side_lower_the_loss_and_answer_alike_after_reload(tmp_path, speaking, sides):
    method = TuningSpec(
        tuning_type="PROMPT_TUNING",
        num_virtual_tokens=8,
        prompt_tuning_init_method="SAMPLE_VOCAB",
        output_model_types=sides,
        torch_dtype="float32",
        verbalizer="{{input}}",
    )
    made = tuned(tmp_path, speaking, method, OTHER_COLOURS, epochs=3, learning_rate=0.1)
    measured = json.loads((made.output / artifacts.EVALUATION).read_text())["models"]
    assert measured["tuned"]["ValidationLoss"] < measured["base"]["ValidationLoss"] - 0.2
    scored = made.scored()
    folder = served_models.unpacked(made.output, tmp_path / "served")
    inputs = [text for text, _ in scored]
    (answers,) = served_models.answers_of_a_fresh_process([(folder, made.base_models, inputs, None)])
    assert answers == [answer for _, answer in scored]
    assert any(answers)
