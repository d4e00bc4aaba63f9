"""Draws the loss curve of a training as SVG; part of the report."""

from __future__ import annotations

from collections.abc import Sequence

from gyropilot.problems.text_generation.findings import rows_of
from gyropilot.problems.text_generation.summary import TrainingSummary

_WIDTH, _HEIGHT = 860, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 150, 14, 38
_POINTS = 800
"""Most points drawn; longer runs are averaged down to it."""


def loss_chart(summary: TrainingSummary) -> str:
    """Give the training loss a step, smoothed, with the validation loss of base and tuned model as lines."""
    records = summary.trained.records
    losses = [one.loss for one in records]
    steps = [float(one.step) for one in records]
    smooth = _smoothed(losses)
    levels = [("validation, tuned", summary.tuned.loss, "var(--tuned)")]
    if summary.base is not None:
        levels.insert(0, ("validation, base", summary.base.loss, "var(--base)"))
    values = [*losses, *(value for _, value, _ in levels)]
    values += [one.loss for one in summary.epoch_losses]
    plot = _Plot(steps=(min(steps), max(steps)), values=(min(0.0, *values), _high(values)))
    parts = [plot.axes()]
    parts.append(plot.curve(*_thinned(steps, losses), colour="var(--faint)", width=1.2))
    parts.append(plot.curve(*_thinned(steps, smooth), colour="var(--tuned)", width=2.2))
    parts += plot.levels(levels)
    parts.append(plot.points([(float(one.step), one.loss) for one in summary.epoch_losses], colour="var(--base)"))
    label = "Training loss by step, with the validation losses after each epoch, of base and of tuned model"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
        '<p class="note">Thin: loss of each step; thick: its running mean; dashed: loss on the validation rows; points:'
        f" that after each epoch, on {rows_of(summary.epoch_losses[-1].rows)}.</p>"
    )


class _Plot:
    """Maps steps and values to the picture."""

    def __init__(self, *, steps: tuple[float, float], values: tuple[float, float]) -> None:
        self._steps, self._values = steps, values

    def x(self, step: float) -> float:
        low, high = self._steps
        return _LEFT + (step - low) / max(high - low, 1e-9) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        low, high = self._values
        return _TOP + (high - min(value, high)) / max(high - low, 1e-9) * (_HEIGHT - _TOP - _BOTTOM)

    def axes(self) -> str:
        right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
        low, high = self._values
        parts = []
        for value in (low + (high - low) * part / 4 for part in range(5)):
            y = self.y(value)
            parts.append(f'<line x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>')
            parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.2f}</text>')
        first, last = self._steps
        for step in dict.fromkeys(round(first + (last - first) * part / 4) for part in range(5)):
            parts.append(f'<text x="{self.x(step):.1f}" y="{bottom + 18}" text-anchor="middle">{step}</text>')
        parts.append(f'<text x="{(right + _LEFT) / 2}" y="{_HEIGHT - 3}" text-anchor="middle">optimizer step</text>')
        return "".join(parts)

    def curve(self, steps: Sequence[float], values: Sequence[float], *, colour: str, width: float) -> str:
        points = " ".join(f"{self.x(step):.1f},{self.y(value):.1f}" for step, value in zip(steps, values, strict=True))
        if len(steps) == 1:
            return f'<circle cx="{self.x(steps[0]):.1f}" cy="{self.y(values[0]):.1f}" r="3" fill="{colour}"/>'
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"/>'

    def points(self, places: Sequence[tuple[float, float]], *, colour: str) -> str:
        return "".join(
            f'<circle cx="{self.x(step):.1f}" cy="{self.y(value):.1f}" r="4" fill="{colour}"/>'
            for step, value in places
        )

    def levels(self, labels: Sequence[tuple[str, float, str]]) -> list[str]:
        """Give dashed lines with their labels, these kept from lying on each other."""
        right, parts, above = _WIDTH - _RIGHT, [], -1e9
        for name, value, colour in sorted(labels, key=lambda one: self.y(one[1])):
            y = self.y(value)
            at = max(y + 4, above + 15)
            above = at
            parts.append(
                f'<line x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}" stroke-dasharray="5 4"/>'
                f'<text x="{right + 6}" y="{at:.1f}">{name} {value:.3f}</text>'
            )
        return parts


def _high(values: Sequence[float]) -> float:
    """Give the top of the picture: the largest value, unless it stands far above nearly all."""
    ordered = sorted(values)
    return min(ordered[-1], 3 * ordered[int(0.95 * (len(ordered) - 1))]) * 1.05


def _smoothed(values: Sequence[float]) -> list[float]:
    weight = 2 / (max(1, len(values) // 20) + 1)
    smooth, mean = [], values[0]
    for value in values:
        mean += weight * (value - mean)
        smooth.append(mean)
    return smooth


def _thinned(steps: Sequence[float], values: Sequence[float]) -> tuple[list[float], list[float]]:
    size = -(-len(steps) // _POINTS)
    groups = range(0, len(steps), size)
    return (
        [steps[start] for start in groups],
        [sum(values[start : start + size]) / len(values[start : start + size]) for start in groups],
    )
