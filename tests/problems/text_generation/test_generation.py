from __future__ import annotations

import numpy as np
import pytest
import torch

import prompted_models
import tiny_models
from gyropilot.problems.text_generation import models
from gyropilot.problems.text_generation.generation import first_logits, generate


@pytest.fixture
def model(tiny, kind):
    return tiny.loaded(kind, seed=3).model


def prompts(tiny, *, start):
    draw = np.random.default_rng(1)
    shared = draw.integers(1, tiny.vocabulary, start).tolist()
    return [shared + draw.integers(1, tiny.vocabulary, int(length)).tolist() for length in (1, 4, 9, 2, 14)]


def from_transformers(model, prompt, stop_ids, count):
    ids = torch.tensor([prompt])
    with torch.inference_mode():
        found = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=count,
            eos_token_id=list(stop_ids),
            pad_token_id=0,
        )
    # an encoder-decoder model gives its start token and the answer, others the prompt and the answer
    tokens = found[0, 1 if model.config.is_encoder_decoder else len(prompt) :].tolist()
    ends = [place for place, token in enumerate(tokens) if token in stop_ids]
    return (tokens[: ends[0]], True) if ends else (tokens, False)


@pytest.mark.parametrize("start", [0, 6])
def test_a_batch_answers_as_transformers_answers_each_prompt_alone(tiny, model, start):
    given = prompts(tiny, start=start)
    free = [from_transformers(model, prompt, (), 12)[0] for prompt in given]
    stop_ids = (free[1][3], free[3][0])
    answers = generate(model, given, stop_ids=stop_ids, max_new_tokens=12)
    wanted = [from_transformers(model, prompt, stop_ids, 12) for prompt in given]
    assert [(list(one.token_ids), one.is_ended) for one in answers] == wanted
    assert len({len(one.token_ids) for one in answers}) > 1


def test_one_prompt_and_equal_prompts_are_answered(tiny, model):
    (prompt, *_) = prompts(tiny, start=5)
    (alone,) = generate(model, [prompt], stop_ids=(), max_new_tokens=5)
    assert generate(model, [prompt] * 3, stop_ids=(), max_new_tokens=5) == [alone] * 3
    assert not alone.is_ended


def test_an_answer_that_stops_at_once_is_empty_and_ended(tiny, model):
    prompt = prompts(tiny, start=0)[2]
    (first,) = generate(model, [prompt], stop_ids=(), max_new_tokens=1)
    (empty,) = generate(model, [prompt], stop_ids=first.token_ids, max_new_tokens=4)
    assert (empty.token_ids, empty.is_ended) == ((), True)


@pytest.mark.parametrize("kind", ["falcon-7b", "falcon-rw", "mpt", "mistral", "t5", "flan-t5"])
def test_every_family_answers_a_batch_as_transformers_answers_each_prompt_alone(tiny, tmp_path, kind):
    model = models.load(tiny_models.make(kind, tmp_path / kind), dtype="float32", attention="sdpa").model
    given = prompts(tiny, start=4)
    free = [from_transformers(model, prompt, (), 12)[0] for prompt in given]
    stop_ids = (free[1][3], free[3][0])
    answers = generate(model, given, stop_ids=stop_ids, max_new_tokens=12)
    wanted = [from_transformers(model, prompt, stop_ids, 12) for prompt in given]
    assert [(list(one.token_ids), one.is_ended) for one in answers] == wanted


def test_the_first_logits_choose_the_first_token(tiny, tmp_path):
    model = models.load(tiny_models.make("flan-t5", tmp_path / "t5"), dtype="float32", attention="sdpa").model
    prompt = prompts(tiny, start=4)[0]
    (answer,) = generate(model, [prompt], stop_ids=(), max_new_tokens=1)
    assert int(first_logits(model, prompt).argmax()) == answer.token_ids[0]


KINDS = [kind for kind in tiny_models.CONFIGS if "t5" not in kind]
BEHIND = [(kind, {name: 7}) for kind in KINDS for name in ("before_text", "prefix")]
BEHIND += [
    (kind, dict.fromkeys(names, 7))
    for kind in ("t5", "flan-t5")
    for names in (["before_text"], ["before_answer"], ["before_text", "before_answer"])
]


@pytest.mark.parametrize("start", [0, 6])
@pytest.mark.parametrize(("kind", "rows"), BEHIND, ids=lambda one: one if isinstance(one, str) else "+".join(one))
def test_virtual_tokens_stand_before_every_text_of_a_batch(tiny, tmp_path, kind, rows, start):
    base = models.load(tiny_models.make(kind, tmp_path / "base"), dtype="float32", attention="sdpa").model
    model = prompted_models.prompted(base, **rows, tasks=2)
    given, tasks = prompts(tiny, start=start), [0, 1, 1, 0, 1]
    answers = generate(model, given, stop_ids=(), max_new_tokens=8, tasks=tasks)
    found = [list(one.token_ids) for one in answers]
    wanted = [prompted_models.full_forwards(model, one, 8, task=task) for one, task in zip(given, tasks, strict=True)]
    assert found == wanted


def test_first_logits_are_those_behind_the_virtual_tokens_of_the_task(tiny, model):
    tuned = prompted_models.prompted(model, before_text=5, tasks=2)
    prompt = prompts(tiny, start=0)[1]
    for task in (0, 1):
        wanted = prompted_models.next_logits(tuned, prompt, [], task=task)
        torch.testing.assert_close(first_logits(tuned, prompt, task=task), wanted, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(first_logits(tuned, prompt), first_logits(tuned, prompt, task=1), atol=0.1)
