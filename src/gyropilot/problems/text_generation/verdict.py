"""Says in one sentence whether to use a tuned model, and why; told in evaluation.json and the report."""

from __future__ import annotations

import math

from gyropilot.problems.text_generation.evaluate import Evaluation
from gyropilot.problems.text_generation.findings import rows_of

LEAK_SHARE = 0.05
"""Share of validation rows standing in the training rows above which the verdict speaks of it."""
LEAST_ROWS = 20
"""Validation rows below which the verdict is that nothing can be said, whatever the numbers."""
FEW_ROWS = 30
"""Validation rows below which the verdict says how few they are."""
_LEAST_PARTS = 3
_STUDENT = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13)
"""Student's t for 95 % by degrees of freedom from 1; beyond, 2.1 falling to 1.96."""


def verdict(base: Evaluation | None, tuned: Evaluation, *, leaked: int, model: str, stands_in_for: str) -> str:
    """Give the sentence.

    Args:
        base: the untouched base, measured on `tuned`'s rows or on the first of them; None: not measured.
        tuned: the tuned model.
        leaked: validation rows that stand in the training rows too.
        model: name of the base model.
        stands_in_for: the name that the request gave, where `model` only stood in for it; else empty.
    """
    said = _compared(base, tuned.on_rows_of(base), leaked) if base else _alone(tuned)
    if stands_in_for:
        said += f"; all of this is {model}, which stood in for {stands_in_for}, and says nothing of {stands_in_for}"
    return f"{said}."


def margin_of_loss(base: Evaluation, tuned: Evaluation) -> float | None:
    """Give half the width of the 95 % interval of the difference between two losses on the same rows.

    Taken from how the difference varies between the parts in which the rows were measured (a ratio estimate: summed
    difference over summed labels); None where the parts are too few or not the same.
    """
    pairs = list(zip(base.loss_parts, tuned.loss_parts, strict=False))
    if len(pairs) < _LEAST_PARTS or any(one.labels != other.labels for one, other in pairs):
        return None
    labels = sum(one.labels for one, _ in pairs)
    changes = [(other.loss_sum - one.loss_sum, one.labels) for one, other in pairs]
    mean = math.fsum(change for change, _ in changes) / labels
    spread = math.fsum((change - mean * count) ** 2 for change, count in changes)
    freedom = len(pairs) - 1
    factor = _STUDENT[freedom - 1] if freedom <= len(_STUDENT) else 1.96 + 2.6 / freedom
    return factor * math.sqrt(spread * len(pairs) / freedom) / labels


def _alone(tuned: Evaluation) -> str:
    return (
        f"Whether to use the tuned model is not known: its validation loss is {tuned.loss:.3f} and its RougeL"
        f" {tuned.score('rougeL'):.3f} on {rows_of(len(tuned.samples), 'answered')}, but the time was too short to"
        " measure the base model"
    )


def _compared(base: Evaluation, tuned: Evaluation, leaked: int) -> str:
    loss = f"its validation loss is {tuned.loss:.3f} against {base.loss:.3f} of the base model"
    if tuned.rows < FEW_ROWS:
        loss += f" on only {rows_of(tuned.rows)}"
    elif tuned.loss_rows < tuned.rows:
        loss += f" on {tuned.loss_rows} of the {rows_of(tuned.rows, 'validation')}"
    before, after = base.score("rougeL"), tuned.score("rougeL")
    rouge = f"RougeL {after:.3f} against {before:.3f} on {rows_of(len(tuned.samples), 'answered')}"
    if tuned.loss_rows < LEAST_ROWS:
        told = f"Too few rows to say whether to use the tuned model: {loss}, and {rouge}"
        return f"{told}; {LEAST_ROWS} validation rows or more, better hundreds, would tell"
    margin = margin_of_loss(base, tuned)
    if margin is not None and abs(tuned.loss - base.loss) <= margin:
        noise = f"a difference within the noise of these rows (± {margin:.3f}), so nothing shows that tuning helped"
        return f"Do not use the tuned model: {loss}, {noise}; {rouge}"
    if tuned.loss >= base.loss:
        how = "worse" if tuned.loss > base.loss else "no better"
        return f"Do not use the tuned model: {loss}, so it predicts the validation answers {how}; {rouge}"
    if after < before - max(tuned.margin("rougeL"), 0.01):
        return f"Use the tuned model with care: {loss}, yet its generated answers match less, {rouge}"
    if leaked > LEAK_SHARE * tuned.rows:
        known = f"{leaked} of the {tuned.rows} validation rows stand in the training rows too"
        return f"Use the tuned model with care: {loss}, and {rouge}, but {known}, so these numbers flatter it"
    return f"Use the tuned model: {loss}, and {rouge}"
