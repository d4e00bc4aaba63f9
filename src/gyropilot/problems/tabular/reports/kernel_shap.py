"""Kernel SHAP values of a model that is a black box: how much each feature moved each answer, within a bounded time.

shap asks for one row's coalitions at a time; here it runs twice over a stretch of rows, with the same random numbers:
the first time what it asks is written down, then the model is asked all of that at once, which models that are slow to
start need, and the second time shap hears the answers.

A "player" is one feature, or, of wide tables, all the features together that hardly move the answers. Features of any
kind take part: rows travel through shap as codes, each the place of a value among the distinct values of its player.

Source: Lundberg and Lee 2017, as shap's KernelExplainer computes it, by the identity link and without regularisation.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gyropilot import clock
from gyropilot.errors import TrainingFailed
from gyropilot.problems.tabular.models import Model
from gyropilot.problems.tabular.reports.answers import outputs

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Explainer = Any
"""A KernelExplainer of shap, which ships no types."""
MOST_ROWS, MOST_BASELINE_ROWS, MOST_PLAYERS, MOST_OUTPUTS = 100, 10, 60, 20
_BACKGROUND_ROWS = 500
_MOST_CELLS = 2_000_000
"""Values that a table handed to the model may have at a time."""
_COALITION_SECONDS = 1e-4
"""What shap itself takes for a coalition of one explained row."""
_STRETCHES = 5
"""The clock is looked at so often at least."""
_MOST_SCREENED_ROWS, _LEAST_SCREENED_ROWS = 50, 4


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is computed, by what the time allows."""

    rows: int
    """Explained at most."""
    baseline_rows: int
    coalitions: int
    """Sets of players that take the explained row's values, per row."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What moved the answers to some rows."""

    players: tuple[tuple[str, ...], ...]
    """The features of each; more than one where features were taken together."""
    outputs: tuple[int, ...]
    """Class numbers, of classifications: of two classes the second alone. Of a regression (0,)."""
    values: Floats
    """[row, player, output]: what the player adds to the answer, against the mean answer to the baseline."""
    expected: Floats
    """[output]: mean answer to the baseline."""
    answers: Floats
    """[row, output]: expected + the sum of the row's values."""
    rows: pd.DataFrame
    """[row, feature]"""
    baseline: pd.DataFrame
    """[row, feature]: what the other players' values are taken from; rows at even steps of the model's answers."""
    plan: Plan

    @property
    def strength(self) -> Floats:
        """Give the mean of |value| over the rows: [player, output]."""
        return np.asarray(np.abs(self.values).mean(axis=0), dtype=np.float64)


def explain_rows(
    model: Model,
    rows: pd.DataFrame,
    background: pd.DataFrame,
    *,
    seconds: float,
    progress: Callable[[int, int], None],
    seed: int = 0,
) -> Explanation:
    """Explain the model's answers to as many of `rows` as there is time for.

    Args:
        model: the model.
        rows: [row, feature], in a random order.
        background: [row, feature], in a random order; the baseline is chosen among the first of them.
        seconds: how long it may take.
        progress: told of rows done and planned.
        seed: of the coalitions that are drawn.

    Raises:
        TrainingFailed: there is no feature, or not the time for one row.
    """
    ends_at = clock.monotonic() + seconds
    background = background.iloc[:_BACKGROUND_ROWS].reset_index(drop=True)
    asked = _Asked(model, background)
    players = _players(asked, background, seconds=seconds / 4)
    plan = _plan(len(players), min(len(rows), MOST_ROWS), asked, 0.9 * (ends_at - clock.monotonic()))
    baseline = background.iloc[_spread(asked.answers, plan.baseline_rows)].reset_index(drop=True)
    explained = rows.iloc[: plan.rows].reset_index(drop=True)
    game = _Game(asked, players, baseline, explained)
    with _seeded(seed):
        explainer = game.explainer()
        values = _values(game, explainer, plan, ends_at, progress)
    return Explanation(
        players=players,
        outputs=asked.outputs,
        values=np.stack(values),
        expected=np.asarray(explainer.fnull, dtype=np.float64),
        answers=game.answers[: len(values)],
        rows=explained.iloc[: len(values)],
        baseline=baseline,
        plan=plan,
    )


