from __future__ import annotations

import json
import pickle
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch
import yaml

from gyropilot.errors import InvalidData
from gyropilot.problems.text_generation.loop import StepRecord
from gyropilot.problems.text_generation.tuning import peer_folder
from gyropilot.problems.text_generation.tuning.peer_folder import PeerFacts

ENDED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def facts(**changes):
    values = {
        "base_model_name": "Tiny",
        "base_model_config": {"model_type": "llama", "hidden_size": 8},
        "eos_token": "</s>",
        "task_type": "CAUSAL_LM",
        "tuning_type": "PROMPT_TUNING",
        "trained_torch_dtype": "bfloat16",
        "verbalizer": "Q: {{input}} A:",
    }
    return PeerFacts(**(values | changes))


def record(step, epoch, loss, seconds=2.0):
    return StepRecord(
        step=step, epoch=epoch, loss=loss, learning_rate=0.1, grad_norm=1.0, tokens=9, labels=3, seconds=seconds
    )


def write(folder, rows, records=(), **changes):
    peer_folder.write(folder, rows=rows, facts=facts(**changes), records=records, ended_at=ENDED_AT)
    return folder


def test_what_is_written_reads_back_as_it_was(tmp_path):
    rows = {"ENCODER": torch.randn(4, 8), "DECODER": torch.randn(4, 8)}
    read = peer_folder.read(write(tmp_path / "caikit", rows, task_type="SEQ_2_SEQ_LM"))
    for side in ("ENCODER", "DECODER"):
        torch.testing.assert_close(read.rows[side], rows[side], rtol=0, atol=0)
    assert (read.base_model_name, read.verbalizer, read.task_type) == ("Tiny", "Q: {{input}} A:", "SEQ_2_SEQ_LM")


def test_a_side_that_is_not_there_has_no_file_and_an_empty_name(tmp_path):
    folder = write(tmp_path, {"DECODER": torch.randn(4, 8)})
    config = yaml.safe_load((folder / "config.yml").read_text())
    assert (config["ENCODER"], config["DECODER"]) == ("", "decoder.pt")
    assert json.loads(config["output_model_types"]) == ["DECODER"]
    assert sorted(path.name for path in folder.iterdir()) == ["config.yml", "decoder.pt", "training_logs.jsonl"]


def test_a_slice_is_saved_as_float32_without_what_it_was_cut_from(tmp_path):
    table = torch.nn.Parameter(torch.randn(10_000, 8, dtype=torch.float64))
    folder = write(tmp_path, {"DECODER": table[:4]})
    saved = torch.load(folder / "decoder.pt", weights_only=True)
    assert (saved.dtype, tuple(saved.shape), saved.requires_grad) == (torch.float32, (4, 8), False)
    assert (folder / "decoder.pt").stat().st_size < 4000


def test_rows_of_p_tuning_are_written_as_those_of_a_type_that_the_peer_knows(tmp_path):
    write(tmp_path, {"DECODER": torch.randn(4, 8)}, tuning_type="P_TUNING")
    assert yaml.safe_load((tmp_path / "config.yml").read_text())["tuning_type"] == "PROMPT_TUNING"


def test_each_update_is_a_line_with_the_epoch_it_was_in_and_its_moment(tmp_path):
    records = [record(1, 0.5, 3.0), record(2, 1.0, 2.0), record(3, 1.5, 1.0)]
    write(tmp_path, {"DECODER": torch.randn(4, 8)}, records)
    lines = [json.loads(line) for line in (tmp_path / "training_logs.jsonl").read_text().splitlines()]
    assert [line["name"] for line in lines] == ["loss"] * 3
    told = [(line["data"]["epoch"], line["data"]["step"], line["data"]["value"]) for line in lines]
    assert told == [(0, 1, 3.0), (0, 2, 2.0), (1, 3, 1.0)]
    assert lines[-1]["data"]["timestamp"] == ENDED_AT.isoformat()
    assert lines[0]["data"]["timestamp"] == (ENDED_AT - timedelta(seconds=4)).isoformat()


class _Runs:
    def __reduce__(self):
        return print, ("code of the file ran",)


class _Long:
    def __reduce__(self):
        return bytearray, (2**28,)


