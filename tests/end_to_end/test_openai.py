"""OpenAI's own client against a tuned model of a real service, with nothing but a base URL and a token."""

import asyncio
import json

import openai
import pytest

from gyropilot.sdk import bearer

pytestmark = pytest.mark.slow

CHOSEN = {"temperature": 0, "max_tokens": 8}


@pytest.fixture(scope="module")
def invoker(service):
    """What `gyropilot keys create --kind invoker` prints."""
    made = service.gyropilot("keys", "create", "--kind", "invoker", "--name", "openai", "--json")
    return json.loads(made.stdout)


@pytest.fixture
def client(service, invoker):
    with openai.OpenAI(**reaching(service, invoker)) as client:
        yield client


def reaching(service, invoker):
    url = f"{service.variables['AWS_ENDPOINT_URL']}/v1"
    return {"base_url": url, "api_key": invoker["BearerToken"], "max_retries": 0}


def asked(*texts):
    """Turns of a conversation, the user's first."""
    roles = ("user", "assistant")
    return [{"role": roles[place % 2], "content": text} for place, text in enumerate(texts)]


def test_the_endpoint_is_a_model(client, endpoint):
    assert endpoint in [one.id for one in client.models.list()]
    assert client.models.retrieve(endpoint).object == "model"


def test_a_streamed_chat_says_what_a_whole_one_says(client, endpoint):
    whole = client.chat.completions.create(model=endpoint, messages=asked("What is 2 and 2?"), **CHOSEN)
    (choice,) = whole.choices
    assert (whole.object, whole.model, choice.message.role) == ("chat.completion", endpoint, "assistant")
    assert choice.finish_reason in ("length", "stop")
    assert 0 < whole.usage.completion_tokens <= 8
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    stream = client.chat.completions.create(
        model=endpoint,
        messages=asked("What is 2 and 2?"),
        stream=True,
        stream_options={"include_usage": True},
        **CHOSEN,
    )
    *chunks, last = list(stream)
    told = [choice for one in chunks for choice in one.choices]
    assert "".join(one.delta.content or "" for one in told) == choice.message.content
    assert told[-1].finish_reason == choice.finish_reason
    assert last.usage == whole.usage
    assert len(chunks) > 2  # it came in parts


def test_what_was_said_before_is_heard(client, endpoint):
    def prompt_tokens(*texts):
        given = client.chat.completions.create(model=endpoint, messages=asked(*texts), **CHOSEN)
        return given.usage.prompt_tokens

    assert prompt_tokens("Hi?", "Yes.", "What is 2 and 2?") > prompt_tokens("What is 2 and 2?")


def test_a_completion_is_what_invoke_endpoint_generates(service, client, endpoint):
    text = client.completions.create(model=endpoint, prompt="What is 3 and 3?", **CHOSEN).choices[0].text
    payload = {"inputs": "What is 3 and 3?", "parameters": {"max_new_tokens": 8}}
    (answer,) = json.loads(service.sdk().invoke(endpoint, json.dumps(payload).encode()).body)
    assert text == answer["generated_text"]


def test_answers_asked_for_together_are_those_asked_for_alone(service, invoker, client, endpoint):
    questions = [f"What is {number} and {number}?" for number in range(8)]
    alone = [
        client.chat.completions.create(model=endpoint, messages=asked(one), **CHOSEN).choices[0].message.content
        for one in questions
    ]

    async def together():
        async with openai.AsyncOpenAI(**reaching(service, invoker)) as client:
            calls = [client.chat.completions.create(model=endpoint, messages=asked(one), **CHOSEN) for one in questions]
            return [one.choices[0].message.content for one in await asyncio.gather(*calls)]

    assert asyncio.run(together()) == alone


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"temperature": 9}, "temperature"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": "x" * 5000}]}, "messages"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"temprature": 1}, "temprature"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_its_name(client, endpoint, changed, param):
    request = {"model": endpoint, "messages": asked("Hello"), **CHOSEN} | changed
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/chat/completions", body=request, cast_to=object)
    assert caught.value.param == param
    assert param in caught.value.message


def test_a_withdrawn_key_is_no_key(service, endpoint):
    made = service.access().create_key(kind="invoker", name="short")
    token = bearer.token(made["AccessKeyId"], made["SecretAccessKey"])
    with openai.OpenAI(**reaching(service, {"BearerToken": token})) as client:
        client.models.retrieve(endpoint)
        service.access().revoke_key(made["AccessKeyId"])
        with pytest.raises(openai.AuthenticationError):
            client.models.retrieve(endpoint)


def test_no_token_is_in_the_services_log(service, invoker, client, endpoint):
    client.models.retrieve(endpoint)
    log = service.log.read_text()
    assert f"/v1/models/{endpoint} {endpoint} {invoker['AccessKeyId']} 200" in log
    assert invoker["BearerToken"].rpartition("-")[2] not in log
