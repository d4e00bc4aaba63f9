"""Payloads of InvokeEndpoint against a tuned tiny model: what they ask is done, what cannot be is refused by name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import services
from gyropilot.errors import Unavailable
from gyropilot.problems.text_generation.serving import payloads, served_model
from gyropilot.problems.text_generation.templates import Encoder

QUESTION = "What colour has stone 1?"
LINES = "application/jsonlines"


def asked(served, **parameters):
    (one,) = served.answer({"inputs": QUESTION, "parameters": parameters})
    return one


def detailed(served, **parameters):
    return asked(served, details=True, **parameters)["details"]


@pytest.fixture(scope="module")
def answer(served):
    """The whole answer to QUESTION."""
    return served.text(QUESTION)


def test_inputs_are_answered_one_object_each(served, answer):
    assert served.answer({"inputs": QUESTION}) == [{"generated_text": answer}]
    other = "What colour has stone 2?"
    told = served.answer({"inputs": [QUESTION, other, QUESTION]})
    assert told == [{"generated_text": one} for one in (answer, served.text(other), answer)]


def test_text_inputs_are_answered_in_one_object(served, answer):
    assert served.answer({"text_inputs": QUESTION}) == {"generated_texts": [answer]}
    told = served.answer({"text_inputs": [QUESTION] * 2, "max_new_tokens": 2, "details": True})
    assert [one["generated_tokens"] for one in told["details"]] == [2, 2]


def test_the_full_text_begins_with_the_input(served, answer):
    assert served.text(QUESTION, return_full_text=True) == QUESTION + answer


def test_details_tell_every_token_and_the_texts_of_all_are_the_answer(served, answer):
    found = detailed(served)
    assert "".join(one["text"] for one in found["tokens"]) == answer
    assert found["generated_tokens"] == len(found["tokens"])
    assert found["finish_reason"] == "eos_token"
    assert all(one["logprob"] < 0 for one in found["tokens"])
    assert found["prompt_tokens"] > len(QUESTION) / 4


def test_text_that_was_held_back_until_the_end_is_the_last_tokens(served, answer):
    stop = answer[-2:] + "!"
    found = detailed(served, stop=stop)
    assert [one["id"] for one in found["tokens"]] == [one["id"] for one in detailed(served)["tokens"]]
    assert "".join(one["text"] for one in found["tokens"]) == answer
    told = served.events({"inputs": QUESTION, "stream": True, "parameters": {"stop": stop}})
    assert "".join(one["token"]["text"] for one in told) == answer
    assert (told[-1]["token"]["special"], len(told)) == (False, found["generated_tokens"] + 1)


def test_top_tokens_begin_with_the_one_that_was_chosen(served):
    found = detailed(served, top_n_tokens=3)
    assert [one[0]["id"] for one in found["top_tokens"]] == [one["id"] for one in found["tokens"]]
    assert all(len(one) == 3 for one in found["top_tokens"])


@pytest.mark.parametrize("name", ["stop", "stop_sequences"])
def test_an_answer_ends_before_a_stop_text_also_across_tokens(served, answer, name):
    middle = answer[3:6]
    one = asked(served, **{name: [middle], "details": True})
    assert one["generated_text"] == answer[: answer.index(middle)]
    assert one["details"]["finish_reason"] == "stop_sequence"
    assert served.text(QUESTION, stop=middle) == one["generated_text"]


def test_a_stop_text_that_never_comes_changes_nothing(served, answer):
    assert served.text(QUESTION, stop=[answer + "!", "zebra"]) == answer


def test_temperature_zero_and_top_k_one_are_the_most_likely_answer(served, answer):
    assert served.text(QUESTION, temperature=0) == answer
    assert served.text(QUESTION, do_sample=True, top_k=1, temperature=5.0) == answer
    assert served.text(QUESTION, do_sample=True, top_p=1e-9) == answer


@pytest.mark.parametrize("parameters", [{"top_k": 0}, {"top_p": 1}, {"temperature": 1.0}, {"seed": 5}])
def test_values_that_mean_nothing_draw_nothing(served, answer, parameters):
    one = asked(served, details=True, **parameters)
    assert (one["generated_text"], one["details"]["seed"]) == (answer, None)


@pytest.mark.parametrize("parameters", [{"temperature": 3.0}, {"top_k": 200}, {"top_p": 0.999}, {"do_sample": True}])
def test_any_parameter_of_drawing_draws(served, parameters):
    told = detailed(served, **parameters)
    assert isinstance(told["seed"], int)
    again = detailed(served, **parameters, seed=told["seed"])
    assert [one["id"] for one in again["tokens"]] == [one["id"] for one in told["tokens"]]


def test_a_seed_gives_the_same_answer_and_others_give_others(served):
    texts = [served.text(QUESTION, temperature=3.0, seed=seed, max_new_tokens=20) for seed in (1, 1, 2, 3)]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 3


def test_several_answers_are_drawn_apart(served):
    told = served.answer(
        {"text_inputs": QUESTION, "num_return_sequences": 4, "do_sample": True, "temperature": 3.0, "seed": 1}
    )
    assert len(set(told["generated_texts"])) == 4
    listed = served.answer(
        {
            "inputs": QUESTION,
            "parameters": {"num_return_sequences": 4, "do_sample": True, "temperature": 3.0, "seed": 1},
        }
    )
    assert [one["generated_text"] for one in listed] == told["generated_texts"]


def test_more_answers_than_one_call_gets_are_refused_and_the_most_are_given(served):
    drawn = {"do_sample": True, "max_new_tokens": 1}
    (fault,) = served.refused({"inputs": ["a"] * 128, "parameters": {**drawn, "num_return_sequences": 5}})
    assert (fault.where, fault.found) == ("parameters.num_return_sequences", 5)
    assert fault.problem == "asks for 640 answers to 128 prompts, and one call gets at most 512"
    assert len(served.answer({"inputs": ["a"] * 128, "parameters": {**drawn, "num_return_sequences": 4}})) == 512


def test_a_repetition_penalty_changes_the_answer(served):
    plain = served.text(QUESTION, max_new_tokens=40)
    assert served.text(QUESTION, max_new_tokens=40, repetition_penalty=3.0) != plain


def test_max_length_counts_the_prompt_in(served):
    prompt = detailed(served)["prompt_tokens"]
    assert detailed(served, max_length=prompt + 3)["generated_tokens"] == 3


def test_a_prompt_that_is_too_long_is_refused_with_its_tokens(served):
    (fault,) = served.refused({"inputs": "stone " * 300})
    assert fault.where == "inputs"
    assert "tokens with the model's template" in fault.found
    assert "256 tokens together" in fault.problem
    (fault,) = served.refused({"inputs": ["fine", "x" * 10_000_000]})
    assert (fault.where, fault.found) == ("inputs[1]", "10000000 characters")


def test_more_tokens_than_there_is_room_for_are_refused_with_the_counts(served):
    prompt = detailed(served)["prompt_tokens"]
    (fault,) = served.refused({"inputs": QUESTION, "parameters": {"max_new_tokens": 250}})
    assert str(fault) == (
        f"parameters.max_new_tokens: is more than there is room for: of the model's 256 tokens inputs takes {prompt}"
        f" (found 250); ask for at most {256 - prompt}, or shorten the prompt"
    )
    assert detailed(served, max_new_tokens=256 - prompt, stop=".")["finish_reason"] == "stop_sequence"
    (fault,) = served.refused({"text_inputs": QUESTION, "max_length": 3})
    assert f"has {prompt} tokens already" in fault.problem


def test_events_tell_the_answer_token_by_token(served, answer):
    told = served.events({"inputs": QUESTION, "stream": True})
    assert "".join(one["token"]["text"] for one in told) == told[-1]["generated_text"] == answer
    assert [one["index"] for one in told] == list(range(1, len(told) + 1))
    assert all(one["generated_text"] is None and one["details"] is None for one in told[:-1])
    assert told[-1]["token"]["special"]
    assert told[-1]["details"]["finish_reason"] == "eos_token"
    assert told[-1]["details"]["generated_tokens"] == len(told) - 1


def test_events_end_before_a_stop_text_and_at_the_length(served, answer):
    middle = answer[3:6]
    told = served.events({"inputs": QUESTION, "stream": True, "parameters": {"stop": middle}})
    assert "".join(one["token"]["text"] for one in told) == answer[: answer.index(middle)]
    assert told[-1]["details"]["finish_reason"] == "stop_sequence"
    told = served.events({"inputs": QUESTION, "stream": True, "parameters": {"max_new_tokens": 2}})
    assert [one["details"] and one["details"]["finish_reason"] for one in told] == [None, "length"]


def test_events_of_noise_hold_whole_characters_alone(served):
    """Drawn at a high temperature, bytes of characters come in any order."""
    for seed in range(4):
        payload = {"inputs": QUESTION, "stream": True, "parameters": {"temperature": 50.0, "seed": seed}}
        told = served.events(payload)
        (whole,) = served.answer({"inputs": QUESTION, "parameters": {"temperature": 50.0, "seed": seed}})
        assert "".join(one["token"]["text"] for one in told) == whole["generated_text"]


def test_events_come_in_one_body_to_a_caller_that_does_not_stream(served, answer):
    reply = served.reply({"inputs": QUESTION, "stream": True})
    assert reply.content_type == "text/event-stream"
    assert json.loads(reply.body.split(b"\n\n")[-2].removeprefix(b"data:"))["generated_text"] == answer


def test_a_caller_that_streams_without_asking_for_events_gets_the_json_in_one_part(served, answer):
    streamed = served.server.stream(served.name, served.call({"inputs": QUESTION}))
    assert streamed.content_type == "application/json"
    assert [json.loads(part) for part in streamed.parts] == [[{"generated_text": answer}]]


def test_lines_are_answered_line_by_line(served, answer):
    body = b"\n".join(json.dumps(one).encode() for one in ({"inputs": QUESTION}, {"text_inputs": QUESTION})) + b"\n\n"
    reply = served.reply(body, content_type=LINES)
    assert reply.content_type == LINES
    told = [json.loads(line) for line in reply.body.splitlines()]
    assert told == [[{"generated_text": answer}], {"generated_texts": [answer]}]
    assert served.answer(body, content_type=LINES, accept="application/json") == told


def test_more_lines_than_are_under_way_at_once_keep_their_order(served):
    numbers = [number % 7 for number in range(150)]
    body = b"".join(
        json.dumps({"inputs": f"What colour has stone {one}?", "parameters": {"max_new_tokens": 4}}).encode() + b"\n"
        for one in numbers
    )
    told = [json.loads(line) for line in served.reply(body, content_type=LINES).body.splitlines()]
    by_number = {one: served.text(f"What colour has stone {one}?", max_new_tokens=4) for one in set(numbers)}
    assert told == [[{"generated_text": by_number[one]}] for one in numbers]


def test_faults_of_lines_are_told_by_line(served):
    lines = [{"inputs": QUESTION}, {"inputs": 3}, {"inputs": QUESTION, "parameters": {"top_k": -1}}]
    body = b"\n".join([*(json.dumps(one).encode() for one in lines), b"{"])
    places = [fault.where for fault in served.refused(body, content_type=LINES)]
    assert places == ["line 2: inputs", "line 3: parameters.top_k", "line 4"]
    long = {"inputs": "stone " * 300}
    (fault,) = served.refused(b"\n" + json.dumps(long).encode(), content_type=LINES)
    assert fault.where == "line 2: inputs"


def test_more_lines_than_one_call_may_have_are_refused_by_their_number(served):
    (fault,) = served.refused(b'{"inputs":"a"}\n' * 10_001, content_type=LINES)
    assert (fault.where, fault.found) == ("lines", 10_001)
    wide = json.dumps({"inputs": ["a"] * 100, "parameters": {"do_sample": True, "num_return_sequences": 5}}).encode()
    (fault,) = served.refused(b"\n".join([wide] * 21), content_type=LINES)
    assert (fault.where, fault.fix) == ("line 21", "send fewer lines in a call")


def test_lines_of_a_caller_that_went_are_read_no_further(served):
    call = served.call(b'{"inputs":"a"}\n{', content_type=LINES)
    call.cancelled.set()
    with pytest.raises(Unavailable):
        served.server.answer(served.name, call)


@pytest.mark.parametrize(
    "accept", ["", "*/*", "application/json", "text/html, application/*;q=0.5", "application/json; v=1"]
)
def test_what_is_accepted_is_given(served, accept):
    assert served.reply({"inputs": QUESTION}, accept=accept).content_type == "application/json"


@pytest.mark.parametrize("accept", ["text/csv", "application/x-npy, text/html", "text/event-stream"])
def test_another_answer_than_is_given_is_refused(served, accept):
    (fault,) = served.refused({"inputs": QUESTION}, accept=accept)
    assert (fault.where, fault.found) == ("Accept", accept)
    assert "application/json or application/jsonlines" in fault.fix


def test_what_botocore_calls_an_unnamed_body_is_read_as_json(served, answer):
    assert served.answer({"inputs": QUESTION}, content_type="application/octet-stream") == [{"generated_text": answer}]
    (fault,) = served.refused(b"a,b", content_type="text/csv")
    assert fault.where == "ContentType"


def test_all_faults_are_told_at_once_with_the_nearest_names(served):
    parameters = {"max_new_token": 3, "temperature": "warm", "top_p": 0, "top_k": 2.5, "zzz": 1, "seed": True}
    faults = {one.where: one for one in served.refused({"inputs": QUESTION, "parameters": parameters, "streem": True})}
    assert set(faults) == {"streem", *(f"parameters.{name}" for name in parameters)}
    assert faults["parameters.max_new_token"].fix == "did you mean max_new_tokens?"
    assert faults["streem"].fix == "did you mean stream?"
    assert faults["parameters.zzz"].fix.startswith("known: best_of, ")
    assert faults["parameters.temperature"].found == "warm"
    assert faults["parameters.top_p"].problem == "must be a number greater than 0 up to 1"


@pytest.mark.parametrize(
    ("parameters", "where"),
    [
        ({"do_sample": False, "temperature": 0.5}, "temperature"),
        ({"do_sample": False, "top_k": 5}, "top_k"),
        ({"do_sample": True, "temperature": 0}, "temperature"),
        ({"max_new_tokens": 3, "max_length": 9}, "max_length"),
        ({"stop": "a", "stop_sequences": ["b"]}, "stop_sequences"),
        ({"num_return_sequences": 2}, "num_return_sequences"),
        ({"top_n_tokens": 2}, "top_n_tokens"),
        ({"num_beams": 4}, "num_beams"),
        ({"use_cache": "x"}, "use_cache"),
        ({"repetition_penalty": 1e-40}, "repetition_penalty"),
        ({"truncate": 10}, "truncate"),
        ({"watermark": True}, "watermark"),
        ({"decoding_method": "BEAM"}, "decoding_method"),
        ({"decoding_method": "SAMPLING", "do_sample": True}, "decoding_method"),
        ({"decoding_method": "GREEDY", "temperature": 0.5}, "temperature"),
        ({"decoding_method": "GREEDY", "typical_p": 0.5}, "typical_p"),
        ({"decoding_method": "SAMPLING", "temperature": 0}, "temperature"),
        ({"typical_p": 0}, "typical_p"),
        ({"min_new_tokens": 9, "max_new_tokens": 8}, "min_new_tokens"),
        ({"min_new_tokens": -1}, "min_new_tokens"),
        ({"truncate_input_tokens": -1}, "truncate_input_tokens"),
        ({"truncate_input_tokens": 2}, "truncate_input_tokens"),
        ({"max_time": 0}, "max_time"),
        ({"max_time": 121}, "max_time"),
        ({"exponential_decay_length_penalty": 1.5}, "exponential_decay_length_penalty"),
        ({"exponential_decay_length_penalty": [1, 11]}, "exponential_decay_length_penalty.decay_factor"),
        ({"exponential_decay_length_penalty": {"decay_factor": 2}}, "exponential_decay_length_penalty.start_index"),
        ({"token_logprobs": True}, "token_logprobs"),
        ({"token_ranks": True}, "token_ranks"),
        ({"preserve_input_text": True, "return_full_text": True}, "preserve_input_text"),
        ({"logprobs": True}, "logprobs"),
        ({"stop": ""}, "stop"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"stop": ["x" * 501]}, "stop"),
    ],
)
def test_what_contradicts_itself_or_is_not_offered_is_refused(served, parameters, where):
    assert [one.where for one in served.refused({"inputs": QUESTION, "parameters": parameters})] == [
        f"parameters.{where}"
    ]


@pytest.mark.parametrize(
    "parameters",
    [
        {"do_sample": False, "temperature": 1.0, "top_p": 1, "top_k": 0},
        {"do_sample": None, "num_beams": 1, "best_of": 1, "watermark": False, "typical_p": 1.0, "truncate": None},
        {"max_new_tokens": 32.0, "seed": 2**64 - 1, "early_stopping": True, "repetition_penalty": 1},
        {"stop": [], "stop_sequences": None, "use_cache": False},
        {"decoding_method": "GREEDY", "min_new_tokens": 0, "truncate_input_tokens": 0, "max_time": 120},
        {"truncate_input_tokens": 200, "include_stop_sequence": True, "token_ranks": False},
        {"exponential_decay_length_penalty": {"start_index": 200, "decay_factor": 1.0}},
        {"temperature": 1e-5, "top_p": 0.5},
    ],
)
def test_what_says_what_happens_anyway_is_taken(served, answer, parameters):
    assert served.text(QUESTION, **parameters) == answer


def test_a_stop_text_stays_where_it_is_asked_for(served, answer):
    middle = answer[3:6]
    kept = served.text(QUESTION, stop=middle, include_stop_sequence=True)
    assert kept == answer[: answer.index(middle) + 3]
    told = served.events(
        {"inputs": QUESTION, "stream": True, "parameters": {"stop": middle, "include_stop_sequence": True}}
    )
    assert "".join(one["token"]["text"] for one in told) == told[-1]["generated_text"] == kept


def test_an_answer_has_as_many_tokens_as_it_must(served):
    usual = detailed(served)
    assert usual["finish_reason"] == "eos_token"
    longer = usual["generated_tokens"] + 3
    told = detailed(served, min_new_tokens=longer)
    assert told["generated_tokens"] >= longer
    ids = [one["id"] for one in usual["tokens"]]
    assert [one["id"] for one in told["tokens"]][: len(ids)] == ids


def test_the_end_comes_sooner_where_its_chances_grow(served):
    usual = detailed(served, min_new_tokens=30, max_new_tokens=60)
    decay = {"start_index": 30, "decay_factor": 10}
    told = detailed(served, min_new_tokens=30, max_new_tokens=60, exponential_decay_length_penalty=decay)
    assert told["finish_reason"] == "eos_token"
    assert 30 <= told["generated_tokens"] <= min(45, usual["generated_tokens"])


def test_an_answer_ends_as_it_is_when_its_time_is_over(served):
    (one,) = served.answer({"inputs": QUESTION, "parameters": {"max_time": 1e-6, "details": True}})
    assert (one["generated_text"], one["details"]["finish_reason"]) == ("", "time_limit")
    (event,) = served.events({"inputs": QUESTION, "stream": True, "parameters": {"max_time": 1e-6}})
    assert (event["token"], event["generated_text"], event["details"]["finish_reason"]) == (None, "", "time_limit")


def test_a_long_prompt_is_cut_to_its_end_within_the_template(served, answer):
    whole = detailed(served)["prompt_tokens"]
    (one,) = served.answer(
        {"inputs": "stone " * 400 + QUESTION, "parameters": {"truncate_input_tokens": whole, "details": True}}
    )
    assert whole - 3 <= one["details"]["prompt_tokens"] <= whole
    assert served.text(QUESTION, truncate_input_tokens=whole) == answer
    kept = served.text("stone " * 400 + QUESTION, truncate_input_tokens=whole, preserve_input_text=True)
    assert QUESTION[-12:] in kept
    assert len(kept) < len(QUESTION) * 4
    assert kept.endswith(one["generated_text"])


def test_the_rendered_prompt_is_put_before_its_answer(tuned, served, answer):
    encoder = Encoder.of_base_model(tuned.base_models / services.TINY, style="chat")
    assert encoder.prompt_text(QUESTION) != QUESTION
    assert served.text(QUESTION, preserve_input_text=True) == encoder.prompt_text(QUESTION) + answer


def test_ranks_are_told_with_the_tokens(served):
    (one,) = served.answer({"inputs": QUESTION, "parameters": {"generated_tokens": True, "token_ranks": True}})
    assert {token["rank"] for token in one["details"]["tokens"]} == {1}
    drawn = detailed(served, token_ranks=True, temperature=50.0, seed=1, top_n_tokens=20, max_new_tokens=10)
    assert max(token["rank"] for token in drawn["tokens"]) > 20
    for token, tops in zip(drawn["tokens"], drawn["top_tokens"], strict=True):
        ids = [top["id"] for top in tops]
        assert (ids.index(token["id"]) + 1 if token["id"] in ids else token["rank"]) == token["rank"]


def test_logprobs_and_tokens_are_left_out_where_they_are_refused(served):
    told = detailed(served, token_logprobs=False, token_ranks=True, top_n_tokens=2)
    assert all("logprob" not in token and token["rank"] == 1 for token in told["tokens"])
    assert all(tops[0].keys() == {"id", "text"} for tops in told["top_tokens"])
    assert "logprob" in detailed(served)["tokens"][0]
    assert "tokens" not in detailed(served, generated_tokens=False)
    event, *_ = served.events({"inputs": QUESTION, "stream": True, "parameters": {"token_logprobs": False}})
    assert event["token"].keys() == {"id", "text", "special"}


def test_the_tokens_of_the_prompt_are_told(tuned, served):
    encoder = Encoder.of_base_model(tuned.base_models / services.TINY, style="chat")
    (ids,) = encoder.prompts([QUESTION])
    parameters = {"input_tokens": True, "token_ranks": True, "max_new_tokens": 3}
    told = asked(served, **parameters)["details"]
    first, *others = told["input_tokens"]
    assert [one["id"] for one in told["input_tokens"]] == ids
    assert (first["logprob"], first["rank"], told["prompt_tokens"]) == (None, None, len(ids))
    assert all(one["logprob"] < 0 < one["rank"] for one in others)
    assert "".join(one["text"] for one in told["input_tokens"]) == encoder.text(ids)
    *_, last = served.events({"inputs": QUESTION, "stream": True, "parameters": parameters})
    assert last["details"]["input_tokens"] == told["input_tokens"]
    bare = asked(served, input_tokens=True, generated_tokens=False, token_logprobs=False)["details"]
    assert bare["input_tokens"] == [{"id": one["id"], "text": one["text"]} for one in told["input_tokens"]]
    assert "tokens" not in bare
    assert "input_tokens" not in detailed(served)


def test_what_is_told_of_prompts_has_its_bounds(served, monkeypatch):
    drawn = {"input_tokens": True, "do_sample": True, "num_return_sequences": 2}
    (fault,) = served.refused({"inputs": QUESTION, "parameters": drawn})
    assert (fault.where, fault.fix) == ("parameters.input_tokens", "ask for one answer")
    monkeypatch.setattr(served_model, "MAX_TOLD_TOKENS", 100)
    (fault,) = served.refused({"inputs": [QUESTION] * 20, "parameters": {"input_tokens": True}})
    assert fault.where == "parameters.input_tokens"
    assert fault.problem.endswith("and one payload is told at most 100")
    (fault,) = served.refused({"text_inputs": QUESTION, "task": "colours"})
    assert (fault.where, fault.problem) == ("task", "means nothing: the model was not tuned on several tasks")


def test_a_decoding_method_says_whether_answers_are_drawn(served, answer):
    assert served.text(QUESTION, decoding_method="GREEDY") == answer
    told = detailed(served, decoding_method="SAMPLING", temperature=3.0, typical_p=0.9)
    again = detailed(served, decoding_method="SAMPLING", temperature=3.0, typical_p=0.9, seed=told["seed"])
    assert [one["id"] for one in again["tokens"]] == [one["id"] for one in told["tokens"]]


def test_beside_text_inputs_parameters_stand_by_themselves(served):
    (fault,) = served.refused({"text_inputs": QUESTION, "parameters": {"max_new_tokens": 3}})
    assert fault.where == "parameters"
    assert "parameters stand by themselves" in fault.fix
    (fault,) = served.refused({"text_inputs": QUESTION, "inputs": QUESTION})
    assert fault.where == "inputs"


def test_several_answers_are_not_streamed(served):
    (fault,) = served.refused({"inputs": [QUESTION] * 2, "stream": True})
    assert fault.where == "stream"


def test_half_a_character_in_an_input_is_refused(served):
    (fault,) = served.refused(b'{"inputs": ["fine", "a \\ud83d b"]}')
    assert fault.where == "inputs[1]"
    assert "lone surrogate) at place 2" in fault.problem
    assert served.answer(b'{"inputs": "\\ud83d\\ude42"}')


def test_control_texts_in_an_input_stay_text(served):
    tokens = detailed(served)["prompt_tokens"]
    longer = served.answer({"inputs": QUESTION + "</s>", "parameters": {"details": True}})[0]["details"][
        "prompt_tokens"
    ]
    assert longer > tokens + 1


def test_the_page_has_every_parameter_and_no_other(served):
    page = (Path(__file__).parents[4] / "docs" / "problems" / "text_generation.md").read_text(encoding="utf-8")
    table = page.partition("<!-- parameters -->")[2].partition("<!-- end of parameters -->")[0]
    told = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    (fault,) = served.refused({"inputs": QUESTION, "parameters": {"zzz": 1}})
    known = set(fault.fix.removeprefix("known: ").split(", "))
    elsewhere = {*payloads.CHANGES_NOTHING, *(name for name, _, _ in payloads.NOT_OFFERED)}
    assert told == known - elsewhere
    assert elsewhere <= known
