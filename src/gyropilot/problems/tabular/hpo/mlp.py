"""mlp: a neural network of a few layers; it trains until the fold's check rows stop gaining."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from gyropilot.problems.contract import Json
from gyropilot.problems.tabular.hpo.fold_models import Floats, Learning, Matrix, Rows, row_weights
from gyropilot.problems.tabular.hpo.target_scales import TargetScale, scale_of

_WEIGHTS, _NOTE = "network.safetensors", "fold.json"
_MOST_EPOCHS = 80
_PATIENCE_EPOCHS = 8
_ROWS_AT_ONCE = 8192


class Network:
    """A network and what turns its outputs into estimates."""

    def __init__(self, layers: nn.Sequential, shape: dict[str, Json], scale: TargetScale | None) -> None:
        self._layers = layers.eval()
        self._shape = shape
        self._scale = scale

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


def learn(train: Rows, check: Rows, settings: Mapping[str, Json], learning: Learning) -> Network:
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
    _train(layers, train, check, settings, learning, scale, row_weight)
    return Network(layers, shape, scale)


def load(folder: Path) -> Network:
    """Read what `save` wrote."""
    note = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
    layers = _network(note["shape"])
    layers.load_state_dict(load_file(str(folder / _WEIGHTS)))
    return Network(layers, note["shape"], None if note["scale"] is None else TargetScale(**note["scale"]))


def _network(shape: Mapping[str, Json]) -> nn.Sequential:
    parts: list[nn.Module] = []
    inputs = int(shape["inputs"])
    for _ in range(int(shape["layers"])):
        width = int(shape["width"])
        parts += [nn.Linear(inputs, width), nn.LayerNorm(width), nn.ReLU(), nn.Dropout(float(shape["dropout"]))]
        inputs = width
    return nn.Sequential(*parts, nn.Linear(inputs, int(shape["outputs"])))


def _train(
    layers: nn.Sequential,
    train: Rows,
    check: Rows,
    settings: Mapping[str, Json],
    learning: Learning,
    scale: TargetScale | None,
    row_weight: torch.Tensor | None,
) -> None:
    """Train in place and leave the weights of the epoch that did best on `check`; halve the rate where none gains."""
    wanted, wanted_check = _wanted(train, scale), _wanted(check, scale)
    optimizer = torch.optim.AdamW(
        layers.parameters(), lr=float(settings["learning_rate"]), weight_decay=float(settings["weight_decay"])
    )
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=_PATIENCE_EPOCHS // 3)
    order = torch.Generator().manual_seed(learning.seed)
    batch = min(int(settings["batch_size"]), max(8, len(wanted) // 4))
    best, best_weights, waited = float("inf"), _copied(layers), 0
    for _ in range(_MOST_EPOCHS):
        for rows in torch.split(torch.randperm(len(wanted), generator=order), batch):
            optimizer.zero_grad()
            part = None if row_weight is None else row_weight[rows]
            torch.autograd.backward(_loss(layers(_batch(train.matrix, rows)), wanted[rows], learning, part))
            optimizer.step()
            if learning.is_over():
                break
        reached = float(_loss(_outputs(layers.eval(), check.matrix), wanted_check, learning, None))
        layers.train()
        schedule.step(reached)
        waited = 0 if reached < best else waited + 1
        if reached < best:
            best, best_weights = reached, _copied(layers)
        if waited >= _PATIENCE_EPOCHS or learning.is_over():
            break
    layers.load_state_dict(best_weights)


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
