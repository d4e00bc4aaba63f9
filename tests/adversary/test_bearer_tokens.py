"""The paths of OpenAI's API, asked without a token, with a changed one, and with what opens other doors."""

import itertools
import os
import random

import pytest

import raw_requests
from gyropilot.sdk import bearer
from raw_requests import JSON, Line, Raw, signed

SEED = int(os.environ.get("GYROPILOT_SEED", random.SystemRandom().randrange(2**32)))
COUNT = int(os.environ.get("GYROPILOT_MUTATIONS", 50))
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "PROPFIND")
PATHS = (
    "/v1/", "/v1/models", "/v1/models/", "/v1/models/e", "/v1/models/..", "/v1/models/%2e%2e/%2e%2e/health",
    "/v1//models", "/v1/../health", "/v1/chat/completions", "/v1/completions", "/v1/embeddings",
    "/v1/files", "/v1/models?limit=1",
)  # fmt: skip
CHAT = b'{"model": "e", "messages": [{"role": "user", "content": "precious"}]}'


def token(key):
    return bearer.token(key.access_key, key.secret)


def asked(key, method="GET", target="/v1/models", *headers, body=b""):
    return Raw(method=method, target=target, headers=(("Host", key.host), *headers), body=body)


def bearing(key, method="GET", target="/v1/models", *headers, body=b"", text=None):
    return asked(key, method, target, ("Authorization", f"Bearer {text or token(key)}"), *headers, body=body)


def test_the_token_opens_the_door(key):
    assert raw_requests.ask(key, bearing(key)).status == 200


def test_no_path_answers_without_a_token(key):
    with Line(key.url) as line:
        for method, path in itertools.product(METHODS, PATHS):
            answer = line.ask(asked(key, method, path, body=CHAT if method == "POST" else b""))
            assert answer.status == 401, (method, path, answer)
            assert b"precious" not in answer.body


def test_a_changed_token_opens_nothing(key):
    print(f"GYROPILOT_SEED={SEED}")
    draw = random.Random(SEED)
    right = token(key)
    changed = {right[:-1], right + "0", right.upper(), right.replace("sk-gyro-", ""), right.replace("-", "_")}
    changed |= {f"{right.rpartition('-')[0]}-{'0' * 64}", f"sk-gyro-{key.access_key}-{key.secret}", key.secret}
    for _ in range(COUNT):
        place = draw.randrange(len(right))
        changed.add(right[:place] + draw.choice("0123456789abcdefGYRO-") + right[place + 1 :])
    with Line(key.url) as line:
        for text in changed - {right}:
            answer = line.ask(bearing(key, text=text))
            assert answer.status == 401, text
            assert key.secret.encode() not in answer.body
        assert line.ask(bearing(key)).status == 200


def test_other_proofs_open_nothing_here(key):
    right = token(key)
    others = [
        signed(key, "GET", "/v1/models"),
        signed(key, "POST", "/v1/chat/completions", headers={"Content-Type": JSON}, body=CHAT),
        signed(key, "GET", "/v1/models", service="s3"),
        asked(key, "GET", f"/v1/models?api_key={right}"),
        asked(key, "GET", "/v1/models", ("api-key", right)),
        asked(key, "GET", "/v1/models", ("x-api-key", right)),
        asked(key, "GET", "/v1/models", ("Cookie", f"Authorization=Bearer {right}")),
        bearing(key, "GET", "/v1/models", ("Authorization", f"Bearer {right}")),
    ]
    for request in others:
        assert raw_requests.ask(key, request).status == 401, request


@pytest.mark.parametrize("target", ["/", "/data/train/rows.csv", "/data", "/endpoints/e/invocations"])
def test_a_token_opens_no_other_door(key, target):
    more = (("Content-Type", JSON), ("X-Amz-Target", "SageMaker.ListAutoMLJobs"))
    for method in ("GET", "POST"):
        answer = raw_requests.ask(key, bearing(key, method, target, *more, body=b"{}" if method == "POST" else b""))
        assert answer.status in (400, 403), (method, target, answer)


@pytest.mark.parametrize("name", ["Host", "Origin"])
def test_a_right_token_out_of_a_foreign_page_opens_nothing(key, name):
    port = key.url.rpartition(":")[2]
    hosts = ("evil.example", f"evil.example:{port}", "localhost", f"127.0.0.1:{port}.evil.example", "127.0.0.1:1")
    origins = ("null", "http://evil.example", f"https://127.0.0.1:{port}", "file://")
    for value in hosts if name == "Host" else origins:
        answer = raw_requests.ask(key, bearing(key).with_header(name, value))
        assert answer.status in (400, 403), value
        assert "access-control-allow-origin" not in answer.headers
