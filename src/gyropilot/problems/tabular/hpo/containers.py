"""The two containers of a model of this mode as they lie in their archives: feature transform, and algorithm.

feature_transform.json  feature_transform.joblib          containers 1 and 3 (which reads the labels only)
model.json  algorithm/fold-1/...                          container 2

Archives are bound by digest to the job that wrote them, so what lies in them may be unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import sklearn
from sklearn.compose import ColumnTransformer

from gyropilot.errors import TrainingFailed
from gyropilot.problems.contract import Json
from gyropilot.problems.tabular.columns import Schema, read_schema
from gyropilot.problems.tabular.hpo import fold_models
from gyropilot.problems.tabular.hpo.fold_models import Floats, FoldModel, Matrix
from gyropilot.problems.tabular.hpo.pipelines import Pipeline
from gyropilot.problems.tabular.hpo.preprocessing import as_matrix, build_steps, fit_steps
from gyropilot.problems.tabular.models import MODEL_FILE

_NOTE, _STEPS = "feature_transform.json", "feature_transform.joblib"
_FOLDS = "algorithm"


class FeatureTransform:
    """Turns rows of a table into the matrix that the algorithm reads; may be called from several threads."""

    def __init__(self, schema: Schema, pipeline: Pipeline, steps: ColumnTransformer) -> None:
        self.schema = schema
        self.pipeline = pipeline
        self._steps = steps

    @classmethod
    def fitted(
        cls,
        schema: Schema,
        pipeline: Pipeline,
        features: pd.DataFrame,
        target: np.ndarray[tuple[int, ...], np.dtype[np.int64]] | Floats,
        *,
        seed: int,
    ) -> tuple[FeatureTransform, Matrix]:
        """Learn the transform of training rows; give it, and their matrix: [row, number], float32.

        Args:
            schema: the columns.
            pipeline: how they are prepared.
            features: [row, feature], as tables.py reads them.
            target: [row], class numbers or numbers.
            seed: of what is drawn.
        """
        steps = build_steps(schema, pipeline, rows=len(features), seed=seed)
        matrix = fit_steps(steps, features, target)
        return cls(schema, pipeline, steps), matrix

    def transform(self, features: pd.DataFrame) -> Matrix:
        """Give the matrix of rows that are to be predicted: [row, number], float32; sparse or not, always alike."""
        return as_matrix(self._steps.transform(features))

    def save(self, folder: Path) -> None:
        """Write the transform into `folder`."""
        note = {
            "schema": self.schema.to_json(),
            "pipeline": asdict(self.pipeline),
            "scikit-learn": sklearn.__version__,
        }
        (folder / _NOTE).write_text(json.dumps(note), encoding="utf-8")
        joblib.dump(self._steps, folder / _STEPS, compress=1)

    @classmethod
    def load(cls, folder: Path) -> FeatureTransform:
        """Load what `save` wrote.

        Raises:
            TrainingFailed: the folder is not whole, or of another version of scikit-learn.
        """
        note = _read(folder / _NOTE)
        if note["scikit-learn"] != sklearn.__version__:
            raise TrainingFailed(
                f"{folder.name}: the feature transform was made by scikit-learn {note['scikit-learn']}, and here is"
                f" {sklearn.__version__}; install that version, or train the model again"
            )
        try:
            steps = joblib.load(folder / _STEPS)
        except (OSError, EOFError, ValueError, AttributeError, ImportError) as error:
            raise TrainingFailed(f"{folder.name}: {_STEPS} cannot be read: {error}") from error
        return cls(read_schema(note["schema"]), Pipeline(**note["pipeline"]), steps)


class Algorithm:
    """The models of the folds, which answer together; may be called from several threads."""

    def __init__(self, schema: Schema, threshold: float, algorithm: str, folds: Sequence[FoldModel]) -> None:
        self.schema = schema
        self.threshold = threshold
        self.name = algorithm
        self._folds = list(folds)

    def predict(self, matrix: Matrix) -> Floats:
        """Give the mean of the folds: [row] estimates of a regression, else [row, class] probabilities."""
        answers = [fold.predict(matrix) for fold in self._folds]
        return np.asarray(np.mean(answers, axis=0), dtype=np.float64)

    def save(self, folder: Path, settings: Mapping[str, Json]) -> None:
        """Write the models and what they go by into `folder`; `settings` is there to be read by people."""
        for place, fold in enumerate(self._folds, start=1):
            below = folder / _FOLDS / f"fold-{place}"
            below.mkdir(parents=True)
            fold.save(below)
        described = {
            "kind": "hpo",
            "schema": self.schema.to_json(),
            "threshold": self.threshold,
            "algorithm": self.name,
            "folds": len(self._folds),
            "settings": dict(settings),
        }
        (folder / MODEL_FILE).write_text(json.dumps(described), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Algorithm:
        """Load what `save` wrote.

        Raises:
            TrainingFailed: the folder is not whole.
        """
        described = _read(folder / MODEL_FILE)
        places = range(1, int(described["folds"]) + 1)
        try:
            folds = [fold_models.load(described["algorithm"], folder / _FOLDS / f"fold-{place}") for place in places]
        except (OSError, ValueError, KeyError) as error:
            raise TrainingFailed(f"{folder.name}: a model of the folds cannot be read: {error}") from error
        schema = read_schema(described["schema"])
        return cls(schema, float(described["threshold"]), str(described["algorithm"]), folds)


def load_labels(folder: Path) -> tuple[str, ...]:
    """Give the labels in the order of class numbers, of the archive of a feature transform; cheap.

    Raises:
        TrainingFailed: the folder is not whole.
    """
    return read_schema(_read(folder / _NOTE)["schema"]).labels


def _read(file: Path) -> dict[str, Json]:
    try:
        content: dict[str, Json] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingFailed(f"{file.parent.name}: {file.name} cannot be read: {error}") from error
    return content
