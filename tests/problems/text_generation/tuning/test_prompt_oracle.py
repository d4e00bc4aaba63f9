"""What stands before texts gives the loss and gradients of PEFT's own forward; PEFT loads what was saved of it."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from peft import PeftConfig, PeftModel, get_peft_model
from safetensors.torch import load_file

import tiny_models
from gyropilot.problems.text_generation import file_names, loop, models
from gyropilot.problems.text_generation.batches import Example
from gyropilot.problems.text_generation.crew import Crew
from gyropilot.problems.text_generation.layers import FusedForward, why_not
from gyropilot.problems.text_generation.models import trainable_parameters
from gyropilot.problems.text_generation.plain import PlainForward
from gyropilot.problems.text_generation.tuning import prompted
from gyropilot.problems.text_generation.tuning.multitask_prompt_tuning import MultitaskPromptTuning
from gyropilot.problems.text_generation.tuning.p_tuning import PTuning
from gyropilot.problems.text_generation.tuning.prefix_tuning import PrefixTuning
from gyropilot.problems.text_generation.tuning.prompt_tuning import PromptTuning

KINDS = ("llama-2 with shared keys", "gpt-neox", "falcon-7b", "falcon-40b", "falcon-rw", "mpt", "t5", "flan-t5")
METHODS = {
    "PROMPT_TUNING": PromptTuning(num_virtual_tokens=5),
    "MULTITASK_PROMPT_TUNING": MultitaskPromptTuning(num_virtual_tokens=5, tasks=3, ranks=2),
    "P_TUNING": PTuning(num_virtual_tokens=5),
    "PREFIX_TUNING": PrefixTuning(num_virtual_tokens=5),
}
BOTH_SIDES = MultitaskPromptTuning(num_virtual_tokens=5, tasks=2, output_model_types=("ENCODER", "DECODER"))
FORMS = [
    pytest.param(kind, method, id=f"{name} on {kind}")
    for kind in KINDS
    for name, method in METHODS.items()
    if not (name == "PREFIX_TUNING" and "t5" in kind)
] + [pytest.param("t5", BOTH_SIDES, id="both sides of t5")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root, made = tmp_path_factory.mktemp("models"), {}

    def give(kind):
        if kind not in made:
            made[kind] = tiny_models.make(kind, root / kind)
        return made[kind]

    return give


def rows(tasks, count=7):
    draw = np.random.default_rng(3)
    return [
        Example(
            prompt_ids=np.concatenate([[5, 6, 7], draw.integers(3, 300, int(draw.integers(1, 20)))]),
            answer_ids=np.append(draw.integers(0, 300, int(draw.integers(0, 12))), 2),
            row=row,
            task=row % tasks,
        )
        for row in range(count)
    ]


def tuned(folder, method):
    """The model with rows that are away from their beginning, where some of a product's parts are zero."""
    model = method.attach(models.load(folder, dtype="float32", attention="sdpa"), seed=5)
    torch.manual_seed(1)
    for one in trainable_parameters(model).values():
        one.data += 0.1 * torch.randn_like(one)
    return model


def config_of(method, folder, model, tmp_path):
    """PEFT's config as it was saved, ready to be trained."""
    method.save(model, tmp_path)
    config = PeftConfig.from_pretrained(str(tmp_path))
    config.inference_mode = False
    return config


def loss_of(peft_model, one):
    """Summed loss of one row by PEFT's forward."""
    prompt, answer = (torch.from_numpy(part.astype(np.int64))[None] for part in (one.prompt_ids, one.answer_ids))
    task = {"task_ids": torch.tensor([one.task])} if "MULTITASK" in str(peft_model.active_peft_config.peft_type) else {}
    if peft_model.config.is_encoder_decoder:
        return peft_model(input_ids=prompt, attention_mask=prompt * 0 + 1, labels=answer, **task).loss * answer.numel()
    ids = torch.cat((prompt, answer), dim=1)
    labels = torch.cat((torch.full_like(prompt, -100), answer), dim=1)
    return peft_model(input_ids=ids, attention_mask=ids * 0 + 1, labels=labels, **task).loss * answer.numel()


def measured(way, model, examples):
    with Crew(way, threads=1) as crew:
        packs = crew.packs(examples, max_tokens=10_000, max_examples=99)
        total = crew.add_gradients(packs, list(trainable_parameters(model).values()))
    found = {name.removeprefix("prompt."): one.grad for name, one in trainable_parameters(model).items()}
    for one in trainable_parameters(model).values():
        one.grad = None
    return total, found


def assert_same(found, wanted, tolerance=1e-4):
    assert found[0] == pytest.approx(wanted[0], rel=1e-5)
    assert found[1].keys() == wanted[1].keys()
    for name, gradient in wanted[1].items():
        assert float(gradient.norm()) > 1e-4, name
        assert float((found[1][name] - gradient).norm()) <= tolerance * float(gradient.norm()), name


