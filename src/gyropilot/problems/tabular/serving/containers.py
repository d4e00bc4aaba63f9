"""The containers of tabular models: what each answers a call with; model_server.py loads them.

    whole                    rows -> predictions                          a model of one container
    feature-transform        rows -> numbers (matrices.py)
    algorithm                numbers -> estimates, or class numbers with probabilities
    inverse-label-transform  class numbers -> labels

The last of a chain answers as a whole model does, except that `probability` of two classes is that of the positive one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gyropilot.errors import InvalidRequest, TrainingFailed
from gyropilot.problems.contract import Call, Json, Reply
from gyropilot.problems.tabular import models
from gyropilot.problems.tabular.columns import Schema
from gyropilot.problems.tabular.serving import (
    environment,
    label_rows,
    matrices,
    media_types,
    payloads,
    responses,
)
from gyropilot.problems.tabular.serving.environment import Environment, Role
from gyropilot.problems.tabular.serving.matrices import MATRIX
from gyropilot.problems.tabular.serving.media_types import MediaType
from gyropilot.problems.tabular.serving.payloads import Payload
from gyropilot.problems.tabular.serving.responses import SCORE, ProbabilityOf, ReplyWriter
from gyropilot.problems.tabular.serving.together import Computed, Together

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from gyropilot.problems.tabular.hpo.containers import Algorithm, FeatureTransform
    from gyropilot.problems.tabular.hpo.fold_models import Matrix


class Container(Protocol):
    """One loaded container."""

    def answer(self, call: Call) -> Reply:
        """Answer a call.

        Raises:
            InvalidRequest: the payload does not fit: the caller's fault.
            Unavailable: the caller has gone.
        """


def load(folder: Path, environment_: Mapping[str, str]) -> Container:
    """Load the container whose model data lies unpacked in `folder`.

    Raises:
        TrainingFailed: the folder is not whole, or is not of the container's role.
        InvalidRequest: the environment holds what cannot be honoured.
    """
    role = environment.find_role(environment_) or _usual_role(folder)
    return _LOADS[role](folder, environment_)


def _usual_role(folder: Path) -> Role:
    return "algorithm" if models.kind_of(folder) == "hpo" else "whole"


def _whole(folder: Path, environment_: Mapping[str, str]) -> Container:
    model = models.load(folder)
    chosen = environment.read(environment_, "whole", is_regression=model.schema.is_regression)
    return Whole(model, chosen)


def _feature_transform(folder: Path, environment_: Mapping[str, str]) -> Container:
    from gyropilot.problems.tabular.hpo.containers import FeatureTransform

    environment.read(environment_, "feature-transform", is_regression=True)
    return FeatureEncoder(FeatureTransform.load(folder))


def _algorithm(folder: Path, environment_: Mapping[str, str]) -> Container:
    from gyropilot.problems.tabular.hpo.containers import Algorithm

    algorithm = Algorithm.load(folder)
    chosen = environment.read(environment_, "algorithm", is_regression=algorithm.schema.is_regression)
    return Estimator(algorithm, chosen)


def _label_transform(folder: Path, environment_: Mapping[str, str]) -> Container:
    from gyropilot.problems.tabular.hpo import containers as hpo_containers

    labels = hpo_containers.load_labels(folder)
    if not labels:
        raise TrainingFailed("the model is of a regression, whose estimates have no labels: leave this container out")
    return LabelNamer(labels, environment.read(environment_, "inverse-label-transform", is_regression=False))


_LOADS: Mapping[Role, Callable[[Path, Mapping[str, str]], Container]] = {
    "whole": _whole,
    "feature-transform": _feature_transform,
    "algorithm": _algorithm,
    "inverse-label-transform": _label_transform,
}


class Whole:
    """A model that predicts rows by itself; calls that come at the same time go together."""

    def __init__(self, model: models.Model, chosen: Environment) -> None:
        self.model, self._chosen = model, chosen
        predict = model.predict_numbers if model.schema.is_regression else model.predict_probabilities
        self._predict: Together[npt.NDArray[np.float64]] = Together(
            _without_checks(predict), most_rows=payloads.rows_at_once(model.schema)
        )

    def answer(self, call: Call) -> Reply:
        """Answer rows with predictions."""
        schema = self.model.schema
        payload = payloads.read(call, schema)
        media_type = media_types.reply_type(call, usual=self._chosen.usual_accept or payload.media_type)
        found = _finite(_joined(self._predict, call, payload))
        if schema.is_regression:
            return _estimates(media_type, found)
        classes = _Classes(
            chosen=self._chosen,
            schema=schema,
            threshold=self.model.threshold,
            probability_of="predicted",
            names=schema.labels,
        )
        return classes.reply(media_type, found)


class FeatureEncoder:
    """The first container of a chain; calls that come at the same time go together."""

    def __init__(self, transform: FeatureTransform) -> None:
        self._schema = transform.schema
        self._transform: Together[Matrix] = Together(
            _without_checks(transform.transform), most_rows=payloads.rows_at_once(transform.schema)
        )

    def answer(self, call: Call) -> Reply:
        """Answer rows with the numbers that the algorithm takes."""
        payload = payloads.read(call, self._schema)
        media_types.reply_type(call, usual=payload.media_type)  # refused here rather than after the work
        blocks = [
            matrices.write(matrix, reply=payload.media_type) for matrix in _joined(self._transform, call, payload)
        ]
        return Reply(body=b"".join(blocks), content_type=MATRIX)


@dataclass(frozen=True)
class Estimator:
    """The second container of a chain."""

    algorithm: Algorithm
    chosen: Environment

    def answer(self, call: Call) -> Reply:
        """Answer numbers with estimates, or with class numbers and probabilities."""
        if call.content_type != MATRIX:
            fix = "send rows to the whole chain of containers, which a candidate's InferenceContainers are"
            problem = "is not what the container of the algorithm takes"
            raise InvalidRequest(where="ContentType", found=call.content_type, problem=problem, fix=fix)
        blocks = list(matrices.read(call.body))
        media_type = media_types.reply_type(call, usual=self.chosen.usual_accept or blocks[0].reply)
        found = _finite(self._predicted(call, blocks))
        schema = self.algorithm.schema
        if schema.is_regression:
            return _estimates(media_type, found)
        classes = _Classes(
            chosen=self.chosen,
            schema=schema,
            threshold=self.algorithm.threshold,
            probability_of="positive",
            names=range(len(schema.labels)),
        )
        return classes.reply(media_type, found)

    def _predicted(self, call: Call, blocks: list[matrices.Block]) -> Iterator[npt.NDArray[np.float64]]:
        for block in blocks:
            payloads.check_wanted(call)
            yield self.algorithm.predict(block.matrix)


@dataclass(frozen=True)
class LabelNamer:
    """The third container of a chain."""

    labels: tuple[str, ...]
    chosen: Environment

    def answer(self, call: Call) -> Reply:
        """Answer class numbers and probabilities with labels and these."""
        came_as = media_types.payload_type(call)
        media_type = media_types.reply_type(call, usual=self.chosen.usual_accept or came_as)
        labels, inputs = list(self.labels), self.chosen.inputs
        columns = dict(zip(inputs, label_rows.read(call.body, came_as, inputs, class_count=len(labels)), strict=True))
        count = len(columns[inputs[0]])
        if "predicted_label" in columns:
            columns["predicted_label"] = [labels[one] for one in columns["predicted_label"]]
        columns["labels"] = [labels] * count
        writer = ReplyWriter(media_type, self.chosen.outputs)
        writer.add([columns[name] for name in self.chosen.outputs])
        return writer.finish()


@dataclass(frozen=True, kw_only=True)
class _Classes:
    """How a classification's probabilities become an answer."""

    chosen: Environment
    schema: Schema
    threshold: float
    probability_of: ProbabilityOf
    names: Sequence[Json]

    def reply(self, media_type: MediaType, found: Iterator[npt.NDArray[np.float64]]) -> Reply:
        writer = ReplyWriter(media_type, self.chosen.outputs)
        for probabilities in found:
            writer.add(
                responses.of_classes(
                    probabilities,
                    outputs=self.chosen.outputs,
                    labels=self.schema.labels,
                    threshold=self.threshold,
                    probability_of=self.probability_of,
                    names=self.names,
                )
            )
        return writer.finish()


