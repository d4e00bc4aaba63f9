"""A whole model of this mode, its containers one after the other in one process; see models.Model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gyropilot.problems.tabular.columns import Schema
from gyropilot.problems.tabular.hpo.containers import Algorithm, FeatureTransform
from gyropilot.problems.tabular.hpo.fold_models import Floats

if TYPE_CHECKING:
    import pandas as pd


class TunedModel:
    """Feature transform and algorithm."""

    def __init__(self, transform: FeatureTransform, algorithm: Algorithm) -> None:
        self._transform = transform
        self._algorithm = algorithm

    @property
    def schema(self) -> Schema:
        """The columns it was trained on."""
        return self._algorithm.schema

    @property
    def threshold(self) -> float:
        """Of the positive class's probability; 0.5 where there are not two."""
        return self._algorithm.threshold

    def predict_numbers(self, features: pd.DataFrame) -> Floats:
        """Estimate the target of a regression; see Model."""
        return self._algorithm.predict(self._transform.transform(features))

    def predict_probabilities(self, features: pd.DataFrame) -> Floats:
        """Give how likely each class is; see Model."""
        return self._algorithm.predict(self._transform.transform(features))


def load(folder: Path) -> TunedModel:
    """Load the model whose archives lie unpacked in `folder`, one over the other.

    Raises:
        TrainingFailed: the folder is not whole, or of another version.
    """
    return TunedModel(FeatureTransform.load(folder), Algorithm.load(folder))
