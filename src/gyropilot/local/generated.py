"""What a tuned model answers in a Python call, read from what an endpoint would reply; called by tuned_model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Json = Any
FinishReason = Literal["MAX_TOKENS", "EOS_TOKEN", "STOP_SEQUENCE", "TIME_LIMIT"]
_REASONS: Mapping[str, FinishReason] = {
    "length": "MAX_TOKENS",
    "eos_token": "EOS_TOKEN",
    "stop_sequence": "STOP_SEQUENCE",
    "time_limit": "TIME_LIMIT",
}
_EVENT = b"data:"


@dataclass(frozen=True, kw_only=True)
class GeneratedToken:
    """One token of an answer, or of a prompt."""

    id: int | None
    """None: no token, only text that was held back until the end."""
    text: str
    logprob: float | None = None
    """Natural logarithm of its probability."""
    rank: int | None = None
    """Its place among the most likely tokens, from 1; where `token_ranks` was asked for."""


@dataclass(frozen=True, kw_only=True)
class GeneratedText:
    """One answer."""

    generated_text: str
    generated_tokens: int
    """New tokens, without the one that ended it."""
    finish_reason: FinishReason
    input_token_count: int
    """Of the rendered prompt, without virtual tokens."""
    seed: int | None
    """With which it was drawn; None of the most likely answer."""
    tokens: tuple[GeneratedToken, ...] = ()
    input_tokens: tuple[GeneratedToken, ...] = ()
    """Of the rendered prompt; where `input_tokens` was asked for."""


@dataclass(frozen=True, kw_only=True)
class GeneratedPiece:
    """A piece of an answer; the texts of all joined are the whole. What is None comes with the last."""

    generated_text: str
    token: GeneratedToken | None = None
    finish_reason: FinishReason | None = None
    generated_tokens: int | None = None
    input_token_count: int | None = None
    seed: int | None = None
    input_tokens: tuple[GeneratedToken, ...] = ()


def whole(body: bytes) -> GeneratedText:
    """Read a whole reply with details."""
    (reply,) = json.loads(body)
    details = reply["details"]
    return GeneratedText(
        generated_text=reply["generated_text"],
        generated_tokens=details["generated_tokens"],
        finish_reason=_REASONS[details["finish_reason"]],
        input_token_count=details["prompt_tokens"],
        seed=details["seed"],
        tokens=_tokens(details, "tokens"),
        input_tokens=_tokens(details, "input_tokens"),
    )


def pieces(parts: Iterator[bytes]) -> Iterator[GeneratedPiece]:
    """Read a streamed reply, event after event."""
    for part in parts:
        yield _piece(json.loads(part.removeprefix(_EVENT)))


def _piece(event: Mapping[str, Json]) -> GeneratedPiece:
    token = None if event["token"] is None else _token(event["token"])
    text, details = "" if token is None else token.text, event["details"]
    if details is None:
        return GeneratedPiece(generated_text=text, token=token)
    return GeneratedPiece(
        generated_text=text,
        token=token,
        finish_reason=_REASONS[details["finish_reason"]],
        generated_tokens=details["generated_tokens"],
        input_token_count=details["input_length"],
        seed=details["seed"],
        input_tokens=_tokens(details, "input_tokens"),
    )


def _tokens(details: Mapping[str, Json], name: str) -> tuple[GeneratedToken, ...]:
    return tuple(_token(one) for one in details.get(name) or ())


def _token(values: Mapping[str, Json]) -> GeneratedToken:
    return GeneratedToken(
        id=values.get("id"), text=values["text"], logprob=values.get("logprob"), rank=values.get("rank")
    )
