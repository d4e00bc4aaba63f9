from __future__ import annotations

import gzip
import json
import os
import tarfile

import pytest
from peft import PeftModel
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

import services
import tuning_jobs
from gyropilot.problems.archives import write_archive
from gyropilot.problems.text_generation import artifacts


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("job")
    job = tuning_jobs.Job(root, services.make_tiny_model(root / "tiny"), defaulted=("batchSize",))
    profile = job.profile(job.stage([*tuning_jobs.ROWS, ("asked", "")]))
    task = job.train_task(profile)
    return job, task, job.train(task)


@pytest.fixture(scope="module")
def output(trained):
    return trained[1].output


def read(path):
    return json.loads(path.read_text())


def test_all_artifacts_lie_in_the_output(output):
    assert {path.name for path in output.iterdir()} == {
        "model",
        "adapter",
        "model.tar.gz",
        "evaluation.json",
        "training.jsonl",
        "lineage.json",
        "report.html",
    }


def test_no_artifact_holds_a_path_of_this_machine(trained, output):
    home = str(trained[0].root)
    for path in output.rglob("*"):
        if path.is_file() and path.suffix != ".gz":
            assert home.encode() not in path.read_bytes(), path
    assert read(output / "adapter" / "adapter_config.json")["base_model_name_or_path"] == services.TINY


def test_any_program_loads_the_model_and_the_adapter(trained, output):
    job, _, _ = trained
    merged = AutoModelForCausalLM.from_pretrained(output / "model", local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(output / "model", local_files_only=True)
    base = AutoModelForCausalLM.from_pretrained(job.base_models / services.TINY, local_files_only=True)
    adapted = PeftModel.from_pretrained(base.to(merged.dtype), output / "adapter")
    ids = tokenizer("What colour has stone 3?", return_tensors="pt").input_ids
    assert (merged(ids).logits - adapted(ids).logits).abs().max() < 0.1
    assert tokenizer.chat_template == (output / "model" / "chat_template.jinja").read_text()


def test_the_archive_holds_the_model_and_its_adapter_as_regular_files(output):
    paths = {path.name: path for path in (output / "model").iterdir()}
    paths |= {f"adapter/{path.name}": path for path in (output / "adapter").iterdir()}
    with tarfile.open(output / "model.tar.gz") as tar:
        members = tar.getmembers()
        assert all(one.isreg() for one in members)
        assert {(one.mtime, one.uid, one.gid, one.uname) for one in members} == {(0, 0, 0, "")}
        assert [one.name for one in members] == sorted(paths)
        for one in members:
            assert tar.extractfile(one).read() == paths[one.name].read_bytes()


def test_the_same_folder_gives_the_same_archive(output, tmp_path):
    folder, first, second = tmp_path / "model", tmp_path / "1.tar.gz", tmp_path / "2.tar.gz"
    folder.mkdir()
    (folder / "a.json").write_text("{}")
    (folder / "link").symlink_to("/etc/passwd")
    write_archive(folder, first, within={})
    os.utime(folder / "a.json", (1, 1))
    (folder / "a.json").chmod(0o600)
    write_archive(folder, second, within={})
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(fileobj=gzip.open(first)) as tar:
        assert tar.getnames() == ["a.json"]


def test_the_evaluation_shows_base_and_tuned_with_formulas_and_answers(trained, output):
    found = read(output / "evaluation.json")
    by_name = {one["name"]: one for one in found["metrics"]}
    assert {name: one["tuned"] for name, one in by_name.items()} == {one.name: one.value for one in trained[2].metrics}
    assert by_name["ValidationLoss"]["base"] == found["models"]["base"]["ValidationLoss"]
    assert all(one["formula"] and one["source"] and one["direction"] for one in by_name.values())
    assert len(found["generations"]) == found["rouge"]["rows"] == 12
    first = found["generations"][0]
    assert {"place", "input", "reference", "base", "tuned"} <= first.keys()
    assert {"answer", "is_ended", "scores"} == first["tuned"].keys()
    assert found["rouge"]["mode"] == "reference"
    assert found["merge"]["rows"] == found["models"]["tuned"]["loss_rows"]  # too few for a part of them


def test_the_lineage_can_be_reproduced_from(trained, output):
    job, task, _ = trained
    found = read(output / "lineage.json")
    assert found["data"]["files"] == task.profile["files"]
    assert found["data"]["rows"] == {"read": 61, "dropped": 1, "training": 48, "validation": 12}
    assert found["base_model"]["digest"] == task.profile["base_model"]["digest"]
    assert found["base_model"]["licence"] == "mit"
    assert found["hyperparameters"]["batchSize"] == {"value": 4, "chosen_by": "service default"}
    assert found["hyperparameters"]["epochCount"] == {"value": 2, "chosen_by": "request"}
    assert found["plan"]["seed"] == job.spec.seed
    assert {"torch", "transformers", "peft", "python"} <= found["versions"].keys()
    assert found["training"]["steps"] == len((output / "training.jsonl").read_text().splitlines())
    assert len(found["training"]["first_adapter_sha256"]) == 64


def test_the_adapter_is_safetensors_alone(output):
    assert {path.name for path in (output / "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    with safe_open(output / "adapter" / "adapter_model.safetensors", "pt") as file:
        assert all("lora_" in name for name in file.keys())  # noqa: SIM118  # it is no mapping


def test_emptying_leaves_nothing_of_a_killed_attempt(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "half").write_text("x")
    (tmp_path / "report.html").write_text("x")
    artifacts.empty(tmp_path)
    assert list(tmp_path.iterdir()) == []
