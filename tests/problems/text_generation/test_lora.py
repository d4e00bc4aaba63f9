import json

import pytest
import torch
from peft import PeftModel

from gyropilot.problems.text_generation.evaluate import evaluate_loss
from gyropilot.problems.text_generation.models import trainable_parameters
from gyropilot.problems.text_generation.tuning.lora import Lora, fingerprint


def shaken(model):
    torch.manual_seed(1)
    for one in trainable_parameters(model).values():
        one.data += 0.1 * torch.randn_like(one)
    return model


def test_adapters_stand_on_every_linear_layer_of_the_blocks_and_nowhere_else(tiny, kind):
    loaded = tiny.loaded(kind)
    names = trainable_parameters(Lora().attach(loaded, seed=1))
    layers = {name.rsplit(".", 4)[1] for name in names}
    assert layers == set(loaded.architecture.linear_layers)
    assert len(names) == 2 * 2 * len(loaded.architecture.linear_layers)
    assert not any("lm_head" in name or "embed" in name for name in names)


def test_the_seed_reaches_the_adapter_and_the_base_is_unchanged_at_first(tiny, kind):
    marks = []
    for seed in (1, 1, 2):
        torch.rand(5)
        marks.append(fingerprint(Lora().attach(tiny.loaded(kind), seed=seed)))
    assert marks[0] == marks[1] != marks[2]
    examples, plan = tiny.examples(4), tiny.plan()
    base = evaluate_loss(tiny.loaded(kind).model, examples, plan)
    tuned = evaluate_loss(Lora().attach(tiny.loaded(kind), seed=1), examples, plan)
    assert tuned.loss_sum == pytest.approx(base.loss_sum, rel=1e-6)


def test_adapters_are_float32_over_a_bfloat16_base(tiny):
    loaded = tiny.loaded("llama")
    loaded.model.to(torch.bfloat16)
    model = Lora().attach(loaded, seed=1)
    assert {one.dtype for one in trainable_parameters(model).values()} == {torch.float32}
    assert {one.dtype for one in model.parameters() if not one.requires_grad} == {torch.bfloat16}


def test_merged_equals_adapted_and_has_the_base_s_shape(tiny, kind):
    examples, plan = tiny.examples(4), tiny.plan()
    lora = Lora(rank=4, alpha=8)
    model = shaken(lora.attach(tiny.loaded(kind), seed=1))
    adapted = evaluate_loss(model, examples, plan)
    merged = lora.merge(model, dtype="float32")
    assert merged.state_dict().keys() == tiny.loaded(kind).model.state_dict().keys()
    assert evaluate_loss(merged, examples, plan).loss_sum == pytest.approx(adapted.loss_sum, rel=1e-5)


def test_a_saved_adapter_loads_in_peft_and_says_the_same(tiny, kind, tmp_path):
    examples, plan = tiny.examples(4), tiny.plan()
    lora = Lora(rank=4, alpha=8)
    model = shaken(lora.attach(tiny.loaded(kind), seed=1))
    lora.save(model, tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["r"] == 4
    assert not list(tmp_path.glob("*.bin"))
    again = PeftModel.from_pretrained(tiny.loaded(kind).model, str(tmp_path))
    wanted = evaluate_loss(model, examples, plan).loss_sum
    assert evaluate_loss(again, examples, plan).loss_sum == pytest.approx(wanted, rel=1e-6)
