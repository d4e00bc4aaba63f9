"""The payloads of InvokeEndpoint and batch transform, and their answers; model_server.py reads and writes by it.

    {"inputs": "text" | ["text", ...], "parameters": {...}}      -> [{"generated_text": "..."}, ...]
    {"text_inputs": "text" | ["text", ...], parameters...}       -> {"generated_texts": ["...", ...]}

The first is that of text-generation-inference, with `"stream": true` beside `inputs` too; the second that of the
other text-generation containers of SageMaker. With `application/jsonlines` every line is a payload of its own.
docs/problems/text_generation.md has the parameters.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gyropilot.errors import Fault, InvalidRequest, Unavailable
from gyropilot.problems.contract import Call, Json, Reply
from gyropilot.problems.text_generation.serving import questions
from gyropilot.problems.text_generation.serving.answers import Answer, Word
from gyropilot.problems.text_generation.serving.environment import Environment
from gyropilot.problems.text_generation.serving.fields import MOST_FAULTS, Fields, raise_faults, read_object
from gyropilot.problems.text_generation.serving.questions import MAX_PROMPTS, MAX_TOP_TOKENS, Prompt, Question

JSON, LINES, EVENTS = "application/json", "application/jsonlines", "text/event-stream"
CONTENT_TYPES = {"": JSON, JSON: JSON, "application/octet-stream": JSON, LINES: LINES}
"""What may be said of a payload; botocore calls one octet-stream where the caller says nothing."""
MAX_LINES = 10_000
"""Lines of one call, and answers to all of them together."""
NOT_OFFERED: tuple[tuple[str, tuple[Json, ...], str], ...] = (
    ("best_of", (1,), "num_return_sequences gives several answers to choose from"),
    ("decoder_input_details", (False,), "input_tokens tells the prompt's tokens"),
    ("frequency_penalty", (0,), "repetition_penalty is offered"),
    ("grammar", (), ""),
    ("length_penalty", (1,), ""),
    ("logprobs", (), "details tells the logarithm of each token's probability, top_n_tokens those of others"),
    ("min_length", (0,), "min_new_tokens is offered"),
    ("no_repeat_ngram_size", (0,), "repetition_penalty is offered"),
    ("num_beams", (1,), "do_sample with num_return_sequences gives several answers to choose from"),
    ("presence_penalty", (0,), "repetition_penalty is offered"),
    ("truncate", (), "truncate_input_tokens is offered"),
    ("watermark", (False,), ""),
)
"""Parameters of other servers: the values that say what happens here anyway, and what there is instead."""
_ONE = "send one of the two"
CHANGES_NOTHING = ("early_stopping", "use_cache")
"""Flags of other servers that say how to compute, and change no answer."""


@dataclass(frozen=True, kw_only=True)
class Payload:
    """One payload, read."""

    question: Question
    form: Literal["inputs", "text_inputs"]
    is_streamed: bool
    tells_details: bool
    tells_tokens: bool
    """Whether details tell the tokens of the answer."""
    tells_logprobs: bool
    repeats_prompt: bool
    line: str = ""
    """Which of several lines it stands in, as "line 3"."""

    def reply(self, answers: Sequence[Sequence[Answer]]) -> bytes:
        """Write the JSON answer; `answers` are those of each prompt, read to their ends."""
        told = [
            (self._text(prompt, one), self._details(one))
            for prompt, copies in zip(self.question.prompts, answers, strict=True)
            for one in copies
        ]
        if self.form == "text_inputs":
            details = {"details": [detail for _, detail in told]} if self.tells_details else {}
            return _json({"generated_texts": [text for text, _ in told], **details})
        return _json([{"generated_text": text, **({"details": detail} if detail else {})} for text, detail in told])

    def parts(self, answer: Answer) -> Iterator[bytes]:
        """Give the events of a streamed answer: one a token, the last with the whole text.

        The texts of all tokens joined are the generated text. The last event is that of the end token where the model
        ended the answer itself, with the text that was held back until then.
        """
        for index, word in enumerate(answer, start=1):
            if answer.finish_reason is not None:
                yield self._last_event(answer, word, index)
                return
            yield _event(self._token(answer, word, index))
        end = Word(token_id=answer.end_id, text="") if answer.has_end_token else None
        yield self._last_event(answer, end, len(answer.words) + 1)

    def _last_event(self, answer: Answer, word: Word | None, index: int) -> bytes:
        """Give the event with the whole text; no `word`: the answer's time was over, and nothing is left to tell."""
        details = {
            "finish_reason": answer.finish_reason,
            "generated_tokens": answer.token_count,
            "input_length": answer.prompt_tokens,
            "seed": answer.seed,
            **self._input_tokens(answer),
        }
        text = self._text(self.question.prompts[0], answer)
        token = {"index": index, "token": None} if word is None else self._token(answer, word, index)
        return _event({**token, "generated_text": text, "details": details})

    def _token(self, answer: Answer, word: Word, index: int) -> dict[str, Json]:
        tops = {"top_tokens": self._top(answer, word)} if self.question.top_tokens else {}
        return {"index": index, "token": self._told(answer, word), **tops, "generated_text": None, "details": None}

    def _text(self, prompt: Prompt, answer: Answer) -> str:
        return f"{prompt.content}{answer.text}" if self.repeats_prompt else f"{answer.rendered}{answer.text}"

    def _details(self, answer: Answer) -> dict[str, Json]:
        if not self.tells_details:
            return {}
        tops = {"top_tokens": [self._top(answer, one) for one in answer.words]} if self.question.top_tokens else {}
        tokens = {"tokens": [self._told(answer, one) for one in answer.words]} if self.tells_tokens else {}
        return {
            "finish_reason": answer.finish_reason,
            "generated_tokens": answer.token_count,
            "prompt_tokens": answer.prompt_tokens,
            "seed": answer.seed,
            "prefill": [],
            **self._input_tokens(answer),
            **tokens,
            **tops,
        }

    def _input_tokens(self, answer: Answer) -> dict[str, Json]:
        if not self.question.tells_prompt:
            return {}
        tokens = [
            {"id": one.token_id, "text": one.text, **self._chances(one.logprob, one.rank)}
            for one in answer.prompt_words()
        ]
        return {"input_tokens": tokens}

    def _told(self, answer: Answer, word: Word) -> dict[str, Json]:
        token_id = answer.end_id if word.token_id is None and answer.has_end_token else word.token_id
        is_end = token_id == answer.end_id and not word.text
        return {"id": token_id, "text": word.text, **self._chances(word.logprob, word.rank), "special": is_end}

    def _chances(self, logprob: float | None, rank: int | None) -> dict[str, Json]:
        logprobs = {"logprob": logprob} if self.tells_logprobs else {}
        return {**logprobs, **({"rank": rank} if self.question.tells_ranks else {})}

    def _top(self, answer: Answer, word: Word) -> list[Json]:
        return [
            {"id": one, "text": answer.token_text(one), **({"logprob": logprob} if self.tells_logprobs else {})}
            for one, logprob in word.top
        ]


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """All that one call sent."""

    payloads: tuple[Payload, ...]
    is_lines: bool
    reply_type: str

    @property
    def is_streamed(self) -> bool:
        """Whether the answer is to be a stream of events."""
        return self.payloads[0].is_streamed

    def reply(self, replies: Sequence[bytes]) -> Reply:
        """Write the answers that were written for each payload."""
        if self.reply_type == LINES:
            return Reply(body=b"".join(one + b"\n" for one in replies), content_type=LINES)
        return Reply(body=b"[" + b",".join(replies) + b"]" if self.is_lines else replies[0], content_type=JSON)