@pytest.mark.parametrize(("kind", "method"), FORMS)
def test_loss_and_gradients_are_those_of_peft(folder, kind, method, tmp_path):
    model = tuned(folder(kind), method)
    examples = rows(model.virtual_tokens.tasks)
    config = config_of(method, folder(kind), model, tmp_path)
    oracle = get_peft_model(models.load(folder(kind), dtype="float32", attention="sdpa").model, config).eval()
    encoder = oracle.prompt_encoder["default"]
    encoder.load_state_dict(model.prompt.state_dict())
    total = sum(loss_of(oracle, one) for one in examples)
    total.backward()
    wanted = float(total.detach()), {name: one.grad for name, one in encoder.named_parameters()}
    assert_same(measured(PlainForward(model), model, examples), wanted)
    if not why_not(model):
        assert_same(measured(FusedForward(model), model, examples), wanted)


@pytest.mark.parametrize(("kind", "method"), FORMS)
def test_peft_loads_what_was_saved_and_says_the_same(folder, kind, method, tmp_path):
    model = tuned(folder(kind), method)
    examples = rows(model.virtual_tokens.tasks)
    method.save(model, tmp_path)
    again = PeftModel.from_pretrained(models.load(folder(kind), dtype="float32", attention="sdpa").model, tmp_path)
    with torch.no_grad():
        wanted = sum(float(loss_of(again, one)) for one in examples)
    assert measured(PlainForward(model), model, examples)[0] == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("sides", [("DECODER",), ("ENCODER", "DECODER")], ids="+".join)
@pytest.mark.parametrize("kind", [PromptTuning, PTuning, MultitaskPromptTuning])
def test_peft_loads_nothing_that_it_would_put_elsewhere(folder, kind, sides, tmp_path):
    method = kind(num_virtual_tokens=5, output_model_types=sides)
    method.save(tuned(folder("t5"), method), tmp_path)
    has_place = kind is MultitaskPromptTuning and len(sides) == 2
    names = {"adapter_config.json", "adapter_model.safetensors"}
    own = {"gyropilot-adapter.json", "gyropilot-adapter.safetensors"}
    assert {one.name for one in tmp_path.iterdir()} - {"README.md"} == (names if has_place else own) | {
        "prompt.safetensors"
    }
    base = models.load(folder("t5"), dtype="float32", attention="sdpa").model
    with contextlib.nullcontext() if has_place else pytest.raises(ValueError, match=r"adapter_config\.json"):
        PeftModel.from_pretrained(base, tmp_path)


@pytest.mark.parametrize(("kind", "method"), FORMS)
def test_the_served_file_holds_what_stands_before_the_text(folder, kind, method, tmp_path):
    model = tuned(folder(kind), method)
    method.save(model, tmp_path)
    is_prefix = isinstance(method, PrefixTuning)
    served = load_file(tmp_path / (file_names.PREFIX if is_prefix else file_names.PROMPT))
    names = {"keys", "values"} if is_prefix else {"encoder"} if "t5" in kind else {"decoder"}
    if method is BOTH_SIDES:
        names = {"encoder", "decoder"}
    tasks = model.virtual_tokens.tasks
    assert served.keys() == names | {f"{name}.{task}" for name in names for task in range(1, tasks)}
    for task in range(tasks):
        for name, one in prompted.effective(model, task).items():
            assert torch.equal(served[f"{name}.{task}" if task else name], one)
            assert one.dtype == torch.float32
            assert is_prefix or one.shape == (5, 32)


@pytest.mark.parametrize("kind", ["falcon-rw", "mpt", "t5"])
def test_models_that_are_not_packed_learn_too(tiny, folder, kind, tmp_path):
    method = MultitaskPromptTuning(num_virtual_tokens=6, tasks=2, output_model_types=("ENCODER", "DECODER"))
    model = method.attach(models.load(folder(kind), dtype="float32", attention="sdpa"), seed=5)
    before = [prompted.effective(model, task) for task in range(2)]
    outcome = loop.train(
        model,
        rows(2, count=16),
        tiny.plan(epochs=12, learning_rate=0.05),
        checkpoints=tmp_path,
        reporter=tiny.listener(),
        deadline=None,
        checkpoint_seconds=1e9,
        on_step=lambda record: None,
    )
    assert outcome.forward == "plain"
    assert sum(outcome.losses[-2:]) < sum(outcome.losses[:2]) - 0.2
    for task in range(2):
        after = prompted.effective(model, task)
        assert all(float((after[side] - before[task][side]).norm()) > 0.1 for side in after)
    assert not torch.equal(prompted.effective(model, 0)["decoder"], prompted.effective(model, 1)["decoder"])
