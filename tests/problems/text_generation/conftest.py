"""Tiny random models and examples for the loop's tests: 2 layers of width 64, float32, the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

import served_models
from gyropilot.problems.text_generation.batches import Example
from gyropilot.problems.text_generation.loop import TrainPlan
from gyropilot.problems.text_generation.models import LoadedModel, find_architecture

VOCABULARY = 256


def make_loaded(kind: str, *, seed: int = 0, **config) -> LoadedModel:
    torch.manual_seed(seed)
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"max_position_embeddings": 256, "intermediate_size": 128, "initializer_range": 0.2}
    if kind == "llama":
        given = {"num_key_value_heads": 2, "tie_word_embeddings": True, **sizes, **config}
        model = LlamaForCausalLM._from_config(LlamaConfig(**given), attn_implementation="sdpa")
    else:
        model = GPTNeoXForCausalLM._from_config(GPTNeoXConfig(**sizes, **config), attn_implementation="sdpa")
    model.requires_grad_(False)
    model.eval()
    return LoadedModel(model=model, architecture=find_architecture(kind))


def make_examples(count: int, *, seed: int = 0, prefix: int = 5, longest: int = 12) -> list[Example]:
    """Rows with a common start of `prefix` tokens; eos and pad are both token 0, and 0 occurs inside answers too."""
    draw = np.random.default_rng(seed)
    start = draw.integers(1, VOCABULARY, prefix)
    return [
        Example(
            prompt_ids=np.concatenate([start, draw.integers(1, VOCABULARY, draw.integers(1, longest))]),
            answer_ids=np.append(draw.integers(0, VOCABULARY, draw.integers(0, longest)), 0),
            row=row,
        )
        for row in range(count)
    ]


def make_plan(**changes) -> TrainPlan:
    plan = {
        "epochs": 2,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "warmup_steps": 2,
        "seed": 7,
        "max_pack_tokens": 128,
        "micro_batch": 64,
        "dtype": "float32",
        "threads": 1,
        "weight_decay": 0.0,
        "grad_clip": 1.0,
        "schedule": "cosine",
    }
    return TrainPlan(**(plan | changes))


class Listener:
    """A reporter that keeps what it hears, and asks to stop after `stop_after` progress reports."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.progressed: list[dict] = []
        self.events: list[tuple[str, str]] = []
        self._stop_after = stop_after

    def progress(self, phase, *, done, total, unit, values=None) -> None:
        self.progressed.append({"phase": phase, "done": done, "total": total, "unit": unit, **(values or {})})

    def event(self, kind, message, *, detail=None) -> None:
        self.events.append((kind, message))

    def hand_back_requested(self) -> bool:
        return False

    def stop_requested(self) -> bool:
        return self._stop_after is not None and len(self.progressed) >= self._stop_after


@pytest.fixture
def tiny() -> SimpleNamespace:
    return SimpleNamespace(
        loaded=make_loaded, examples=make_examples, plan=make_plan, listener=Listener, vocabulary=VOCABULARY
    )


@pytest.fixture(params=["llama", "gpt_neox"])
def kind(request) -> str:
    return request.param


@pytest.fixture
def gradients() -> Callable[[torch.nn.Module], dict[str, torch.Tensor]]:
    def of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
        return {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}

    return of


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tuned(tmp_path_factory):
    """A tiny model tuned on colours: its job and what it left."""
    return served_models.train_tiny(tmp_path_factory.mktemp("tuned"))


@pytest.fixture(scope="session")
def served(tuned, tmp_path_factory):
    """The tuned model as it is deployed: its adapter beside its base."""
    folder = served_models.unpacked(tuned.output, tmp_path_factory.mktemp("served") / "model")
    with served_models.serving(folder, base_models=tuned.base_models) as model:
        yield model
