import math
import shutil

import numpy as np
import pytest
import torch

from gyropilot import clock
from gyropilot.errors import InvalidData, TrainingFailed
from gyropilot.problems.contract import HandBack
from gyropilot.problems.text_generation import batches, checkpoints, forward, loop
from gyropilot.problems.text_generation.batches import Example
from gyropilot.problems.text_generation.evaluate import evaluate_loss
from gyropilot.problems.text_generation.models import trainable_parameters
from gyropilot.problems.text_generation.plain import PlainForward
from gyropilot.problems.text_generation.tuning.lora import Lora


def run(
    tiny,
    folder,
    *,
    kind="llama",
    examples=None,
    plan=None,
    listener=None,
    deadline=None,
    seconds=1e9,
    heard=None,
    dropout=0.1,
):
    model = Lora(rank=4, alpha=8, dropout=dropout).attach(tiny.loaded(kind), seed=11)
    outcome = loop.train(
        model,
        examples or tiny.examples(24),
        plan or tiny.plan(),
        checkpoints=folder,
        reporter=listener or tiny.listener(),
        deadline=deadline,
        checkpoint_seconds=seconds,
        on_step=([] if heard is None else heard).append,
    )
    return model, outcome


def weights(model):
    return {name: one.detach().clone() for name, one in trainable_parameters(model).items()}


def gradients_of(tiny, kind, packs):
    model = Lora(rank=4).attach(tiny.loaded(kind), seed=5)
    for name, one in trainable_parameters(model).items():
        torch.manual_seed(len(name))
        one.data += 0.05 * torch.randn_like(one)
    total = 0.0
    for pack in packs:
        loss = PlainForward(model).loss_sum(pack)
        loss.backward()
        total += float(loss.detach())
    return total, {name: one.grad for name, one in trainable_parameters(model).items()}


def test_packed_equals_unpacked(tiny, kind):
    examples = tiny.examples(6)
    alone, alone_gradients = gradients_of(tiny, kind, [batches.pack([one]) for one in examples])
    packed, packed_gradients = gradients_of(tiny, kind, [batches.pack(examples)])
    assert batches.pack(examples).prefix_length == 5
    assert packed == pytest.approx(alone, rel=1e-5)
    for name, wanted in alone_gradients.items():
        torch.testing.assert_close(
            packed_gradients[name], wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()) + 1e-7
        )


def test_eight_micro_batches_of_one_equal_one_of_eight(tiny, kind, tmp_path):
    ends = []
    for micro_batch in (1, 8):
        plan = tiny.plan(micro_batch=micro_batch, epochs=1)
        model = Lora(rank=4).attach(tiny.loaded(kind), seed=11)
        outcome = loop.train(
            model,
            tiny.examples(24),
            plan,
            checkpoints=tmp_path / str(micro_batch),
            reporter=tiny.listener(),
            deadline=None,
            checkpoint_seconds=1e9,
            on_step=lambda record: None,
        )
        ends.append((outcome.losses, weights(model)))
    (one_losses, one), (eight_losses, eight) = ends
    assert one_losses == pytest.approx(eight_losses, rel=1e-5)
    for name, value in one.items():
        torch.testing.assert_close(eight[name], value, rtol=0, atol=2e-4)


def test_the_loss_is_divided_by_the_labels_of_the_whole_step(tiny, tmp_path):
    examples = tiny.examples(8)
    model = Lora(rank=4).attach(tiny.loaded("llama"), seed=11)
    expected = evaluate_loss(model, examples, tiny.plan())
    assert expected.label_count == sum(len(one.answer_ids) for one in examples)
    heard = []
    loop.train(
        model,
        examples,
        tiny.plan(epochs=1, micro_batch=3),
        checkpoints=tmp_path,
        reporter=tiny.listener(),
        deadline=None,
        checkpoint_seconds=1e9,
        on_step=heard.append,
    )
    assert heard[0].loss == pytest.approx(expected.mean, rel=1e-5)
    assert heard[0].labels == expected.label_count
    assert heard[0].tokens == sum(one.length for one in examples)


