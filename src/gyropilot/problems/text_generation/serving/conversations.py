"""Turns of a conversation to the tokens of a prompt, by the template that a model was tuned with.

    chat         the model's own chat template over all messages; it may refuse an order of roles
    plain        each of the user's turns in the template of a row, each answer with its end token after it, as rows
                 laid end to end; a system message stands before the first turn's text
    bare         an encoder-decoder model answers one text: one user's turn, a system message before its text
    verbalizer   one user's message, which it renders as it does an input

Text of a message never becomes a control token, as no row's does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from gyropilot.errors import InvalidRequest
from gyropilot.problems.text_generation.rendering import InvalidTemplate
from gyropilot.problems.text_generation.serving.questions import Message
from gyropilot.problems.text_generation.templates import Encoder

_WHERE = "messages"
_MARK = "\ue000{}\ue002"
_MARKS = re.compile("\ue000([0-9]+)\ue002")
"""Private-use characters that stand for a message's text where the template round it is wanted."""
_BETWEEN = "\n\n"

Part = tuple[str, Literal["template", "literal"]]


def prompt_of(encoder: Encoder, messages: Sequence[Message]) -> list[int]:
    """Give the prompt tokens of a conversation, up to where the answer begins.

    Raises:
        InvalidRequest: the model's template has no place for such a conversation.
    """
    if encoder.template.kind == "chat":
        return encoder.joined(_chat_parts(encoder, messages))
    if encoder.template.is_verbalizer:
        return _verbalized(encoder, messages)
    turns = _turns(messages)
    if encoder.template.has_encoder and len(turns) > 1:
        raise InvalidRequest(
            where=_WHERE,
            found=f"{len(messages)} messages",
            problem="this model reads one text and answers it, and knows no turns of a conversation",
            fix="send the last user message alone, with a system message before it where you have one",
        )
    return _laid_end_to_end(encoder, turns)


def _verbalized(encoder: Encoder, messages: Sequence[Message]) -> list[int]:
    if [one.role for one in messages] != ["user"]:
        raise InvalidRequest(
            where=_WHERE,
            found=", ".join(one.role for one in messages[:20]),
            problem="this model was tuned with a template of one input, and has no place for further messages",
            fix="send one user message alone",
        )
    return encoder.prompts([messages[0].content])[0]


def _chat_parts(encoder: Encoder, messages: Sequence[Message]) -> list[Part]:
    texts = [one.content for one in messages]
    try:
        if not any(encoder.holds_control_text(text) for text in texts):
            return [(_rendered(encoder, messages, texts), "template")]
        marked = _rendered(encoder, messages, [_MARK.format(place) for place in range(len(messages))])
    except InvalidTemplate as error:
        roles = ", ".join(one.role for one in messages[:20])
        fix = "most take an optional system message, then user and assistant in turn, a user message last"
        raise InvalidRequest(where=_WHERE, found=roles, problem=str(error), fix=fix) from error
    pieces = _MARKS.split(marked)
    if [int(place) for place in pieces[1::2]] != list(range(len(messages))):
        raise InvalidRequest(
            where=_WHERE,
            problem="hold the text of a control token, and the model's chat template does not write each message once",
            fix="take such texts, as <|im_end|>, out of the messages",
        )
    return [
        (texts[int(piece)], "literal") if place % 2 else (piece, "template")
        for place, piece in enumerate(pieces)
        if piece
    ]


def _rendered(encoder: Encoder, messages: Sequence[Message], texts: Sequence[str]) -> str:
    return encoder.rendered([{"role": one.role, "content": text} for one, text in zip(messages, texts, strict=True)])


def _turns(messages: Sequence[Message]) -> list[tuple[str, str | None]]:
    """Give the user's texts with the answers to them, None to the last; system messages go before the text after."""
    turns: list[tuple[str, str | None]] = []
    before: list[str] = []
    for message in messages:
        if message.role == "assistant":
            if not turns or turns[-1][1] is not None or before:
                raise _out_of_order(messages, "an assistant message must follow a user message")
            turns[-1] = (turns[-1][0], message.content)
            continue
        before.append(message.content)
        if message.role == "user":
            if turns and turns[-1][1] is None:
                before.insert(0, turns.pop()[0])
            turns.append((_BETWEEN.join(before), None))
            before = []
    if not turns or turns[-1][1] is not None or before:
        raise _out_of_order(messages, "the last message must be the user's")
    return turns


def _out_of_order(messages: Sequence[Message], problem: str) -> InvalidRequest:
    roles = ", ".join(one.role for one in messages[:20])
    return InvalidRequest(where=_WHERE, found=roles, problem=problem, fix="order them as they were said")


def _laid_end_to_end(encoder: Encoder, turns: Sequence[tuple[str, str | None]]) -> list[int]:
    prompts = encoder.prompts([text for text, _ in turns])
    start = 0 if encoder.template.bos_id is None else 1
    tokens: list[int] = []
    for (_, answer), prompt in zip(turns, prompts, strict=True):
        tokens += prompt[start:] if tokens else prompt
        if answer is not None:
            tokens += encoder.answers([answer])[0]
    return tokens
