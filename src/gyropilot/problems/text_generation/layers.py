"""The fast way for Llama-type models on a CPU: each block one step of autograd, its backward pass written out.

What it saves against the model's own code: attention only where the mask is open (attention.py), adapters multiplied
in the base's precision instead of float32 copies of every activation, a third of the passes over memory, and in the
last block everything after attention at labelled positions only. The weights are the model's own, in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from peft.tuners.lora.layer import Linear as LoraLinear
from torch.nn import functional

from gyropilot.problems.text_generation import virtual_tokens
from gyropilot.problems.text_generation.architectures import FAST_TYPES, Layout
from gyropilot.problems.text_generation.attention import Group, attend, attend_backward, groups_of
from gyropilot.problems.text_generation.batches import Pack
from gyropilot.problems.text_generation.head import label_loss_sum
from gyropilot.problems.text_generation.models import architecture_of, body_of, head_of, unwrapped

Gradients = list[torch.Tensor | None]


class FusedForward:
    """Llama-type blocks, with or without LoRA on their linear layers or trained rows before the text."""

    name = "fused"
    layout: Layout = "packed"
    is_parallel = True

    def __init__(self, model: torch.nn.Module) -> None:
        self._body = cast(Any, body_of(model))
        self._head = head_of(model)
        self._blocks = [_Block(layer) for layer in self._body.layers]
        self._tokens = virtual_tokens.of(model)
        self.virtual_tokens = virtual_tokens.count_of(model)

    def loss_sum(self, pack: Pack) -> torch.Tensor:
        """Give the summed loss; its gradients are those of the plain way."""
        embedded = self._embedded(pack)
        pack = pack.after(self.virtual_tokens)
        with torch.no_grad():
            cosine, sine = self._body.rotary_emb(embedded, torch.from_numpy(pack.position_ids)[None])
        label_positions = torch.from_numpy(pack.label_positions)
        half = cosine.shape[-1] // 2
        place = _Place(
            groups=groups_of(pack, dtype=embedded.dtype), cosine=cosine[0, :, None, :half], sine=sine[0, :, None, :half]
        )
        hidden = embedded
        for number, block in enumerate(self._blocks):
            rows = label_positions if number == len(self._blocks) - 1 else None
            hidden = cast(torch.Tensor, _Step.apply(hidden, block, place, rows, *block.parameters()))  # type: ignore[no-untyped-call]
        normed = cast(torch.Tensor, _Norm.apply(hidden, self._body.norm))  # type: ignore[no-untyped-call]
        return label_loss_sum(normed, self._head.weight, torch.from_numpy(pack.labels))

    def refresh(self) -> None:
        """Take over the adapters as they are now."""
        for block in self._blocks:
            block.refresh()

    def _embedded(self, pack: Pack) -> torch.Tensor:
        """Give the trained rows, if there are any, and the embedded tokens of `pack`: [rows + T, hidden]."""
        with torch.no_grad():
            embedded: torch.Tensor = self._body.embed_tokens(torch.from_numpy(pack.input_ids))
        rows = self._tokens.text_rows(pack.task) if self._tokens else None
        return embedded if rows is None else torch.cat((rows.to(embedded.dtype), embedded))


def why_not(model: torch.nn.Module) -> str:
    """Say what keeps `model` from the fast way; empty: nothing."""
    architecture = architecture_of(model)
    config: Any = unwrapped(model).config
    if architecture.model_type not in FAST_TYPES:
        return f"models of type {architecture.model_type} go the plain way"
    if config.hidden_act != "silu" or getattr(config, "attention_dropout", 0.0):
        return "the model has another activation or dropout"
    if (config.rope_parameters or {}).get("rope_type", "default") not in ("default", "linear", "llama3"):
        return "the model's positions depend on what came before"
    if any(one.device.type != "cpu" for one in model.parameters()):
        return "the model is not on the CPU"
    layers = cast(Any, body_of(model)).layers
    odd = [
        name
        for layer in layers
        for name, module in layer.named_modules()
        if name.rsplit(".", 1)[-1] in architecture.linear_layers and not _is_known(module)
    ]
    if odd:
        return f"{odd[0]} is no plain or LoRA layer"
    tokens = virtual_tokens.of(model)
    if tokens and tokens.key_values(0) is not None:
        return "attention prefixes go the plain way"
    trained = [
        name
        for name, one in model.named_parameters()
        if one.requires_grad and ".lora_" not in name and not (tokens and name.startswith(virtual_tokens.TRAINED))
    ]
    return f"{trained[0]} is trained too" if trained else ""


@dataclass(frozen=True, kw_only=True)
class _Place:
    """What all blocks share for one pack."""

    groups: tuple[Group, ...]
    cosine: torch.Tensor
    """[T, 1, width / 2]."""
    sine: torch.Tensor


class _Linears:
    """Linear layers that read the same input, and their adapters: y = W x + b + scale B A x."""

    def __init__(self, modules: Sequence[torch.nn.Module]) -> None:
        bases = [cast(torch.nn.Linear, getattr(module, "base_layer", module)) for module in modules]
        self.weights = [base.weight for base in bases]
        self.biases = [base.bias for base in bases]
        self._adapters = [_adapter(module) for module in modules]
        self.parameters = [one for adapter in self._adapters if adapter for one in adapter[:2]]
        self.refresh()

    def refresh(self) -> None:
        """Round the adapters to the base's precision."""
        dtype = self.weights[0].dtype
        with torch.no_grad():
            downs: list[torch.Tensor] = [adapter[0] for adapter in self._adapters if adapter]
            self._down = torch.cat(downs).to(dtype) if downs else None
            self._ups = [(adapter[1] * adapter[2]).to(dtype) if adapter else None for adapter in self._adapters]

    def forward(self, x: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor | None]:
        """Give each layer's result, and A x of all of them side by side."""
        inner = None if self._down is None else x @ self._down.t()
        results, start = [], 0
        for weight, bias, up in zip(self.weights, self.biases, self._ups, strict=True):
            result = functional.linear(x, weight, bias)
            if up is not None and inner is not None:
                result.addmm_(inner[:, start : start + up.shape[1]], up.t())
                start += up.shape[1]
            results.append(result)
        return results, inner

    def backward(
        self, gradients: Sequence[torch.Tensor], x: torch.Tensor, inner: torch.Tensor | None
    ) -> tuple[torch.Tensor, Gradients]:
        """Give the gradient of x, and those of `parameters` in float32."""
        inner_gradient, found = self.parameter_gradients(gradients, x, inner)
        total = gradients[0] @ self.weights[0]
        for gradient, weight in zip(gradients[1:], self.weights[1:], strict=True):
            total.addmm_(gradient, weight)
        if inner_gradient is not None and self._down is not None:
            total.addmm_(inner_gradient, self._down)
        return total, found

    def parameter_gradients(
        self, gradients: Sequence[torch.Tensor], x: torch.Tensor, inner: torch.Tensor | None
    ) -> tuple[torch.Tensor | None, Gradients]:
        """Give the gradient of A x, and those of `parameters` in float32."""
        if inner is None:
            return None, []
        parts = [g @ up for g, up in zip(gradients, self._ups, strict=True) if up is not None]
        inner_gradient = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        down_gradient = (inner_gradient.t() @ x).float()
        found: Gradients = []
        start = 0
        for gradient, adapter in zip(gradients, self._adapters, strict=True):
            if adapter is None:
                continue
            end = start + adapter[0].shape[0]
            found.append(down_gradient[start:end])
            found.append((gradient.t() @ inner[:, start:end]).float().mul_(adapter[2]))
            start = end
        return inner_gradient, found