def test_an_attempt_says_where_it_goes_on(tiny, tmp_path):
    first, cut, again = (tiny.listener(stop_after=stop_after) for stop_after in (None, 2, None))
    run(tiny, tmp_path / "straight", listener=first)
    assert "resumed" not in [kind for kind, _ in first.events]
    run(tiny, tmp_path / "cut", listener=cut)
    run(tiny, tmp_path / "cut", listener=again)
    assert ("resumed", "went on from step 2 of 6") in again.events
    assert again.progressed[0]["done"] == 2
    for kept in (tmp_path / "cut").glob("step-*"):
        shutil.rmtree(kept)
    anew = tiny.listener()
    run(tiny, tmp_path / "cut", listener=anew)
    assert ("resumed", "went on from its beginning: no checkpoint had been written yet") in anew.events
    assert (anew.progressed[0]["done"], anew.progressed[0]["total"]) == (0, 6)


@pytest.mark.parametrize(("dropout", "way"), [(0.1, "plain"), (0.0, "fastest")])
@pytest.mark.parametrize("killed_at", [1, 2, 5])
def test_a_resumed_run_equals_a_straight_one_bit_for_bit(tiny, kind, tmp_path, killed_at, dropout, way):
    straight_model, straight = run(tiny, tmp_path / "straight", kind=kind, dropout=dropout)
    run(tiny, tmp_path / "cut", kind=kind, dropout=dropout, listener=tiny.listener(stop_after=killed_at))
    torch.rand(17)
    heard = []
    resumed_model, resumed = run(tiny, tmp_path / "cut", kind=kind, dropout=dropout, heard=heard)
    assert resumed.forward == ("fused" if way == "fastest" and kind == "llama" else "plain")
    assert resumed.resumed_at == killed_at
    assert resumed.losses == straight.losses
    assert [record.step for record in heard] == list(range(1, 7))
    for name, value in weights(straight_model).items():
        assert torch.equal(weights(resumed_model)[name], value), name


def test_a_parameter_that_no_row_reaches_does_not_hinder_a_resume(tiny, tmp_path):
    def trained(folder, **stop):
        model = Lora(rank=4).attach(tiny.loaded("llama"), seed=11)
        model.register_parameter("spare", torch.nn.Parameter(torch.ones(3)))
        return loop.train(
            model,
            tiny.examples(24),
            tiny.plan(),
            checkpoints=folder,
            reporter=tiny.listener(**stop),
            deadline=None,
            checkpoint_seconds=1e9,
            on_step=lambda record: None,
        )

    straight = trained(tmp_path / "straight")
    trained(tmp_path / "cut", stop_after=2)
    resumed = trained(tmp_path / "cut")
    assert resumed.resumed_at == 2
    assert resumed.losses == straight.losses


def test_a_kill_between_checkpoints_costs_only_the_steps_since(tiny, tmp_path):
    class Killed(Exception):
        pass

    def die_at(step):
        def on_step(record):
            if record.step == step:
                raise Killed

        return on_step

    straight_model, _ = run(tiny, tmp_path / "straight")
    for step in (3, 4):
        model = Lora(rank=4, alpha=8, dropout=0.1).attach(tiny.loaded("llama"), seed=11)
        with pytest.raises(Killed):
            loop.train(
                model,
                tiny.examples(24),
                tiny.plan(),
                checkpoints=tmp_path / "killed",
                reporter=tiny.listener(),
                deadline=None,
                checkpoint_seconds=0.0,
                on_step=die_at(step),
            )
        assert checkpoints.find_latest(tmp_path / "killed").step == step - 1
    model, outcome = run(tiny, tmp_path / "killed")
    assert (outcome.resumed_at, outcome.steps) == (3, 6)
    for name, value in weights(straight_model).items():
        assert torch.equal(weights(model)[name], value)


