"""Chat completions and completions as OpenAI writes them; model_server.py reads and writes by it, HTTP is the door's.

A prompt of `completions` is an input as in the rows that the model was tuned on, and goes through the same template.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from gyropilot import clock
from gyropilot.errors import InvalidRequest
from gyropilot.problems.contract import Call, Json
from gyropilot.problems.text_generation.serving import questions
from gyropilot.problems.text_generation.serving.answers import Answer, Word
from gyropilot.problems.text_generation.serving.fields import Fields, raise_faults, read_object
from gyropilot.problems.text_generation.serving.questions import (
    MAX_PROMPTS,
    MAX_TOP_TOKENS,
    Message,
    Prompt,
    Question,
    Role,
)
from gyropilot.problems.text_generation.serving.spelling import LOST

_MAX_TEMPERATURE = 2
_MAX_MESSAGES = 2048
_SAYS_WHO_ASKS = ("model", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "service_tier", "user")
"""Texts that change no answer, nor do `metadata` and `store`; `model` has chosen the endpoint already."""
_NOT_OFFERED: tuple[tuple[str, tuple[Json, ...], str], ...] = (
    ("frequency_penalty", (0,), "repetition_penalty is offered beside OpenAI's fields"),
    ("logit_bias", ({},), ""),
    ("presence_penalty", (0,), "repetition_penalty is offered beside OpenAI's fields"),
)
_CHAT_NOT_OFFERED: tuple[tuple[str, tuple[Json, ...], str], ...] = (
    ("audio", (), ""),
    ("function_call", ("none", "auto"), "models here call no functions"),
    ("functions", ([],), "models here call no functions"),
    ("modalities", (["text"],), ""),
    ("parallel_tool_calls", (True, False), ""),
    ("prediction", (), ""),
    ("reasoning_effort", ("none",), ""),
    ("response_format", ({"type": "text"},), "ask for JSON in a message"),
    ("tool_choice", ("none", "auto"), "models here call no tools"),
    ("tools", ([],), "models here call no tools"),
    ("verbosity", ("medium",), ""),
    ("web_search_options", (), ""),
)
_COMPLETION_NOT_OFFERED: tuple[tuple[str, tuple[Json, ...], str], ...] = (
    ("best_of", (1,), "n gives several answers to choose from"),
    ("suffix", ("",), ""),
)
_ROLES: dict[str, Role] = {**{role: role for role in get_args(Role)}, "developer": "system"}
_MAX_COMPLETION_LOGPROBS = 5
_DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One body, read."""

    question: Question
    kind: Literal["chat", "completion"]
    is_streamed: bool
    tells_usage: bool
    """Whether a stream ends with the counts of tokens."""
    tells_logprobs: bool
    repeats_prompt: bool

    def reply(self, answers: Sequence[Sequence[Answer]], model: str) -> bytes:
        """Give the body of the answer; `answers` are those of each prompt, read to their ends."""
        flat = [(place, one) for place, copies in enumerate(answers) for one in copies]
        choices = [self._choice(index, place, one) for index, (place, one) in enumerate(flat)]
        head = self._head(model, is_chunk=False)
        return _json({**head, "choices": choices, "usage": _usage(answers)})

    def parts(
        self, words: Iterable[tuple[int, Word | None]], answers: Sequence[Sequence[Answer]], model: str
    ) -> Iterator[bytes]:
        """Give the events of a streamed answer; the choices beside each other, as their words come.

        Args:
            words: each with the number of its choice; None for the end of a choice.
            answers: those of each prompt.
            model: its name for answers.
        """
        head = self._head(model, is_chunk=True)
        usage = {"usage": None} if self.tells_usage else {}
        for choice in self._deltas(words, answers):
            yield _event({**head, "choices": [choice], **usage})
        if self.tells_usage:
            yield _event({**head, "choices": [], "usage": _usage(answers)})
        yield _DONE

    def _head(self, model: str, *, is_chunk: bool) -> dict[str, Json]:
        kind = "chat.completion.chunk" if is_chunk else "chat.completion"
        return {
            "id": f"{'chatcmpl' if self.kind == 'chat' else 'cmpl'}-{uuid.uuid4().hex}",
            "object": kind if self.kind == "chat" else "text_completion",
            "created": int(clock.now().timestamp()),
            "model": model,
        }

    def _choice(self, index: int, place: int, answer: Answer) -> dict[str, Json]:
        finish_reason = _finish_reason(answer)
        logprobs = self._logprobs(answer, answer.words, 0)
        if self.kind == "chat":
            message = {"role": "assistant", "content": answer.text, "refusal": None}
            return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish_reason}
        text = self._before(place) + answer.text
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}

    def _deltas(
        self, words: Iterable[tuple[int, Word | None]], answers: Sequence[Sequence[Answer]]
    ) -> Iterator[dict[str, Json]]:
        """Give what a stream tells of each choice: its beginning, each word, its end."""
        flat = [(place, one) for place, copies in enumerate(answers) for one in copies]
        for index, (place, _) in enumerate(flat):
            if self.kind == "chat" or self._before(place):
                yield self._delta(index, self._before(place), None, is_first=True)
        offsets = [0] * len(flat)
        for index, word in words:
            answer = flat[index][1]
            if word is None:
                end: dict[str, Json] = {"delta": {}} if self.kind == "chat" else {"text": ""}
                yield {"index": index, **end, "logprobs": None, "finish_reason": _finish_reason(answer)}
                continue
            logprobs = self._logprobs(answer, [word], offsets[index])
            offsets[index] += len(word.text)
            if word.text or logprobs:
                yield self._delta(index, word.text, logprobs)

    def _delta(self, index: int, text: str, logprobs: Json, *, is_first: bool = False) -> dict[str, Json]:
        delta = {"role": "assistant", "content": text} if is_first else {"content": text}
        said: dict[str, Json] = {"delta": delta} if self.kind == "chat" else {"text": text}
        return {"index": index, **said, "logprobs": logprobs, "finish_reason": None}

    def _before(self, place: int) -> str:
        return str(self.question.prompts[place].content) if self.repeats_prompt else ""

    def _logprobs(self, answer: Answer, words: Sequence[Word], offset: int) -> Json:
        if not self.tells_logprobs:
            return None
        told = [one for one in words if one.token_id is not None]
        if self.kind == "chat":
            return {"content": [_chat_token(answer, one) for one in told], "refusal": None}
        offsets = [offset]
        for one in told:
            offsets.append(offsets[-1] + len(one.text))
        return {
            "tokens": [answer.token_text(_id(one)) for one in told],
            "token_logprobs": [one.logprob for one in told],
            "top_logprobs": [{answer.token_text(token): value for token, value in one.top} for one in told],
            "text_offset": offsets[:-1],
        }


