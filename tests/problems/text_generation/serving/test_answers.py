"""The last event of a streamed answer, by what ended it while text was held back as a stop text may begin with it."""

from __future__ import annotations

import json

import pytest

from gyropilot.problems.contract import Call
from gyropilot.problems.text_generation.decoding.generations import Generation
from gyropilot.problems.text_generation.decoding.sampling import Token
from gyropilot.problems.text_generation.serving import environment, payloads
from gyropilot.problems.text_generation.serving.answers import Answer

END = 2
SERVING = {"base_model": "tiny", "model_tokens": 100, "max_new_tokens": 9, "stands_in_for": ""}


def ended(text, reason, *, stops=(), most=9):
    """Give an answer of so many characters, a token each, that ended by `reason`."""
    generation = Generation()
    for character in text:
        generation.put(Token(id=ord(character)))
    generation.finish(reason)
    return Answer(
        lambda: generation,
        lambda ids: "".join(map(chr, ids)),
        stops=stops,
        prompt_tokens=3,
        max_new_tokens=most,
        end_id=END,
        seed=None,
    )


def events(answer):
    call = Call(body=b'{"inputs": "x", "stream": true}', content_type="application/json", accept="")
    (payload,) = payloads.read(call, environment.read({}, SERVING)).payloads
    return [json.loads(one.removeprefix(b"data:")) for one in payload.parts(answer)]


@pytest.mark.parametrize(
    ("reason", "told_reason", "token"),
    [
        ("time", "time_limit", {"id": None, "text": "no", "logprob": None, "special": False}),
        ("stop", "eos_token", {"id": END, "text": "no", "logprob": None, "special": False}),
    ],
)
def test_text_that_was_held_back_comes_with_the_end_token_only_where_there_was_one(reason, told_reason, token):
    told = events(ended("yes no", reason, stops=["nothing"]))
    assert told[-1]["token"] == token
    assert told[-1]["details"]["finish_reason"] == told_reason
    assert told[-1]["details"]["generated_tokens"] == 6
    assert "".join(one["token"]["text"] for one in told) == told[-1]["generated_text"] == "yes no"


@pytest.mark.parametrize(("reason", "last"), [("time", None), ("stop", {"id": END, "text": "", "special": True})])
def test_without_text_held_back_there_is_no_token_but_the_end(reason, last):
    *_, event = events(ended("yes", reason))
    assert event["token"] == (None if last is None else {**last, "logprob": None})
    assert event["generated_text"] == "yes"
