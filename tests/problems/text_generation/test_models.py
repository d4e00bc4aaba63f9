import json

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from gyropilot.errors import TrainingFailed
from gyropilot.problems.text_generation import models
from gyropilot.problems.text_generation.architectures import check_config, find_architecture
from gyropilot.problems.text_generation.tuning.lora import Lora


@pytest.fixture
def folder(tiny, kind, tmp_path):
    tiny.loaded(kind).model.save_pretrained(tmp_path)
    words = WordLevel({f"w{number}": number for number in range(256)}, unk_token="w1")
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words), eos_token="w0").save_pretrained(tmp_path)
    return tmp_path


def change(folder, **values):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


def test_a_folder_loads_frozen_in_the_asked_precision(tiny, kind, folder):
    for dtype in ("float32", "bfloat16"):
        loaded = models.load(folder, dtype=dtype, attention="sdpa")
        assert {one.dtype for one in loaded.model.parameters()} == {models.DTYPES[dtype]}
        assert not any(one.requires_grad for one in loaded.model.parameters())
        assert not loaded.model.training
        assert loaded.architecture.model_type == kind
    wanted = tiny.loaded(kind).model.state_dict()
    found = models.load(folder, dtype="float32", attention="eager").model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


def test_body_and_head_are_found_with_and_without_adapter(tiny, kind):
    loaded = tiny.loaded(kind)
    body, head = models.body_of(loaded.model), models.head_of(loaded.model)
    assert head.weight.shape == (256, 64)
    model = Lora(rank=2).attach(loaded, seed=1)
    assert models.body_of(model) is body
    assert models.head_of(model) is head
    assert models.architecture_of(model).model_type == kind


def test_an_unknown_family_is_refused_by_name(folder):
    change(folder, model_type="mamba")
    with pytest.raises(TrainingFailed, match=r"'mamba' cannot be tuned yet; supported types: llama, .*gpt_neox"):
        models.load(folder, dtype="float32", attention="sdpa")


def test_weights_in_another_format_are_not_loaded(folder):
    for path in folder.glob("*.safetensors"):
        path.rename(path.with_suffix(".bin"))
    with pytest.raises(TrainingFailed, match=r"no \.safetensors file"):
        models.load(folder, dtype="float32", attention="sdpa")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"logit_scale": 0.5}, "logit_scale is 0.5"),
        ({"attn_config": {"alibi": False}}, "attn_config.alibi is False"),
        ({"attn_config": {"alibi": True, "qk_ln": True}}, "attn_config.qk_ln is True"),
    ],
)
def test_a_configuration_that_would_be_read_past_is_refused(changes, told):
    mpt = find_architecture("mpt")
    check_config(mpt, {"model_type": "mpt", "d_model": 64, "attn_config": {"alibi": True, "softmax_scale": None}})
    with pytest.raises(TrainingFailed, match=told):
        check_config(mpt, {"model_type": "mpt", **changes})
