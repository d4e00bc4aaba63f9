"""The fast way must say what the model's own code says: loss and every gradient, for each form it supports."""

import numpy as np
import pytest
import torch

from gyropilot.problems.text_generation import attention, batches, forward
from gyropilot.problems.text_generation.evaluate import evaluate_loss
from gyropilot.problems.text_generation.layers import FusedForward, why_not
from gyropilot.problems.text_generation.models import LoadedModel, trainable_parameters
from gyropilot.problems.text_generation.plain import PlainForward
from gyropilot.problems.text_generation.tuning.lora import Lora
from gyropilot.problems.text_generation.tuning.multitask_prompt_tuning import MultitaskPromptTuning
from gyropilot.problems.text_generation.tuning.p_tuning import PTuning
from gyropilot.problems.text_generation.tuning.prefix_tuning import PrefixTuning
from gyropilot.problems.text_generation.tuning.prompt_tuning import PromptTuning


def tuned(tiny, lora=None, **config):
    model = (lora or Lora(rank=4, alpha=8)).attach(tiny.loaded("llama", **config), seed=5)
    for name, one in trainable_parameters(model).items():
        torch.manual_seed(len(name))
        one.data += 0.05 * torch.randn_like(one)
    return model


def measured(way, model, packs):
    total = 0.0
    for pack in packs:
        loss = way.loss_sum(pack)
        loss.backward()
        total += float(loss.detach())
    found = {name: one.grad.clone() for name, one in trainable_parameters(model).items()}
    model.zero_grad()
    return total, found


def assert_same(found, wanted, *, tolerance=1e-5):
    assert found[0] == pytest.approx(wanted[0], rel=1e-5)
    for name, gradient in wanted[1].items():
        assert float((found[1][name] - gradient).norm()) <= tolerance * float(gradient.norm()) + 1e-7, name


ROWS = {
    "a shared start": {"count": 9},
    "no shared start": {"count": 3, "prefix": 0},
    "one row": {"count": 1},
    "very unlike lengths": {"count": 7, "longest": 90},
}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS.keys())
def test_loss_and_gradients_equal_the_plain_ones(tiny, rows):
    model, pack = tuned(tiny), batches.pack(tiny.examples(**rows))
    assert_same(measured(FusedForward(model), model, [pack]), measured(PlainForward(model), model, [pack]))


def test_rows_longer_than_a_block_of_queries_are_cut_and_still_the_same(tiny, monkeypatch):
    monkeypatch.setattr(attention, "_BLOCK", 16)
    monkeypatch.setattr(attention, "_KEPT_SCORES", 500)
    model, pack = tuned(tiny), batches.pack(tiny.examples(6, prefix=20, longest=70))
    assert len(attention.groups_of(pack, dtype=torch.float32)) > 4
    assert_same(measured(FusedForward(model), model, [pack]), measured(PlainForward(model), model, [pack]))


