"""Rows as tokens, cut to what the model takes and to what the job asks for; called by data.

    own template   an input loses its beginning, so that the template round it stays whole
    verbalizer     fields may stand anywhere: the first tokens of the rendered prompt are kept and its end is lost, as
                   where a tokenizer truncates; the end token of an encoder's prompt stays
    answer         loses its end; its end token stays

Where prompt and answer together are too long for the model, the prompt is cut before the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gyropilot.errors import InvalidData
from gyropilot.problems.text_generation.base_model import BaseModelFacts
from gyropilot.problems.text_generation.templates import Encoder, Values
from gyropilot.problems.text_generation.tuning.specification import TuningSpec
from gyropilot.problems.text_generation.verbalizer import INPUT


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How many tokens are kept of a row."""

    side: int
    """Of an input, and of an output with its end token."""
    model: int
    """Of prompt, template and answer together."""
    source: int | None = None
    """Of a rendered prompt, start and end token among them, in the place of side."""
    target: int | None = None
    """Of an output with its end token, in the place of side."""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """One row as tokens; the answer includes the end token."""

    prompt_ids: list[int]
    answer_ids: list[int]
    kept: Values | None
    """Out of which the prompt was rendered; None: it lost its end."""
    is_input_cut: bool
    is_output_cut: bool


def limits_of(method: TuningSpec, base: BaseModelFacts) -> Limits:
    """Give what is kept of a row; virtual tokens stand at positions that its tokens cannot have."""
    virtual = method.num_virtual_tokens * max(1, len(method.output_model_types))
    return Limits(
        side=base.context_tokens,
        model=base.model_tokens - virtual,
        source=method.max_source_length,
        target=method.max_target_length,
    )


def encode_rows(encoder: Encoder, inputs: Sequence[Values], outputs: Sequence[str], limits: Limits) -> list[Encoded]:
    """Give rows as tokens within the limits.

    Args:
        encoder: of the base model and the job's template.
        inputs: one text a row, or one row's fields.
        outputs: one a row.
        limits: what is kept.

    Raises:
        InvalidData: the template alone leaves no room.
    """
    rows = zip(inputs, encoder.prompts(inputs), encoder.answers(outputs), strict=True)
    return [_row(encoder, values, prompt, answer, limits) for values, prompt, answer in rows]


def _row(encoder: Encoder, values: Values, prompt: list[int], answer: list[int], limits: Limits) -> Encoded:
    eos_id = encoder.template.eos_id
    kept = _first_tokens(answer, limits.target or limits.side, end=[eos_id])
    room = limits.model - len(kept)
    if encoder.template.is_verbalizer:
        end = [eos_id] if encoder.template.has_encoder else []
        fitted = _first_tokens(prompt, max(1, min(limits.source or limits.side, room)), end=end)
        is_input_cut = len(fitted) < len(prompt)
        input_kept = None if is_input_cut else values
    else:
        fitted, input_kept, is_input_cut = _within_template(encoder, values, prompt, room, limits)
    _check_room(len(fitted), limits)
    kept = _first_tokens(kept, limits.model - len(fitted), end=[eos_id])
    return Encoded(
        prompt_ids=fitted,
        answer_ids=kept,
        kept=input_kept,
        is_input_cut=is_input_cut,
        is_output_cut=len(kept) < len(answer),
    )


def _first_tokens(tokens: list[int], limit: int, *, end: list[int]) -> list[int]:
    """Give the first of `tokens`, at most `limit`, which end as all of them do."""
    return tokens if len(tokens) <= limit else tokens[: limit - len(end)] + end


def _within_template(
    encoder: Encoder, values: Values, prompt: list[int], room: int, limits: Limits
) -> tuple[list[int], str, bool]:
    """Give the prompt with the beginning of its input left out where it is too long, what was kept, and whether."""
    text = kept = values if isinstance(values, str) else values[INPUT]
    if limits.source is None and len(prompt) > limits.side:
        kept = encoder.last_tokens(text, limits.side)
        prompt = prompt if kept == text else encoder.prompts([kept])[0]
    most = room if limits.source is None else min(limits.source, room)
    while kept and (excess := len(prompt) - most) > 0:
        kept = encoder.last_tokens(kept, encoder.length(kept) - excess)
        prompt = encoder.prompts([kept])[0]
    return prompt, kept, kept != text


def _check_room(prompt_tokens: int, limits: Limits) -> None:
    if limits.model - prompt_tokens < 2:
        raise InvalidData(
            where="base model",
            found=f"{prompt_tokens} tokens in its template alone",
            problem=f"leaves no room for an answer within the model's {limits.model} tokens",
            fix="choose a base model with a longer context",
        )
    if limits.source is not None and prompt_tokens > limits.source:
        raise InvalidData(
            where="max_source_length",
            found=limits.source,
            problem=f"leaves no room for an input: the model's template alone has {prompt_tokens} tokens",
            fix=f"raise it well above {prompt_tokens}, or give a verbalizer",
        )