def _without_checks(compute: Callable[[pd.DataFrame], Computed]) -> Callable[[pd.DataFrame], Computed]:
    """Give a computation in which scikit-learn does not look for infinities, which no row that was read has.

    Each fold of each model looks anew: of one row through a bagged ensemble that is an eighth of all work.
    """
    from sklearn import config_context

    def computed(features: pd.DataFrame) -> Computed:
        with config_context(assume_finite=True, skip_parameter_validation=True):  # of this thread alone
            return compute(features)

    return computed


def _joined(compute: Together[Computed], call: Call, payload: Payload) -> Iterator[Computed]:
    """Give what is computed of a payload's rows, some at a time, with rows of other calls."""
    for frame in payload.frames(call):
        found = compute(frame, call.cancelled)
        if found is None:
            raise payloads.unwanted()
        yield found


def _finite(found: Iterator[npt.NDArray[np.float64]]) -> Iterator[npt.NDArray[np.float64]]:
    """Give what was computed; raises InvalidRequest where that is no number: inside, models compute in float32."""
    import numpy as np

    rows = 0
    for numbers in found:
        bad = np.flatnonzero(~np.isfinite(numbers).reshape(len(numbers), -1).all(axis=1))
        if len(bad):
            raise InvalidRequest(
                where=f"row {rows + int(bad[0]) + 1}",
                problem="the model has no finite answer to it: a number may be too large for the model to compute with",
                fix="give numbers of the size of those it was trained on",
            )
        rows += len(numbers)
        yield numbers


def _estimates(media_type: MediaType, found: Iterator[npt.NDArray[np.float64]]) -> Reply:
    writer = ReplyWriter(media_type, (SCORE,))
    for numbers in found:
        writer.add([numbers.tolist()])
    return writer.finish()
