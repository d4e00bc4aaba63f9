import json
import os
import subprocess
import sys

import pytest

from gyropilot.errors import TrainingFailed
from gyropilot.problems.text_generation import hardware
from gyropilot.problems.text_generation.training_memory import memory_needed
from gyropilot.problems.text_generation.tuning.specification import TuningSpec

LORA = TuningSpec()


@pytest.fixture
def folder(tmp_path):
    config = {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128, "num_attention_heads": 4}
    (tmp_path / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 2_000_000)
    return tmp_path


def choose(folder, **changes):
    given = {
        "method": LORA,
        "cores": 1,
        "memory_bytes": 0,
        "longest_example": 100,
        "remembered": folder / "checkpoints",
    } | changes
    return hardware.plan_hardware(folder, **given)


def test_the_plan_is_made_once_and_kept_for_the_resume(folder):
    first = choose(folder)
    assert first.max_pack_tokens == 512
    assert first.threads == 1
    assert first.dtype == ("bfloat16" if max(first.gflops, key=first.gflops.get).startswith("b") else "float32")
    assert choose(folder, cores=8, longest_example=4000) == first


def test_a_pack_is_as_long_as_the_longest_example(folder):
    assert choose(folder, longest_example=700).max_pack_tokens == 700


def test_packs_shrink_before_a_job_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    given = {"weights": 1_000_000, "method": LORA}
    roomy = memory_needed(config, dtype="float32", pack_tokens=512, **given)
    assert roomy.total > memory_needed(config, dtype="bfloat16", pack_tokens=256, **given).total
    own = choose(folder, remembered=folder / "first")
    assert choose(folder, memory_bytes=own.needed_bytes - 1, remembered=folder / "second").max_pack_tokens < 512
    with pytest.raises(TrainingFailed, match=r"needs about \d+ MiB with examples of up to 100 tokens .* has 1 MiB"):
        choose(folder, memory_bytes=1 << 20, remembered=folder / "other")


def test_full_tuning_needs_weights_gradients_and_optimizer_in_float32_or_is_refused_with_the_numbers(folder):
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(200 << 20)
    count = 100 << 20
    config, full = json.loads((folder / "config.json").read_text()), TuningSpec(tuning_type="FULL")
    needed = memory_needed(config, weights=count, method=full, dtype="float32", pack_tokens=512)
    assert (needed.weights, needed.gradients, needed.optimizer) == (4 * count, 4 * count, 8 * count)
    assert choose(folder, method=LORA, memory_bytes=1 << 30, remembered=folder / "lora").needed_bytes < 1 << 30
    with pytest.raises(
        TrainingFailed, match=r"weights (400|600), gradients 400, optimizer 800, .* has 1024 MiB; .*LORA"
    ):
        choose(folder, method=TuningSpec(tuning_type="FULL"), memory_bytes=1 << 30)


def test_where_threads_compute_packs_of_their_own_there_are_fewer_of_them_before_a_job_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "llama"}))
    roomy = choose(folder, cores=4, longest_example=2000, remembered=folder / "first")
    assert (roomy.threads, roomy.max_pack_tokens) == (4, 2000)
    tight = choose(
        folder, cores=4, longest_example=2000, memory_bytes=roomy.needed_bytes - 1, remembered=folder / "second"
    )
    assert (tight.threads, tight.max_pack_tokens) == (3, 2000)


def test_a_prepared_process_has_its_threads_and_is_offline_before_torch_comes():
    script = (
        "import sys; from gyropilot.problems.text_generation import hardware; hardware.prepare_process(1);"
        "assert 'torch' not in sys.modules; import torch, huggingface_hub.constants as hub;"
        "print(torch.get_num_threads(), hub.HF_HUB_OFFLINE)"
    )
    environment = {name: value for name, value in os.environ.items() if name not in {"OMP_NUM_THREADS"}}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["1", "True"]


def test_precision_is_as_asked_for_or_replaced_and_said_so(folder):
    for wished in ("float32", "bfloat16"):
        plan = choose(folder, method=TuningSpec(torch_dtype=wished), remembered=folder / wished)
        assert (plan.dtype, plan.replaced_dtype) == (wished, "")
    double = choose(folder, method=TuningSpec(torch_dtype="float64"), remembered=folder / "float64")
    assert double.dtype == "float32"
    assert double.replaced_dtype.startswith("torch_dtype float64 was replaced by float32: ")
    half = choose(folder, method=TuningSpec(torch_dtype="float16"), remembered=folder / "float16")
    assert half.replaced_dtype.startswith(f"torch_dtype float16 was replaced by {half.dtype}: ")


def test_a_device_is_as_asked_for_or_missing_and_named(folder):
    assert choose(folder, method=TuningSpec(device="cpu")).device == "cpu"
    with pytest.raises(TrainingFailed, match=r"device: cuda:77 is not on the machine that trains, which has cpu"):
        choose(folder, method=TuningSpec(device="cuda:77"), remembered=folder / "other")


@pytest.mark.parametrize(
    "tuning_type", ["PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "IA3"]
)
def test_what_has_few_parameters_takes_hardly_more_than_its_base_and_the_work(tuning_type):
    config = {"hidden_size": 576, "num_hidden_layers": 30, "intermediate_size": 1536, "num_attention_heads": 9}
    given = {"weights": 135_000_000, "dtype": "bfloat16", "pack_tokens": 512}
    method = TuningSpec(tuning_type=tuning_type, num_virtual_tokens=20)
    few = memory_needed(config, method=method, **given)
    assert 2 * 135_000_000 < few.weights < 2.1 * 135_000_000
    assert few.gradients + few.optimizer < memory_needed(config, method=TuningSpec(), **given).gradients


def test_a_higher_rank_takes_more():
    config = {"hidden_size": 576, "num_hidden_layers": 30, "intermediate_size": 1536, "num_attention_heads": 9}
    given = {"weights": 135_000_000, "dtype": "bfloat16", "pack_tokens": 512}
    low, high = (memory_needed(config, method=TuningSpec(lora_rank=rank), **given) for rank in (8, 64))
    assert high.optimizer == 8 * low.optimizer


@pytest.mark.parametrize(
    ("peft_type", "settings"),
    [
        ("LOHA", {"r": 1024}),
        ("OFT", {"oft_block_size": 4096}),
        ("WAVEFT", {"n_frequency": 1_000_000}),
        ("VBLORA", {"r": 8, "num_vectors": 4096, "vector_length": 16}),
    ],
)
def test_settings_of_peft_that_train_more_take_more(peft_type, settings):
    config = {"hidden_size": 576, "num_hidden_layers": 30, "intermediate_size": 1536, "vocab_size": 49152}

    def needed(given):
        method = TuningSpec(tuning_type="PEFT", peft_type=peft_type, peft_settings=given)
        return memory_needed(config, weights=10**8, method=method, dtype="float32", pack_tokens=512)

    assert needed(settings).optimizer > 2 * needed({}).optimizer


def test_virtual_tokens_are_computed_with_the_longest_example(folder):
    method = TuningSpec(tuning_type="PROMPT_TUNING", num_virtual_tokens=100)
    assert choose(folder, method=method, longest_example=500).max_pack_tokens >= 600
