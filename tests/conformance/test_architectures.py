"""Every family of models that can be tuned, as a tiny random model: from a registered folder to the reloaded result."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

import bad_payloads
import served_models
import services
import tiny_models
import tuning_jobs
from gyropilot.base_models import architectures as known
from gyropilot.base_models import catalog
from gyropilot.errors import InvalidRequest
from gyropilot.problems.text_generation import artifacts, batches, models
from gyropilot.problems.text_generation.architectures import ARCHITECTURES
from gyropilot.problems.text_generation.batches import TokenCache
from gyropilot.problems.text_generation.plain import PlainForward
from gyropilot.problems.text_generation.templates import Encoder
from gyropilot.problems.text_generation.tuning.specification import TuningSpec

RATES = {"LORA": 1e-2, "FULL": 3e-3}
EACH = [(kind, tuning) for kind in tiny_models.CONFIGS for tuning in RATES]
HARDWARE = {
    "device": "cpu",
    "threads": 1,
    "dtype": "float32",
    "max_pack_tokens": 256,
    "micro_batch": 64,
    "needed_bytes": 0,
    "gflops": {},
    "spin_count": "",
}
"""A plan made beforehand: no probing, and the same bits on every machine."""


class Trained:
    """One job on one model, trained to its end."""

    def __init__(self, root, folder, tuning):
        root.mkdir()
        method = TuningSpec(tuning_type=tuning)
        self.job = tuning_jobs.Job(root, folder, method=method, learning_rate=RATES[tuning], epochs=2)
        self.profile = self.job.profile(self.job.stage(tuning_jobs.ROWS[:40]))
        self.task = self.new_task("straight")
        self.result = self.job.train(self.task)
        self.output = self.task.output
        self.evaluation = json.loads((self.output / artifacts.EVALUATION).read_text())

    def new_task(self, attempt):
        task = self.job.train_task(self.profile, attempt=attempt)
        (task.checkpoints / "hardware.json").write_text(json.dumps(HARDWARE))
        return task

    @property
    def base(self):
        return self.job.base_models / services.TINY

    def sample(self):
        return [(one["input"], one["tuned"]["answer"]) for one in self.evaluation["generations"]][:3]

    def max_new_tokens(self):
        return self.evaluation["models"]["tuned"]["max_new_tokens"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root, done = tmp_path_factory.mktemp("families"), {}

    def give(kind, tuning):
        place = root / f"{kind.replace(' ', '-')}-{tuning}"
        if (kind, tuning) not in done:
            folder = root / kind.replace(" ", "-")
            done[kind, tuning] = Trained(place, folder if folder.exists() else tiny_models.make(kind, folder), tuning)
        return done[kind, tuning]

    before = torch.get_num_threads()
    yield give
    torch.set_num_threads(before)


def load(folder):
    return models.load(folder, dtype="float32", attention="sdpa").model


def logits(model, prompt, answer):
    ids = torch.tensor([prompt])
    with torch.inference_mode():
        if models.layout(model) == "encoder-decoder":
            start = torch.tensor([[models.answer_start(model), *answer[:-1]]])
            return model(input_ids=ids, decoder_input_ids=start).logits[0]
        return model(input_ids=torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]


def test_every_family_of_the_store_can_be_tuned():
    assert {one.class_name for one in ARCHITECTURES} == {one.name for one in known.ARCHITECTURES}
    assert {one.architecture for one in catalog.CATALOG} <= {one.class_name for one in ARCHITECTURES}
    made = {name for name, _ in tiny_models.CONFIGS.values()}
    assert len(made) == len(ARCHITECTURES)


@pytest.mark.parametrize(("kind", "tuning"), EACH)
def test_training_lowers_the_loss_below_the_bases(trained, kind, tuning):
    run = trained(kind, tuning)
    measured = run.evaluation["models"]
    assert measured["tuned"]["ValidationLoss"] < 0.6 * measured["base"]["ValidationLoss"]
    assert run.result.ended_by == "finished"
    lineage = json.loads((run.output / artifacts.LINEAGE).read_text())
    assert lineage["hyperparameters"]["tuningType"]["value"] == lineage["method"]["name"] == tuning


@pytest.mark.parametrize("kind", tiny_models.CONFIGS)
def test_the_loss_of_a_row_is_that_of_transformers(trained, kind):
    run = trained(kind, "LORA")
    model = load(run.base)
    way = PlainForward(model)
    cache = TokenCache.open(run.job.root / "prepared" / "validation")
    for row in cache[:3]:
        prompt, answer = (torch.tensor(np.array(ids)).long()[None] for ids in (row.prompt_ids, row.answer_ids))
        with torch.inference_mode():
            if models.layout(model) == "encoder-decoder":
                loss = model(input_ids=prompt, labels=answer).loss
            else:
                ids = torch.cat([prompt, answer], 1)
                labels = torch.where(torch.arange(ids.shape[1]) < prompt.shape[1], -100, ids)
                loss = model(input_ids=ids, labels=labels).loss
            found = way.loss_sum(batches.pack([row]))
        assert float(found) == pytest.approx(float(loss) * answer.shape[1], rel=1e-5)


@pytest.mark.parametrize(("kind", "tuning"), EACH)
def test_a_killed_training_goes_on_to_the_same_bits(trained, kind, tuning):
    run = trained(kind, tuning)
    task = run.new_task("killed")
    die = tuning_jobs.Listener(die_when=lambda phase, done: (phase, done) == ("training", 7))
    with pytest.raises(tuning_jobs.Killed):
        run.job.train(task, die)
    assert list(task.checkpoints.glob("step-*"))
    run.job.train(task)
    weights = f"{artifacts.MODEL}/model.safetensors"
    assert (task.output / weights).read_bytes() == (run.output / weights).read_bytes()


def test_the_saved_models_answer_in_a_fresh_process_as_when_they_were_measured(trained, tmp_path):
    """Out of the archive: the adapter beside the base where there is one, else the weights, the bytes of `model/`."""
    runs = [trained(kind, tuning) for kind, tuning in EACH]
    archives = [served_models.unpacked(run.output, tmp_path / str(place)) for place, run in enumerate(runs)]
    for run, archive in zip(runs, archives, strict=True):
        for file in filter(Path.is_file, (run.output / artifacts.MODEL).rglob("*")):
            assert (archive / file.relative_to(run.output / artifacts.MODEL)).read_bytes() == file.read_bytes()
    asked = [
        (archive, run.job.base_models, [text for text, _ in run.sample()], run.max_new_tokens())
        for archive, run in zip(archives, runs, strict=True)
    ]
    answers = served_models.answers_of_a_fresh_process(asked)
    for (kind, tuning), run, found in zip(EACH, runs, answers, strict=True):
        assert found == [answer for _, answer in run.sample()], (kind, tuning)


@pytest.mark.parametrize("kind", tiny_models.CONFIGS)
def test_bad_payloads_are_refused_and_the_next_is_answered(trained, kind, tmp_path):
    run = trained(kind, "LORA")
    (text, answer), *_ = run.sample()
    folder = served_models.unpacked(run.output, tmp_path / "model")
    with served_models.serving(folder, base_models=run.job.base_models) as model:
        for style, bodies in {"invoke": bad_payloads.INVOCATIONS, "chat": bad_payloads.CHATS}.items():
            for body, word in bodies:
                assert word in str(InvalidRequest.of(model.refused(body, style=style)))
        assert model.text(text, max_new_tokens=run.max_new_tokens()) == answer
        told = model.chat(("user", text), max_tokens=run.max_new_tokens())
        assert told["choices"][0]["message"]["content"] == answer


@pytest.mark.parametrize(("kind", "tuning"), EACH)
def test_the_saved_model_answers_in_transformers_alone(trained, kind, tuning):
    run = trained(kind, tuning)
    folder = run.output / artifacts.MODEL
    encoder = Encoder.of_tuned_model(folder)
    is_causal = models.layout(load(folder)) != "encoder-decoder"
    model = (AutoModelForCausalLM if is_causal else AutoModelForSeq2SeqLM).from_pretrained(str(folder))
    (text, answer), *_ = run.sample()
    prompt = encoder.prompts([text])[0]
    ids = torch.tensor([prompt])
    found = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=run.max_new_tokens()
    )[0].tolist()
    assert encoder.text(found[len(prompt) :] if is_causal else found) == answer
    assert not list(folder.glob("*.bin"))


@pytest.mark.parametrize("kind", tiny_models.CONFIGS)
def test_the_adapter_says_in_peft_what_the_merged_model_says(trained, kind):
    run = trained(kind, "LORA")
    with_adapter = PeftModel.from_pretrained(load(run.base), str(run.output / artifacts.ADAPTER)).get_base_model()
    row = TokenCache.open(run.job.root / "prepared" / "validation")[0]
    prompt, answer = row.prompt_ids.tolist(), row.answer_ids.tolist()
    wanted = logits(load(run.output / artifacts.MODEL), prompt, answer)
    torch.testing.assert_close(logits(with_adapter, prompt, answer), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", tiny_models.CONFIGS)
def test_full_tuning_changes_every_weight_and_leaves_no_adapter(trained, kind):
    run = trained(kind, "FULL")
    assert not (run.output / artifacts.ADAPTER).exists()
    assert "adapter" not in run.result.artifacts
    before, after = load(run.base).state_dict(), load(run.output / artifacts.MODEL).state_dict()
    assert before.keys() == after.keys()
    same = [name for name in before if torch.equal(before[name], after[name])]
    assert same == []
