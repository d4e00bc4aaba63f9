"""Products with fixed weights, as fast as torch has them on a CPU; called by the fast decoder.

Weights are put once into the blocked order that oneDNN reads best: on few rows, which is what decoding is, that takes
half the time of the plain order or less. The plain copy is let go. Where torch has no such products, or they differ
from the plain ones, weights stay as they are.
"""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch.nn import functional

_ROWS = 16
"""The order is chosen for this many rows; it is read as fast with one and with hundreds."""
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2}


class Product(Protocol):
    """y = x W^T + b, with W [out, in] and x [rows, in]."""

    def of(self, x: torch.Tensor) -> torch.Tensor:
        """Give the product."""

    def added(self, x: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        """Give start + the product."""


class PlainProduct:
    """Weights in the order of torch."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self._weight, self._bias = weight, bias

    def of(self, x: torch.Tensor) -> torch.Tensor:
        """Give the product."""
        return functional.linear(x, self._weight, self._bias)

    def added(self, x: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        """Give start + the product."""
        return start + self.of(x)


class PackedProduct:
    """Weights in the order of oneDNN."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS)
        self._bias = bias

    def of(self, x: torch.Tensor) -> torch.Tensor:
        """Give the product."""
        found = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")
        return cast(torch.Tensor, found)

    def added(self, x: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        """Give start + the product."""
        found = torch.ops.mkldnn._linear_pointwise.binary(x, start, self._weight, self._bias, "add")
        return cast(torch.Tensor, found)


def kind_of_products(dtype: torch.dtype) -> type[PackedProduct | PlainProduct]:
    """Give the packed kind where this build of torch has it for `dtype` and it computes what the plain kind does."""
    generator = torch.Generator().manual_seed(0)
    weight, bias, x, start = (
        torch.randn(shape, generator=generator).to(dtype) for shape in ((48, 32), (48,), (3, 32), (3, 48))
    )
    plain = PlainProduct(weight, bias)
    try:
        if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return PlainProduct
        packed = PackedProduct(weight, bias)
        pairs = [(packed.of(x), plain.of(x)), (packed.added(x, start), plain.added(x, start))]
    except (AttributeError, RuntimeError):
        return PlainProduct
    off = max(float((found - wanted).abs().max() / wanted.abs().max()) for found, wanted in pairs)
    return PackedProduct if off <= _TOLERANCE[dtype] else PlainProduct
