"""Chat completions and completions against a tuned tiny model; the openai client reads the answers."""

from __future__ import annotations

import json

import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

QUESTION = "What colour has stone 1?"
MESSAGES = [{"role": "user", "content": QUESTION}]


@pytest.fixture(scope="module")
def answer(served):
    return served.text(QUESTION)


def completion(served, prompt, **fields):
    return served.answer({"prompt": prompt, "temperature": 0, **fields}, style="completion")


def streamed(served, body, style):
    *told, end = served.events({"stream": True, "temperature": 0, **body}, style=style)
    assert end == "[DONE]"
    return told


def test_one_message_is_answered_as_the_input_it_is(served, answer):
    told = served.chat(("user", QUESTION))
    read = ChatCompletion.model_validate(told, strict=True)
    (choice,) = read.choices
    assert (choice.message.role, choice.message.content) == ("assistant", answer)
    assert (choice.finish_reason, choice.logprobs, read.model) == ("stop", None, "shop")
    (one,) = served.answer({"inputs": QUESTION, "parameters": {"details": True}})
    details = one["details"]
    assert read.usage.prompt_tokens == details["prompt_tokens"]
    assert read.usage.completion_tokens == details["generated_tokens"]
    assert read.usage.total_tokens == read.usage.prompt_tokens + read.usage.completion_tokens


def test_a_prompt_is_answered_as_the_input_it_is(served, answer):
    read = Completion.model_validate(completion(served, QUESTION), strict=True)
    assert [one.text for one in read.choices] == [answer]
    told = completion(served, [QUESTION, QUESTION], echo=True, n=2)
    assert [(one["index"], one["text"]) for one in told["choices"]] == [(n, QUESTION + answer) for n in range(4)]


def test_turns_before_change_the_prompt_by_the_template(served):
    turns = [("system", "Be brief."), ("user", "Hello."), ("assistant", "Hi."), ("user", QUESTION)]
    longer, alone = served.chat(*turns), served.chat(("user", QUESTION))
    assert longer["usage"]["prompt_tokens"] > alone["usage"]["prompt_tokens"] + len(turns)


def test_content_may_come_in_parts_of_text(served):
    parts = [{"type": "text", "text": QUESTION[:7]}, {"type": "text", "text": QUESTION[7:]}]
    told = served.answer({"messages": [{"role": "user", "content": parts}], "temperature": 0}, style="chat")
    assert told["choices"] == served.chat(("user", QUESTION))["choices"]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_length_is_kept(served, name):
    told = served.chat(("user", QUESTION), **{name: 2})
    assert told["choices"][0]["finish_reason"] == "length"
    assert told["usage"]["completion_tokens"] == 2


def test_stop_texts_are_cut_out(served, answer):
    told = served.chat(("user", QUESTION), stop=[answer[3:6]])
    assert told["choices"][0]["message"]["content"] == answer[:3]
    assert told["choices"][0]["finish_reason"] == "stop"


def test_answers_are_drawn_unless_the_temperature_is_zero(served):
    drawn = {"messages": MESSAGES, "n": 3, "seed": 1, "top_p": 1.0, "temperature": 2}
    told = served.answer(drawn, style="chat")
    assert len({one["message"]["content"] for one in told["choices"]}) == 3
    assert served.answer(drawn, style="chat")["choices"] == told["choices"]
    usual = [served.answer({"messages": MESSAGES, "seed": seed}, style="chat")["choices"][0] for seed in range(8)]
    assert len({one["message"]["content"] for one in usual}) > 1


def test_logprobs_of_a_chat_are_those_of_its_tokens(served, answer):
    told = ChatCompletion.model_validate(served.chat(("user", QUESTION), logprobs=True, top_logprobs=2), strict=True)
    tokens = told.choices[0].logprobs.content
    assert b"".join(bytes(one.bytes) for one in tokens).decode() == "".join(one.token for one in tokens) == answer
    assert all(one.top_logprobs[0].logprob == one.logprob for one in tokens)


def test_logprobs_of_a_completion_say_where_each_token_stands(served, answer):
    logprobs = Completion.model_validate(completion(served, QUESTION, logprobs=1)).choices[0].logprobs
    assert [
        answer[place:].startswith(token) for token, place in zip(logprobs.tokens, logprobs.text_offset, strict=True)
    ]
    assert logprobs.text_offset[0] == 0
    assert [max(one.values()) for one in logprobs.top_logprobs] == logprobs.token_logprobs


