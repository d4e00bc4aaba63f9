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
MAX_TOLD_TOKENS = 65_536
"""Tokens of all prompts of one payload that are told with their probabilities."""
_MOST_TOKENS = 10_000_000
_PENALTIES = (0.01, 100)
"""Beyond them logits leave what float32 can tell apart, and no answer of use is left."""
_MOST_SEED = 2**64 - 1
_MEANS_NOTHING = {"temperature": 1, "top_k": 0, "top_p": 1, "typical_p": 1}
_MOST_SECONDS = 120
_MOST_DECAY = 10

_METHODS = ("GREEDY", "SAMPLING")
"""Values of decoding_method: the most likely answer, or a drawn one."""

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
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    decay: tuple[int, float] | None = None
    """From which token on the end becomes likelier, and by which factor a token."""
    seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What else a caller says of the length of prompts and answers."""

    least_tokens: int = 0
    """Of an answer."""
    most_seconds: float | None = None
    """For an answer."""
    prompt_tokens: int | None = None
    """To how many a prompt that is longer is cut; None: it is refused where it does not fit."""
    within: str = ""
    """What stands before the names of these fields where the caller wrote them, as `parameters.`."""


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
    bounds: Bounds = Bounds()
    keeps_stop: bool = False
    """Whether the stop text that ended an answer is part of it."""
    tells_ranks: bool = False
    tells_prompt: bool = False
    """Whether the prompt's own tokens are told."""
    task: str | None = None
    """For which of the tasks that the model was tuned on; None: the first."""
    repeats_rendered: bool = False
    """Whether the prompt, as the model's template renders it, is put before the answer."""


def read_choosing(fields: Fields, *, is_sampling_usual: bool, most_temperature: float) -> Choosing:
    """Read temperature, top_k, top_p, repetition_penalty and seed.

    Where answers are usually the most likely ones, also do_sample or decoding_method, typical_p and
    exponential_decay_length_penalty.

    Args:
        fields: where they stand.
        is_sampling_usual: answers are drawn at temperature 1 unless the caller says otherwise, and there is no
            other word for it; else they are the most likely ones unless a parameter of drawing says otherwise.
        most_temperature: the highest one taken.
    """
    temperature = fields.number("temperature", most=most_temperature)
    top_k = fields.whole("top_k", least=0, most=_MOST_TOKENS)
    top_p = fields.number("top_p", above=0, most=1)
    typical_p = None if is_sampling_usual else fields.number("typical_p", above=0, most=1)
    method = None if is_sampling_usual else _read_method(fields)
    do_sample = True if is_sampling_usual else fields.flag("do_sample") if method is None else method == "SAMPLING"
    is_likeliest = temperature is not None and temperature < LEAST_TEMPERATURE
    drawing = {
        "temperature": None if is_likeliest else temperature,
        "top_k": top_k,
        "top_p": top_p,
        "typical_p": typical_p,
    }
    drawing = {name: value for name, value in drawing.items() if value is not None and value != _MEANS_NOTHING[name]}
    if do_sample is None:
        do_sample = bool(drawing)
    elif not do_sample:
        for name, value in drawing.items():
            said = "do_sample is false" if method is None else "decoding_method is GREEDY"
            problem = f"is for drawn answers, and {said}"
            fields.fault(name, problem, "leave one of the two out", found=value)
    elif is_likeliest and not is_sampling_usual:
        said = "do_sample is true" if method is None else "decoding_method is SAMPLING"
        problem = f"below {LEAST_TEMPERATURE:g} is no drawing, and {said}"
        fields.fault("temperature", problem, f"raise it, or leave {said.split()[0]} out", found=temperature)
    penalty = fields.number("repetition_penalty", least=_PENALTIES[0], most=_PENALTIES[1])
    decay = None if is_sampling_usual else _read_decay(fields)
    seed = fields.whole("seed", least=-(2**63), most=_MOST_SEED)
    return Choosing(
        do_sample=do_sample and not is_likeliest,
        temperature=1.0 if temperature is None or is_likeliest else temperature,
        top_k=top_k or 0,
        top_p=1.0 if top_p is None else top_p,
        typical_p=1.0 if typical_p is None else typical_p,
        decay=decay,
        repetition_penalty=1.0 if penalty is None else penalty,
        seed=None if seed is None else seed % 2**63,
    )


def read_bounds(fields: Fields) -> Bounds:
    """Read min_new_tokens, max_time and truncate_input_tokens."""
    prompt_tokens = fields.whole("truncate_input_tokens", least=0, most=_MOST_TOKENS)
    return Bounds(
        least_tokens=fields.whole("min_new_tokens", least=0, most=_MOST_TOKENS) or 0,
        most_seconds=fields.number("max_time", above=0, most=_MOST_SECONDS),
        prompt_tokens=prompt_tokens or None,
        within=fields.place(""),
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


def _read_method(fields: Fields) -> str | None:
    method = fields.text("decoding_method")
    if method is None:
        return None
    if fields.is_given("do_sample"):
        fields.fault("decoding_method", "says the same as do_sample", "send one of the two", found=method)
    if method not in _METHODS:
        fields.fault("decoding_method", f"must be one of {', '.join(_METHODS)}", "send one of them", found=method)
        return None
    fields.flag("do_sample")
    return method


def _read_decay(fields: Fields) -> tuple[int, float] | None:
    """Read {"start_index": n, "decay_factor": f}, or [n, f]."""
    name = "exponential_decay_length_penalty"
    given = fields.given(name)
    if isinstance(given, list) and len(given) == 2:
        given = {"start_index": given[0], "decay_factor": given[1]}
    if given is None:
        return None
    if not isinstance(given, dict):
        fix = 'send {"start_index": 20, "decay_factor": 1.05}'
        fields.fault(name, "must be an object of start_index and decay_factor", fix, found=given)
        return None
    parts = Fields(given, where=fields.place(name), faults=fields.faults)
    start = parts.whole("start_index", least=0, most=_MOST_TOKENS)
    factor = parts.number("decay_factor", least=1, most=_MOST_DECAY)
    for part in ("start_index", "decay_factor"):
        if not parts.is_given(part):
            parts.fault(part, "is missing", "send both")
    parts.check_known()
    return None if start is None or factor is None else (start, factor)
