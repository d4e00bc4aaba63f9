from dataclasses import replace

import pytest
import torch

from gyropilot.problems.text_generation import crew, forward, loop
from gyropilot.problems.text_generation.crew import Crew
from gyropilot.problems.text_generation.layers import FusedForward
from gyropilot.problems.text_generation.models import trainable_parameters
from gyropilot.problems.text_generation.plain import PlainForward
from gyropilot.problems.text_generation.tuning.lora import Lora
from gyropilot.problems.text_generation.tuning.multitask_prompt_tuning import MultitaskPromptTuning
from gyropilot.problems.text_generation.tuning.p_tuning import PTuning


@pytest.fixture(autouse=True)
def _eager(monkeypatch):
    monkeypatch.setattr(crew, "_LEAST_TOKENS", 16)


def test_several_threads_find_what_one_finds(tiny):
    model, examples = Lora(rank=4).attach(tiny.loaded("llama"), seed=5), tiny.examples(12)
    parameters = list(trainable_parameters(model).values())
    found = []
    for threads in (1, 3):
        model.zero_grad()
        with Crew(FusedForward(model), threads=threads) as hands:
            packs = hands.packs(examples, max_tokens=200, max_examples=64)
            assert len(packs) == (1 if threads == 1 else 3)
            loss = hands.add_gradients(packs, parameters)
            assert sum(hands.losses(packs)) == pytest.approx(loss, rel=1e-6)
        found.append((loss, [one.grad.clone() for one in parameters]))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    for alone, together in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_the_plain_way_is_never_shared_out(tiny):
    model, examples = Lora(rank=4).attach(tiny.loaded("gpt_neox"), seed=5), tiny.examples(12)
    with Crew(PlainForward(model), threads=3) as hands:
        assert len(hands.packs(examples, max_tokens=4096, max_examples=64)) == 1


def test_threads_do_not_change_a_bit_from_run_to_run_nor_over_a_resume(tiny, tmp_path):
    ends = []
    for name, stops in (("a", [None]), ("b", [None]), ("c", [2, None])):
        for stop in stops:
            model = Lora(rank=4).attach(tiny.loaded("llama"), seed=11)
            outcome = loop.train(
                model,
                tiny.examples(24),
                tiny.plan(threads=2),
                checkpoints=tmp_path / name,
                reporter=tiny.listener(stop_after=stop),
                deadline=None,
                checkpoint_seconds=1e9,
                on_step=lambda record: None,
            )
        assert outcome.forward == "fused"
        ends.append((outcome.losses, {key: one.detach() for key, one in trainable_parameters(model).items()}))
    for losses, weights in ends[1:]:
        assert losses == ends[0][0]
        assert all(torch.equal(weights[name], value) for name, value in ends[0][1].items())


def test_an_error_in_a_thread_comes_out(tiny):
    model = Lora(rank=4).attach(tiny.loaded("llama"), seed=5)

    class Broken(FusedForward):
        def loss_sum(self, pack):
            raise torch.OutOfMemoryError

    with Crew(Broken(model), threads=2) as hands, pytest.raises(torch.OutOfMemoryError):
        hands.add_gradients(hands.packs(tiny.examples(8), max_tokens=99, max_examples=9), [])
    assert forward.choose(model, tiny.examples(3), check="loss", precision="float32")[0].is_parallel


@pytest.mark.parametrize("kind", ["llama", "gpt_neox"])
def test_packs_are_of_one_task_and_their_gradients_those_of_rows_alone(tiny, kind):
    model = MultitaskPromptTuning(num_virtual_tokens=4, tasks=3).attach(tiny.loaded(kind), seed=5)
    torch.manual_seed(1)
    for one in trainable_parameters(model).values():
        one.data += 0.1 * torch.randn_like(one)
    examples = [replace(one, task=one.row % 3) for one in tiny.examples(12)]
    parameters = list(trainable_parameters(model).values())
    found = []
    ways = [(PlainForward(model), 1, 1), (PlainForward(model), 1, 64)]
    for way, threads, most in ways + ([(FusedForward(model), 3, 64)] if kind == "llama" else []):
        model.zero_grad()
        with Crew(way, threads=threads) as hands:
            packs = hands.packs(examples, max_tokens=4096, max_examples=most)
            assert {pack.task for pack in packs} == {0, 1, 2}
            assert sum(len(pack.lengths) for pack in packs) == 12
            if most > 1:
                assert len(packs) == 3 * threads
            found.append((hands.add_gradients(packs, parameters), [one.grad.clone() for one in parameters]))
    for loss, gradients in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-5)
        for one, wanted in zip(gradients, found[0][1], strict=True):
            torch.testing.assert_close(one, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))


def test_virtual_tokens_count_towards_the_tokens_of_a_pack(tiny):
    model = PTuning(num_virtual_tokens=30).attach(tiny.loaded("llama"), seed=5)
    with Crew(FusedForward(model), threads=1) as hands:
        packs = hands.packs(tiny.examples(24), max_tokens=100, max_examples=64)
    assert all(pack.tokens + 30 <= 100 for pack in packs)
    assert max(pack.tokens for pack in packs) + 30 > 80
