"""The OpenAI-compatible door as the `openai` client sees it, over stand-in replicas that do as they are told."""

import http.client
import json
import threading
from types import SimpleNamespace

import openai
import pytest

import houses
import mean_problem
import replica_servers
import runtime_servers
from api_servers import serving
from gyropilot import names
from gyropilot.problems.text_generation.problem import TEXT_GENERATION
from gyropilot.sdk import bearer
from gyropilot.serve.doors import openai as openai_door
from gyropilot.store import endpoints
from gyropilot.store.named_rows import NewRow
from gyropilot.wire.rest import MAX_BODY_BYTES
from runtime_servers import put_endpoint, put_replica
from services import wait_until

OTHER_ACCOUNT = "111111111111"
MESSAGES = [{"role": "user", "content": "Hello"}]


def variant(problem="TextGeneration"):
    made = runtime_servers.variant("main")
    made["model"]["problem"] = problem
    return made


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A door, an endpoint `plain` with one replica, others that do not answer, and where it all lies."""
    folder = tmp_path_factory.mktemp("o")
    house = houses.build(folder / "house", (TEXT_GENERATION, mean_problem.MEAN), invocation_seconds=3)
    with replica_servers.running(folder / "a"), serving(house, make_app=openai_door.make_app) as server:
        put_endpoint(house, "broken", [variant()], status="Failed", reason="the model does not load")
        put_endpoint(house, "numbers", [variant("Tabular")])
        put_endpoint(house, "silent", [variant()])
        chain = variant()
        chain["model"]["containers"] = [{}, {}]
        put_endpoint(house, "chain", [chain])
        put_endpoint(house, "theirs", [variant()], account=OTHER_ACCOUNT)
        put_replica(house, put_endpoint(house, "plain", [variant()]), folder / "a")
        _, secret = house.credentials.create(account_id=server.house.settings.account_id, kind="invoker", name="app")
        key = house.credentials.created()[-1].principal.access_key_id
        yield SimpleNamespace(
            folder=folder, server=server, house=house, key=key, secret=secret, token=bearer.token(key, secret)
        )
    house.db.close()


@pytest.fixture
def client(place):
    with connected(place, place.token) as client:
        yield client


def connected(place, token):
    return openai.OpenAI(base_url=f"{place.server.url}/v1", api_key=token, max_retries=0)


def chat(client, model="plain", **told):
    """One chat whose body also tells the stand-in what to answer."""
    stream = told.pop("stream", False)
    return client.chat.completions.create(model=model, messages=MESSAGES, stream=stream, extra_body=told)


def chunk(text, **more):
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None} | more
    value = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "plain", "choices": [choice]}
    return f"data: {json.dumps(value)}\n\n"


def ask(place, method, path, body=b"", **headers):
    """One request over a connection of its own; give status, headers, and what the JSON of the answer says."""
    connection = http.client.HTTPConnection("127.0.0.1", place.server.port, timeout=30)
    try:
        named = {"Authorization": f"Bearer {place.token}"} | {
            it.replace("_", "-"): text for it, text in headers.items()
        }
        connection.request(method, path, body, {name: text for name, text in named.items() if text is not None})
        answer = connection.getresponse()
        return answer.status, answer.headers, json.loads(answer.read())
    finally:
        connection.close()


def test_the_models_are_the_text_endpoints_that_answer_newest_first(place, client):
    listed = client.models.list().data
    assert [one.id for one in listed] == ["plain", "silent"]
    one = client.models.retrieve("plain")
    assert one == listed[0]
    assert one.created > 1_700_000_000
    assert (one.object, one.owned_by) == ("model", "gyropilot")


def test_a_chat_reaches_the_replica_as_it_was_written_and_comes_back_as_it_was_answered(place, client):
    raw = client.chat.completions.with_raw_response.create(
        model="plain", messages=MESSAGES, temperature=0.5, extra_body={"headers": True}
    )
    told = json.loads(raw.content)
    assert told["x-gyropilot-style"] == "chat"
    assert told["x-gyropilot-model"] == "plain"
    assert told["content-type"] == "application/json"
    assert "authorization" not in told
    assert place.token not in json.dumps(told)
    assert len(raw.headers["x-request-id"]) == 36
    completion = client.completions.with_raw_response.create(
        model="plain", prompt="Hello", extra_body={"headers": True}
    )
    assert json.loads(completion.content)["x-gyropilot-style"] == "completion"


def test_a_stream_comes_event_by_event(place, client):
    gate = place.folder / "gate"
    parts = [chunk("Hel"), chunk("lo") + chunk("", finish_reason="stop") + "data: [DONE]\n\n"]
    stream = chat(client, stream=True, parts=parts, gate=str(gate), type="text/event-stream")
    assert next(stream).choices[0].delta.content == "Hel"  # the second part waits for the file
    gate.touch()
    assert [one.choices[0].finish_reason for one in stream] == [None, "stop"]
    assert stream.response.headers["content-type"] == "text/event-stream"


def test_a_stream_that_breaks_off_is_an_error_and_not_an_end(place, client):
    stream = chat(client, stream=True, parts=[chunk("Hel")], cut=True, type="text/event-stream")
    said = []
    with pytest.raises(openai.APIError, match="broke its answer off"):
        said.extend(one.choices[0].delta.content for one in stream)
    assert said == ["Hel"]


@pytest.mark.parametrize("is_streamed", [False, True])
def test_what_the_model_refuses_is_told_with_the_member_that_it_is_about(place, client, is_streamed):
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, stream=is_streamed, status=400, error="messages[0].role: must be user (found 'x'); mend it")
    assert caught.value.param == "messages[0].role"
    assert caught.value.type == "invalid_request_error"
    assert caught.value.message.endswith("messages[0].role: must be user (found 'x'); mend it")


def test_a_model_that_breaks_is_a_server_error(place, client):
    with pytest.raises(openai.InternalServerError) as caught:
        chat(client, status=500, error="The model broke on this call.")
    assert (caught.value.status_code, caught.value.code) == (500, "model_error")
    with pytest.raises(openai.InternalServerError) as caught:
        chat(client, wait=str(place.folder / "never"))
    assert "timed out" in caught.value.message


def test_a_model_without_room_is_worth_a_retry(place, client):
    with pytest.raises(openai.RateLimitError) as caught:
        chat(client, status=503, error="full")
    assert caught.value.code == "model_not_ready"
    assert "full" in caught.value.message
    assert caught.value.response.headers["retry-after"] == "2"


@pytest.mark.parametrize(
    ("model", "kind", "code", "said"),
    [
        ("plane", openai.NotFoundError, "model_not_found", "Did you mean 'plain'? Your account's text endpoints are"),
        ("PLAIN", openai.NotFoundError, "model_not_found", "plain, silent"),
        ("theirs", openai.NotFoundError, "model_not_found", "There is no model 'theirs'"),
        ("broken", openai.NotFoundError, "model_not_found", "Failed: the model does not load"),
        ("numbers", openai.BadRequestError, "model_not_for_text", "endpoint of Tabular"),
        ("silent", openai.RateLimitError, "model_not_ready", "no replica"),
    ],
)
def test_a_model_that_cannot_answer_says_why(client, model, kind, code, said):
    with pytest.raises(kind) as caught:
        chat(client, model)
    assert caught.value.code == code
    assert said in caught.value.message


def test_a_model_that_is_not_there_yet_is_worth_a_retry(place, client):
    arn = names.arn(region=houses.REGION, account_id=names.ACCOUNT_ID, kind="endpoint", name="coming")
    row = NewRow(account_id=names.ACCOUNT_ID, region=houses.REGION, name="coming", arn=arn)
    wanted = {"config_name": "config", "variants": [variant()], "data_capture": None}
    endpoints.create(place.house.db, row, principal=place.key, wanted=wanted, tags={})
    for ask_for in (client.models.retrieve, lambda model: chat(client, model)):
        with pytest.raises(openai.RateLimitError, match="coming is Creating; it answers once it is InService"):
            ask_for("coming")


def test_without_a_valid_token_nothing_is_told(place):
    for token in ("sk-other", bearer.token(place.key, "b" * 40), bearer.token("GYROAAAAAAAAAAAAAAAA", place.secret)):
        with connected(place, token) as client, pytest.raises(openai.AuthenticationError) as caught:
            client.models.list()
        assert caught.value.code == "invalid_api_key"
        assert "gyropilot keys token" in caught.value.message
    for path in ("/v1/models", "/v1/chat/completions", "/v1/anything"):
        status, headers, told = ask(place, "POST", path, b"{}", Authorization=None)
        assert status == 401, path
        assert headers["connection"] == "close"
        assert told["error"]["code"] == "invalid_api_key"


def test_the_token_of_a_withdrawn_key_opens_nothing(place):
    credentials = place.server.house.credentials
    principal, secret = credentials.create(account_id="000000000000", kind="invoker", name="gone")
    with connected(place, bearer.token(principal.access_key_id, secret)) as client:
        client.models.list()
        credentials.revoke(principal.access_key_id)
        with pytest.raises(openai.AuthenticationError):
            client.models.list()


def test_each_account_has_its_own_models(place):
    principal, secret = place.house.credentials.create(account_id=OTHER_ACCOUNT, kind="invoker", name="other")
    with connected(place, bearer.token(principal.access_key_id, secret)) as client:
        assert [one.id for one in client.models.list()] == ["theirs"]
        with pytest.raises(openai.NotFoundError, match="text endpoints are theirs"):
            chat(client, "plain")


def test_requests_of_foreign_pages_are_refused(place):
    for headers in ({"Origin": "http://elsewhere.example"}, {"Host": "elsewhere.example"}):
        status, _, told = ask(place, "GET", "/v1/models", **headers)
        assert (status, told["error"]["code"]) == (403, "not_allowed")


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        (b"{", None, "is not JSON"),
        (b"[]", None, "must be a JSON object"),
        (b"\xff", None, "is not JSON"),
        (b"[" * 100_000, None, "is not JSON"),
        (b"{}", "model", "must be a text"),
        (b'{"model": 7}', "model", "must be a text (found 7)"),
        (b'{"model": "plain", "stream": "yes"}', "stream", "must be true or false"),
    ],
)
def test_a_body_that_is_no_request_is_refused_with_the_reason(place, body, param, said):
    status, _, told = ask(place, "POST", "/v1/chat/completions", body)
    assert status == 400
    assert told["error"]["param"] == param
    assert said in told["error"]["message"]


def test_a_body_longer_than_is_read_is_refused(place, client):
    with pytest.raises(openai.APIStatusError) as caught:
        client.completions.create(model="plain", prompt="a" * MAX_BODY_BYTES)
    assert (caught.value.status_code, caught.value.code) == (413, "request_too_large")


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/embeddings"), ("GET", "/v1/chat/completions"), ("DELETE", "/v1/models/plain"), ("GET", "/v1/")],
)
def test_other_paths_say_what_is_answered(place, method, path):
    status, _, told = ask(place, method, path, b"{}")
    assert (status, told["error"]["code"]) == (404, "unknown_url")
    assert "POST /v1/chat/completions" in told["error"]["message"]


def leave(place, asked, reached, caplog):
    """Call, go away once the replica has the call, and give what the log then says of it."""
    caplog.clear()
    body = json.dumps({"model": "plain", "messages": MESSAGES, "reached": str(reached)} | asked)
    connection = http.client.HTTPConnection("127.0.0.1", place.server.port, timeout=30)
    with caplog.at_level("INFO", "gyropilot.serve.doors.openai"):
        connection.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {place.token}"})
        if asked["stream"]:
            assert connection.getresponse().readline().startswith(b"data: ")
        wait_until(reached.exists, seconds=20, what="the replica to have the call")
        connection.close()
        wait_until(lambda: " plain " in caplog.text, seconds=20, what="the call to end")
    return caplog.text


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_client_that_goes_away_ends_the_work_for_it(place, is_streamed, caplog):
    before = len(list(place.folder.glob("gone.*")))
    never = str(place.folder / "never")
    asked = {"parts": [chunk("Hel"), "lo"], "gate": never} if is_streamed else {"wait": never}
    # Again where the machine was so busy that the model's time was over before we had left.
    for attempt in range(5):
        reached = place.folder / f"reached.{is_streamed}.{attempt}"
        said = leave(place, asked | {"stream": is_streamed}, reached, caplog)
        if not any(code in said for code in ("ModelInvocationTimeExceeded", "model_error")):
            break
    assert "(the client went away)" in said
    wait_until(lambda: len(list(place.folder.glob("gone.*"))) > before, seconds=20, what="the replica to hear of it")


def test_calls_beyond_a_keys_rate_are_told_to_wait(tmp_path):
    house = houses.build(tmp_path / "house", (TEXT_GENERATION,), calls_per_second=1)
    with serving(house, make_app=openai_door.make_app) as server:
        at = SimpleNamespace(server=server, token=bearer.token(server.key, server.secret))
        statuses = [ask(at, "GET", "/v1/models")[0] for _ in range(10)]
        status, headers, told = ask(at, "GET", "/v1/models")
    assert statuses[:4] == [200] * 4
    assert (status, told["error"]["code"], headers["retry-after"]) == (429, "rate_limit_exceeded", "1")
    house.db.close()


def test_many_at_once_get_each_their_own_answer(place, client):
    answers = {}

    def one(number):
        raw = client.completions.with_raw_response.create(
            model="plain", prompt="x", extra_body={"answer": json.dumps({"number": number})}
        )
        answers[number] = json.loads(raw.content)["number"]

    threads = [threading.Thread(target=one, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == {number: number for number in range(24)}


def test_no_token_stands_in_the_log(place, client, caplog):
    def lines():
        return [record.getMessage() for record in caplog.records if record.name.startswith("gyropilot")]

    def is_told(said):
        wait_until(lambda: any(said in line for line in lines()), seconds=10, what=f"a line with {said}")

    with caplog.at_level("INFO"):
        client.models.list()
        is_told(f"/v1/models - {place.key} 200")
        with connected(place, f"{place.token}0") as wrong, pytest.raises(openai.AuthenticationError):
            wrong.models.list()
        is_told("/v1/models - - 401 invalid_api_key")
    assert not any(place.token.rpartition("-")[2] in line for line in lines())
