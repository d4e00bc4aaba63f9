"""How the next token is chosen: greedy or drawn, as transformers defines the parameters; called by the scheduler.

The order is that of transformers' generate: repetition penalty, least length, growing chance of the end, temperature,
top_k, top_p, typical_p. A row is drawn with a
generator of its own, one number a token, by walking the vocabulary in its own order: rounding that differs with what
else is computed beside the row moves no token but one at whose very edge the number falls.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from gyropilot.errors import InvalidRequest

_CANDIDATES = 1024
"""Tokens among which top_p looks first: sorting a whole vocabulary takes longer than a step of a small model."""
_MOST_STEPS, _MOST_GROWTH = 300, 1e20
_MIN_TEMPERATURE = 1e-4
"""Below it dividing logits by the temperature would leave float32; the most likely token is what is meant."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """What a request asks of its answer."""

    max_new_tokens: int
    do_sample: bool = False
    temperature: float = 1.0
    """From 0; 0 is the most likely token."""
    top_k: int = 0
    """0: no bound."""
    top_p: float = 1.0
    """In (0, 1]; 1: no bound."""
    typical_p: float = 1.0
    """In (0, 1]; 1: no bound."""
    repetition_penalty: float = 1.0
    """Above 0; 1: none."""
    min_new_tokens: int = 0
    """No stop token comes before so many tokens."""
    decay: tuple[int, float] | None = None
    """After so many tokens stop tokens become likelier by this factor, from 1, a token; None: they do not."""
    seed: int | None = None
    """Same seed, same answer, whatever is computed beside it; None: another one each time."""
    stop_ids: tuple[int, ...] = ()
    logprobs: int | None = None
    """How many of the most likely tokens are told with each token, 0 for its own alone; None: nothing."""
    tells_rank: bool = False
    """Whether each token's place among the most likely ones is told with its probability."""
    tells_prompt: bool = False
    """Whether the prompt's tokens are told too, each with its probability and, where `tells_rank`, its place."""
    max_seconds: float | None = None
    """Time from the request on after which the answer ends as it is; None: no bound."""


@dataclass(frozen=True, kw_only=True)
class Token:
    """One generated token."""

    id: int
    logprob: float | None = None
    """Natural logarithm of its probability by the model itself, before any parameter; None: not asked for."""
    top: tuple[tuple[int, float], ...] = ()
    """The most likely tokens at its place and their logarithms, best first."""
    rank: int | None = None
    """Its place among the most likely ones by the model itself, the first being 1; None: not asked for."""


class Chooser:
    """What choosing the tokens of one row needs to remember."""

    def __init__(self, sampling: Sampling, read: Iterable[int], vocabulary: int) -> None:
        """Begin a row whose tokens so far, as the repetition penalty counts them, are `read`."""
        self.sampling = sampling
        self._stops = torch.tensor(sampling.stop_ids, dtype=torch.long)
        self._chosen = 0
        self._seen: torch.Tensor | None = None
        if sampling.repetition_penalty != 1.0:
            self._seen = torch.zeros(vocabulary, dtype=torch.bool)
            self._seen[torch.tensor(list(read), dtype=torch.long)] = True
        self._generator = torch.Generator()
        if sampling.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(sampling.seed % (1 << 63))

    @property
    def is_plain(self) -> bool:
        """Whether the most likely token is taken as the model says, and nothing is told of it."""
        sampling = self.sampling
        is_shaped = self._chosen < sampling.min_new_tokens or sampling.decay is not None
        return not (self._draws or is_shaped) and self._seen is None and sampling.logprobs is None

    def choose(self, logits: torch.Tensor) -> Token:
        """Give the next token from [vocabulary] logits in float32, which are left as they are.

        Raises:
            InvalidRequest: the repetition penalty takes the scores out of what numbers can hold.
        """
        scores = self._with_end(self._penalized(logits))
        token = self._drawn(scores) if self._draws else int(scores.argmax())
        return self._told(token, logits)

    def note(self, token: int) -> None:
        """Count a token as chosen and read."""
        self._chosen += 1
        if self._seen is not None:
            self._seen[token] = True

    @property
    def _draws(self) -> bool:
        return self.sampling.do_sample and self.sampling.temperature >= _MIN_TEMPERATURE

    def _penalized(self, logits: torch.Tensor) -> torch.Tensor:
        if self._seen is None:
            return logits
        penalty = self.sampling.repetition_penalty
        scores = torch.where(self._seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)
        if not torch.isfinite(scores.max()):
            raise InvalidRequest(
                where="repetition_penalty",
                found=penalty,
                problem="takes the chances of the tokens out of the range of numbers",
                fix="choose one nearer to 1",
            )
        return scores

    def _with_end(self, scores: torch.Tensor) -> torch.Tensor:
        """Give the scores with those of stop tokens as the answer's length so far makes them."""
        sampling = self.sampling
        if self._chosen < sampling.min_new_tokens:
            return scores.index_fill(0, self._stops, float("-inf"))
        if sampling.decay is None or self._chosen <= sampling.decay[0]:
            return scores
        start, factor = sampling.decay
        # beyond the bound the end is certain anyway, and numbers would leave what float32 holds
        growth = min(factor ** min(self._chosen - start, _MOST_STEPS), _MOST_GROWTH) - 1
        ends = scores[self._stops]
        return scores.index_copy(0, self._stops, ends + ends.abs() * growth)

    def _drawn(self, scores: torch.Tensor) -> int:
        chances = distribution(scores, self.sampling).double().cumsum(0)
        number = torch.rand((), generator=self._generator, dtype=torch.float64) * chances[-1]
        place = int(torch.searchsorted(chances, number, right=True))
        place = min(place, int(torch.searchsorted(chances, chances[-1])))
        if place >= len(scores):
            raise ArithmeticError("the chances of the tokens are no numbers")
        return place

    def _told(self, token: int, logits: torch.Tensor) -> Token:
        wanted = self.sampling.logprobs
        if wanted is None:
            return Token(id=token)
        logprobs = torch.log_softmax(logits, dim=-1)
        best = torch.topk(logprobs, min(wanted, len(logprobs)))
        top = tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
        rank = 1 + int((logits > logits[token]).sum()) if self.sampling.tells_rank else None
        return Token(id=token, logprob=float(logprobs[token]), top=top, rank=rank)