def read(call: Call, environment: Environment) -> Invocation:
    """Read a call.

    Raises:
        InvalidRequest: with every fault of the payload, or of the first lines that have one.
        Unavailable: the caller has gone meanwhile.
    """
    content_type = CONTENT_TYPES.get(call.content_type)
    if content_type is None:
        fix = f"send {JSON}, or {LINES} with a payload a line"
        raise InvalidRequest(where="ContentType", found=call.content_type, problem="is not taken here", fix=fix)
    if content_type == JSON:
        payload = _read_one(call.body, "", environment)
        return Invocation(
            payloads=(payload,), is_lines=False, reply_type=_reply_type(call, JSON, is_streamed=payload.is_streamed)
        )
    payloads = _read_lines(call, environment)
    return Invocation(payloads=payloads, is_lines=True, reply_type=_reply_type(call, LINES, is_streamed=False))


def in_line(line: str, error: InvalidRequest) -> list[Fault]:
    """Give the faults of a payload that stands in a line of several."""
    return [one if one.where == line else replace(one, where=f"{line}: {one.where}") for one in error.faults]


def _reply_type(call: Call, usual: str, *, is_streamed: bool) -> str:
    """Give the content type that Accept asks for, the usual one where anything will do."""
    wanted = [one.partition(";")[0].strip().lower() for one in call.accept.split(",") if one.strip()]
    for one in wanted or ["*/*"]:
        if one in ("*/*", "application/*") or (is_streamed and one in (JSON, EVENTS, "text/*")):
            return EVENTS if is_streamed else usual
        if one in (JSON, LINES) and not is_streamed:
            return one
    fix = f"ask for {EVENTS}" if is_streamed else f'ask for {JSON} or {LINES}; {EVENTS} goes with "stream": true'
    raise InvalidRequest(where="Accept", found=call.accept, problem="names nothing that is answered here", fix=fix)


