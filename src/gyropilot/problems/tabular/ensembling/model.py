"""A trained ensemble: its folder, and how it is loaded and asked; scoring, reports and serving see it by models.py.

<folder>/model.json    {"kind": "ensembling", "schema", "threshold", "predictor": name of the model inside}
<folder>/autogluon/    AutoGluon's predictor, of what predicts alone
"""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gyropilot.errors import TrainingFailed
from gyropilot.problems.tabular.artifacts import write_json
from gyropilot.problems.tabular.columns import Schema, read_schema
from gyropilot.problems.tabular.models import MODEL_FILE

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

Predictor = Any
"""AutoGluon's TabularPredictor, of a library without types."""
PREDICTOR = "autogluon"
TARGET, WEIGHT = "target", "weight"


class EnsemblingModel:
    """A predictor with the schema it was trained on; AutoGluon's models are not safe to share, so calls take turns."""

    def __init__(self, predictor: Predictor, schema: Schema, threshold: float) -> None:
        self._predictor, self._schema, self._threshold = predictor, schema, threshold
        self._lock = threading.Lock()

    @property
    def schema(self) -> Schema:
        """The columns it was trained on."""
        return self._schema

    @property
    def threshold(self) -> float:
        """Of the probability of the positive class."""
        return self._threshold

    def predict_numbers(self, features: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Estimate the target of each row: [row]."""
        import numpy as np

        with self._lock, quiet():
            return np.asarray(self._predictor.predict(columns_of(features), as_pandas=False), dtype=np.float64)

    def predict_probabilities(self, features: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Give how likely each class is: [row, class]."""
        with self._lock, quiet():
            predicted = self._predictor.predict_proba(columns_of(features), as_multiclass=True)
        return probabilities_of(predicted, len(self._schema.labels))


def load(folder: Path) -> EnsemblingModel:
    """Load the model that lies unpacked in `folder`, into memory as a whole.

    Raises:
        TrainingFailed: the folder is not whole, or of another version.
    """
    from autogluon.tabular import TabularPredictor

    try:
        described = json.loads((folder / MODEL_FILE).read_text(encoding="utf-8"))
        with quiet():
            predictor = TabularPredictor.load(str(folder / PREDICTOR), verbosity=0)
            predictor.persist(models="best", with_ancestors=True, max_memory=None)
    except Exception as error:  # whatever is wrong with a foreign library's files
        raise TrainingFailed(f"{folder.name}: the ensemble cannot be loaded: {error}") from error
    return EnsemblingModel(predictor, read_schema(described["schema"]), float(described["threshold"]))


def describe(folder: Path, schema: Schema, threshold: float) -> None:
    """Write the model's own file beside the predictor that lies in `folder` already."""
    content = {"kind": "ensembling", "schema": schema.to_json(), "threshold": threshold}
    write_json(folder / MODEL_FILE, content)


def columns_of(features: pd.DataFrame) -> pd.DataFrame:
    """Give the features under names by their place: libraries refuse brackets, quotes and the like in names."""
    named = features.copy(deep=False)
    named.columns = [f"feature_{number}" for number in range(len(named.columns))]
    return named


def probabilities_of(predicted: pd.DataFrame, classes: int) -> npt.NDArray[np.float64]:
    """Give [row, class] of a frame whose columns are class numbers; a class that training never saw is impossible."""
    import numpy as np

    values = np.zeros((len(predicted), classes), dtype=np.float64)
    for column in predicted.columns:
        values[:, int(column)] = predicted[column].to_numpy(dtype=np.float64)
    values /= values.sum(axis=1, keepdims=True)
    return values


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings: AutoGluon and its libraries warn of each other's ways, which nobody here can change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