FORMS = {
    "biases, as Qwen2 has": ({"attention_bias": True, "mlp_bias": True}, Lora(rank=4)),
    "as many key heads as heads": ({"num_key_value_heads": 4}, Lora(rank=4)),
    "heads of another width": ({"head_dim": 24}, Lora(rank=4)),
    "adapters on some layers": ({}, Lora(rank=3, targets=("q_proj", "v_proj", "down_proj"))),
    "a head of its own": ({"tie_word_embeddings": False}, Lora(rank=4)),
    "scaled positions": ({"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}}, Lora(rank=4)),
}


@pytest.mark.parametrize(("config", "lora"), FORMS.values(), ids=FORMS.keys())
def test_every_supported_form_equals_the_plain_way(tiny, config, lora):
    model = tuned(tiny, lora, **config)
    torch.manual_seed(3)
    for name, one in model.named_parameters():
        if "bias" in name or "norm" in name:
            one.data += 0.1 * torch.randn_like(one)
    assert why_not(model) == ""
    pack = batches.pack(tiny.examples(5))
    assert_same(measured(FusedForward(model), model, [pack]), measured(PlainForward(model), model, [pack]))


PROMPTS = (
    PromptTuning(num_virtual_tokens=7),
    MultitaskPromptTuning(num_virtual_tokens=7),
    PTuning(num_virtual_tokens=7),
)


@pytest.mark.parametrize("config", [config for config, _ in FORMS.values()], ids=FORMS.keys())
def test_trained_rows_before_the_text_equal_the_plain_way(tiny, config):
    for method in PROMPTS:
        model = method.attach(tiny.loaded("llama", **config), seed=5)
        assert why_not(model) == ""
        for rows in ROWS.values():
            pack = batches.pack(tiny.examples(**rows))
            found, wanted = (measured(way(model), model, [pack]) for way in (FusedForward, PlainForward))
            # The gradient of a task's columns is a sum over the width of what nearly cancels out.
            assert_same(found, wanted, tolerance=1e-4)


def test_more_rows_than_a_block_of_queries_equal_the_plain_way(tiny, monkeypatch):
    monkeypatch.setattr(attention, "_BLOCK", 16)
    model, pack = (
        PromptTuning(num_virtual_tokens=40).attach(tiny.loaded("llama"), seed=5),
        batches.pack(tiny.examples(6)),
    )
    assert_same(measured(FusedForward(model), model, [pack]), measured(PlainForward(model), model, [pack]))


def test_no_gradient_of_the_base_is_computed_for_rows(tiny):
    model = PromptTuning(num_virtual_tokens=7).attach(tiny.loaded("llama"), seed=5)
    FusedForward(model).loss_sum(batches.pack(tiny.examples(5))).backward()
    assert [name for name, one in model.named_parameters() if one.grad is not None] == ["prompt.embedding.weight"]


def test_rows_agree_within_the_rounding_of_bfloat16(tiny):
    loaded = tiny.loaded("llama")
    loaded.model.to(torch.bfloat16)
    model, pack = PromptTuning(num_virtual_tokens=7).attach(loaded, seed=5), batches.pack(tiny.examples(9))
    plain, fused = (measured(way(model), model, [pack]) for way in (PlainForward, FusedForward))
    assert fused[0] == pytest.approx(plain[0], rel=0.01)
    (wanted,), (found,) = plain[1].values(), fused[1].values()
    assert found.dtype == torch.float32
    assert float((found - wanted).norm()) < 0.05 * float(wanted.norm())


def test_rows_are_checked_in_loss_and_gradients_before_they_go_the_fast_way(tiny, monkeypatch):
    model = PromptTuning(num_virtual_tokens=7).attach(tiny.loaded("llama"), seed=5)
    assert forward.choose(model, tiny.examples(5), check="gradients", precision="float32")[1] == ""
    embedded = FusedForward._embedded
    monkeypatch.setattr(FusedForward, "_embedded", lambda way, pack: 1.01 * embedded(way, pack))
    way, reason = forward.choose(model, tiny.examples(5), check="gradients", precision="float32")
    assert way.name == "plain"
    assert "differs from the plain one" in reason


def test_rows_out_of_a_network_are_compared_as_rows_in_bfloat16(tiny):
    loaded = tiny.loaded("llama")
    loaded.model.to(torch.bfloat16)
    model = PTuning(num_virtual_tokens=20).attach(loaded, seed=5)
    tokens = model.virtual_tokens
    way, reason = forward.choose(model, tiny.examples(9), check="gradients", precision="bfloat16")
    assert (way.name, reason) == ("fused", "")
    assert model.virtual_tokens is tokens
    way.loss_sum(batches.pack(tiny.examples(9))).backward()
    assert all(one.grad is not None for one in trainable_parameters(model).values())


def test_a_fast_way_that_puts_texts_elsewhere_behind_rows_is_not_taken(tiny, monkeypatch):
    loaded = tiny.loaded("llama")
    loaded.model.to(torch.bfloat16)
    model = PromptTuning(num_virtual_tokens=20).attach(loaded, seed=5)
    monkeypatch.setattr("gyropilot.problems.text_generation.layers._rotated", lambda x, place, direction: x)
    way, reason = forward.choose(model, tiny.examples(9), check="gradients", precision="bfloat16")
    assert way.name == "plain"
    assert "differs from the plain one" in reason


def test_attention_prefixes_go_the_plain_way(tiny):
    model = PrefixTuning(num_virtual_tokens=7).attach(tiny.loaded("llama"), seed=5)
    way, reason = forward.choose(model, tiny.examples(5), check="gradients", precision="float32")
    assert (way.name, reason) == ("plain", "attention prefixes go the plain way")


def test_qwen2_and_mistral_equal_the_plain_way(tiny):
    from transformers import MistralConfig, MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM

    from gyropilot.problems.text_generation.models import find_architecture

    sizes = {"vocab_size": tiny.vocabulary, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"num_key_value_heads": 2, "intermediate_size": 96, "initializer_range": 0.2}
    for kind, config, made in (
        ("qwen2", Qwen2Config(**sizes), Qwen2ForCausalLM),
        ("mistral", MistralConfig(**sizes), MistralForCausalLM),
    ):
        base = made._from_config(config, attn_implementation="sdpa").requires_grad_(False).eval()
        loaded = LoadedModel(model=base, architecture=find_architecture(kind))
        model, pack = Lora(rank=4).attach(loaded, seed=1), batches.pack(tiny.examples(5))
        way, reason = forward.choose(model, tiny.examples(5), check="gradients", precision="float32")
        assert (way.name, reason) == ("fused", "")
        assert_same(measured(way, model, [pack]), measured(PlainForward(model), model, [pack]))


def test_bfloat16_agrees_within_its_rounding(tiny):
    loaded = tiny.loaded("llama")
    loaded.model.to(torch.bfloat16)
    model, pack = Lora(rank=4).attach(loaded, seed=5), batches.pack(tiny.examples(9))
    with forward._shaken(model):
        parameters = trainable_parameters(model)
        plain = forward._measured(PlainForward(model), parameters, [pack])
        fused = forward._measured(FusedForward(model), parameters, [pack])
    assert forward._difference(fused, plain, len(pack.labels)) < 0.04
    assert {one.dtype for name, one in fused.items()} == {torch.float32}


def test_the_way_is_chosen_by_ability_and_checked_on_the_first_rows(tiny):
    examples = tiny.examples(5)
    assert forward.choose(tuned(tiny), examples, check="gradients", precision="float32")[0].name == "fused"
    assert (
        forward.choose(tiny.loaded("llama").model, examples, check="gradients", precision="float32")[0].name == "fused"
    )
    with_dropout = Lora(rank=4, dropout=0.1).attach(tiny.loaded("llama"), seed=1)
    way, reason = forward.choose(with_dropout, examples, check="gradients", precision="float32")
    assert way.name == "plain"
    assert "no plain or LoRA layer" in reason
    neox = Lora(rank=4).attach(tiny.loaded("gpt_neox"), seed=1)
    assert (
        forward.choose(neox, examples, check="gradients", precision="float32")[1]
        == "models of type gpt_neox go the plain way"
    )


def test_a_fast_way_that_differs_is_not_taken(tiny, monkeypatch):
    monkeypatch.setattr("gyropilot.problems.text_generation.layers._rotated", lambda x, place, direction: x)
    way, reason = forward.choose(tuned(tiny), tiny.examples(5), check="gradients", precision="float32")
    assert way.name == "plain"
    assert "differs from the plain one" in reason


def test_a_model_whose_packed_rows_differ_is_refused(tiny, monkeypatch):
    model = Lora(rank=4).attach(tiny.loaded("gpt_neox"), seed=1)
    monkeypatch.setattr(batches.Pack, "visible", lambda pack: np.tril(np.ones((pack.tokens, pack.tokens), dtype=bool)))
    with pytest.raises(ValueError, match="packed rows differ from single ones"):
        forward.choose(model, tiny.examples(5), check="gradients", precision="float32")


def test_choosing_leaves_model_and_random_generator_as_they_were(tiny):
    model = tuned(tiny)
    before = {name: one.detach().clone() for name, one in trainable_parameters(model).items()}
    state = torch.get_rng_state()
    forward.choose(model, tiny.examples(5), check="gradients", precision="float32")
    assert torch.equal(torch.get_rng_state(), state)
    for name, one in trainable_parameters(model).items():
        assert torch.equal(one, before[name])
        assert one.grad is None


def test_adapters_are_taken_over_after_every_step(tiny):
    model, examples = tuned(tiny), tiny.examples(5)
    way = FusedForward(model)
    for one in trainable_parameters(model).values():
        one.data += 0.05
    way.refresh()
    with torch.no_grad():
        found = float(way.loss_sum(batches.pack(examples)))
    assert found == pytest.approx(evaluate_loss(model, examples, tiny.plan()).loss_sum, rel=1e-5)
    with torch.no_grad():
        assert found == pytest.approx(float(PlainForward(model).loss_sum(batches.pack(examples))), rel=1e-5)
