"""Hostile folders: each trick that a published model can try ends in a refusal or is left behind."""

import json
import os
import pickle
import subprocess
import sys

import pytest

import model_folders as folders
from gyropilot.base_models.folder import copy_clean
from gyropilot.errors import InvalidData


@pytest.fixture
def source(tmp_path):
    return folders.make(tmp_path / "source")


@pytest.fixture
def target(tmp_path):
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def refused(source, target, *told):
    with pytest.raises(InvalidData) as caught:
        copy_clean(source, target)
    assert [part for part in told if part not in str(caught.value)] == [], str(caught.value)


class Canary:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_plain_folder_comes_through(source, target):
    copied = copy_clean(source, target)
    assert names(target) == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert copied.architecture.name == "LlamaForCausalLM"
    assert copied.parameters == sum(value.size for value in folders.weights().values())
    assert copied.max_positions == 64
    assert not copied.has_chat_template
    assert copied.left_out == ()
    assert (target / "model.safetensors").read_bytes() == (source / "model.safetensors").read_bytes()


def test_shards_come_through_with_their_index(tmp_path, target):
    source = folders.make_sharded(tmp_path / "sharded")
    copy_clean(source, target)
    assert {name for name in names(target) if "safetensors" in name} == {
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
    }


def test_code_pickles_and_foreign_weights_are_left_behind_and_said(source, target, tmp_path):
    canary = tmp_path / "canary"
    (source / "pytorch_model.bin").write_bytes(pickle.dumps(Canary(canary)))
    (source / "training_args.bin").write_bytes(pickle.dumps(Canary(canary)))
    (source / "modeling_evil.py").write_text(f"import os; os.mkdir({str(canary)!r})")
    (source / "tokenizer.model").write_bytes(b"\x00")
    (source / "README.md").write_text("hello")
    (source / "other.safetensors").write_bytes(b"lies")
    (source / "sub").mkdir()
    (source / "sub" / "config.json").write_text("{}")
    left_out = copy_clean(source, target).left_out
    assert names(target) == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert "pytorch_model.bin: a pickle can run code when it is read" in left_out
    assert "modeling_evil.py: a model brings no code here" in left_out
    assert {line.split(":")[0] for line in left_out} >= {"training_args.bin", "tokenizer.model", "README.md"}
    assert not canary.exists()


def test_configuration_keys_that_load_code_are_dropped(tmp_path, target):
    evil = {
        "auto_map": {"AutoModelForCausalLM": "modeling_evil.Evil", "AutoConfig": "evil/repo--configuration.Evil"},
        "trust_remote_code": True,
        "attn_implementation": "evil/kernel",
        "_attn_implementation": "kernels-community/evil",
        "_attn_implementation_internal": "x",
        "use_kernels": True,
        "custom_pipelines": {"x": {"impl": "evil.py"}},
        "architectures": ["EvilForCausalLM"],
        "_name_or_path": "/etc/passwd",
        "base_model_tp_plan": {"x": "y"},
    }
    tokenizer_config = {
        "auto_map": {"AutoTokenizer": ["evil.Evil", None]},
        "tokenizer_class": "EvilTokenizer",
        "trust_remote_code": True,
        "tokenizer_file": "/etc/passwd",
        "vocab_file": "../../x",
        "name_or_path": "evil/repo",
        "processor_class": "Evil",
    }
    source = folders.make(tmp_path / "evil", config=evil, tokenizer_config=tokenizer_config)
    left_out = copy_clean(source, target).left_out
    config = json.loads((target / "config.json").read_text())
    assert not set(evil) & set(config) - {"architectures"}
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert json.loads((target / "tokenizer_config.json").read_text()) == {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "</s>",
        "padding_side": "right",
    }
    assert "config.json: key auto_map: not among the keys that are kept" in left_out


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"model_type": "evil"}, ["model_type", "'evil'", "llama, mistral"]),
        ({"model_type": ["llama"]}, ["model_type"]),
        ({"quantization_config": {"quant_method": "gptq"}}, ["quantised"]),
        ({"hidden_act": "__import__('os')"}, ["hidden_act", "no plain"]),
        ({"hidden_size": 2**70}, ["hidden_size"]),
        ({"hidden_size": {"a": 1}}, ["hidden_size"]),
        ({"rope_parameters": {"rope_type": "../x"}}, ["rope_parameters.rope_type"]),
        ({"vocab_size": 4}, ["tokenizer.json", "8 tokens", "the 4 that the model knows"]),
    ],
)
def test_a_configuration_that_cannot_be_used_says_why(tmp_path, target, config, told):
    refused(folders.make(tmp_path / "bad", config=config), target, *told)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("config.json", None, ["holds no config.json"]),
        ("config.json", b"{", ["config.json", "not JSON"]),
        ("config.json", b'{"model_type":"llama","model_type":"x"}', ["config.json", "not JSON"]),
        ("config.json", b"[1]", ["config.json", "no JSON object"]),
        ("config.json", b"\xff\xfe", ["config.json", "not JSON"]),
        ("config.json", b"[" * 200_000, ["config.json", "not JSON"]),
        ("tokenizer.json", None, ["no tokenizer.json", "save_pretrained"]),
        ("tokenizer.json", b"{}", ["tokenizer.json", "no fast tokenizer"]),
        ("tokenizer_config.json", b'{"eos_token": 3}', ["eos_token", "no token text"]),
        ("chat_template.jinja", b"\xff", ["chat template", "UTF-8"]),
        ("chat_template.jinja", b"x" * 300_000, ["chat template", "characters"]),
        ("generation_config.json", b'{"eos_token_id": {"a": 1}}', ["generation_config.json: eos_token_id"]),
        ("model.safetensors", None, ["neither model.safetensors nor"]),
        ("model.safetensors", b"\x80\x04pickle", ["model.safetensors", "damaged or forged"]),
        ("model.safetensors.index.json", b'{"weight_map": {"a": "../model.safetensors"}}', ["not in the folder"]),
        ("model.safetensors.index.json", b'{"weight_map": {"a": "/etc/passwd"}}', ["not in the folder"]),
        ("model.safetensors.index.json", b'{"weight_map": {"a": "config.json"}}', ["not in the folder"]),
        ("model.safetensors.index.json", b'{"weight_map": {"a": "model.safetensors"}}', ["other tensors than"]),
        ("model.safetensors.index.json", b"{}", ["weight_map"]),
    ],
)
def test_a_bad_file_is_named_with_the_mend(source, target, name, content, told):
    (source / name).unlink(missing_ok=True)
    if content is not None:
        (source / name).write_bytes(content)
    refused(source, target, *told)


