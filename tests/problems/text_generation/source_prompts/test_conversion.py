"""What PEFT and caikit-nlp save becomes vectors of a source prompt."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime

import pytest
import torch
from peft import (
    LoraConfig,
    MultitaskPromptTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    get_peft_model,
    get_peft_model_state_dict,
)
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

import tiny_models
from gyropilot.errors import InvalidData
from gyropilot.problems.text_generation import models
from gyropilot.problems.text_generation.source_prompts import conversion, vectors
from gyropilot.problems.text_generation.tuning import peer_folder
from gyropilot.problems.text_generation.tuning.peer_folder import PeerFacts
from gyropilot.problems.text_generation.tuning.prompt_tuning import PromptTuning

LLAMA = {"vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
T5 = {"vocab_size": 61, "d_model": 32, "d_ff": 48, "num_layers": 2, "num_heads": 4, "d_kv": 8}


def saved(folder, config, *, seq2seq=False, safe=True):
    """Give what PEFT saved of an adapter, and its tensors."""
    base = T5ForConditionalGeneration(T5Config(**T5)) if seq2seq else LlamaForCausalLM(LlamaConfig(**LLAMA))
    tuned = get_peft_model(base, config)
    tuned.peft_config["default"].base_model_name_or_path = "org/model"
    # Left to "auto", peft asks the hub about the base model.
    tuned.save_pretrained(folder, safe_serialization=safe, save_embedding_layers=False)
    tensors = get_peft_model_state_dict(tuned, save_embedding_layers=False)
    return folder, {name: one.detach() for name, one in tensors.items()}


def multitask(**changes):
    values = {"task_type": "CAUSAL_LM", "num_virtual_tokens": 4, "num_tasks": 3, "num_ranks": 2}
    return MultitaskPromptTuningConfig(**(values | changes))


def converted(folder, tmp_path):
    to = tmp_path / "vectors.safetensors"
    told = conversion.convert({"folder": str(folder), "to": str(to)}, None)
    return told, load_file(to), to


@pytest.mark.parametrize("safe", [True, False])
def test_a_multitask_adapter_of_peft_keeps_every_number(tmp_path, safe):
    folder, tensors = saved(tmp_path / "adapter", multitask(), safe=safe)
    told, found, to = converted(folder, tmp_path)
    assert told == {
        "kind": "PEFT adapter of MULTITASK_PROMPT_TUNING",
        "submodules": 1,
        "tasks": 3,
        "base_model": "org/model",
    }
    assert found.keys() == tensors.keys() == {vectors.EMBEDDINGS, vectors.COLUMNS, vectors.ROWS}
    for name, one in tensors.items():
        torch.testing.assert_close(found[name], one, rtol=0, atol=0)
    shape = vectors.check(to, submodules=1, tasks=("a", "b", "c"))
    assert (shape.rows, shape.width, shape.ranks) == (4, 32, 2)


def test_two_sides_of_an_encoder_decoder_model_are_told(tmp_path):
    config = multitask(task_type="SEQ_2_SEQ_LM", num_transformer_submodules=2)
    told, found, to = converted(saved(tmp_path / "adapter", config, seq2seq=True)[0], tmp_path)
    assert (told["submodules"], tuple(found[vectors.EMBEDDINGS].shape)) == (2, (8, 32))
    assert vectors.check(to, submodules=2, tasks=("a", "b", "c")).rows == 4


@pytest.mark.parametrize("kind", [PromptTuningConfig, PromptEncoderConfig])
def test_of_two_sides_that_peft_made_the_one_is_taken_that_it_trains(tmp_path, kind):
    config = kind(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=4)
    folder, tensors = saved(tmp_path / "adapter", config, seq2seq=True)
    assert json.loads((folder / "adapter_config.json").read_text())["num_transformer_submodules"] == 2
    told, found, _ = converted(folder, tmp_path)
    assert told["submodules"] == 1
    torch.testing.assert_close(found[vectors.EMBEDDINGS], tensors[vectors.EMBEDDINGS][:4], rtol=0, atol=0)


@pytest.mark.parametrize("sides", [("DECODER",), ("ENCODER", "DECODER")], ids="+".join)
def test_an_adapter_of_ours_keeps_the_sides_that_peft_has_no_place_for(tmp_path, sides):
    base = models.load(tiny_models.make("t5", tmp_path / "t5"), dtype="float32", attention="sdpa")
    method = PromptTuning(num_virtual_tokens=4, output_model_types=sides)
    tuned = method.attach(base, seed=1)
    method.save(tuned, tmp_path / "job" / "adapter")
    told, found, _ = converted(tmp_path / "job", tmp_path)
    assert told["submodules"] == len(sides)
    assert torch.equal(found[vectors.EMBEDDINGS], tuned.prompt.embedding.weight)


@pytest.mark.parametrize("kind", [PromptTuningConfig, PromptEncoderConfig])
def test_an_adapter_without_tasks_gives_a_bare_vector(tmp_path, kind):
    folder, _ = saved(tmp_path / "adapter", kind(task_type="CAUSAL_LM", num_virtual_tokens=4))
    told, found, _ = converted(folder, tmp_path)
    assert (told["tasks"], list(found)) == (0, [vectors.EMBEDDINGS])


def test_the_adapter_of_a_jobs_output_is_found(tmp_path):
    _, tensors = saved(tmp_path / "job" / "adapter", multitask())
    told, found, _ = converted(tmp_path / "job", tmp_path)
    assert told["tasks"] == 3
    torch.testing.assert_close(found[vectors.ROWS], tensors[vectors.ROWS], rtol=0, atol=0)


def test_the_sides_of_the_peers_folder_stand_one_after_the_other(tmp_path):
    facts = PeerFacts(
        base_model_name="Tiny",
        base_model_config={},
        eos_token="</s>",
        task_type="SEQ_2_SEQ_LM",
        tuning_type="PROMPT_TUNING",
        trained_torch_dtype="float32",
        verbalizer="{{input}}",
    )
    rows = {"DECODER": torch.randn(4, 8), "ENCODER": torch.randn(4, 8)}
    folder = tmp_path / "caikit"
    peer_folder.write(folder, rows=rows, facts=facts, records=[], ended_at=datetime.now(tz=UTC))
    told, found, _ = converted(folder, tmp_path)
    assert (told["submodules"], told["tasks"], told["base_model"]) == (2, 0, "Tiny")
    torch.testing.assert_close(found[vectors.EMBEDDINGS], torch.cat([rows["ENCODER"], rows["DECODER"]]))


class _Runs:
    def __reduce__(self):
        return print, ("code of the file ran",)


def _without(name):
    def spoil(folder):
        tensors = load_file(folder / "adapter_model.safetensors")
        del tensors[name]
        save_file(tensors, folder / "adapter_model.safetensors")

    return spoil


def _pickled(folder):
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(_Runs(), protocol=2))


def _of_more_than_tensors(folder):
    (folder / "adapter_model.safetensors").unlink()
    torch.save({vectors.EMBEDDINGS: torch.ones(1).expand(2**15, 2**15)}, folder / "adapter_model.bin")


def _behind_a_link(folder):
    (folder / "adapter_model.safetensors").rename(folder / "elsewhere")
    (folder / "adapter_model.safetensors").symlink_to(folder / "elsewhere")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "adapter_model.safetensors").unlink(), "adapter_model.safetensors: is not there"),
        (
            lambda f: (f / "adapter_model.safetensors").write_bytes(b"x" * 40),
            "file is damaged",
        ),
        (_without(vectors.COLUMNS), "lacks prefix_task_cols"),
        (_pickled, "adapter_model.bin: cannot be read as tensors"),
        (_of_more_than_tensors, "its tensors are larger than 1073741824 bytes"),
        (_behind_a_link, "is not there, a link"),
        (lambda f: (f / "adapter_config.json").write_text("{"), "adapter_config.json: is not JSON"),
        (lambda f: (f / "adapter_config.json").write_text("[]"), "adapter_config.json: is no JSON object"),
        (lambda f: (f / "adapter_config.json").write_text(json.dumps({"peft_type": "IA3"})), "no adapter of virtual"),
    ],
)
def test_an_adapter_that_is_not_as_it_should_be_is_told_by_its_file(tmp_path, spoil, said, capfd):
    folder, _ = saved(tmp_path / "adapter", multitask())
    spoil(folder)
    with pytest.raises(InvalidData) as caught:
        converted(folder, tmp_path)
    assert said in str(caught.value)
    assert "code of the file ran" not in capfd.readouterr().out


def test_another_adapter_and_an_empty_folder_are_told_with_what_is_taken(tmp_path):
    folder, _ = saved(tmp_path / "lora", LoraConfig(task_type="CAUSAL_LM", r=2))
    with pytest.raises(InvalidData, match="MULTITASK_PROMPT_TUNING"):
        converted(folder, tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidData, match="is no folder with a prompt") as caught:
        converted(tmp_path / "empty", tmp_path)
    assert "config.yml" in str(caught.value)
