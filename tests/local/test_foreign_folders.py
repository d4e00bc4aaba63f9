"""What others saved answers as it does there, on the sides that they train; no other file of a folder is taken."""

from __future__ import annotations

import pytest
import torch
from peft import MultitaskPromptTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file

import tiny_models
from gyropilot.base_models.store import BaseModelStore
from gyropilot.errors import InvalidData
from gyropilot.local import foreign_folders, load
from gyropilot.local.bases import Base
from gyropilot.problems.text_generation import models
from gyropilot.problems.text_generation.tuning import peer_folder
from gyropilot.settings import Settings

T5 = "Tiny-T5"
TEXT, ANSWER = torch.tensor([[5, 6, 7, 9]]), torch.tensor([[11, 12, 2]])


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    root = tmp_path_factory.mktemp("store")
    folder = tiny_models.make("t5", root / "t5")
    BaseModelStore(root / "base_models", allow_downloads=False).add(T5, folder, licence="mit")
    return Base(name=T5, root=root / "base_models"), folder


def of_peft(folder, model, config):
    """Save what PEFT makes of a model, its rows drawn; give the logits it computes."""
    torch.manual_seed(3)
    made = get_peft_model(model, config).eval()
    made.save_pretrained(folder)
    task = {"task_ids": torch.tensor([0])} if "MULTITASK" in str(config.peft_type) else {}
    with torch.no_grad():
        return made(input_ids=TEXT, attention_mask=TEXT * 0 + 1, labels=ANSWER, **task).logits[:, -ANSWER.shape[1] :]


def behind(model, rows):
    """Give the logits of the bare model behind served rows."""
    embed = model.get_input_embeddings()
    written = torch.cat((torch.zeros(1, 1, dtype=torch.long), ANSWER[:, :-1]), dim=1)
    parts = [embed(TEXT), embed(written)]
    for place, side in enumerate(("encoder", "decoder")):
        if side in rows:
            parts[place] = torch.cat((rows[side][None], parts[place]), dim=1)
    with torch.no_grad():
        return model(inputs_embeds=parts[0], decoder_inputs_embeds=parts[1]).logits[:, -ANSWER.shape[1] :]


@pytest.mark.parametrize(
    ("kind", "sides"),
    [
        (PromptTuningConfig, {"encoder"}),
        (PromptEncoderConfig, {"encoder"}),
        (MultitaskPromptTuningConfig, {"encoder", "decoder"}),
    ],
)
def test_an_encoder_decoder_prompt_of_peft_computes_what_it_computes_there(tmp_path, base, kind, sides):
    place, folder = base
    model = models.load(folder, dtype="float32", attention="sdpa").model
    of_task = {"num_tasks": 1} if kind is MultitaskPromptTuningConfig else {}
    config = kind(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=4, **of_task)
    wanted = of_peft(tmp_path / "adapter", model, config)
    foreign_folders.adopt_adapter(tmp_path / "adapter", tmp_path / "model", place, verbalizer=None)
    rows = load_file(tmp_path / "model" / "adapter" / "prompt.safetensors")
    assert rows.keys() == sides
    bare = models.load(folder, dtype="float32", attention="sdpa").model
    torch.testing.assert_close(behind(bare, rows), wanted, rtol=1e-4, atol=1e-4)
    assert (behind(bare, {}) - wanted).abs().max() > 0.01


def a_peers_folder(folder):
    folder.mkdir()
    torch.save(torch.randn(4, 32), folder / "encoder.pt")
    (folder / "config.yml").write_text("ENCODER: encoder.pt\ntask_type: SEQ_2_SEQ_LM\nverbalizer: '{{input}}'\n")
    return folder


def test_nothing_but_the_layouts_files_is_taken_of_a_folder_of_caikit_nlp(tmp_path, base):
    source = a_peers_folder(tmp_path / "caikit")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "key").write_text("secret")
    (source / "notes").symlink_to(tmp_path / "secrets")
    (source / "training_logs.jsonl").symlink_to(tmp_path / "secrets" / "key")
    (source / "more.txt").write_text("more")
    foreign_folders.adopt_peer(source, tmp_path / "model", base[0], verbalizer=None)
    assert {one.name for one in (tmp_path / "model" / peer_folder.FOLDER).iterdir()} == {"config.yml", "encoder.pt"}


@pytest.mark.parametrize("mark", ["gyropilot-serving.json", "model/gyropilot-serving.json"])
def test_a_folder_that_leads_out_of_itself_is_refused(tmp_path, mark):
    folder = tmp_path / "tuned"
    (folder / mark).parent.mkdir(parents=True)
    (folder / mark).write_text("{}")
    (tmp_path / "secrets").mkdir()
    (folder / "caikit").symlink_to(tmp_path / "secrets")
    with pytest.raises(InvalidData, match="caikit: is a link"):
        load.from_folder(folder, None, None, Settings(home=tmp_path / "home"))
