"""Folders that caikit-nlp itself saved: imported, they compute what they computed there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gyropilot.problems.text_generation import models
from gyropilot.problems.text_generation.generation import first_logits
from gyropilot.problems.text_generation.source_prompts import conversion
from gyropilot.problems.text_generation.source_prompts.store import SourcePrompts
from gyropilot.problems.text_generation.source_prompts.vectors import EMBEDDINGS
from gyropilot.problems.text_generation.tuning import peer_folder
from gyropilot.problems.text_generation.tuning.multitask_prompt_tuning import MultitaskPromptTuning

MADE = Path(__file__).parent / "peer_made"


@pytest.mark.parametrize("kind", ["prompt_tuning", "multitask"])
def test_a_folder_of_caikit_nlp_gives_the_logits_it_gave_there(tmp_path, tiny_model_folder, kind):
    tensors = tmp_path / "vectors.safetensors"
    told = conversion.convert({"folder": str(MADE / kind), "to": str(tensors)}, None)
    assert (told["submodules"], told["tasks"], told["base_model"]) == (1, 0, "tiny")
    source = SourcePrompts(tmp_path / "source_prompts").add(
        "peer", tensors=tensors, submodules=1, tasks=(), base_model="", base_config_digest="", made_by=told["kind"]
    )
    method = MultitaskPromptTuning(
        num_virtual_tokens=source.rows, init_method="ONLY_SOURCE_SHARED", source=source.folder
    )
    loaded = models.load(tiny_model_folder, dtype="float32", attention="sdpa")
    peers = json.loads((MADE / kind / "logits.json").read_text())
    bare = first_logits(loaded.model, peers["input_ids"])
    found = first_logits(method.attach(loaded, seed=1), peers["input_ids"])
    wanted = torch.tensor(peers["last_logits"])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert (bare - wanted).abs().max() > 0.05


@pytest.mark.parametrize("kind", ["prompt_tuning", "multitask"])
def test_what_is_read_of_it_is_what_is_in_it(tmp_path, kind):
    read = peer_folder.read(MADE / kind)
    assert {side: tuple(rows.shape) for side, rows in read.rows.items()} == {"DECODER": (4, 32)}
    assert (read.verbalizer, read.task_type) == ("{{input}}", "CAUSAL_LM")
    assert read.base_model_config["model_type"] == "llama"
    conversion.convert({"folder": str(MADE / kind), "to": str(tmp_path / "v.safetensors")}, None)
    torch.testing.assert_close(load_file(tmp_path / "v.safetensors")[EMBEDDINGS], read.rows["DECODER"])
