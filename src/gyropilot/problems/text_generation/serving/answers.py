"""One answer as it comes: a generation's tokens with their text, stop texts cut out; payloads and openai write it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from gyropilot.errors import Unavailable
from gyropilot.problems.text_generation.serving.spelling import Spelling, StopTexts

FinishReason = Literal["length", "eos_token", "stop_sequence", "time_limit"]
"""At its longest; by the model itself; at a stop text; when its time was over. The first three words are those of
text-generation-inference."""


_OWN_ENDS: dict[str, FinishReason] = {"length": "length", "time": "time_limit"}


class GeneratedToken(Protocol):
    """What an engine says of one token."""

    @property
    def id(self) -> int:
        """Its number in the vocabulary."""

    @property
    def logprob(self) -> float | None:
        """The natural logarithm of its probability, where it was asked for."""

    @property
    def top(self) -> tuple[tuple[int, float], ...]:
        """The most likely tokens in its place with theirs, best first."""

    @property
    def rank(self) -> int | None:
        """Its place among the most likely tokens, where it was asked for."""


class Generation(Protocol):
    """What an engine gives for one prompt."""

    @property
    def finish_reason(self) -> str | None:
        """After the end: stop, length, time or cancelled."""

    def __iter__(self) -> Iterator[GeneratedToken]: ...

    @property
    def prompt_tokens(self) -> Iterable[GeneratedToken]:
        """The tokens of the prompt that have been read, where they were asked for."""

    def cancel(self) -> None:
        """End it; harmless when it has ended."""


@dataclass(frozen=True, kw_only=True)
class Word:
    """One token of an answer and the text that became certain by it, which may be none or that of several.

    The words' texts joined are the answer.
    """

    token_id: int | None
    """None: no token, only text that was held back until the end; of a whole answer it is the last token's."""
    text: str
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()
    rank: int | None = None


class Answer:
    """One answer: iterate once for its words; after that the rest is known."""

    def __init__(
        self,
        begin: Callable[[], Generation],
        decode: Callable[[Sequence[int]], str],
        *,
        stops: Sequence[str],
        prompt_tokens: int,
        max_new_tokens: int,
        end_id: int,
        seed: int | None,
        keeps_stop: bool = False,
        rendered: str = "",
    ) -> None:
        """`begin` has the work for it begun, once that is asked for; `rendered` is what is put before its text."""
        self.prompt_tokens, self.end_id, self.seed = prompt_tokens, end_id, seed
        self.finish_reason: FinishReason | None = None
        self.has_end_token = False
        """The model chose the token that ends answers, whatever else ended this one."""
        self.words: list[Word] = []
        """One a token, those that came."""
        self._begin, self._decode, self._most = begin, decode, max_new_tokens
        self._generation: Generation | None = None
        self.rendered = rendered
        self._spelling, self._stops = Spelling(decode), StopTexts(stops, keeps_stop=keeps_stop)
        self._ids: list[int] = []

    def __iter__(self) -> Iterator[Word]:
        """Give the words as they come.

        Raises:
            Unavailable: the answer was broken off.
        """
        generation = self.begin()
        try:
            for token in generation:
                self._ids.append(token.id)
                text = self._text_of(token.id)
                yield self._kept(
                    Word(token_id=token.id, text=text, logprob=token.logprob, top=token.top, rank=token.rank)
                )
                if self.finish_reason is not None:
                    return
            if generation.finish_reason == "cancelled":
                raise Unavailable("the answer was broken off: nobody waits for it, or the model is being unloaded")
            self.has_end_token = generation.finish_reason == "stop"
            rest = self._rest()
            own_end = _OWN_ENDS.get(generation.finish_reason or "", "eos_token")
            self.finish_reason = "stop_sequence" if self._stops.is_met else own_end
            if rest:
                self._add_to_last(rest)
                yield Word(token_id=None, text=rest)
        finally:
            generation.cancel()

    def begin(self) -> Generation:
        """Have the work for it begun, unless it is.

        Raises:
            LimitExceeded: more work waits than is taken on.
        """
        if self._generation is None:
            self._generation = self._begin()
        return self._generation

    def cancel(self) -> None:
        """End the work for it."""
        if self._generation is not None:
            self._generation.cancel()

    @property
    def most_tokens(self) -> int:
        """How many tokens it may have with its prompt."""
        return self.prompt_tokens + self._most

    @property
    def text(self) -> str:
        """The answer, once it is read to its end."""
        if self.finish_reason == "stop_sequence":
            return "".join(one.text for one in self.words)
        return self._decode(self._ids)

    @property
    def token_count(self) -> int:
        """How many tokens were generated, without the one that ended it."""
        return len(self._ids)

    def prompt_words(self) -> Iterator[Word]:
        """Give the prompt's tokens that were read, where they were asked for.

        Their texts joined are the prompt without control tokens.
        """
        read = [] if self._generation is None else list(self._generation.prompt_tokens)
        spelling = Spelling(self._decode)
        for place, token in enumerate(read, start=1):
            text = spelling.push(token.id) + (spelling.finish() if place == len(read) else "")
            yield Word(token_id=token.id, text=text, logprob=token.logprob, rank=token.rank)

    def token_text(self, token_id: int) -> str:
        """Give the text of one token by itself."""
        return self._decode([token_id])

    def _text_of(self, token_id: int) -> str:
        """Give what may be shown now; at a stop text and at the last token the answer ends."""
        text = self._stops.push(self._spelling.push(token_id))
        if not self._stops.is_met and len(self._ids) == self._most:
            text += self._rest()
            self.finish_reason = "length"
        if self._stops.is_met:
            self.finish_reason = "stop_sequence"
        return text

    def _rest(self) -> str:
        return self._stops.push(self._spelling.finish()) + self._stops.finish()

    def _add_to_last(self, text: str) -> None:
        last = self.words.pop()
        self.words.append(replace(last, text=last.text + text))

    def _kept(self, word: Word) -> Word:
        self.words.append(word)
        return word
