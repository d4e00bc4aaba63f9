"""The client's calls on endpoints, over stand-in replicas that break off, refuse or wait as they are told."""

import json
from types import SimpleNamespace

import pytest

import houses
import replica_servers
import runtime_servers
from api_servers import serving
from gyropilot.problems.text_generation.problem import TEXT_GENERATION
from gyropilot.sdk.client import Client
from gyropilot.sdk.endpoints import _name
from gyropilot.sdk.errors import BrokenOff, Refused, Unreachable
from gyropilot.serve.doors import openai as openai_door
from gyropilot.serve.doors import runtime as door
from runtime_servers import put_endpoint, put_replica


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Clients of both doors over one house, in which the endpoint `plain` answers."""
    folder = tmp_path_factory.mktemp("s")
    house = houses.build(folder / "house", (TEXT_GENERATION,))
    variant = runtime_servers.variant("main")
    variant["model"]["problem"] = "TextGeneration"
    with (
        replica_servers.running(folder / "a"),
        serving(house, make_app=door.make_app) as runtime,
        serving(house, make_app=openai_door.make_app) as openai,
    ):
        put_replica(house, put_endpoint(house, "plain", [variant]), folder / "a")
        yield SimpleNamespace(folder=folder, runtime=client_of(runtime), openai=client_of(openai))
    house.db.close()


def client_of(server):
    return Client(url=server.url, access_key=server.key, secret=server.secret, region=houses.REGION)


def chunk(text):
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return f"data: {json.dumps({'choices': [choice]})}\n\n"


def chat(place, *parts, **told):
    told = {"parts": [chunk(part) if part != "[DONE]" else "data: [DONE]\n\n" for part in parts], **told}
    return place.openai.chat("plain", options={"type": "text/event-stream", **told})


def test_an_answer_has_body_type_and_variant(place):
    answer = place.runtime.invoke("plain", b'{"answer": "1,2", "type": "text/csv"}', accept="text/csv")
    assert (answer.body, answer.content_type, answer.variant) == (b"1,2", "text/csv", "main")


def test_a_streamed_answer_comes_part_by_part(place):
    gate = place.folder / "gate"
    answer = place.runtime.invoke_stream("plain", json.dumps({"parts": ["one", "two"], "gate": str(gate)}).encode())
    assert next(answer.parts) == b"one"  # the second waits for the file
    gate.touch()
    assert list(answer.parts) == [b"two"]
    assert (answer.content_type, answer.variant) == ("application/jsonlines", "main")


def test_a_streamed_answer_that_breaks_off_is_an_error_after_what_came(place):
    answer = place.runtime.invoke_stream("plain", b'{"parts": ["one"], "cut": true}')
    assert next(answer.parts) == b"one"
    with pytest.raises(BrokenOff, match=r"the answer of plain broke off .*ask again"):
        next(answer.parts)


def test_a_refusal_has_its_code(place):
    with pytest.raises(Refused) as caught:
        place.runtime.invoke("plain", b'{"status": 400, "error": "no"}')
    assert (caught.value.code, caught.value.status) == ("ModelError", 424)


def test_a_conversation_remembers_what_was_said(place):
    talk = chat(place, "Hel", "lo", "[DONE]")
    assert list(talk.say("Hi")) == ["Hel", "lo"]
    assert talk.messages == [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    talk.reset(system="Be brief.")
    assert talk.messages == [{"role": "system", "content": "Be brief."}]


def test_an_answer_that_nobody_reads_to_its_end_is_remembered_as_far_as_it_was_read(place):
    talk = chat(place, "Hel", "lo", "[DONE]")
    parts = talk.say("Hi")
    assert next(parts) == "Hel"
    parts.close()
    assert talk.messages[-1] == {"role": "assistant", "content": "Hel"}


@pytest.mark.parametrize("told", [{"cut": True}, {}])
def test_a_conversation_knows_an_answer_that_has_no_end(place, told):
    talk = chat(place, "Hel", **told)
    parts = talk.say("Hi")
    assert next(parts) == "Hel"
    with pytest.raises(BrokenOff, match="plain"):
        next(parts)


def test_what_is_refused_is_not_remembered(place):
    talk = chat(place, status=400, error="messages: are too long")
    with pytest.raises(Refused, match="messages: are too long") as caught:
        next(talk.say("Hi"))
    assert caught.value.status == 400
    assert talk.messages == []


def test_an_endpoint_is_looked_at_before_the_first_word(place):
    place.openai.chat("plain").check()
    with pytest.raises(Refused, match="Did you mean 'plain'") as caught:
        place.openai.chat("plane").check()
    assert caught.value.code == "model_not_found"
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        Client(url="http://127.0.0.1:9", access_key="a", secret="b", region="us-east-1").chat("plain").check()


@pytest.mark.parametrize("name", ["a", "a-b", "x" * 54, "x" * 55, "x" * 63, f"{'x' * 44}-{'y' * 18}"])
def test_what_is_made_for_an_endpoint_is_named_by_it_and_its_content(name):
    made = _name(name, ["content"])
    assert len(made) <= 63
    assert made == _name(name, ["content"])
    assert made != _name(name, ["other content"])
    for other in (f"{name}-0", name[:-1] or "b", "x" * 62):
        assert _name(other, ["content"]) != made, other