def _read_lines(call: Call, environment: Environment) -> tuple[Payload, ...]:
    payloads: list[Payload] = []
    faults: list[Fault] = []
    ends, answers = call.body.count(b"\n"), 0
    if ends > MAX_LINES:
        problem = f"are more than the {MAX_LINES} that one call may have"
        raise InvalidRequest(where="lines", found=ends, problem=problem, fix="send fewer in a call")
    for number, line in enumerate(io.BytesIO(call.body), start=1):
        if call.cancelled.is_set():
            raise Unavailable("the lines were not read to their end: nobody waits for the answers")
        if not line.strip():
            continue
        where = f"line {number}"
        try:
            payload = _read_one(line, where, environment)
        except InvalidRequest as error:
            faults += in_line(where, error)
            if len(faults) >= MOST_FAULTS:
                break
            continue
        if payload.is_streamed:
            faults.append(Fault(where=f"{where}: stream", problem="lines are answered whole", fix="leave it out"))
        answers += len(payload.question.prompts) * payload.question.copies
        if answers > MAX_LINES:
            problem = f"with those before it asks for more than {MAX_LINES} answers, the most of one call"
            faults.append(Fault(where=where, problem=problem, fix="send fewer lines in a call"))
            break
        payloads.append(replace(payload, line=where))
    if not payloads and not faults:
        faults.append(Fault(where="lines", problem="there are none", fix="send a payload a line"))
    raise_faults(faults)
    return tuple(payloads)


def _read_one(body: bytes, line: str, environment: Environment) -> Payload:
    fields = Fields(read_object(body, where=line or "payload"))
    form: Literal["inputs", "text_inputs"] = "text_inputs" if fields.is_given("text_inputs") else "inputs"
    if form == "text_inputs":
        fields.only("inputs", (), "text_inputs is given")
        fields.only("parameters", ({},), "beside text_inputs, parameters stand by themselves")
        parameters = fields
    else:
        fields.ignored("text_inputs")
        parameters = fields.part("parameters") or Fields({}, where="parameters", faults=fields.faults)
    prompts = _read_prompts(fields, form)
    is_streamed = bool(fields.flag("stream"))
    payload = _read_parameters(parameters, form, prompts, environment, is_streamed=is_streamed)
    fields.check_known()
    if parameters is not fields:
        parameters.check_known()
    raise_faults(fields.faults)
    return payload


