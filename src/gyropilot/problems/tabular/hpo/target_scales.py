"""How a regression's target is turned into what an algorithm learns, and back; kept with each fold's model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gyropilot.problems.contract import Json

Floats = npt.NDArray[np.float64]
Kind = Literal["plain", "log"]
_MARGIN: dict[Kind, float] = {"plain": 1.0, "log": 0.1}
"""How far beyond the trained range an estimate may go, in widths of that range; beyond it a log is exploding."""


@dataclass(frozen=True, kw_only=True)
class TargetScale:
    """A shift and a division, after a signed logarithm where the kind says so."""

    kind: Kind
    centre: float
    width: float
    low: float
    high: float

    def scaled(self, target: Floats) -> Floats:
        """Turn a target into what is learned: [row]."""
        return np.asarray((_bent(target, self.kind) - self.centre) / self.width, dtype=np.float64)

    def restored(self, learned: Floats) -> Floats:
        """Turn what was estimated back into the target's own unit: [row]."""
        bent = np.clip(np.asarray(learned, dtype=np.float64), self.low, self.high) * self.width + self.centre
        return np.asarray(np.sign(bent) * np.expm1(np.abs(bent)) if self.kind == "log" else bent, dtype=np.float64)

    def to_json(self) -> dict[str, Json]:
        """Give the scale as JSON values: the arguments of this class."""
        return asdict(self)


def scale_of(target: Floats, kind: Kind) -> TargetScale:
    """Give the scale under which `target` has the mean 0 and the deviation 1.

    Args:
        target: [row], finite.
        kind: `log` for targets that spread over powers of ten; of either sign.
    """
    bent = _bent(target, kind)
    centre, width = float(bent.mean()), float(bent.std()) or 1.0
    low, high = (float(bent.min()) - centre) / width, (float(bent.max()) - centre) / width
    margin = _MARGIN[kind] * (high - low)
    return TargetScale(kind=kind, centre=centre, width=width, low=low - margin, high=high + margin)


def _bent(target: Floats, kind: Kind) -> Floats:
    values = np.asarray(target, dtype=np.float64)
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)), dtype=np.float64) if kind == "log" else values