class _Block:
    """One decoder layer's weights."""

    def __init__(self, layer: Any) -> None:  # noqa: ANN401 - a layer of transformers, untyped
        attention, mlp = layer.self_attn, layer.mlp
        self.into_attention = _Linears((attention.q_proj, attention.k_proj, attention.v_proj))
        self.out_of_attention = _Linears((attention.o_proj,))
        self.into_mlp = _Linears((mlp.gate_proj, mlp.up_proj))
        self.out_of_mlp = _Linears((mlp.down_proj,))
        self.first_norm, self.second_norm = layer.input_layernorm, layer.post_attention_layernorm
        self.width, self.scale = attention.head_dim, attention.scaling

    def parameters(self) -> list[torch.Tensor]:
        """Give the adapters' parameters in the order of their gradients."""
        return [one for linears in self._linears() for one in linears.parameters]

    def refresh(self) -> None:
        """Take over the adapters as they are now."""
        for linears in self._linears():
            linears.refresh()

    def _linears(self) -> tuple[_Linears, ...]:
        return self.into_attention, self.out_of_attention, self.into_mlp, self.out_of_mlp


class _Step(torch.autograd.Function):
    """One block over a pack: [T, hidden] -> [T, hidden], or [L, hidden] where `rows` picks the labelled places."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        x: torch.Tensor,
        block: _Block,
        place: _Place,
        rows: torch.Tensor | None,
        *parameters: torch.Tensor,
    ) -> torch.Tensor:
        normed, spread = _normed(x, block.first_norm)
        (queries, keys, values), inner = block.into_attention.forward(normed)
        queries, keys, values = (part.view(len(x), -1, block.width) for part in (queries, keys, values))
        queries, keys = _rotated(queries, place, 1.0), _rotated(keys, place, 1.0)
        seen, kept = attend(queries, keys, values, place.groups, scale=block.scale)
        seen = seen.view(len(x), -1)
        seen, start = (seen, x) if rows is None else (seen[rows], x[rows])
        (middle,), seen_inner = block.out_of_attention.forward(seen)
        middle += start
        second, second_spread = _normed(middle, block.second_norm)
        (gate, up), second_inner = block.into_mlp.forward(second)
        product = functional.silu(gate).mul_(up)
        (result,), product_inner = block.out_of_mlp.forward(product)
        result += middle
        ctx.block, ctx.place, ctx.rows = block, place, rows
        ctx.attention = (x, spread, normed, inner, kept, keys.shape[1], seen, seen_inner)
        ctx.mlp = (middle, second_spread, second, second_inner, gate, up, product, product_inner)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # noqa: ANN401
        block, place, rows = ctx.block, ctx.place, ctx.rows
        middle, second_spread, second, second_inner, gate, up, product, product_inner = ctx.mlp
        product_gradient, down_found = block.out_of_mlp.backward((gradient,), product, product_inner)
        gate_gradient = torch.ops.aten.silu_backward(product_gradient * up, gate)
        up_gradient = product_gradient.mul_(functional.silu(gate))
        second_gradient, up_found = block.into_mlp.backward((gate_gradient, up_gradient), second, second_inner)
        gradient = _norm_backward(second_gradient, middle, second, second_spread, block.second_norm).add_(gradient)
        ctx.mlp = None

        x, spread, normed, inner, kept, key_heads, seen, seen_inner = ctx.attention
        seen_gradient, out_found = block.out_of_attention.backward((gradient,), seen, seen_inner)
        if rows is not None:
            seen_gradient, gradient = (_spread_out(part, rows, len(x)) for part in (seen_gradient, gradient))
        found = attend_backward(
            seen_gradient.view(len(x), -1, block.width),
            kept,
            place.groups,
            key_heads=key_heads,
            scale=block.scale,
        )
        queries, keys = _rotated(found[0], place, -1.0), _rotated(found[1], place, -1.0)
        parts = [part.reshape(len(x), -1) for part in (queries, keys, found[2])]
        ctx.attention = None
        if not ctx.needs_input_grad[0]:
            _, in_found = block.into_attention.parameter_gradients(parts, normed, inner)
            return None, None, None, None, *in_found, *out_found, *up_found, *down_found
        normed_gradient, in_found = block.into_attention.backward(parts, normed, inner)
        gradient = _norm_backward(normed_gradient, x, normed, spread, block.first_norm).add_(gradient)
        return gradient, None, None, None, *in_found, *out_found, *up_found, *down_found


class _Norm(torch.autograd.Function):
    """The last norm, its weight frozen."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, norm: Any) -> torch.Tensor:  # noqa: ANN401
        normed, spread = _normed(x, norm)
        ctx.kept, ctx.norm = (x, normed, spread), norm
        return normed

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:  # noqa: ANN401
        x, normed, spread = ctx.kept
        return _norm_backward(gradient, x, normed, spread, ctx.norm), None


