from __future__ import annotations

import itertools
import re

import pytest
import torch
from transformers import (
    ExponentialDecayLengthPenalty,
    LogitsProcessorList,
    MinNewTokensLengthLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from gyropilot.errors import InvalidRequest
from gyropilot.problems.text_generation.decoding import sampling
from gyropilot.problems.text_generation.decoding.sampling import Chooser, Sampling, choose_all, distribution

VOCABULARY = 3000
READ = (5, 9, 9, 2000)
EACH = list(itertools.product((0.4, 1.0, 1.7), (0, 1, 40), (1.0, 0.9, 0.999, 0.05), (1.0, 1.3)))


def scores(seed=0, spread=2.0):
    return torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(seed)) * spread


def asked(**changes):
    return Sampling(**({"max_new_tokens": 9, "do_sample": True} | changes))


def drawn(chooser, logits, count=200):
    return [chooser.choose(logits).id for _ in range(count)]


@pytest.mark.parametrize(("temperature", "top_k", "top_p", "penalty"), EACH)
def test_the_chances_are_those_of_transformers(temperature, top_k, top_p, penalty):
    steps = [RepetitionPenaltyLogitsProcessor(penalty), TemperatureLogitsWarper(temperature)]
    steps += [TopKLogitsWarper(top_k)] if top_k else []
    steps += [TopPLogitsWarper(top_p)] if top_p < 1 else []
    wanted = LogitsProcessorList(steps)(torch.tensor([READ]), scores()[None].clone())[0].softmax(-1)
    given = asked(temperature=temperature, top_k=top_k, top_p=top_p, repetition_penalty=penalty)
    penalized = Chooser(given, READ, VOCABULARY)._penalized(scores())
    torch.testing.assert_close(distribution(penalized, given), wanted, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("typical_p", [0.01, 0.3, 0.95])
@pytest.mark.parametrize("top_p", [1.0, 0.8])
def test_typical_tokens_are_those_of_transformers(typical_p, top_p):
    steps = [TemperatureLogitsWarper(0.7)]
    steps += [TopPLogitsWarper(top_p)] if top_p < 1 else []
    steps += [TypicalLogitsWarper(typical_p)]
    wanted = LogitsProcessorList(steps)(torch.tensor([READ]), scores()[None].clone())[0].softmax(-1)
    found = distribution(scores(), asked(temperature=0.7, top_p=top_p, typical_p=typical_p))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-8)


def test_the_end_is_kept_back_and_then_grows_as_transformers_has_it():
    given = asked(do_sample=False, stop_ids=(4, 7), min_new_tokens=3, decay=(4, 1.5))
    chooser, read = Chooser(given, (), VOCABULARY), torch.tensor([READ])
    least = MinNewTokensLengthLogitsProcessor(len(READ), 3, [4, 7])
    decay = ExponentialDecayLengthPenalty((4, 1.5), [4, 7], len(READ))
    for _ in range(9):
        wanted = decay(read, least(read, scores()[None].clone()))[0]
        torch.testing.assert_close(chooser._with_end(scores()), wanted)
        chooser.note(1)
        read = torch.cat([read, torch.tensor([[1]])], 1)
    for _ in range(4000):
        chooser.note(1)
    assert chooser.choose(-scores().abs() - 1).id in (4, 7)


def test_tokens_are_drawn_as_often_as_their_chances_say():
    logits = torch.tensor([0.0, 1.0, -30.0, 2.0, 0.5])
    tokens = drawn(Chooser(asked(seed=3), (), 5), logits, 4000)
    found = torch.bincount(torch.tensor(tokens), minlength=5) / len(tokens)
    torch.testing.assert_close(found, logits.softmax(-1), rtol=0, atol=0.03)
    assert 2 not in tokens


def test_the_same_seed_gives_the_same_tokens_and_rounding_moves_none():
    logits = scores()
    shaken = logits + 1e-6 * scores(seed=1)
    first = drawn(Chooser(asked(seed=11, top_p=0.95), (), VOCABULARY), logits)
    assert first == drawn(Chooser(asked(seed=11, top_p=0.95), (), VOCABULARY), shaken)
    assert first != drawn(Chooser(asked(seed=12, top_p=0.95), (), VOCABULARY), logits)


def test_without_a_seed_each_answer_is_another():
    one, other = (drawn(Chooser(asked(), (), VOCABULARY), scores()) for _ in range(2))
    assert one != other


@pytest.mark.parametrize("given", [asked(do_sample=False, temperature=0.2), asked(temperature=0.0), asked(top_k=1)])
def test_what_is_not_drawn_is_the_most_likely(given):
    assert set(drawn(Chooser(given, (), VOCABULARY), scores(), 5)) == {int(scores().argmax())}


def test_a_repeated_token_is_penalized_from_its_first_time():
    logits = torch.tensor([1.0, 1.9, -1.0])
    chooser = Chooser(asked(do_sample=False, repetition_penalty=2.0), (), 3)
    assert chooser.choose(logits).id == 1
    chooser.note(1)
    assert chooser.choose(logits).id == 0


def test_logprobs_are_of_the_model_itself():
    given = asked(logprobs=3, temperature=0.1, top_k=2, repetition_penalty=1.5, seed=1)
    token = Chooser(given, READ, VOCABULARY).choose(scores())
    wanted = scores().log_softmax(-1)
    assert token.logprob == float(wanted[token.id])
    assert token.top == tuple(zip(wanted.topk(3).indices.tolist(), wanted.topk(3).values.tolist(), strict=True))
    assert Chooser(asked(logprobs=0), (), VOCABULARY).choose(scores()).top == ()


def test_a_row_without_numbers_fails_alone():
    logits = torch.stack([scores(), scores(), torch.full((VOCABULARY,), float("inf"))])
    logits[1, 7] = float("nan")
    good, *bad = choose_all([Chooser(asked(do_sample=False), (), VOCABULARY) for _ in range(3)], logits)
    assert good.id == int(scores().argmax())
    assert [type(one) for one in bad] == [ArithmeticError] * 2


@pytest.mark.parametrize("do_sample", [True, False])
@pytest.mark.parametrize("penalty", [1e-40, 1e-320, 1e300])
def test_a_penalty_that_leaves_no_numbers_fails_its_row_alone(penalty, do_sample):
    logits = torch.stack([scores().abs() if penalty < 1 else -scores().abs()] * 2)
    seen = range(VOCABULARY)
    choosers = [Chooser(asked(do_sample=do_sample, repetition_penalty=one), seen, VOCABULARY) for one in (penalty, 1.2)]
    bad, good = choose_all(choosers, logits)
    assert isinstance(bad, InvalidRequest)
    assert re.search(r"repetition_penalty.*choose one nearer to 1", str(bad))
    assert 0 <= good.id < VOCABULARY


def test_great_scores_and_a_small_temperature_stay_numbers():
    logits = torch.tensor([3e37, 1e37, -3e38])
    assert set(drawn(Chooser(asked(temperature=2e-4), (), 3), logits, 20)) == {0}


def test_top_p_looks_beyond_its_first_candidates(monkeypatch):
    monkeypatch.setattr(sampling, "_CANDIDATES", 10)
    given = asked(top_p=0.9)
    wanted = TopPLogitsWarper(0.9)(None, scores(spread=0.1)[None].clone())[0].softmax(-1)
    torch.testing.assert_close(distribution(scores(spread=0.1), given), wanted, rtol=1e-5, atol=1e-8)
