"""What a caller asks of a model, whichever way it was written: payloads and openai read it, model_server answers.

body --payloads | openai--> Question --model_server--> Answer, one or more a prompt --payloads | openai--> body
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gyropilot.errors import Fault
from gyropilot.problems.text_generation.serving.fields import Fields

MAX_PROMPTS = 128
"""Prompts of one call."""
MAX_COPIES = 16
"""Answers to one prompt."""
MAX_ANSWERS = 512
"""Answers to all prompts of one call, or of one line."""
MAX_STOPS = 16
MAX_STOP_CHARACTERS = 500
MAX_TOP_TOKENS = 20
LEAST_TEMPERATURE = 1e-4
"""Lower ones mean the most likely token, as 0 does: nothing else would ever be drawn."""
_MOST_TOKENS = 10_000_000
_PENALTIES = (0.01, 100)
"""Beyond them logits leave what float32 can tell apart, and no answer of use is left."""
_MOST_SEED = 2**64 - 1
_MEANS_NOTHING = {"temperature": 1, "top_k": 0, "top_p": 1}

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What is answered: an input as in the rows that the model was tuned on, or a conversation."""

    where: str
    """The field it stands in."""
    content: str | tuple[Message, ...]


@dataclass(frozen=True, kw_only=True)
class Length:
    """How long an answer may be, as the caller said it."""

    where: str
    tokens: int
    counts_prompt: bool
    """Whether the tokens are those of prompt and answer together."""


@dataclass(frozen=True, kw_only=True)
class Choosing:
    """How the tokens of an answer are chosen."""

    do_sample: bool
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class Question:
    """One call, read."""

    prompts: tuple[Prompt, ...]
    choosing: Choosing
    length: Length | None
    """None: the model's own."""
    stops: tuple[str, ...]
    copies: int
    top_tokens: int | None
    """How many of the most likely tokens are told with each; 0: each token's own probability; None: nothing."""


def read_choosing(fields: Fields, *, is_sampling_usual: bool, most_temperature: float) -> Choosing:
    """Read temperature, top_k, top_p, repetition_penalty and seed, and do_sample where callers may say it.

    Args:
        fields: where they stand.
        is_sampling_usual: answers are drawn at temperature 1 unless the caller says otherwise, and there is no
            `do_sample`; else they are the most likely ones unless a parameter of drawing has a value that means one.
        most_temperature: the highest one taken.
    """
    temperature = fields.number("temperature", most=most_temperature)
    top_k = fields.whole("top_k", least=0, most=_MOST_TOKENS)
    top_p = fields.number("top_p", above=0, most=1)
    do_sample = True if is_sampling_usual else fields.flag("do_sample")
    is_likeliest = temperature is not None and temperature < LEAST_TEMPERATURE
    drawing = {"temperature": None if is_likeliest else temperature, "top_k": top_k, "top_p": top_p}
    drawing = {name: value for name, value in drawing.items() if value is not None and value != _MEANS_NOTHING[name]}
    if do_sample is None:
        do_sample = bool(drawing)
    elif not do_sample:
        for name, value in drawing.items():
            problem = "is for drawn answers, and do_sample is false"
            fields.fault(name, problem, "leave one of the two out", found=value)
    elif is_likeliest and not is_sampling_usual:
        problem = f"below {LEAST_TEMPERATURE:g} is no drawing, and do_sample is true"
        fields.fault("temperature", problem, "raise it, or leave do_sample out", found=temperature)
    penalty = fields.number("repetition_penalty", least=_PENALTIES[0], most=_PENALTIES[1])
    seed = fields.whole("seed", least=-(2**63), most=_MOST_SEED)
    return Choosing(
        do_sample=do_sample and not is_likeliest,
        temperature=1.0 if temperature is None or is_likeliest else temperature,
        top_k=top_k or 0,
        top_p=1.0 if top_p is None else top_p,
        repetition_penalty=1.0 if penalty is None else penalty,
        seed=None if seed is None else seed % 2**63,
    )


def read_copies(fields: Fields, name: str, *, prompts: int) -> int:
    """Read how many answers each of so many prompts gets."""
    copies = fields.whole(name, least=1, most=MAX_COPIES) or 1
    if prompts * copies > MAX_ANSWERS:
        problem = f"asks for {prompts * copies} answers to {prompts} prompts, and one call gets at most {MAX_ANSWERS}"
        fields.fault(name, problem, "ask for fewer, or in several calls", found=copies)
    return copies


def read_stops(fields: Fields, names: tuple[str, ...]) -> tuple[str, ...]:
    """Read the texts before which an answer is cut, from the one of `names` that is given."""
    given = [name for name in names if fields.is_given(name) and fields.given(name) != []]
    for name in given[1:]:
        fields.fault(name, f"says the same as {given[0]}", "send one of the two")
    found: tuple[str, ...] = ()
    for name in names:
        stops = fields.texts(name, most=MAX_STOPS, may_be_empty=True) or ()
        for stop in stops:
            if not 1 <= len(stop) <= MAX_STOP_CHARACTERS:
                problem = f"holds a text of {len(stop)} characters, not 1 to {MAX_STOP_CHARACTERS}"
                fields.fault(name, problem, "leave it out" if not stop else "shorten it")
        found = found or stops
    return found


def read_length(fields: Fields, names: tuple[str, ...], *, of_both: str = "") -> Length | None:
    """Read how long an answer may be, from one of `names`, or from `of_both`, which counts the prompt in."""
    lengths = []
    for name in filter(None, (*names, of_both)):
        tokens = fields.whole(name, least=1, most=_MOST_TOKENS)
        if tokens is not None:
            lengths.append(Length(where=fields.place(name), tokens=tokens, counts_prompt=name == of_both))
    for length in lengths[1:]:
        problem = f"and {lengths[0].where} both say how long an answer may be"
        fields.faults.append(Fault(where=length.where, found=length.tokens, problem=problem, fix="send one of the two"))
    return lengths[0] if lengths else None