def _normed(x: torch.Tensor, norm: Any) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: ANN401
    """Give w x / rms(x) and [T, 1] 1 / rms(x) in float32."""
    wide = x.float()
    spread = torch.rsqrt(wide.square().mean(-1, keepdim=True).add_(norm.variance_epsilon))
    return (wide * spread).to(x.dtype).mul_(norm.weight), spread


def _norm_backward(
    gradient: torch.Tensor,
    x: torch.Tensor,
    normed: torch.Tensor,
    spread: torch.Tensor,
    norm: Any,  # noqa: ANN401
) -> torch.Tensor:
    """Give the gradient of x: r (w g) - x r^2 mean(g normed), with r = 1 / rms(x)."""
    mean = (gradient * normed).sum(-1, keepdim=True, dtype=torch.float32).div_(x.shape[-1])
    wide: torch.Tensor = (gradient * norm.weight).float().mul_(spread)
    return wide.addcmul_(x.float(), mean.mul_(spread).mul_(spread), value=-1.0).to(x.dtype)


def _rotated(x: torch.Tensor, place: _Place, direction: float) -> torch.Tensor:
    """Rotate [T, heads, width] by position; `direction` -1.0 turns back."""
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    result = torch.empty_like(x)
    torch.mul(first, place.cosine, out=result[..., :half]).addcmul_(second, place.sine, value=-direction)
    torch.mul(second, place.cosine, out=result[..., half:]).addcmul_(first, place.sine, value=direction)
    return result


def _spread_out(x: torch.Tensor, rows: torch.Tensor, total: int) -> torch.Tensor:
    result = x.new_zeros(total, x.shape[1])
    result[rows] = x
    return result


def _adapter(module: torch.nn.Module) -> tuple[torch.nn.Parameter, torch.nn.Parameter, float] | None:
    """Give A [rank, in], B [out, rank] and scale of a LoRA layer."""
    if not isinstance(module, LoraLinear):
        return None
    lora: Any = module
    name = lora.active_adapters[0]
    return lora.lora_A[name].weight, lora.lora_B[name].weight, float(lora.scaling[name])


def _is_known(module: torch.nn.Module) -> bool:
    if type(module) is torch.nn.Linear:
        return True
    lora: Any = module
    return (
        type(module) is LoraLinear
        and type(lora.base_layer) is torch.nn.Linear
        and len(lora.active_adapters) == 1
        and not lora.merged
        and not lora.disable_adapters
        and not lora.lora_variant
        and not any(lora.lora_bias.values())
        and not any(getattr(one, "p", 0.0) for one in lora.lora_dropout.values())
    )
