"""What stands before the text is trained, and nothing else; a run goes on bit for bit from where it was stopped."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from gyropilot.errors import TrainingFailed
from gyropilot.problems.text_generation import batches, loop
from gyropilot.problems.text_generation.evaluate import evaluate_loss
from gyropilot.problems.text_generation.models import LoadedModel, find_architecture, trainable_parameters
from gyropilot.problems.text_generation.plain import PlainForward
from gyropilot.problems.text_generation.tuning import prompted
from gyropilot.problems.text_generation.tuning.lora import fingerprint
from gyropilot.problems.text_generation.tuning.methods import method_of
from gyropilot.problems.text_generation.tuning.multitask_prompt_tuning import MultitaskPromptTuning
from gyropilot.problems.text_generation.tuning.p_tuning import PTuning
from gyropilot.problems.text_generation.tuning.prefix_tuning import PrefixTuning
from gyropilot.problems.text_generation.tuning.prompt_tuning import PromptTuning
from gyropilot.problems.text_generation.tuning.specification import VIRTUAL_TOKEN_TYPES, TuningSpec

METHODS = {
    "PROMPT_TUNING": PromptTuning(num_virtual_tokens=6),
    "MULTITASK_PROMPT_TUNING": MultitaskPromptTuning(num_virtual_tokens=6),
    "P_TUNING": PTuning(num_virtual_tokens=6),
    "PREFIX_TUNING": PrefixTuning(num_virtual_tokens=6),
}
each_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())


def train(tiny, folder, method, *, kind="llama", stop_after=None, **plan):
    # A prefix begins with what the base computes, whose last bits hang on the threads.
    torch.set_num_threads(tiny.plan(**plan).threads)
    model = method.attach(tiny.loaded(kind), seed=11)
    outcome = loop.train(
        model,
        tiny.examples(24),
        tiny.plan(**plan),
        checkpoints=folder,
        reporter=tiny.listener(stop_after=stop_after),
        deadline=None,
        checkpoint_seconds=1e9,
        on_step=lambda record: None,
    )
    return model, outcome


def tiny_t5():
    torch.manual_seed(0)
    sizes = {"vocab_size": 256, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
    config = T5Config(**sizes, decoder_start_token_id=0, pad_token_id=0, dropout_rate=0.0)
    model = T5ForConditionalGeneration(config).eval().requires_grad_(False)
    return LoadedModel(model=model, architecture=find_architecture("t5"))


@each_method
def test_the_loss_falls_and_the_base_stays_as_it_was(tiny, kind, method, tmp_path):
    model, outcome = train(tiny, tmp_path, method, kind=kind, epochs=10, learning_rate=0.03)
    assert all(name.startswith("prompt.") for name in trainable_parameters(model))
    is_fast = kind == "llama" and method.name != "PREFIX_TUNING"
    assert outcome.forward == ("fused" if is_fast else "plain")
    assert outcome.losses[-1] < outcome.losses[0] - 0.2
    wanted = tiny.loaded(kind).model.state_dict()
    assert all(torch.equal(one, wanted[name]) for name, one in model.base.state_dict().items())


@each_method
def test_a_run_that_was_stopped_goes_on_bit_for_bit(tiny, method, tmp_path):
    whole, outcome = train(tiny, tmp_path / "whole", method)
    train(tiny, tmp_path / "parts", method, stop_after=3)
    again, resumed = train(tiny, tmp_path / "parts", method)
    assert resumed.resumed_at == 3
    assert resumed.losses == outcome.losses
    wanted = trainable_parameters(whole)
    assert all(torch.equal(one, wanted[name]) for name, one in trainable_parameters(again).items())


@each_method
def test_the_seed_reaches_what_is_trained(tiny, method):
    marks = []
    for seed in (1, 1, 2):
        torch.rand(5)
        marks.append(fingerprint(method.attach(tiny.loaded("llama"), seed=seed)))
    assert marks[0] == marks[1] != marks[2]


@each_method
def test_what_is_trained_is_float32_over_a_bfloat16_base(tiny, method, tmp_path):
    loaded = tiny.loaded("llama")
    loaded.model.to(torch.bfloat16)
    model = method.attach(loaded, seed=1)
    assert {one.dtype for one in trainable_parameters(model).values()} == {torch.float32}
    outcome = loop.train(
        model,
        tiny.examples(24),
        tiny.plan(epochs=8, learning_rate=0.03, dtype="bfloat16"),
        checkpoints=tmp_path,
        reporter=tiny.listener(),
        deadline=None,
        checkpoint_seconds=1e9,
        on_step=lambda record: None,
    )
    assert outcome.losses[-1] < outcome.losses[0] - 0.1


@each_method
def test_evaluation_computes_what_stands_before_the_text_too(tiny, method):
    examples, model = tiny.examples(8), method.attach(tiny.loaded("llama"), seed=1)
    small = evaluate_loss(model, examples, tiny.plan(max_pack_tokens=24))
    large = evaluate_loss(model, examples, tiny.plan(max_pack_tokens=4096))
    assert small.loss_sum == pytest.approx(large.loss_sum, rel=1e-5)
    bare = evaluate_loss(model.base, examples, tiny.plan())
    assert abs(bare.loss_sum - large.loss_sum) > 1e-3 * bare.loss_sum


@each_method
def test_what_is_saved_names_no_place_on_this_machine(tiny, method, tmp_path):
    model = method.attach(tiny.loaded("llama"), seed=1)
    method.save(model, tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    for name in ("prompt_tuning_init_state_dict_path", "tokenizer_name_or_path", "tokenizer_kwargs"):
        assert not config.get(name)
    assert config.get("prompt_tuning_init", "RANDOM") == "RANDOM"
    assert config["inference_mode"] is True
    assert config["num_virtual_tokens"] == 6
    assert not list((tmp_path / "adapter").glob("*.bin"))


@pytest.mark.parametrize("sides", [("ENCODER",), ("DECODER",), ("ENCODER", "DECODER")], ids="+".join)
@pytest.mark.parametrize("name", ["PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING"])
def test_rows_stand_on_the_sides_that_were_asked_for(tiny, name, sides):
    spec = TuningSpec(tuning_type=name, num_virtual_tokens=5, output_model_types=sides)
    model = method_of(spec).attach(tiny_t5(), seed=1)
    one = tiny.examples(1)[0]
    rows = {side: part.requires_grad_() for side, part in prompted.effective(model, 0).items()}
    assert rows.keys() == {side.lower() for side in sides}
    base, embed = model.base, model.base.get_input_embeddings()
    read, answer = torch.from_numpy(one.prompt_ids)[None], torch.from_numpy(one.answer_ids)[None]
    written = torch.cat((torch.zeros(1, 1, dtype=torch.long), answer[:, :-1]), dim=1)
    asked, answered = embed(read), embed(written)
    if "encoder" in rows:
        asked = torch.cat((rows["encoder"][None], asked), dim=1)
    if "decoder" in rows:
        answered = torch.cat((rows["decoder"][None], answered), dim=1)
    logits = base(inputs_embeds=asked, decoder_inputs_embeds=answered).logits[0, -answer.shape[1] :]
    wanted = torch.nn.functional.cross_entropy(logits, answer[0], reduction="sum")
    wanted.backward()
    found = PlainForward(model).loss_sum(batches.pack([one]))
    assert float(found.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
    assert all(float(part.grad.norm()) > 1e-5 for part in rows.values())
    if name == "PROMPT_TUNING":
        found.backward()
        both = torch.cat([rows[side.lower()].grad for side in sides])
        torch.testing.assert_close(model.prompt.embedding.weight.grad, both, rtol=1e-4, atol=1e-6)


def test_prefix_tuning_is_for_causal_models():
    with pytest.raises(TrainingFailed, match="prefix tuning is for causal models"):
        PrefixTuning(num_virtual_tokens=3).attach(tiny_t5(), seed=1)


@pytest.mark.parametrize("name", VIRTUAL_TOKEN_TYPES)
def test_a_specification_becomes_its_method_without_the_place_of_a_source(name, tmp_path):
    spec = TuningSpec(tuning_type=name, num_virtual_tokens=7, prompt_ranks=3)
    method = method_of(spec, tasks=4, source=tmp_path)
    assert (method.name, method.merges, method.saves_adapter) == (name, False, True)
    settings = asdict(method)
    assert settings["num_virtual_tokens"] == 7
    assert str(tmp_path) not in json.dumps(settings)
    if name == "MULTITASK_PROMPT_TUNING":
        assert (settings["ranks"], settings["tasks"]) == (3, 4)
