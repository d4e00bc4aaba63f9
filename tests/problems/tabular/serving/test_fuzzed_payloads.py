"""Payloads with bytes and values changed: each is read or refused as the caller's fault, and none breaks."""

from __future__ import annotations

import json
import os
import random
from dataclasses import replace

from gyropilot.errors import InvalidRequest
from gyropilot.problems.contract import Call
from gyropilot.problems.tabular.columns import Column, Schema
from gyropilot.problems.tabular.serving import payloads

FUZZED = int(os.environ.get("GYROPILOT_FUZZED", "500"))
SCHEMA = Schema(
    features=(
        Column(name="features", kind="numeric"),
        Column(name="instances", kind="categorical"),
        Column(name="é, or not", kind="text"),
        Column(name="when", kind="datetime"),
        Column(name="use", kind="sequence"),
    ),
    target="y",
    weight=None,
    problem_type="Regression",
    labels=(),
)
TAKES_STRAYS = replace(SCHEMA, features=tuple(replace(one, takes_strays=True) for one in SCHEMA.features))
ROW = {"features": 1.5, "instances": "a", "é, or not": 'said "no", so', "when": "2024-02-29T10:00:00Z", "use": "1,2,3"}
SEEDS = (
    ("text/csv", b'1.5,a,"said ""no"", so",2024-02-29,"1,2,3"\n,,,,\n1e3,b,c,3/14/2024,\n'),
    ("text/csv", 'features,instances,"é, or not",when,use\r\n1,2,3,,5\r\n'.encode()),
    ("application/json", json.dumps({"instances": [ROW, {"features": list(ROW.values())}]}).encode()),
    ("application/json", json.dumps([ROW, list(ROW.values())], ensure_ascii=False).encode()),
    ("application/jsonlines", json.dumps(ROW).encode() + b"\n" + json.dumps([1, "b", None, None, [1, 2]]).encode()),
)
ODD = (
    b"", b"\x00", b"\xff", b'"', b"}", b"[", b"{", b",", b"\n", b"\r", b"null", b"NaN", b"-Infinity",
    b"1e999", b"9" * 400, b"\\ud83d", b"9999-99-99", b"0001-01-01", b"%", b"$", "\u2028".encode(), b"true",
    b"[[]]", b"{\"a\":1}", b"1" * 5000,
)  # fmt: skip


def test_changed_payloads_are_read_or_refused():
    draw = random.Random(5)
    counts = {"read": 0, "refused": 0}
    for _ in range(FUZZED):
        content_type, seed = draw.choice(SEEDS)
        body, schema = bytearray(seed), draw.choice((SCHEMA, TAKES_STRAYS))
        for _ in range(draw.randrange(1, 4)):
            place = draw.randrange(len(body) + 1)
            body[place : place + draw.randrange(4)] = draw.choice(ODD)
        call = Call(body=bytes(body), content_type=content_type, accept="")
        try:
            frames = list(payloads.read(call, schema).frames(call))
        except InvalidRequest as error:
            counts["refused"] += 1
            str(error).encode()
            continue
        counts["read"] += 1
        assert [str(one) for one in frames[0].dtypes] == ["float64", "object", "object", "datetime64[ns]", "object"]
    assert counts["refused"] > FUZZED / 4
    assert counts["read"] > FUZZED / 20