def deflate(folder):
    """Compress the tensor's file: half a GiB of zeros becomes half a MB."""
    with zipfile.ZipFile(folder / "decoder.pt") as file:
        parts = {one.filename: file.read(one) for one in file.infolist()}
    with zipfile.ZipFile(folder / "decoder.pt", "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(name, content)


LAUGHS = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcde", "bcdef", strict=True))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "decoder.pt").unlink(), "decoder.pt: is no file of the folder itself"),
        (lambda f: (f / "decoder.pt").write_bytes(b"no tensor"), "decoder.pt: cannot be read as a tensor"),
        (
            lambda f: (f / "decoder.pt").write_bytes(pickle.dumps(_Runs(), protocol=2)),
            "decoder.pt: cannot be read as a tensor",
        ),
        (lambda f: torch.save(torch.ones(8), f / "decoder.pt"), "is no 2-D tensor of floating numbers (found [8])"),
        (lambda f: torch.save(torch.ones(2, 8).long(), f / "decoder.pt"), "is no 2-D tensor of floating numbers"),
        (lambda f: torch.save({"rows": 1}, f / "decoder.pt"), "it holds more than tensors: int"),
        (lambda f: torch.save(torch.full((2, 8), torch.nan), f / "decoder.pt"), "not finite"),
        (lambda f: torch.save(torch.ones(0, 8), f / "decoder.pt"), "is empty"),
        (lambda f: (f / "config.yml").unlink(), "config.yml: cannot be read"),
        (lambda f: (f / "config.yml").write_text("- 1"), "config.yml: holds no keys and values"),
        (lambda f: (f / "config.yml").write_text("{"), "config.yml: is not YAML"),
        (lambda f: (f / "config.yml").write_text("!!python/object/apply:os.system [true]"), "is not YAML"),
        (lambda f: (f / "config.yml").write_text("ENCODER: ''"), "names neither an ENCODER nor a DECODER file"),
        (lambda f: (f / "config.yml").write_text("DECODER: ../decoder.pt"), "is no file of the folder itself"),
        (lambda f: (f / "config.yml").write_text("DECODER: [1]"), "is no file of the folder itself"),
        (lambda f: (f / "config.yml").write_text(f"{LAUGHS}verbalizer: *f"), "is not YAML: it refers to another part"),
        (lambda f: (f / "config.yml").write_text("verbalizer: [x]\nDECODER: decoder.pt"), "verbalizer: is no text"),
        (lambda f: (f / "config.yml").write_text(f"DECODER: {'9' * 9999}"), "config.yml: is not YAML"),
        (lambda f: (f / "config.yml").write_text(" " * 2**19), "config.yml: is too long"),
        (deflate, "it is compressed"),
        (lambda f: torch.save(torch.ones(1).expand(2**15, 2**15), f / "decoder.pt"), "larger than 1073741824 bytes"),
        (lambda f: torch.save({"rows": _Long()}, f / "decoder.pt"), "it holds more than tensors"),
    ],
)
def test_a_folder_that_is_not_as_it_should_be_is_told_by_file_and_mend(tmp_path, spoil, said, capfd):
    folder = write(tmp_path / "made", {"DECODER": torch.randn(4, 8)})
    spoil(folder)
    with pytest.raises(InvalidData) as caught:
        peer_folder.read(folder)
    assert said in str(caught.value)
    assert str(folder) in str(caught.value)
    assert "; " in str(caught.value)
    assert "code of the file ran" not in capfd.readouterr().out


def test_both_sides_that_are_wrong_are_told_at_once(tmp_path):
    folder = write(tmp_path, {"ENCODER": torch.randn(4, 8), "DECODER": torch.randn(4, 8)})
    torch.save(torch.ones(8), folder / "encoder.pt")
    (folder / "decoder.pt").unlink()
    with pytest.raises(InvalidData) as caught:
        peer_folder.read(folder)
    assert [fault.where.rsplit("/", 1)[1] for fault in caught.value.faults] == ["encoder.pt", "decoder.pt"]


def test_a_file_behind_a_link_is_refused(tmp_path):
    folder = write(tmp_path / "made", {"DECODER": torch.randn(4, 8)})
    (folder / "decoder.pt").rename(tmp_path / "elsewhere.pt")
    (folder / "decoder.pt").symlink_to(tmp_path / "elsewhere.pt")
    with pytest.raises(InvalidData, match="is no file of the folder itself"):
        peer_folder.read(folder)


def test_sides_of_different_shapes_are_refused(tmp_path):
    folder = write(tmp_path, {"ENCODER": torch.randn(4, 8), "DECODER": torch.randn(5, 8)})
    with pytest.raises(InvalidData, match="differ in shape"):
        peer_folder.read(folder)


def test_the_configuration_has_the_keys_of_the_peers_own_and_none_beside(tmp_path):
    peers = yaml.safe_load((Path(__file__).parent / "peer_made" / "prompt_tuning" / "config.yml").read_text())
    ours = yaml.safe_load((write(tmp_path, {"DECODER": torch.randn(4, 8)}) / "config.yml").read_text())
    of_its_framework = {"caikit_nlp_version", "created", "module_class", "module_id", "name", "saved", "tracking_id"}
    assert peers.keys() - ours.keys() == of_its_framework | {"version"}
    assert ours.keys() <= peers.keys()
    assert [type(ours[key]) for key in ours] == [type(peers[key]) for key in ours]