def _values(
    game: _Game, explainer: Explainer, plan: Plan, ends_at: float, progress: Callable[[int, int], None]
) -> list[Floats]:
    """Give [player, output] of each row of the plan for which there is time; of the first in any case."""
    started = clock.monotonic()
    values: list[Floats] = []
    while len(values) < plan.rows:
        done, now = len(values), clock.monotonic()
        progress(done, plan.rows)
        size = min(game.rows_at_once(plan), plan.rows - done, -(-plan.rows // _STRETCHES))
        if values:
            affordable = int((ends_at - now) / ((now - started) / done))
            size = min(size, affordable)
        if size < 1:
            break
        values += game.values(explainer, range(done, done + size), plan.coalitions)
    return values


def explainer_class() -> Explainer:
    """Give shap's KernelExplainer, whose first import takes seconds."""
    with warnings.catch_warnings():
        # Importing shap makes the colour maps of its plots, which we do not use, by a call that matplotlib leaves.
        warnings.filterwarnings("ignore", category=PendingDeprecationWarning, module="shap.plots")
        from shap import KernelExplainer
    return KernelExplainer


class _Asked:
    """The model, and what asking it takes; `answers` are those to the background."""

    def __init__(self, model: Model, background: pd.DataFrame) -> None:
        self._model = model
        self.names = tuple(one.name for one in model.schema.features if not one.is_ignored)
        if not self.names:
            raise TrainingFailed("the model has no feature whose part in its answers could be explained")
        said = outputs(model, background)
        self.outputs = _outputs(said)
        started = clock.monotonic()
        self(background.iloc[:1])
        self.call_seconds = clock.monotonic() - started
        started = clock.monotonic()
        self.answers = self(background)
        spent = clock.monotonic() - started
        self.row_seconds = max(spent - self.call_seconds, 0.2 * spent) / len(background)
        self.batch_rows = max(200, _MOST_CELLS // len(model.schema.features))

    @property
    def columns(self) -> list[str]:
        return self._model.schema.names

    def __call__(self, features: pd.DataFrame) -> Floats:
        """Give [row, output]."""
        return outputs(self._model, features)[:, list(self.outputs)]


class _Game:
    """The model as a function of codes: [row, player], each the place of the player's value among its values."""

    def __init__(
        self, asked: _Asked, players: Sequence[Sequence[str]], baseline: pd.DataFrame, explained: pd.DataFrame
    ) -> None:
        import pandas as pd

        self._asked, self._players = asked, players
        self._pool = pd.concat([baseline, explained], ignore_index=True)
        self._codes = np.column_stack([_codes(self._pool, one) for one in players]).astype(np.float64)
        self._rows = [np.unique(codes, return_index=True)[1] for codes in self._codes.T]
        """Of each player, a row of the pool by code."""
        self._first = len(baseline)
        self.answers = asked(explained)
        answered = zip(self._codes[self._first :], self.answers, strict=True)
        self._known = {codes.tobytes(): said for codes, said in answered}
        self._asked_for: list[Floats] | None = None
        """What shap asks, where it is only written down."""
        self._said: Iterator[Floats] | None = None
        """The answers to what it asked before, where it hears them."""

    def explainer(self) -> Explainer:
        return explainer_class()(self._ask, self._codes[: self._first])

    def rows_at_once(self, plan: Plan) -> int:
        """Give how many rows are explained together: as many as fit into the memory that codes may take."""
        cells = plan.baseline_rows * plan.coalitions * len(self._players)
        return max(1, _MOST_CELLS // cells)

    def values(self, explainer: Explainer, rows: range, coalitions: int) -> list[Floats]:
        """Give [player, output] of each of some of the explained rows."""
        state = np.random.get_state()
        self._asked_for = []
        self._explain(explainer, rows, coalitions)
        asked_for, self._asked_for = self._asked_for, None
        sizes = [len(one) for one in asked_for]
        self._said = iter(np.split(self._answered(asked_for), np.cumsum(sizes)[:-1]))
        np.random.set_state(state)
        found = self._explain(explainer, rows, coalitions)
        self._said = None
        return found

    def _explain(self, explainer: Explainer, rows: range, coalitions: int) -> list[Floats]:
        values = []
        with warnings.catch_warnings():
            # Said where some players always went together in the coalitions drawn; least squares then shares their
            # part between them.
            warnings.filterwarnings("ignore", message="Linear regression equation is singular", category=UserWarning)
            for row in rows:
                codes = self._codes[self._first + row].reshape(1, -1)
                found = explainer.shap_values(codes, nsamples=coalitions, l1_reg=False, silent=True)
                values.append(np.asarray(found, dtype=np.float64).reshape(len(self._players), -1))
        return values

    def _ask(self, codes: Floats) -> Floats:
        if len(codes) == 1 and (known := self._known.get(codes[0].tobytes())) is not None:
            return np.asarray(known).reshape(1, -1)
        if self._asked_for is not None:
            self._asked_for.append(codes.astype(np.int32))
            return np.zeros((len(codes), len(self._asked.outputs)))
        if self._said is not None:
            return next(self._said)
        return self._answered([codes])

    def _answered(self, codes: Sequence[npt.NDArray[Any]]) -> Floats:
        """Give [row, output] for all of `codes`, one below the other."""
        if not codes:
            return np.zeros((0, len(self._asked.outputs)))
        everything, size = np.concatenate(codes), self._asked.batch_rows
        parts = [self._asked(self._decoded(everything[at : at + size])) for at in range(0, len(everything), size)]
        return np.concatenate(parts)

    def _decoded(self, codes: npt.NDArray[Any]) -> pd.DataFrame:
        import pandas as pd

        # Ignored columns belong to no player: any row's value does.
        place_by_name = dict.fromkeys(self._asked.columns, np.zeros(len(codes), dtype=np.int64))
        for number, names in enumerate(self._players):
            place_by_name |= dict.fromkeys(names, self._rows[number][codes[:, number].astype(np.int64)])
        taken = {name: self._pool[name].array.take(places) for name, places in place_by_name.items()}
        return pd.DataFrame(taken, copy=False)


def _outputs(said: Floats) -> tuple[int, ...]:
    """Give which outputs are explained: of many classes those that are likely most often."""
    if said.shape[1] == 2:
        return (1,)
    if said.shape[1] <= MOST_OUTPUTS:
        return tuple(range(said.shape[1]))
    return tuple(sorted(np.argsort(-said.mean(axis=0))[:MOST_OUTPUTS].tolist()))


def _players(asked: _Asked, background: pd.DataFrame, *, seconds: float) -> tuple[tuple[str, ...], ...]:
    """Give each feature alone; of more than MOST_PLAYERS, those that move the answers least are one player together.

    How much a feature moves them is measured by exchanging its values between rows of the background.
    """
    names = asked.names
    if len(names) <= MOST_PLAYERS:
        return tuple((name,) for name in names)
    affordable = int(seconds / (len(names) * asked.row_seconds))
    if affordable < _LEAST_SCREENED_ROWS:
        needed = _LEAST_SCREENED_ROWS * len(names) * asked.row_seconds
        raise TrainingFailed(
            f"finding the features that matter among {len(names)} takes about {needed:.0f} seconds with this model and"
            f" {max(0.0, seconds):.0f} are left for it; allow the job more time, or give it fewer columns"
        )
    rows = background.iloc[_spread(asked.answers, min(_MOST_SCREENED_ROWS, affordable))].reset_index(drop=True)
    moved = _moved(asked, rows)
    strongest = sorted(np.argsort(-moved, kind="stable")[: MOST_PLAYERS - 1].tolist())
    alone = {names[place] for place in strongest}
    return (*((names[place],) for place in strongest), tuple(name for name in names if name not in alone))


def _moved(asked: _Asked, rows: pd.DataFrame) -> Floats:
    """Give how far the answers move, by feature, when its values move on by half the number of rows."""
    import pandas as pd

    size, said = len(rows), asked(rows)
    other = np.roll(np.arange(size), size // 2)
    together = max(1, asked.batch_rows // size)
    moved: list[float] = []
    for first in range(0, len(asked.names), together):
        names = asked.names[first : first + together]
        same = np.tile(np.arange(size), len(names))
        taken = {name: rows[name].array.take(same) for name in asked.columns}
        for number, name in enumerate(names):
            places = same.copy()
            places[number * size : (number + 1) * size] = other
            taken[name] = rows[name].array.take(places)
        answers = asked(pd.DataFrame(taken, copy=False)).reshape(len(names), size, -1)
        moved += np.abs(answers - said).sum(axis=(1, 2)).tolist()
    return np.asarray(moved)


def _plan(players: int, rows: int, asked: _Asked, seconds: float) -> Plan:
    """Give the most that is done within `seconds`."""
    whole = 2**players - 2 if players <= 30 else 1 << 30
    full, least = min(whole, 2 * players + 1024), min(whole, 2 * players + 128)
    half = max(least, full // 2)
    for share, baseline_rows, coalitions in (
        (1.0, MOST_BASELINE_ROWS, full),
        (1.0, 5, full),
        (1.0, 5, half),
        (0.5, 5, half),
        (0.5, 4, least),
        (0.25, 4, least),
        (0.1, 4, least),
        (0.0, 4, least),
        (0.0, 2, least),
    ):
        planned = Plan(rows=max(1, round(share * rows)), baseline_rows=baseline_rows, coalitions=max(1, coalitions))
        asked_for = planned.rows * baseline_rows * planned.coalitions
        needed = asked_for * asked.row_seconds + planned.rows * planned.coalitions * _COALITION_SECONDS
        needed += (1 + asked_for / asked.batch_rows) * asked.call_seconds
        if needed <= seconds:
            return planned
    raise TrainingFailed(
        f"explaining one row takes about {needed:.0f} seconds with this model and {max(0.0, seconds):.0f} are left;"
        " allow the job more time, or give it fewer columns"
    )


def _spread(answers: Floats, count: int) -> npt.NDArray[np.int64]:
    """Give the places of `count` rows at even steps of the answers in order: by class and how likely it is."""
    best = answers.argmax(axis=1)
    order = np.lexsort((answers[np.arange(len(answers)), best], best))
    steps = (np.arange(min(count, len(order))) + 0.5) / min(count, len(order)) * len(order)
    return np.asarray(order[steps.astype(np.int64)], dtype=np.int64)


def _codes(pool: pd.DataFrame, names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Give the place of each row's value among the distinct ones; rows of several features are all distinct."""
    import pandas as pd

    if len(names) > 1:
        return np.arange(len(pool))
    return np.asarray(pd.factorize(pool[names[0]], use_na_sentinel=False)[0], dtype=np.int64)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw the same coalitions every time: shap takes its random numbers from numpy's own state."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)
