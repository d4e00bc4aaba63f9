import json
import os
import subprocess
import sys

import pytest

from gyropilot.errors import TrainingFailed
from gyropilot.problems.text_generation import hardware


@pytest.fixture
def folder(tmp_path):
    config = {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128, "num_attention_heads": 4}
    (tmp_path / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 2_000_000)
    return tmp_path


def choose(folder, **changes):
    given = {
        "tuning": "LORA",
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
    given = {"weights": 1_000_000, "tuning": "LORA"}
    roomy = hardware.memory_needed(config, dtype="float32", pack_tokens=512, **given)
    assert roomy.total > hardware.memory_needed(config, dtype="bfloat16", pack_tokens=256, **given).total
    own = choose(folder, remembered=folder / "first")
    assert choose(folder, memory_bytes=own.needed_bytes - 1, remembered=folder / "second").max_pack_tokens < 512
    with pytest.raises(TrainingFailed, match=r"needs about \d+ MiB with examples of up to 100 tokens .* has 1 MiB"):
        choose(folder, memory_bytes=1 << 20, remembered=folder / "other")


def test_full_tuning_needs_weights_gradients_and_optimizer_in_float32_or_is_refused_with_the_numbers(folder):
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(200 << 20)
    count = 100 << 20
    needed = hardware.memory_needed(
        json.loads((folder / "config.json").read_text()), weights=count, tuning="FULL", dtype="float32", pack_tokens=512
    )
    assert (needed.weights, needed.gradients, needed.optimizer) == (4 * count, 4 * count, 8 * count)
    assert choose(folder, tuning="LORA", memory_bytes=1 << 30, remembered=folder / "lora").needed_bytes < 1 << 30
    with pytest.raises(
        TrainingFailed, match=r"weights (400|600), gradients 400, optimizer 800, .* has 1024 MiB; .*LORA"
    ):
        choose(folder, tuning="FULL", memory_bytes=1 << 30)


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
