"""A trained tabular model as all that use one see it: scoring, reports and serving; each mode has its own kind.

<folder>/model.json    {"kind": "ensembling" | "hpo", "schema": {...}, "threshold": 0.5}, beside the mode's own files
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gyropilot.errors import TrainingFailed
from gyropilot.problems.contract import Json
from gyropilot.problems.tabular.columns import Schema

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

MODEL_FILE = "model.json"


class Model(Protocol):
    """A loaded model; may be called from several threads."""

    @property
    def schema(self) -> Schema:
        """The columns it was trained on."""

    @property
    def threshold(self) -> float:
        """Of the probability of the positive class, from which on that is the answer; 0.5 where there are not two."""

    def predict_numbers(self, features: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Estimate the target of a regression.

        Args:
            features: [row, feature], as tables.py reads them: every feature of the schema, in its order.

        Returns:
            [row]
        """

    def predict_probabilities(self, features: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Give how likely each class is; of classifications only.

        Args:
            features: as in `predict_numbers`.

        Returns:
            [row, class], in the order of schema.labels; each row sums to 1.
        """


def load(folder: Path) -> Model:
    """Load the model that lies unpacked in `folder`.

    Raises:
        TrainingFailed: the folder is not whole, or of another version.
    """
    kind = kind_of(folder)
    if kind == "ensembling":
        from gyropilot.problems.tabular.ensembling import model as ensembling_model

        return ensembling_model.load(folder)
    if kind == "hpo":
        from gyropilot.problems.tabular.hpo import model as hpo_model

        return hpo_model.load(folder)
    raise TrainingFailed(f"{folder.name}: {MODEL_FILE} names no kind of model that this version knows: {kind!r}")


def kind_of(folder: Path) -> str:
    """Give the kind of the model that lies in `folder`: ensembling, hpo, or what another version wrote.

    Raises:
        TrainingFailed: the folder holds no model.
    """
    return str(_described(folder).get("kind", ""))


def labels_of(
    probabilities: npt.NDArray[np.float64], labels: tuple[str, ...], threshold: float
) -> npt.NDArray[np.int64]:
    """Give the class number of each row: of two classes by the threshold, of more the most likely.

    Args:
        probabilities: [row, class].
        labels: the names of the classes.
        threshold: of the second class's probability, where there are two.

    Returns:
        [row]
    """
    import numpy as np

    if len(labels) == 2:
        return np.asarray(probabilities[:, 1] >= threshold, dtype=np.int64)
    return np.asarray(probabilities.argmax(axis=1), dtype=np.int64)


def _described(folder: Path) -> dict[str, Json]:
    try:
        described: dict[str, Json] = json.loads((folder / MODEL_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingFailed(f"{folder.name}: {MODEL_FILE} cannot be read: {error}") from error
    return described