def test_a_streamed_chat_is_the_same_answer_in_parts(served, answer):
    told = streamed(served, {"messages": MESSAGES, "stream_options": {"include_usage": True}}, "chat")
    chunks = [ChatCompletionChunk.model_validate(one, strict=True) for one in told]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(one.choices[0].delta.content or "" for one in chunks[:-1]) == answer
    assert [one.choices[0].finish_reason for one in chunks[:-1]] == [None] * (len(chunks) - 2) + ["stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.model_dump(exclude_none=True) == served.chat(("user", QUESTION))["usage"]
    assert len({one.id for one in chunks}) == 1
    assert len(chunks) > 6


def test_a_streamed_completion_is_the_same_answer_in_parts(served, answer):
    told = streamed(served, {"prompt": QUESTION, "echo": True}, "completion")
    assert "".join(one["choices"][0]["text"] for one in told) == QUESTION + answer
    assert told[-1]["choices"][0]["finish_reason"] == "stop"
    assert "usage" not in told[0]


def test_several_choices_are_streamed_apart(served):
    body = {"messages": MESSAGES, "n": 2, "temperature": 2, "seed": 3}
    whole = [one["message"]["content"] for one in served.answer(body, style="chat")["choices"]]
    parts, order = ["", ""], []
    for one in streamed(served, body, "chat"):
        (choice,) = one["choices"]
        parts[choice["index"]] += choice["delta"].get("content", "")
        order.append((choice["index"], choice["finish_reason"]))
    assert parts == whole
    ends = [place for place, (_, reason) in enumerate(order) if reason]
    assert {index for index, _ in order[4 : ends[0]]} == {0, 1}


def test_streamed_logprobs_are_those_of_the_whole_answer(served):
    body = {"messages": MESSAGES, "logprobs": True, "top_logprobs": 1, "temperature": 0}
    whole = served.answer(body, style="chat")["choices"][0]["logprobs"]["content"]
    told = [one["choices"][0]["logprobs"] for one in streamed(served, body, "chat")]
    assert [token for one in told if one for token in one["content"]] == whole


def test_what_a_body_asks_that_is_not_offered_is_refused_with_all_else(served):
    body = {
        "messages": [
            {"role": "tool", "content": "x"},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
            {"role": "user"},
            "text",
            {"role": "assistant", "content": "x", "tool_calls": [{}], "nam": 1},
        ],
        "temperature": 3,
        "presence_penalty": 0.5,
        "tools": [{"type": "function"}],
        "response_format": {"type": "json_object"},
        "top_logprobs": 2,
        "stream_options": {"include_usage": True},
        "max_token": 5,
        "max_tokens": 5,
        "max_completion_tokens": 6,
        "n": 0,
    }
    faults = {one.where: one for one in served.refused(body, style="chat")}
    assert set(faults) == {
        "messages[0].role",
        "messages[1].content[0]",
        "messages[2].content",
        "messages[3]",
        "messages[4].tool_calls",
        "messages[4].nam",
        *(body.keys() - {"messages", "max_completion_tokens"}),
    }
    assert faults["max_token"].fix == "did you mean max_tokens?"
    assert faults["temperature"].problem == "must be a number from 0 up to 2"
    assert faults["presence_penalty"].fix == "leave it out; repetition_penalty is offered beside OpenAI's fields"


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "prompt"),
        ({"prompt": [1, 2, 3]}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": "x", "suffix": "y"}, "suffix"),
        ({"prompt": "x", "best_of": 3}, "best_of"),
        ({"prompt": "x", "logprobs": 6}, "logprobs"),
        ({"prompt": "x", "logprobs": 1, "echo": True}, "logprobs"),
        ({"prompt": "x", "messages": []}, "messages"),
        ({"prompt": "x", "stop": [""]}, "stop"),
        ({"prompt": "x", "metadata": {"a": 1}}, "metadata"),
        ({"prompt": "x", "metadata": []}, "metadata"),
        ({"prompt": "x", "store": "no"}, "store"),
        ({"prompt": "x", "user": 3}, "user"),
        ({"prompt": "stone " * 300}, "prompt"),
        ({"prompt": ["x", "stone " * 300]}, "prompt[1]"),
        ({"prompt": "x", "max_tokens": 1000}, "max_tokens"),
        ({"prompt": ["x"] * 128, "n": 5}, "n"),
    ],
)
def test_a_completion_that_cannot_be_honoured_is_refused(served, body, where):
    assert [one.where for one in served.refused(body, style="completion")] == [where]


def test_fields_that_say_who_asks_change_nothing(served, answer):
    said = {"user": "me", "metadata": {"a": "b"}, "store": False, "model": "shop", "service_tier": "auto"}
    said |= {
        "frequency_penalty": 0,
        "logit_bias": {},
        "tools": None,
        "tool_choice": "none",
        "stream": False,
        "stop": [],
    }
    assert served.chat(("user", QUESTION), **said)["choices"][0]["message"]["content"] == answer


def test_a_whole_answer_is_given_in_one_part_to_who_streams_without_asking_for_it(served, answer):
    call = served.call({"messages": MESSAGES, "temperature": 0}, style="chat")
    (part,) = served.server.stream(served.name, call).parts
    assert json.loads(part)["choices"][0]["message"]["content"] == answer
