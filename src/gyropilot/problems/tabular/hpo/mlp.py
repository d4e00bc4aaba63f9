"""mlp: a neural network of a few layers; it trains until the fold's check rows stop gaining, or as long as is given."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from gyropilot.problems.contract import Json
from gyropilot.problems.tabular.hpo.fold_models import Course, Floats, Learning, Matrix, Rows, row_weights
from gyropilot.problems.tabular.hpo.target_scales import TargetScale, scale_of

_WEIGHTS, _NOTE = "network.safetensors", "fold.json"
_MOST_EPOCHS = 80
_PATIENCE_EPOCHS = 8
_ROWS_AT_ONCE = 8192


class Network:
    """A network and what turns its outputs into estimates."""

    def __init__(
        self, layers: nn.Sequential, shape: dict[str, Json], scale: TargetScale | None, course: Course
    ) -> None:
        self._layers = layers.eval()
        self._shape = shape
        self._scale = scale
        self._course = course

    @property
    def course(self) -> Course:
        """Give the epochs up to the best one, each with its learning rate."""
        return self._course

    def predict(self, matrix: Matrix) -> Floats:
        """Give estimates or probabilities; see FoldModel."""
        outputs = _outputs(self._layers, matrix)
        if self._scale is not None:
            return self._scale.restored(outputs[:, 0].numpy().astype(np.float64))
        return np.asarray(torch.softmax(outputs.double(), dim=1).numpy(), dtype=np.float64)

    def save(self, folder: Path) -> None:
        """Write weights, shape and scale."""
        save_file(self._layers.state_dict(), str(folder / _WEIGHTS))
        scale = None if self._scale is None else self._scale.to_json()
        (folder / _NOTE).write_text(json.dumps({"shape": self._shape, "scale": scale}), encoding="utf-8")


def learn(train: Rows, until: Rows | Course, settings: Mapping[str, Json], learning: Learning) -> Network:
    """Train a network; see fold_models.learn."""
    torch.manual_seed(learning.seed)
    torch.set_num_threads(learning.threads)
    scale = (
        None if learning.classes else scale_of(train.target.astype(np.float64), settings.get("target_scale", "plain"))
    )
    shape = {
        "inputs": train.matrix.shape[1],
        "layers": settings["layers"],
        "width": settings["width"],
        "dropout": settings["dropout"],
        "outputs": max(1, learning.classes),
    }
    layers = _network(shape)
    weights = row_weights(train.target, learning.classes, settings.get("class_weight"))
    row_weight = None if weights is None else torch.from_numpy(weights.astype(np.float32))
    fit = _Fit(layers, train, settings, learning, scale, row_weight)
    course = fit.along(until) if isinstance(until, Course) else fit.until_no_gain(until)
    return Network(layers, shape, scale, course)


def load(folder: Path) -> Network:
    """Read what `save` wrote."""
    note = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
    layers = _network(note["shape"])
    layers.load_state_dict(load_file(str(folder / _WEIGHTS)))
    scale = None if note["scale"] is None else TargetScale(**note["scale"])
    return Network(layers, note["shape"], scale, Course(steps=0))


def _network(shape: Mapping[str, Json]) -> nn.Sequential:
    parts: list[nn.Module] = []
    inputs = int(shape["inputs"])
    for _ in range(int(shape["layers"])):
        width = int(shape["width"])
        parts += [nn.Linear(inputs, width), nn.LayerNorm(width), nn.ReLU(), nn.Dropout(float(shape["dropout"]))]
        inputs = width
    return nn.Sequential(*parts, nn.Linear(inputs, int(shape["outputs"])))


class _Fit:
    """Trains a network in place, epoch by epoch."""

    def __init__(
        self,
        layers: nn.Sequential,
        train: Rows,
        settings: Mapping[str, Json],
        learning: Learning,
        scale: TargetScale | None,
        row_weight: torch.Tensor | None,
    ) -> None:
        self._layers, self._train, self._learning = layers, train, learning
        self._scale, self._row_weight = scale, row_weight
        self._wanted = _wanted(train, scale)
        self._batch = min(int(settings["batch_size"]), max(8, len(self._wanted) // 4))
        self._order = torch.Generator().manual_seed(learning.seed)
        self._optimizer = torch.optim.AdamW(
            layers.parameters(), lr=float(settings["learning_rate"]), weight_decay=float(settings["weight_decay"])
        )

    def until_no_gain(self, check: Rows) -> Course:
        """Leave the weights of the epoch that did best on `check`; halve the rate where none gains."""
        wanted = _wanted(check, self._scale)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self._optimizer, factor=0.5, patience=_PATIENCE_EPOCHS // 3
        )
        best, best_weights, steps = float("inf"), _copied(self._layers), 0
        rates: list[float] = []
        while len(rates) < _MOST_EPOCHS and len(rates) - steps < _PATIENCE_EPOCHS:
            rates.append(float(self._optimizer.param_groups[0]["lr"]))
            self._epoch()
            reached = float(_loss(_outputs(self._layers.eval(), check.matrix), wanted, self._learning, None))
            self._layers.train()
            schedule.step(reached)
            if reached < best:
                best, best_weights, steps = reached, _copied(self._layers), len(rates)
            if self._learning.is_over():
                break
        self._layers.load_state_dict(best_weights)
        return Course(steps=steps, rates=tuple(rates[:steps]))

    def along(self, course: Course) -> Course:
        """Train as long as the course says, by its rates."""
        for place, rate in enumerate(course.rates, start=1):
            self._optimizer.param_groups[0]["lr"] = rate
            self._epoch()
            if self._learning.is_over():
                return Course(steps=place, rates=course.rates[:place])
        return course

    def _epoch(self) -> None:
        for rows in torch.split(torch.randperm(len(self._wanted), generator=self._order), self._batch):
            self._optimizer.zero_grad()
            part = None if self._row_weight is None else self._row_weight[rows]
            outputs = self._layers(_batch(self._train.matrix, rows))
            torch.autograd.backward(_loss(outputs, self._wanted[rows], self._learning, part))
            self._optimizer.step()
            if self._learning.is_over():
                break


def _loss(
    outputs: torch.Tensor, wanted: torch.Tensor, learning: Learning, row_weight: torch.Tensor | None
) -> torch.Tensor:
    if learning.classes:
        each = nn.functional.cross_entropy(outputs, wanted, reduction="none")
    elif learning.objective == "MAE":
        each = nn.functional.smooth_l1_loss(outputs[:, 0], wanted, beta=0.05, reduction="none")
    else:
        each = nn.functional.mse_loss(outputs[:, 0], wanted, reduction="none")
    return each.mean() if row_weight is None else (each * row_weight).mean()


def _wanted(rows: Rows, scale: TargetScale | None) -> torch.Tensor:
    if scale is None:
        return torch.from_numpy(rows.target.astype(np.int64))
    return torch.from_numpy(scale.scaled(rows.target.astype(np.float64)).astype(np.float32))


def _batch(matrix: Matrix, rows: torch.Tensor) -> torch.Tensor:
    part = matrix[rows.numpy()]
    return torch.from_numpy(part if isinstance(part, np.ndarray) else part.toarray())


def _outputs(layers: nn.Sequential, matrix: Matrix) -> torch.Tensor:
    with torch.inference_mode():
        every = torch.arange(matrix.shape[0])
        return torch.cat([layers(_batch(matrix, rows)) for rows in torch.split(every, _ROWS_AT_ONCE)])


def _copied(layers: nn.Sequential) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in layers.state_dict().items()}