def test_a_finished_run_is_given_back_without_another_step(tiny, tmp_path):
    model, first = run(tiny, tmp_path)
    again_model, again = run(tiny, tmp_path)
    assert again.records == first.records
    assert again.ended_by == "finished"
    for name, value in weights(model).items():
        assert torch.equal(weights(again_model)[name], value)


def test_another_plan_or_other_data_are_refused_with_both_values(tiny, tmp_path):
    run(tiny, tmp_path, listener=tiny.listener(stop_after=1))
    with pytest.raises(TrainingFailed, match=r"learning_rate': 0.01.*learning_rate': 0.02"):
        run(tiny, tmp_path, plan=tiny.plan(learning_rate=0.02))
    with pytest.raises(
        TrainingFailed, match=r"data_sha256: the checkpoint has '[0-9a-f]{64}', this run '[0-9a-f]{64}'"
    ):
        run(tiny, tmp_path, examples=tiny.examples(24, seed=1))


def test_a_loss_that_is_not_finite_fails_before_anything_is_saved(tiny, tmp_path):
    model = Lora(rank=4).attach(tiny.loaded("llama"), seed=11)
    next(iter(trainable_parameters(model).values())).data.fill_(math.nan)
    with pytest.raises(TrainingFailed, match=r"loss became nan .* at step 1 of 6; lower learningRate \(it is 0.01\)"):
        loop.train(
            model,
            tiny.examples(24),
            tiny.plan(),
            checkpoints=tmp_path,
            reporter=tiny.listener(),
            deadline=None,
            checkpoint_seconds=0.0,
            on_step=lambda record: None,
        )
    assert checkpoints.find_latest(tmp_path) is None


def test_rows_without_answer_fail_before_training(tiny, tmp_path):
    empty = Example(prompt_ids=np.array([1, 2]), answer_ids=np.array([], dtype=np.int64), row=42)
    with pytest.raises(InvalidData, match="row 42"):
        run(tiny, tmp_path, examples=[*tiny.examples(3), empty])


def test_stop_and_deadline_end_after_the_step_under_way_and_keep_it(tiny, tmp_path):
    _, stopped = run(tiny, tmp_path / "stop", listener=tiny.listener(stop_after=2))
    assert (stopped.ended_by, stopped.steps) == ("stop", 2)
    assert checkpoints.find_latest(tmp_path / "stop").step == 2
    _, late = run(tiny, tmp_path / "late", deadline=lambda: clock.monotonic() - 1.0)
    assert (late.ended_by, late.steps) == ("time limit", 0)
    _, free = run(tiny, tmp_path / "free", deadline=lambda: clock.monotonic() + 1e6)
    assert free.ended_by == "finished"


def test_a_hand_back_saves_and_leaves_and_the_next_run_goes_on_there(tiny, tmp_path):
    straight_model, straight = run(tiny, tmp_path / "straight")
    listener = tiny.listener()
    listener.hand_back_requested = lambda: len(listener.progressed) >= 2
    with pytest.raises(HandBack):
        run(tiny, tmp_path / "cut", listener=listener)
    assert checkpoints.find_latest(tmp_path / "cut").step == 2
    model, resumed = run(tiny, tmp_path / "cut")
    assert (resumed.resumed_at, resumed.losses) == (2, straight.losses)
    for name, value in weights(straight_model).items():
        assert torch.equal(weights(model)[name], value), name


def test_progress_tells_what_a_checkpoint_keeps(tiny, tmp_path):
    listener = tiny.listener()
    run(tiny, tmp_path, seconds=0.0, listener=listener)
    assert [one["saved"] for one in listener.progressed] == [0, 1, 2, 3, 4, 5]


