"""Tokens to text while they come: characters whole, and nothing of a stop text; called by answers.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence

LOST = "\N{REPLACEMENT CHARACTER}"
"""What a decoder writes for bytes that are no character, or not yet one. While a text ends in it nothing of that end is
certain: a decoder that falls back to bytes writes it for every byte of a run until the last character is whole."""


class Spelling:
    """The text of a growing list of tokens, part by part; a part ends where a character does.

    A token's text depends on those before it (a space that a decoder drops at the very beginning, bytes of one
    character in several tokens), so what is decoded each time are the last tokens together:

        tokens  . . . . . . [start . . . . . . . ]
        text                [shown     |given now|bytes of a character that is not whole]
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._start = self._whole_until = self._shown = 0

    def push(self, token_id: int) -> str:
        """Add a token; give the text that is certain now and was not yet given."""
        self._ids.append(token_id)
        text = self._decode(self._ids[self._start :])
        certain = text.rstrip(LOST)
        part = certain[self._shown :]
        self._shown += len(part)
        if part and certain == text:
            self._start, self._whole_until = self._whole_until, len(self._ids)
            self._shown = len(self._decode(self._ids[self._start :]))
        return part

    def finish(self) -> str:
        """Give what is left, as it stands."""
        part = self._decode(self._ids[self._start :])[self._shown :]
        self._shown += len(part)
        return part


class StopTexts:
    """Lets text through up to the stop text that is whole first, holding back what may become one."""

    def __init__(self, stops: Sequence[str], *, keeps_stop: bool = False) -> None:
        """`keeps_stop` lets the stop text itself through too."""
        self._stops, self._keeps_stop = stops, keeps_stop
        self._longest = max((len(one) for one in stops), default=0)
        self._held = ""
        self.is_met = False

    def push(self, text: str) -> str:
        """Add text; give what may be shown."""
        if self.is_met:
            return ""
        held = self._held + text
        met = [(place + len(stop), place) for stop in self._stops if (place := held.find(stop)) >= 0]
        if met:
            self.is_met, self._held = True, ""
            return held[: min(met)[0 if self._keeps_stop else 1]]
        kept = self._beginning(held)
        self._held = held[len(held) - kept :]
        return held[: len(held) - kept]

    def finish(self) -> str:
        """Give what is held back: no more text comes."""
        held, self._held = self._held, ""
        return held

    def _beginning(self, text: str) -> int:
        """Give how many characters at the end of `text` are the longest beginning of a stop text."""
        for length in range(min(self._longest - 1, len(text)), 0, -1):
            if any(stop.startswith(text[len(text) - length :]) for stop in self._stops):
                return length
        return 0
