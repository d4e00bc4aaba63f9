"""Calls that no model of a problem type can honour, each with a word that the refusal must hold."""

from __future__ import annotations

import json

TEXT = "What colour has stone 1?"


def _payload(**fields):
    return json.dumps({"inputs": TEXT, **fields}).encode()


def _parameters(**parameters):
    return _payload(parameters=parameters)


def _body(**fields):
    return json.dumps(fields).encode()


INVOCATIONS = [
    (b"", "is not JSON"),
    (b"null", "must be a JSON object, not null"),
    (b"[]", "must be a JSON object, not a list"),
    (b'"text"', "must be a JSON object, not a string"),
    (b"{", "is not JSON"),
    (b'{"inputs": "a"} x', "is not JSON"),
    (b'{"inputs": "\xff"}', "is not UTF-8"),
    (b'{"inputs": "a", "inputs": "b"}', "told twice"),
    (b'{"inputs": NaN}', "NaN is no number"),
    (b'{"inputs": "a", "parameters": {"top_p": 1e999}}', "too large"),
    (b'{"inputs": "a", "parameters": {"top_k": ' + b"9" * 5000 + b"}}", "is not JSON"),
    (b"[" * 100_000, "is nested too deeply"),
    (b'{"inputs": "\\ud800"}', "lone surrogate"),
    (b'{"inputs": "a", "\\ud800": 1}', "is not known here"),
    (_body(), "inputs: is missing"),
    (_body(inputs=None), "inputs: is missing"),
    (_body(inputs=3), "must be a string"),
    (_body(inputs={}), "must be a string"),
    (_body(inputs=[]), "must be a string"),
    (_body(inputs=["a", 3]), "must be a string"),
    (_body(inputs=["a"] * 129), "at most 128"),
    (_body(inputs="x" * 2_000_000), "inputs"),
    (_body(inputs=TEXT, text_inputs=TEXT), "inputs"),
    (_body(text_inputs=TEXT, max_new_tokens="5"), "max_new_tokens"),
    (_payload(parameters=[]), "parameters: must be an object"),
    (_payload(parameters="none"), "parameters: must be an object"),
    (_payload(prompt="x"), "prompt: is not known here"),
    (_payload(stream="yes"), "stream: must be true or false"),
    (_parameters(max_new_tokens=0), "max_new_tokens: must be a whole number from 1"),
    (_parameters(max_new_tokens=-1), "max_new_tokens"),
    (_parameters(max_new_tokens=True), "max_new_tokens"),
    (_parameters(max_new_tokens=2.5), "max_new_tokens"),
    (_parameters(max_new_tokens=9_999_999), "more than there is room for"),
    (_parameters(temperature=-1), "temperature"),
    (_parameters(temperature="0.5"), "temperature"),
    (_parameters(top_p=1.5), "top_p"),
    (_parameters(top_k=-5), "top_k"),
    (_parameters(repetition_penalty=0), "repetition_penalty"),
    (_parameters(repetition_penalty=1e-40, do_sample=True), "must be a number from 0.01 up to 100"),
    (_parameters(temperature=1e-5, do_sample=True), "below 0.0001 is no drawing"),
    (_parameters(seed=2**64), "seed"),
    (_parameters(stop=[1]), "stop"),
    (_parameters(early_stopping=[1]), "early_stopping: must be true or false"),
    (_parameters(do_sample="true"), "do_sample"),
    (_parameters(num_beams=4), "num_beams"),
    (_parameters(beams=2), "beams: is not known here"),
    (_parameters(details=1), "details"),
    (_parameters(num_return_sequences=17, do_sample=True), "num_return_sequences"),
]
CHATS = [
    (_body(), "messages: must be a list"),
    (_body(messages=[]), "messages: must be a list"),
    (_body(messages="hello"), "messages: must be a list"),
    (_body(messages=[{"role": "wizard", "content": "x"}]), "messages[0].role"),
    (_body(messages=[{"role": "user"}]), "messages[0].content"),
    (_body(messages=[{"role": "user", "content": "x"}], n=0), "n: must be a whole number"),
    (_body(messages=[{"role": "user", "content": "x"}], tools=[{}]), "tools"),
    (_body(messages=[{"role": "user", "content": "x " * 5000}]), "messages"),
]
ROWS_OF_TABLES = (
    (b"", "rows: there are none"),
    (b"id,tenure,plan,joined\n", "there are none beside the header"),
    (b"c,1,basic\n", "row 1: has 3 columns, and the model takes 4"),
    (b"c,1,basic,2024-02-01\nc,1\n,,,,,\n", "row 2: has 2 columns"),
    (b"c,1,basic,2024-02-01,no\n", "without churn: id, tenure, plan, joined"),
    (b"c,1,basic,2024-02-01\n\nc,1,basic,2024-02-01\n", "row 2: has 0 columns"),
    (b'c,"1,basic,2024-02-01\n', "row 1: is no row of CSV"),
    (b"id,tenure,plan,churn\nc,1,basic,no\n", "is a header that does not fit"),
    (b"plan,tenure,id,joined\nbasic,1,c,2024-02-01\n", "names the features in another order"),
    (b"\x1f\x8b\x08\x00", "is not UTF-8"),
    (b"c,1,ba\0sic,2024-02-01\n", "NUL"),
    (b"c,1\n" * 10_000, "row 6 and others): has 2 columns"),
    (b"<html><body>no, rows</body></html>", "row 1: has 2 columns"),
)
"""For models of the table in tuned_tables.py, as text/csv."""