def read(call: Call) -> Asked:
    """Read a body of the call's style.

    Raises:
        InvalidRequest: with every fault of it.
    """
    if call.content_type not in ("", "application/json"):
        fix = "send application/json"
        raise InvalidRequest(where="Content-Type", found=call.content_type, problem="is not taken here", fix=fix)
    fields = Fields(read_object(call.body, where="body"))
    is_chat = call.style == "chat"
    prompts = _read_messages(fields) if is_chat else _read_prompts(fields)
    copies = questions.read_copies(fields, "n", prompts=len(prompts))
    is_streamed = bool(fields.flag("stream"))
    repeats_prompt = False if is_chat else bool(fields.flag("echo"))
    top_tokens = _read_chat_logprobs(fields) if is_chat else _read_logprobs(fields)
    if repeats_prompt and top_tokens is not None:
        fields.fault("logprobs", "are of the answer alone, and echo is true", "leave one of the two out")
    question = Question(
        prompts=prompts,
        choosing=questions.read_choosing(fields, is_sampling_usual=True, most_temperature=_MAX_TEMPERATURE),
        length=questions.read_length(fields, ("max_completion_tokens", "max_tokens") if is_chat else ("max_tokens",)),
        stops=questions.read_stops(fields, ("stop",)),
        copies=copies,
        top_tokens=top_tokens,
    )
    tells_usage = _read_stream_options(fields, is_streamed=is_streamed)
    _read_what_changes_nothing(fields)
    for name, allowed, instead in (*_NOT_OFFERED, *(_CHAT_NOT_OFFERED if is_chat else _COMPLETION_NOT_OFFERED)):
        fields.only(name, allowed, instead)
    fields.check_known()
    raise_faults(fields.faults)
    return Asked(
        question=question,
        kind="chat" if is_chat else "completion",
        is_streamed=is_streamed,
        tells_usage=tells_usage,
        tells_logprobs=top_tokens is not None,
        repeats_prompt=repeats_prompt,
    )


def _read_messages(fields: Fields) -> tuple[Prompt, ...]:
    given = fields.given("messages")
    if not isinstance(given, list) or not given:
        fields.fault(
            "messages", "must be a list of messages", 'send [{"role": "user", "content": "text"}]', found=given
        )
        return ()
    if len(given) > _MAX_MESSAGES:
        fields.fault("messages", f"are more than {_MAX_MESSAGES}", "send fewer", found=len(given))
        return ()
    messages = [_read_message(fields, f"messages[{place}]", one) for place, one in enumerate(given)]
    return (Prompt(where="messages", content=tuple(one for one in messages if one is not None)),)


