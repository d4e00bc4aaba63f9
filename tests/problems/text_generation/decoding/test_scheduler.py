from __future__ import annotations

import itertools
import json
import threading

import pytest
import torch

import tiny_models
from gyropilot.errors import InvalidRequest, LimitExceeded, NotFound, TrainingFailed, Unavailable
from gyropilot.problems.text_generation import models
from gyropilot.problems.text_generation.decoding import admission, memory, prompt_tokens
from gyropilot.problems.text_generation.decoding import scheduler as scheduling
from gyropilot.problems.text_generation.decoding.sampling import Sampling
from gyropilot.problems.text_generation.decoding.scheduler import Scheduler
from gyropilot.problems.text_generation.generation import generate
from gyropilot.problems.text_generation.tuning.lora import Lora

KINDS = ("llama-2 with shared keys", "gpt-neox")
"""One that is computed the fast way and one by transformers."""
ENDLESS = Sampling(max_new_tokens=100_000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {kind: tiny_models.make(kind, root / str(number)) for number, kind in enumerate(KINDS)}


@pytest.fixture
def scheduler(folder, request):
    kind = getattr(request, "param", KINDS[0])
    made = Scheduler(folder[kind], dtype="float32", cores=1)
    made.add("base", None)
    yield made
    made.close()


def make_adapter(base, folder, *, rank=2):
    method = Lora(rank=rank)
    method.save(method.attach(models.load(base, dtype="float32", attention="sdpa"), seed=0), folder)
    return folder


def answered(scheduler, prompt, **asked):
    generation = scheduler.submit("base", prompt, Sampling(**({"max_new_tokens": 5} | asked)))
    return [token.id for token in generation]


def taken(generation, count):
    return [token.id for token in itertools.islice(generation, count)]


class Recorder:
    """Stands round a decoder's compute and notes how many tokens each row read in each pass."""

    def __init__(self, decoder):
        self.passes = []
        self._compute = decoder.compute
        decoder.compute = self

    def __call__(self, reads):
        self.passes.append([len(one.tokens) for one in reads])
        return self._compute(reads)


@pytest.mark.parametrize("scheduler", KINDS, indirect=True)
def test_a_long_prompt_is_read_in_parts_between_the_steps_of_others(scheduler):
    recorder = Recorder(scheduler._decoder)
    other = scheduler.submit("base", [5, 6], ENDLESS)
    taken(other, 1)
    assert len(answered(scheduler, [7] * 600, max_new_tokens=1)) == 1
    other.cancel()
    parts = [one for one in recorder.passes if len(one) == 2]
    assert all(step == 1 for step, _ in parts)
    assert sum(part for _, part in parts) == 600
    assert max(part for _, part in parts) <= 256


@pytest.mark.parametrize("scheduler", KINDS, indirect=True)
def test_a_prompt_longer_than_a_part_is_answered_as_when_it_is_read_whole(scheduler, folder, request):
    kind = request.node.callspec.params["scheduler"]
    prompt = torch.randint(3, 200, (400,), generator=torch.Generator().manual_seed(1)).tolist()
    model = models.load(folder[kind], dtype="float32", attention="sdpa").model
    (wanted,) = generate(model, [prompt], stop_ids=(), max_new_tokens=5)
    assert answered(scheduler, prompt) == list(wanted.token_ids)


@pytest.mark.parametrize("scheduler", KINDS, indirect=True)
def test_what_is_told_of_a_long_prompt_is_the_same_read_in_parts_some_logits_at_a_time(scheduler, monkeypatch):
    prompt = torch.randint(3, 200, (400,), generator=torch.Generator().manual_seed(1)).tolist()
    asked = Sampling(max_new_tokens=1, tells_prompt=True, tells_rank=True, logprobs=0)

    def told():
        generation = scheduler.submit("base", prompt, asked)
        assert len(list(generation)) == 1
        return list(generation.prompt_tokens)

    whole = told()
    heard = []
    hear = prompt_tokens.PromptTokens.hear
    monkeypatch.setattr(prompt_tokens.PromptTokens, "hear", lambda *of: (heard.append(len(of[1])), hear(*of)))
    monkeypatch.setattr(prompt_tokens, "_LOGITS_AT_ONCE", 7 * scheduler._decoder.vocabulary)
    stepping = scheduler.submit("base", [5, 6], ENDLESS)
    taken(stepping, 1)
    found = told()
    stepping.cancel()
    assert (max(heard), sum(heard)) == (7, 400)
    assert [(one.id, one.rank) for one in found] == [(one.id, one.rank) for one in whole]
    assert [one.id for one in found] == prompt
    wanted = [one.logprob for one in whole[1:]]
    assert [one.logprob for one in found[1:]] == pytest.approx(wanted, abs=1e-4)
    assert min(wanted) < -1


def test_a_prompt_of_no_numbers_ends_its_own_answer_alone(scheduler):
    compute = scheduler._decoder.compute

    def broken(reads):
        for one in reads:
            if one.hear is not None:
                one.hear(torch.full((1, scheduler._decoder.vocabulary), float("nan")))
        return compute(reads)

    scheduler._decoder.compute = broken
    beside = scheduler.submit("base", [5, 6], Sampling(max_new_tokens=40))
    taken(beside, 1)
    with pytest.raises(ArithmeticError, match="a token of this prompt"):
        answered(scheduler, [5, 6, 7], tells_prompt=True)
    assert len(list(beside)) == 39


def test_a_short_prompt_does_not_wait_for_the_whole_of_a_long_one_before_it(scheduler):
    recorder = Recorder(scheduler._decoder)
    stepping = scheduler.submit("base", [5, 6], ENDLESS)
    taken(stepping, 1)
    long = scheduler.submit("base", [7] * 3000, Sampling(max_new_tokens=1))
    assert len(answered(scheduler, [8] * 4, max_new_tokens=1)) == 1
    assert sum(sum(one[1:]) for one in recorder.passes) < 3000
    long.cancel()
    stepping.cancel()


@pytest.mark.parametrize("scheduler", KINDS, indirect=True)
def test_the_same_seed_gives_the_same_answer_whatever_runs_beside(scheduler):
    drawn = {"max_new_tokens": 20, "do_sample": True, "temperature": 1.5, "top_k": 50, "top_p": 0.95, "seed": 4}
    alone = answered(scheduler, [5, 6, 7], **drawn)
    others = [scheduler.submit("base", [9] * length, ENDLESS) for length in (3, 40, 11)]
    for other in others:
        taken(other, 2)
    assert answered(scheduler, [5, 6, 7], **drawn) == alone
    assert answered(scheduler, [5, 6, 7], **(drawn | {"seed": 5})) != alone
    for other in others:
        other.cancel()


@pytest.mark.parametrize("scheduler", KINDS, indirect=True)
def test_a_cancelled_answer_ends_and_leaves_its_place(scheduler):
    event = threading.Event()
    first, second = scheduler.submit("base", [5], ENDLESS), scheduler.submit("base", [6], ENDLESS, cancelled=event)
    taken(first, 2)
    first.cancel()
    event.set()
    assert len(list(first)) < 100_000
    list(second)
    assert (first.finish_reason, second.finish_reason) == ("cancelled", "cancelled")
    assert len(answered(scheduler, [5])) == 5


def test_more_requests_than_places_wait_for_their_turn(scheduler):
    scheduler.capacity = 2
    recorder = Recorder(scheduler._decoder)
    running = [scheduler.submit("base", [5, number + 3], Sampling(max_new_tokens=4)) for number in range(7)]
    assert [len(list(one)) for one in running] == [4] * 7
    assert max(map(len, recorder.passes)) == 2


def test_one_that_waits_can_be_cancelled(scheduler):
    scheduler.capacity = 1
    running, waiting = (scheduler.submit("base", [5], ENDLESS) for _ in range(2))
    taken(running, 1)
    waiting.cancel()
    assert (list(waiting), waiting.finish_reason) == ([], "cancelled")
    running.cancel()


def test_memory_bounds_the_texts_kept_at_once(folder, monkeypatch):
    monkeypatch.setattr(memory, "LIBRARY_BYTES", 0)
    probe = Scheduler(folder[KINDS[0]], dtype="float32", cores=1)
    probe.close()
    room = probe.weight_bytes + 300 * probe._decoder.token_bytes
    made = Scheduler(folder[KINDS[0]], dtype="float32", cores=1, memory_bytes=room)
    made.add("base", None)
    assert made.tokens_at_once == 300
    with pytest.raises(LimitExceeded, match=r"301 tokens long.*holds 300; ask for a shorter answer"):
        made.submit("base", [5], Sampling(max_new_tokens=300))
    recorder = Recorder(made._decoder)
    running = [made.submit("base", [5] * 50, Sampling(max_new_tokens=50)) for _ in range(5)]
    assert [len(list(one)) for one in running] == [50] * 5
    assert max(map(len, recorder.passes)) == 2
    made.close()
    with pytest.raises(LimitExceeded, match="give replicas more memory"):
        Scheduler(folder[KINDS[0]], dtype="float32", cores=1, memory_bytes=probe.weight_bytes)


def in_memory_for(tokens, folder, shared=None):
    """Give a scheduler whose memory, or that of all that share it, has room for so many tokens."""
    probe = Scheduler(folder, dtype="float32", cores=1)
    probe.close()
    room = probe.weight_bytes + tokens * probe._decoder.token_bytes
    given = shared or memory.Memory(room)
    made = Scheduler(folder, dtype="float32", cores=1, memory=given)
    made.add("base", None)
    return made, given


def read_before(passes, size):
    """Give the sizes of the prompts that were read before the pass that read this one."""
    place = next(place for place, one in enumerate(passes) if size in one)
    return sorted(part for one in passes[:place] for part in one if part > 1)


def test_a_small_request_goes_past_one_that_there_is_no_room_for_yet(folder, monkeypatch):
    monkeypatch.setattr(memory, "LIBRARY_BYTES", 0)
    made, _ = in_memory_for(400, folder[KINDS[0]])
    recorder, all_came = Recorder(made._decoder), threading.Event()
    compute, made._decoder.compute = recorder, lambda reads: (all_came.wait(), compute(reads))[1]
    running = [made.submit("base", [5] * size, Sampling(max_new_tokens=190)) for size in (10, 11)]
    small = [made.submit("base", [5] * 7, Sampling(max_new_tokens=9)) for _ in range(3)]
    all_came.set()
    assert [len(list(one)) for one in (*small, *running)] == [9, 9, 9, 190, 190]
    assert read_before(recorder.passes, 11) == [7, 7, 7, 10]
    assert max(map(len, recorder.passes)) == 3
    made.close()


def test_one_that_is_overtaken_gets_its_turn(folder, monkeypatch):
    monkeypatch.setattr(memory, "LIBRARY_BYTES", 0)
    monkeypatch.setattr(admission, "_MOST_OVERTAKEN", 2)
    made, _ = in_memory_for(400, folder[KINDS[0]])
    recorder, all_came = Recorder(made._decoder), threading.Event()
    compute, made._decoder.compute = recorder, lambda reads: (all_came.wait(), compute(reads))[1]
    running = [made.submit("base", [5] * size, Sampling(max_new_tokens=190)) for size in (10, 11)]
    small = [made.submit("base", [5] * 7, Sampling(max_new_tokens=9)) for _ in range(5)]
    all_came.set()
    assert [len(list(one)) for one in (*running, *small)] == [190, 190, *[9] * 5]
    assert read_before(recorder.passes, 11) == [7, 7, 10]
    made.close()


def test_schedulers_of_one_process_share_its_memory(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "LIBRARY_BYTES", 0)
    one, given = in_memory_for(300, folder[KINDS[0]])
    with pytest.raises(LimitExceeded, match="give replicas more memory"):
        in_memory_for(0, folder[KINDS[0]], given)
    before = given.for_texts
    size = one.add("tuned", make_adapter(folder[KINDS[0]], tmp_path / "adapter"))
    assert given.for_texts == before - size > 0
    one.remove("tuned")
    one.close()
    assert given.for_texts == before + one.weight_bytes
    given = memory.Memory(2 * one.weight_bytes + 300 * one._decoder.token_bytes)
    both = [in_memory_for(0, folder[KINDS[0]], given)[0] for _ in range(2)]
    running = [made.submit("base", [5] * 100, Sampling(max_new_tokens=60)) for made in both * 3]
    assert [len(list(made)) for made in running] == [60] * 6
    for made in both:
        made.close()


def test_a_model_that_memory_has_no_room_for_is_not_even_read(folder, monkeypatch):
    monkeypatch.setattr(scheduling, "open_decoder", None)
    with pytest.raises(LimitExceeded, match=r"takes \d+ MiB, the libraries 500 .*give replicas more memory"):
        Scheduler(folder[KINDS[0]], dtype="float32", cores=1, memory_bytes=500 << 20)


def test_the_end_of_the_thread_is_told_to_all_that_wait_and_come(scheduler, caplog):
    assert scheduler.is_sound
    scheduler.capacity = 1
    running, waiting = (scheduler.submit("base", [5], ENDLESS) for _ in range(2))
    taken(running, 1)
    scheduler._decoder.reset = scheduler._decoder.compute = None
    with pytest.raises(Unavailable, match="computing the answer failed"):
        list(running)
    with pytest.raises(Unavailable, match="computes no more answers, since TypeError"):
        list(waiting)
    with pytest.raises(Unavailable, match="computes no more answers"):
        scheduler.submit("base", [5], ENDLESS)
    assert not scheduler.is_sound
    assert "the thread that computes answers ended" in caplog.text


@pytest.mark.parametrize("scheduler", KINDS, indirect=True)
def test_a_parameter_that_leaves_no_numbers_ends_its_own_answer(scheduler):
    beside = scheduler.submit("base", [5, 6], Sampling(max_new_tokens=40))
    taken(beside, 1)
    with pytest.raises(InvalidRequest, match="repetition_penalty"):
        answered(scheduler, [5, 6, 7], do_sample=True, repetition_penalty=1e-40, seed=1)
    assert len(list(beside)) == 39


def test_what_cannot_be_answered_is_refused(scheduler):
    with pytest.raises(NotFound, match="'other'"):
        scheduler.submit("other", [5], ENDLESS)
    with pytest.raises(InvalidRequest, match="no token"):
        scheduler.submit("base", [], ENDLESS)
    with pytest.raises(InvalidRequest, match="not one of the model's"):
        scheduler.submit("base", [5, 10**6], ENDLESS)
    assert len(answered(scheduler, [5])) == 5


@pytest.mark.parametrize("scheduler", KINDS, indirect=True)
def test_a_broken_step_ends_what_was_in_it_and_nothing_after(scheduler, caplog):
    compute = scheduler._decoder.compute
    running = scheduler.submit("base", [5], ENDLESS)
    taken(running, 1)

    def broken(reads):
        compute(reads)
        raise MemoryError("no room")

    scheduler._decoder.compute = broken
    with pytest.raises(Unavailable, match="no room"):
        list(running)
    scheduler._decoder.compute = compute
    assert len(answered(scheduler, [5])) == 5
    assert "a step of 1 rows failed" in caplog.text


def test_a_model_leaves_while_its_answer_goes_on(scheduler, folder, tmp_path):
    scheduler.add("tuned", make_adapter(folder[KINDS[0]], tmp_path / "adapter"))
    running = scheduler.submit("tuned", [5], Sampling(max_new_tokens=50))
    taken(running, 1)
    scheduler.remove("tuned")
    assert len(list(running)) == 49
    with pytest.raises(NotFound):
        scheduler.submit("tuned", [5], ENDLESS)


def test_closing_breaks_answers_off(folder):
    made = Scheduler(folder[KINDS[0]], dtype="float32", cores=1)
    made.add("base", None)
    running = made.submit("base", [5], ENDLESS)
    taken(running, 1)
    made.close()
    with pytest.raises(Unavailable, match="unloaded"):
        list(running)
    with pytest.raises(Unavailable):
        made.submit("base", [5], ENDLESS)


@pytest.mark.parametrize("scheduler", KINDS, indirect=True)
def test_an_adapter_of_another_base_or_kind_is_refused(scheduler, folder, tmp_path, request):
    mine = request.node.callspec.params["scheduler"]
    other = make_adapter(folder[next(kind for kind in KINDS if kind != mine)], tmp_path / "other")
    with pytest.raises(TrainingFailed, match=r"another base model: .*not in the model"):
        scheduler.add("other", other)
    with pytest.raises(TrainingFailed, match="cannot be read"):
        scheduler.add("missing", tmp_path / "missing")
    config = json.loads((other / "adapter_config.json").read_text())
    (other / "adapter_config.json").write_text(json.dumps(config | {"use_dora": True, "bias": "all"}))
    with pytest.raises(TrainingFailed, match="bias is 'all'; use_dora is True"):
        scheduler.add("dora", other)
    with pytest.raises(NotFound):
        scheduler.submit("dora", [5], ENDLESS)


def test_a_second_model_on_a_base_takes_less_than_a_tenth_of_it(tmp_path):
    base = tiny_models.make("llama-2", tmp_path / "base", hidden_size=256, intermediate_size=768)
    made = Scheduler(base, dtype="float32", cores=1)
    taken_bytes = made.add("tuned", make_adapter(base, tmp_path / "adapter", rank=4))
    made.close()
    assert 0 < taken_bytes < 0.1 * made.weight_bytes