def test_weights_that_are_only_pickles_are_refused(source, target):
    (source / "model.safetensors").rename(source / "pytorch_model.bin")
    refused(source, target, "only as pickle files", "safetensors format")


def test_an_adapter_is_no_model(source, target):
    (source / "model.safetensors").rename(source / "adapter_model.safetensors")
    refused(source, target, "an adapter, not a model")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"])
def test_a_link_out_of_the_folder_is_refused(source, target, tmp_path, name):
    secret = tmp_path / "secret"
    secret.write_text("{}")
    (source / name).unlink(missing_ok=True)
    (source / name).symlink_to(secret)
    refused(source, target, name, "leads out of the folder")


def test_a_pipe_does_not_hang_the_copy(source, target):
    (source / "tokenizer.json").unlink()
    os.mkfifo(source / "tokenizer.json")
    refused(source, target, "no regular file")


def test_the_hub_cache_with_its_links_can_be_added(tmp_path, target):
    blobs, snapshot = tmp_path / "models--a--b" / "blobs", tmp_path / "models--a--b" / "snapshots" / "abc"
    plain = folders.make(tmp_path / "plain")
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(plain.iterdir())):
        path.rename(blobs / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    copy_clean(snapshot, target)
    assert not any(path.is_symlink() for path in target.iterdir())
    assert len(names(target)) == 4


def test_a_template_is_carried_as_text_and_rendered_nowhere(source, target, tmp_path):
    evil = "{{ cycler.__init__.__globals__.os.mkdir('" + str(tmp_path / "canary") + "') }}"
    folders.write(source / "tokenizer_config.json", {"eos_token": "</s>", "chat_template": evil})
    assert copy_clean(source, target).has_chat_template
    assert (target / "chat_template.jinja").read_text() == evil
    assert "chat_template" not in json.loads((target / "tokenizer_config.json").read_text())
    assert not (tmp_path / "canary").exists()


def test_of_several_templates_the_default_one_is_taken(source, target):
    several = [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]
    folders.write(source / "tokenizer_config.json", {"chat_template": several})
    copy_clean(source, target)
    assert (target / "chat_template.jinja").read_text() == "D"


def test_special_tokens_come_from_either_file(source, target):
    folders.write(source / "tokenizer_config.json", {"eos_token": {"__type": "AddedToken", "content": "</s>"}})
    folders.write(source / "special_tokens_map.json", {"eos_token": "b", "unk_token": {"content": "<unk>"}})
    copy_clean(source, target)
    settings = json.loads((target / "tokenizer_config.json").read_text())
    assert (settings["eos_token"], settings["unk_token"]) == ("</s>", "<unk>")


@pytest.mark.slow
def test_a_hostile_folder_loads_without_running_its_code(tmp_path, target):
    """transformers itself loads the copy, asked even to trust remote code."""
    canary = tmp_path / "canary"
    evil = {"auto_map": {"AutoModelForCausalLM": "modeling_evil.Evil", "AutoConfig": "modeling_evil.Evil"}}
    source = folders.make(
        tmp_path / "evil", config=evil, tokenizer_config={"auto_map": {"AutoTokenizer": ["e.E", None]}}
    )
    (source / "modeling_evil.py").write_text(f"import os; os.mkdir({str(canary)!r})")
    (source / "pytorch_model.bin").write_bytes(pickle.dumps(Canary(canary)))
    copy_clean(source, target)
    program = (
        "import sys\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "model = AutoModelForCausalLM.from_pretrained(sys.argv[1], trust_remote_code=True, local_files_only=True)\n"
        "tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], trust_remote_code=True, local_files_only=True)\n"
        "print(type(model).__name__, tokenizer('a b c')['input_ids'], tokenizer.eos_token_id)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, target], capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[0] == "LlamaForCausalLM [0, 1, 2] 7", done.stderr
    assert not canary.exists()