def _read_message(fields: Fields, where: str, value: Json) -> Message | None:
    if not isinstance(value, dict):
        fields.fault(where, "must be an object", 'send {"role": "user", "content": "text"}', found=value)
        return None
    message = Fields(value, where=where, faults=fields.faults)
    given = message.text("role") if "role" in value else None
    role = _ROLES.get(given or "")
    if role is None:
        message.fault("role", f"must be one of {', '.join(_ROLES)}", "models here know no other", found=given)
    for name in ("audio", "function_call", "name", "refusal", "tool_call_id"):
        message.only(name, (), "models here cannot be told it")
    message.only("tool_calls", ([],), "models here call no tools")
    message.ignored("annotations")
    content = _read_content(message)
    message.check_known()
    return None if role is None or content is None else Message(role=role, content=content)


def _read_content(message: Fields) -> str | None:
    """Read a text, or a list of parts that are texts."""
    given = message.given("content")
    if not isinstance(given, list):
        if given is None:
            message.fault("content", "is missing", "send a text")
        return message.text("content")
    texts = []
    for place, part in enumerate(given):
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            fix = 'send {"type": "text", "text": "..."}; images, sound and files are not read'
            message.fault(f"content[{place}]", "is no part of text", fix, found=part)
            continue
        texts.append(message.whole_text(f"content[{place}].text", part["text"]) or "")
    if not given:
        message.fault("content", "is an empty list", "send a text")
    return "".join(texts)


def _read_prompts(fields: Fields) -> tuple[Prompt, ...]:
    given = fields.given("prompt")
    if given is None:
        fields.fault("prompt", "is missing", "send a string, or a list of strings")
        return ()
    if isinstance(given, list) and any(isinstance(one, (int, list)) for one in given):
        fields.fault("prompt", "holds numbers of tokens", "send text: a prompt goes through the model's own template")
        return ()
    texts = fields.texts("prompt", most=MAX_PROMPTS) or ()
    is_list = isinstance(given, list)
    return tuple(Prompt(where=f"prompt[{i}]" if is_list else "prompt", content=one) for i, one in enumerate(texts))


def _read_chat_logprobs(fields: Fields) -> int | None:
    is_wanted = fields.flag("logprobs")
    top = fields.whole("top_logprobs", least=0, most=MAX_TOP_TOKENS)
    if top and not is_wanted:
        fields.fault("top_logprobs", "goes with logprobs, which is not true", "set logprobs to true", found=top)
    return (top or 0) if is_wanted else None


def _read_logprobs(fields: Fields) -> int | None:
    return fields.whole("logprobs", least=0, most=_MAX_COMPLETION_LOGPROBS)


def _read_stream_options(fields: Fields, *, is_streamed: bool) -> bool:
    options = fields.part("stream_options")
    if options is None:
        return False
    if not is_streamed:
        fields.fault("stream_options", "goes with stream, which is not true", "set stream to true")
    tells_usage = bool(options.flag("include_usage"))
    options.only("include_obfuscation", (False,), "nothing is padded here")
    options.check_known()
    return tells_usage


def _read_what_changes_nothing(fields: Fields) -> None:
    for name in _SAYS_WHO_ASKS:
        fields.text(name)
    fields.flag("store")
    metadata = fields.given("metadata")
    if metadata is not None and not (isinstance(metadata, dict) and all(isinstance(x, str) for x in metadata.values())):
        fields.fault("metadata", "must be an object of strings", 'send {"name": "text"}', found=metadata)


def _chat_token(answer: Answer, word: Word) -> dict[str, Json]:
    tops = [_told(answer, token, logprob) for token, logprob in word.top]
    return {**_told(answer, _id(word), word.logprob), "top_logprobs": tops}


def _told(answer: Answer, token_id: int, logprob: float | None) -> dict[str, Json]:
    text = answer.token_text(token_id)
    is_whole = LOST not in text
    return {"token": text, "logprob": logprob, "bytes": list(text.encode("utf-8")) if is_whole else None}


def _id(word: Word) -> int:
    assert word.token_id is not None
    return word.token_id


def _finish_reason(answer: Answer) -> str:
    return "length" if answer.finish_reason == "length" else "stop"


def _usage(answers: Sequence[Sequence[Answer]]) -> dict[str, int]:
    prompts = sum(copies[0].prompt_tokens for copies in answers)
    completions = sum(one.token_count for copies in answers for one in copies)
    return {"prompt_tokens": prompts, "completion_tokens": completions, "total_tokens": prompts + completions}


def _event(value: Json) -> bytes:
    return b"data: " + _json(value) + b"\n\n"


def _json(value: Json) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")
