"""Prompt tuning of a real model on real pairs: SmolLM2-135M-Instruct, tech-support pairs of chatterbot-corpus."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest
import yaml

import tuning_jobs
from gyropilot.problems.text_generation import artifacts
from gyropilot.problems.text_generation.tuning.specification import TuningSpec

SMOLLM2 = "SmolLM2-135M-Instruct"
ROWS = 120

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pairs():
    pytest.importorskip("chatterbot_corpus")
    text = files("chatterbot_corpus").joinpath("data/english/tech_support.yml").read_text(encoding="utf-8")
    talks = [one for one in yaml.safe_load(text)["conversations"] if len(one) > 1]
    return [(str(one[0]), str(one[1])) for one in talks[:ROWS]]


@pytest.fixture
def base_models(tmp_path, smollm2):
    (tmp_path / "base_models").symlink_to(smollm2.path.parent)


@pytest.mark.usefixtures("base_models")
@pytest.mark.parametrize("init_method", ["TEXT", "SAMPLE_VOCAB"])
def test_a_few_steps_of_prompt_tuning_lower_the_validation_loss_of_the_base(tmp_path, pairs, init_method):
    method = TuningSpec(
        tuning_type="PROMPT_TUNING",
        num_virtual_tokens=16,
        prompt_tuning_init_method=init_method,
        prompt_tuning_init_text="Answer the question of a customer." if init_method == "TEXT" else None,
        output_model_types=("DECODER",),
        verbalizer="{{input}}",
    )
    given = {"base_model": SMOLLM2, "loaded_model": SMOLLM2, "method": method, "learning_rate": None}
    job = tuning_jobs.Job(tmp_path, None, batch_size=8, epochs=2, **given)
    profile = job.profile(job.stage(pairs))
    task = job.train_task(profile, checkpoint_seconds=60.0, evaluation_seconds=10.0)
    result = job.train(task)
    evaluation = json.loads((task.output / artifacts.EVALUATION).read_text())
    measured = evaluation["models"]
    assert measured["tuned"]["ValidationLoss"] < measured["base"]["ValidationLoss"] - 1.0
    assert [one["epoch"] for one in evaluation["epochs"]] == [1, 2]
    assert 1e-3 < result.chosen["learningRate"] < 0.3
    size = (task.output / artifacts.ARCHIVE).stat().st_size
    assert size < 3 << 20, "the base's 257 MiB stay out of it"