def choose_all(choosers: Sequence[Chooser], logits: torch.Tensor) -> list[Token | Exception]:
    """Give the next token of each row, or what went wrong with that row alone.

    Args:
        choosers: one a row.
        logits: [rows, vocabulary], float32, on the CPU.
    """
    best, ids = logits.max(dim=-1)
    is_sound = torch.isfinite(best).tolist()
    tokens: list[Token | Exception] = []
    for row, (chooser, token) in enumerate(zip(choosers, ids.tolist(), strict=True)):
        if not is_sound[row]:
            tokens.append(ArithmeticError("the model computed no numbers for this prompt"))
        elif chooser.is_plain:
            tokens.append(Token(id=token))
        else:
            tokens.append(_chosen(chooser, logits[row]))
    return tokens


def _chosen(chooser: Chooser, logits: torch.Tensor) -> Token | Exception:
    try:
        return chooser.choose(logits)
    except Exception as error:
        return error


def distribution(scores: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Give [vocabulary]: the chances of the tokens, 0 where top_k, top_p or typical_p leaves one out; they sum to 1.

    Args:
        scores: [vocabulary], float32, repetition penalty applied.
        sampling: with a temperature above 0.
    """
    # from the best down, so that no temperature makes them leave the range of numbers
    scores = (scores - scores.max()) / sampling.temperature
    if 0 < sampling.top_k < len(scores):
        least = torch.topk(scores, sampling.top_k).values[-1]
        scores = scores.masked_fill(scores < least, float("-inf"))
    chances = torch.softmax(scores, dim=-1)
    if sampling.top_p < 1.0:
        chances = _of_these(chances, _most_likely(chances, sampling.top_p))
    if sampling.typical_p < 1.0:
        chances = _of_these(chances, _typical(chances, sampling.typical_p))
    return chances


def _of_these(chances: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Give the chances where only the tokens at the places `kept` may come."""
    chosen = torch.zeros_like(chances)
    chosen[kept] = chances[kept]
    return chosen.div_(chosen.sum())


def _typical(chances: torch.Tensor, mass: float) -> torch.Tensor:
    """Give the places of the tokens nearest to what is expected whose chances reach `mass` together, at least one.

    Source: Meister et al., Locally Typical Sampling, as transformers' TypicalLogitsWarper has it.
    """
    surprise = -chances.log()
    expected = (chances * surprise).nansum()
    distances, places = torch.sort((surprise - expected).abs())
    reached = int((chances[places].cumsum(0) < mass).sum())
    least = distances[min(reached, len(distances) - 1)]
    return places[distances <= least]


def _most_likely(chances: torch.Tensor, top_p: float) -> torch.Tensor:
    """Give the places of the most likely tokens whose chances reach `top_p` together, at least one."""
    values, places = torch.topk(chances, min(_CANDIDATES, len(chances)))
    if float(values.sum()) < top_p:
        values, places = torch.sort(chances, descending=True)
    before = values.cumsum(0) - values
    return places[: max(1, int((before < top_p).sum()))]
