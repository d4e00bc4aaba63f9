from __future__ import annotations

import json
import math

import pytest
import torch

from gyropilot.errors import TrainingFailed
from gyropilot.problems.contract import HandBack
from gyropilot.problems.text_generation import loop
from gyropilot.problems.text_generation.evaluate import evaluate_loss
from gyropilot.problems.text_generation.models import trainable_parameters
from gyropilot.problems.text_generation.tuning import learning_rate
from gyropilot.problems.text_generation.tuning.ia3 import Ia3
from gyropilot.problems.text_generation.tuning.learning_rate import LADDER
from gyropilot.problems.text_generation.tuning.prompt_tuning import PromptTuning
from gyropilot.problems.text_generation.tuning.specification import DOCUMENTED_RATES, UNPROBED_TYPES

PROMPT = PromptTuning(num_virtual_tokens=8, init_method="SAMPLE_VOCAB")


@pytest.fixture
def find(tiny, tmp_path):
    def found(model, examples=None, *, tuning="PROMPT_TUNING", reporter=None, folder="checkpoints", seconds=1e9):
        return learning_rate.find(
            model,
            tiny.examples(40) if examples is None else examples,
            tiny.plan(),
            tuning=tuning,
            remembered=tmp_path / folder,
            seconds_left=seconds,
            reporter=reporter or tiny.listener(),
        )

    return found


def trained_loss(tiny, rate, folder):
    """Give the loss after a whole training at `rate`; inf where it broke."""
    model, examples = PROMPT.attach(tiny.loaded("llama"), seed=3), tiny.examples(40)
    plan = tiny.plan(epochs=6, learning_rate=rate)
    try:
        loop.train(
            model,
            examples,
            plan,
            checkpoints=folder / f"{rate:g}",
            reporter=tiny.listener(),
            deadline=None,
            checkpoint_seconds=1e9,
            on_step=lambda _: None,
        )
    except TrainingFailed:
        return math.inf
    return evaluate_loss(model, examples, plan).mean


def test_every_documented_rate_is_on_the_ladder_of_what_is_tried():
    assert {rate for tuning, rate in DOCUMENTED_RATES.items() if tuning not in UNPROBED_TYPES} <= set(LADDER)
    assert list(LADDER) == sorted(LADDER, reverse=True)


def test_what_is_found_trains_better_than_rates_far_from_it(tiny, find, tmp_path):
    rate = find(PROMPT.attach(tiny.loaded("llama"), seed=3)).rate
    found = trained_loss(tiny, rate, tmp_path)
    assert found < trained_loss(tiny, rate / 30, tmp_path)
    assert found < trained_loss(tiny, rate * 100, tmp_path)


def test_a_probe_leaves_the_model_and_the_random_generator_as_they_were_to_the_bit(tiny, find):
    model = PROMPT.attach(tiny.loaded("llama"), seed=3)
    before = {name: one.detach().clone() for name, one in model.named_parameters()}
    state = torch.get_rng_state()
    found = find(model)
    assert len(found.losses) > 1
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one, before[name]) for name, one in model.named_parameters())
    assert all(one.grad is None for one in trainable_parameters(model).values())


def test_the_same_rows_and_seed_find_the_same(tiny, find):
    found = [find(PROMPT.attach(tiny.loaded("llama"), seed=3), folder=folder) for folder in ("one", "other")]
    assert found[0] == found[1]


def test_what_was_found_is_kept_for_a_resume_and_told_once(tiny, find, tmp_path):
    listener = tiny.listener()
    first = find(PROMPT.attach(tiny.loaded("llama"), seed=3), reporter=listener)
    assert json.loads((tmp_path / "checkpoints" / learning_rate.FILE).read_text())["rate"] == first.rate
    assert find(PROMPT.attach(tiny.loaded("llama"), seed=4), reporter=listener) == first
    assert [kind for kind, _ in listener.events] == ["learning_rate"]


@pytest.mark.parametrize(
    ("rows", "seconds", "why"), [(7, 1e9, "7 training rows are too few"), (40, 10.0, "the time is too short")]
)
def test_with_too_little_of_anything_the_documented_rate_holds(tiny, find, rows, seconds, why):
    found = find(Ia3().attach(tiny.loaded("llama"), seed=3), tiny.examples(rows), tuning="IA3", seconds=seconds)
    assert found.rate == DOCUMENTED_RATES["IA3"]
    assert why in found.why
    assert found.losses == {}


def test_the_largest_rate_that_is_about_as_good_as_the_best_is_halved(tiny, find):
    found = find(PROMPT.attach(tiny.loaded("llama"), seed=3))
    falls = {float(rate): found.start_loss - loss for rate, loss in found.losses.items()}
    assert 2 * found.rate == max(rate for rate, fall in falls.items() if fall >= 0.95 * max(falls.values()))


def test_a_probe_that_breaks_off_gives_the_documented_rate_and_the_reason(tiny, find, monkeypatch):
    def full(*_, **__):
        raise MemoryError("no room")

    model = PROMPT.attach(tiny.loaded("llama"), seed=3)
    monkeypatch.setattr(learning_rate.Crew, "add_gradients", full)
    found = find(model)
    assert found.rate == DOCUMENTED_RATES["PROMPT_TUNING"]
    assert "broke off: no room" in found.why


def test_a_service_that_goes_down_ends_the_probe_and_nothing_is_kept_of_it(tiny, find, tmp_path):
    listener = tiny.listener()
    listener.hand_back_requested = lambda: True
    with pytest.raises(HandBack):
        find(PROMPT.attach(tiny.loaded("llama"), seed=3), reporter=listener)
    assert not (tmp_path / "checkpoints" / learning_rate.FILE).exists()


def test_a_stop_ends_the_probe(tiny, find):
    listener = tiny.listener()
    listener.stop_requested = lambda: True
    assert find(PROMPT.attach(tiny.loaded("llama"), seed=3), reporter=listener).losses == {}
