"""What a model says of the tokens of a prompt while it reads them; asked for by requests, told by the decoders.

    prompt   [virtual][first][second][third]      the logits behind a token are those of the next:
                  .     second  third    .        none of virtual tokens, none of the first

Logits of all positions of a part would be large (a vocabulary each): they are computed and dropped some at a time.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator, Sequence

import torch

from gyropilot.problems.text_generation.decoding.sampling import Token

_LOGITS_AT_ONCE = 1 << 22
"""Numbers, 16 MiB of float32."""


class PromptTokens:
    """The tokens of one prompt with their probabilities; iterate for those that have been read."""

    def __init__(self, prompt: Sequence[int], *, before: int, tells_rank: bool) -> None:
        """`before`: places of virtual tokens at the beginning of `prompt`, of which nothing is told."""
        self._prompt, self._before, self._tells_rank = prompt, before, tells_rank
        self._heard = 0
        self._logprobs, self._ranks = array("f"), array("q")

    @property
    def is_sound(self) -> bool:
        """Whether all that was heard are numbers."""
        return all(map(math.isfinite, self._logprobs))

    def hear(self, logits: torch.Tensor) -> None:
        """Take the logits behind the next tokens that were read, [tokens, vocabulary] float32."""
        begin = max(self._heard, self._before)
        end = min(self._heard + len(logits), len(self._prompt) - 1)
        if begin < end:
            logits_here = logits[begin - self._heard : end - self._heard]
            targets = torch.tensor(self._prompt[begin + 1 : end + 1], dtype=torch.long, device=logits.device)[:, None]
            chosen = logits_here.gather(1, targets)
            self._logprobs.extend((chosen[:, 0] - logits_here.logsumexp(1)).tolist())
            if self._tells_rank:
                self._ranks.extend((1 + (logits_here > chosen).sum(1)).tolist())
        self._heard += len(logits)

    def __iter__(self) -> Iterator[Token]:
        told = min(self._heard, len(self._prompt)) - self._before
        for place, token_id in enumerate(self._prompt[self._before :][: max(0, told)]):
            if not place:
                yield Token(id=token_id)
                continue
            rank = self._ranks[place - 1] if self._tells_rank else None
            yield Token(id=token_id, logprob=self._logprobs[place - 1], rank=rank)


def tell(
    hear: Callable[[torch.Tensor], None],
    hidden: torch.Tensor,
    logits_of: Callable[[torch.Tensor], torch.Tensor],
    *,
    vocabulary: int,
) -> None:
    """Let `hear` have the logits of each of `hidden`, [tokens, width], in order and some at a time."""
    for part in torch.split(hidden, max(1, _LOGITS_AT_ONCE // vocabulary)):
        hear(logits_of(part))