def _read_prompts(fields: Fields, form: str) -> tuple[Prompt, ...]:
    if not fields.is_given(form):
        fix = 'send {"inputs": "text"}, or a list of texts'
        fields.given(form)
        fields.fault(form, "is missing", fix)
        return ()
    texts = fields.texts(form, most=MAX_PROMPTS) or ()
    is_list = isinstance(fields.given(form), list)
    return tuple(
        Prompt(where=f"{form}[{place}]" if is_list else form, content=text) for place, text in enumerate(texts)
    )


def _read_parameters(
    fields: Fields,
    form: Literal["inputs", "text_inputs"],
    prompts: tuple[Prompt, ...],
    environment: Environment,
    *,
    is_streamed: bool,
) -> Payload:
    choosing = questions.read_choosing(fields, is_sampling_usual=False, most_temperature=100)
    copies = questions.read_copies(fields, "num_return_sequences", prompts=len(prompts))
    if copies > 1 and not choosing.do_sample:
        fields.fault("num_return_sequences", "the most likely answer is but one", "set do_sample to true", found=copies)
    if is_streamed and len(prompts) * copies > 1:
        fields.faults.append(Fault(where="stream", problem="one answer is streamed a call", fix="ask for one"))
    generated_tokens, input_tokens = fields.flag("generated_tokens"), bool(fields.flag("input_tokens"))
    details = fields.flag("details") or "details" in environment.outputs or bool(generated_tokens) or input_tokens
    if input_tokens and copies > 1:
        problem = "are the same for all answers to a prompt, and several are asked for"
        fields.fault("input_tokens", problem, "ask for one answer")
    top_tokens = fields.whole("top_n_tokens", least=0, most=MAX_TOP_TOKENS)
    if top_tokens and not details and not is_streamed:
        fields.fault("top_n_tokens", "is told in details, which are not asked for", "set details to true")
    told = {name: fields.flag(name) for name in ("token_logprobs", "token_ranks")}
    for name in [name for name, is_asked in told.items() if is_asked and not details and not is_streamed]:
        fields.fault(
            name, "are told with the tokens, which are not asked for", "set generated_tokens or input_tokens to true"
        )
    repeats_prompt, repeats_rendered = bool(fields.flag("return_full_text")), bool(fields.flag("preserve_input_text"))
    if repeats_prompt and repeats_rendered:
        fields.fault("preserve_input_text", "puts the rendered prompt where return_full_text puts the input", _ONE)
    length = questions.read_length(fields, ("max_new_tokens",), of_both="max_length")
    stops = questions.read_stops(fields, ("stop", "stop_sequences"))
    for name in CHANGES_NOTHING:
        fields.flag(name)
    for name, allowed, instead in NOT_OFFERED:
        fields.only(name, allowed, instead)
    question = Question(
        prompts=prompts,
        choosing=choosing,
        length=length,
        stops=stops,
        copies=copies,
        top_tokens=(top_tokens or 0) if details or is_streamed else None,
        bounds=questions.read_bounds(fields),
        keeps_stop=bool(fields.flag("include_stop_sequence")),
        tells_ranks=bool(told["token_ranks"]),
        tells_prompt=input_tokens,
        task=fields.text("task"),
        repeats_rendered=repeats_rendered,
    )
    return Payload(
        question=question,
        form=form,
        is_streamed=is_streamed,
        tells_details=details,
        tells_tokens=generated_tokens is not False,
        tells_logprobs=told["token_logprobs"] is not False,
        repeats_prompt=repeats_prompt,
    )


def _event(value: Json) -> bytes:
    return b"data:" + _json(value) + b"\n\n"


def _json(value: Json) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")