def test_a_full_disk_costs_the_checkpoint_and_not_the_run(tiny, tmp_path, monkeypatch):
    def full(folder, needed):
        raise checkpoints.DiskFull("no room for a checkpoint: 64 MiB needed, 1 MiB free")

    listener = tiny.listener()
    monkeypatch.setattr(checkpoints, "_write", lambda partial, checkpoint: full(partial, 0))
    _, outcome = run(tiny, tmp_path / "filled", seconds=0.0, listener=listener)
    assert outcome.ended_by == "finished"
    assert checkpoints.find_latest(tmp_path / "filled") is None
    assert ("checkpoint-skipped", "no room for a checkpoint: 64 MiB needed, 1 MiB free") in listener.events
    monkeypatch.setattr(checkpoints, "check_space", full)
    with pytest.raises(TrainingFailed, match="no room"):
        run(tiny, tmp_path / "full")


def test_every_step_reports_loss_speed_and_time_left(tiny, tmp_path):
    listener, heard = tiny.listener(), []
    _, outcome = run(tiny, tmp_path, listener=listener, heard=heard)
    assert [one["done"] for one in listener.progressed] == [1, 2, 3, 4, 5, 6]
    assert {one["total"] for one in listener.progressed} == {6}
    assert [one["loss"] for one in listener.progressed] == list(outcome.losses)
    assert all(one["tokens_per_second"] > 0 and one["seconds_left"] >= 0 for one in listener.progressed)
    assert [record.epoch for record in heard] == pytest.approx([1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2])
    assert outcome.tokens == 2 * sum(one.length for one in tiny.examples(24))
    assert outcome.losses[-1] < outcome.losses[0]


def test_when_memory_runs_out_packs_are_halved_and_the_step_is_the_same(tiny, tmp_path, monkeypatch):
    _, whole = run(tiny, tmp_path / "whole", plan=tiny.plan(epochs=1))
    computed, plain = [], PlainForward.loss_sum

    def scarce(self, pack):
        if pack.tokens > 40 and len(pack.lengths) > 3:
            raise torch.OutOfMemoryError
        computed.append(pack.tokens)
        return plain(self, pack)

    monkeypatch.setattr(PlainForward, "loss_sum", scarce)
    listener = tiny.listener()
    _, halved = run(tiny, tmp_path / "halved", plan=tiny.plan(epochs=1), listener=listener)
    assert ("memory", "memory ran out; packs are now of 64 tokens") in listener.events
    assert max(computed) < 64
    assert halved.steps == whole.steps
    run(tiny, tmp_path / "cut", plan=tiny.plan(epochs=1), listener=tiny.listener(stop_after=1))
    listener = tiny.listener()
    _, resumed = run(tiny, tmp_path / "cut", plan=tiny.plan(epochs=1), listener=listener)
    assert (resumed.resumed_at, resumed.losses) == (1, halved.losses)
    assert "memory" not in [kind for kind, *_ in listener.events], "a resumed run begins with the halved packs"
    monkeypatch.setattr(forward, "choose", lambda model, examples, check, precision: (PlainForward(model), ""))
    monkeypatch.setattr(PlainForward, "loss_sum", lambda self, pack: (_ for _ in ()).throw(torch.OutOfMemoryError))
    with pytest.raises(TrainingFailed, match="does not fit into memory at step 1"):
        run(tiny, tmp_path / "none")


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [("cosine", [0.5, 1, 1, 0.5]), ("linear", [0.5, 1, 1, 0.5]), ("constant", [0.5, 1, 1, 1])],
)
def test_the_learning_rate_rises_straight_and_falls_as_planned(tiny, schedule, wanted):
    plan = tiny.plan(learning_rate=1.0, warmup_steps=2, schedule=schedule)
    rates = [loop.learning_rate(plan, step=step, total_steps=4) for step in range(4)]
    assert rates == pytest.approx(wanted)


def test_evaluation_adds_up_over_packs_and_leaves_the_model_as_it_was(tiny, kind):
    examples, model = tiny.examples(10), tiny.loaded(kind).model
    small = evaluate_loss(model, examples, tiny.plan(max_pack_tokens=20))
    large = evaluate_loss(model, examples, tiny.plan(max_pack_tokens=4096))
    assert small.label_count == large.label_count
    assert small.loss_sum == pytest.approx(large.loss_sum, rel=1e-5)
    assert not model.training
