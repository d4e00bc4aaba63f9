"""Jobs of every way of tuning whose result is no change of weights, and of those that are served merged."""

from __future__ import annotations

import json
import shutil
import tarfile

import pytest
import yaml

import services
import tiny_models
import tuning_jobs
from gyropilot.problems.text_generation import artifacts
from gyropilot.problems.text_generation.templates import Encoder
from gyropilot.problems.text_generation.tuning import learning_rate, peer_folder
from gyropilot.problems.text_generation.tuning.specification import TuningSpec

ROWS = {"num_virtual_tokens": 8, "prompt_tuning_init_method": "SAMPLE_VOCAB"}
UNMERGED = {
    "PROMPT_TUNING": TuningSpec(tuning_type="PROMPT_TUNING", verbalizer="Q: {{input}} A:", **ROWS),
    "MULTITASK_PROMPT_TUNING": TuningSpec(tuning_type="MULTITASK_PROMPT_TUNING", verbalizer="Q: {{input}} A:", **ROWS),
    "P_TUNING": TuningSpec(tuning_type="P_TUNING", num_virtual_tokens=8),
    "PREFIX_TUNING": TuningSpec(tuning_type="PREFIX_TUNING", num_virtual_tokens=8),
}
MERGED = {
    "DORA": TuningSpec(lora_variant="DORA", lora_rank=4),
    "PISSA": TuningSpec(lora_init="PISSA", lora_rank=4, lora_alpha=4),
    "IA3": TuningSpec(tuning_type="IA3"),
    "PEFT": TuningSpec(tuning_type="PEFT", peft_type="HRA", peft_settings={"r": 4}),
}


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory):
    return services.make_tiny_model(tmp_path_factory.mktemp("base") / "tiny")


class Trained:
    """A job's task, result and what it told."""

    def __init__(self, root, model, method, **changes):
        root.mkdir(parents=True, exist_ok=True)
        self.job = tuning_jobs.Job(root, model, method=method, **changes)
        self.profile = self.job.profile(self.job.stage(tuning_jobs.ROWS))
        self.listener = tuning_jobs.Listener()
        self.task = self.job.train_task(self.profile)
        self.result = self.job.train(self.task, self.listener)

    def json(self, name):
        return json.loads((self.task.output / name).read_text())

    def archived(self):
        with tarfile.open(self.task.output / artifacts.ARCHIVE) as archive:
            return set(archive.getnames())


@pytest.fixture(scope="module", params=UNMERGED)
def unmerged(request, tmp_path_factory, tiny_model):
    rate = None if request.param == "PROMPT_TUNING" else 3e-2
    root = tmp_path_factory.mktemp("job")
    return Trained(root, tiny_model, UNMERGED[request.param], learning_rate=rate, epochs=3)


def test_it_lowers_the_validation_loss_of_its_base(unmerged):
    measured = unmerged.json(artifacts.EVALUATION)["models"]
    assert measured["tuned"]["ValidationLoss"] < measured["base"]["ValidationLoss"] - 0.1


def test_its_archive_holds_the_adapter_and_no_weights_of_the_base(unmerged):
    names = unmerged.archived()
    assert {"config.json", "tokenizer.json", "gyropilot-template.json", "gyropilot-serving.json"} <= names
    assert [name for name in names if name.endswith(".safetensors") and not name.startswith("adapter/")] == []
    served = "prefix.safetensors" if unmerged.job.spec.tuning == "PREFIX_TUNING" else "prompt.safetensors"
    assert {f"adapter/{served}", "adapter/adapter_config.json", "adapter/adapter_model.safetensors"} <= names
    config = unmerged.json("adapter/adapter_config.json")
    assert config["base_model_name_or_path"] == services.TINY
    serving = unmerged.json("model/gyropilot-serving.json")
    assert (serving["tuning"], serving["virtual_tokens"]) == (unmerged.job.spec.tuning, 8)
    assert unmerged.result.containers[0].shares.startswith(serving["base_model_digest"])


def test_records_say_what_was_trained_and_nothing_of_a_merge(unmerged):
    lineage, evaluation = unmerged.json(artifacts.LINEAGE), unmerged.json(artifacts.EVALUATION)
    assert lineage["method"]["name"] == unmerged.job.spec.tuning
    assert lineage["method"]["num_virtual_tokens"] == 8
    assert lineage["training"]["parameters"] > 0
    assert lineage["merge"] is evaluation["merge"] is None
    report = (unmerged.task.output / artifacts.REPORT).read_text()
    assert unmerged.job.spec.tuning in report
    assert "Rounding" not in report


def test_prompts_are_exported_as_the_peer_has_them(unmerged, tiny_model):
    folder = unmerged.task.output / peer_folder.FOLDER
    assert folder.exists() == (unmerged.job.spec.tuning != "PREFIX_TUNING") == ("caikit" in unmerged.result.artifacts)
    if folder.exists():
        read = peer_folder.read(folder)
        assert {side: len(rows) for side, rows in read.rows.items()} == {"DECODER": 8}
        assert yaml.safe_load((folder / "config.yml").read_text())["eos_token"] == "</s>"
        own = Encoder.of_tuned_model(unmerged.task.output / artifacts.MODEL)
        peers = Encoder.of_base_model(tiny_model, style="chat", verbalizer=read.verbalizer)
        asked = [text for text, _ in tuning_jobs.ROWS[:3]]
        assert peers.prompts(asked) == own.prompts(asked)


def test_a_template_that_no_verbalizer_gives_is_not_exported_as_another(tmp_path, tiny_model):
    model = shutil.copytree(tiny_model, tmp_path / "model")
    config = json.loads((model / "tokenizer_config.json").read_text())
    # which begins with no start token, where the tokenizer puts one before text
    change = {"chat_template": "{% for m in messages %}[{{ m.content }}]{% endfor %}", "add_bos_token": True}
    (model / "tokenizer_config.json").write_text(json.dumps(config | change))
    trained = Trained(tmp_path, model, UNMERGED["P_TUNING"], learning_rate=3e-2, epochs=1)
    assert not (trained.task.output / peer_folder.FOLDER).exists()
    assert "caikit" not in trained.result.artifacts
    assert "caikit" in [kind for kind, _, _ in trained.listener.events]


def test_an_adapter_that_peft_has_no_place_for_is_told(tmp_path):
    model = tiny_models.make("t5", tmp_path / "t5")
    method = TuningSpec(tuning_type="P_TUNING", num_virtual_tokens=8, output_model_types=("DECODER",))
    trained = Trained(tmp_path, model, method, learning_rate=3e-2, epochs=1)
    assert "adapter" in [kind for kind, _, _ in trained.listener.events]
    assert trained.json("adapter/gyropilot-adapter.json")["base_model_name_or_path"] == services.TINY
    assert "adapter/prompt.safetensors" in trained.archived()
    assert peer_folder.read(trained.task.output / peer_folder.FOLDER).verbalizer == "{{input}}"


def test_each_epoch_has_a_validation_loss_and_the_last_is_the_finished_model_s(unmerged):
    evaluation = unmerged.json(artifacts.EVALUATION)
    epochs = evaluation["epochs"]
    assert [one["epoch"] for one in epochs] == [1, 2, 3]
    assert [one["step"] for one in epochs] == [12, 24, 36]
    assert epochs[-1]["loss"] == pytest.approx(evaluation["models"]["tuned"]["ValidationLoss"], rel=1e-6)
    assert epochs[0]["loss"] > epochs[-1]["loss"]
    told = [detail for kind, _, detail in unmerged.listener.events if kind == "validation_loss"]
    assert [one["perplexity"] for one in told] == [one["perplexity"] for one in epochs[:-1]]


@pytest.mark.slow
@pytest.mark.parametrize("phase_and_done", [("training", 5), ("training", 20), ("evaluating tuned", 6)])
def test_a_killed_prompt_tuning_goes_on_to_the_same_bits_without_a_second_probe(tmp_path, tiny_model, phase_and_done):
    whole = Trained(tmp_path, tiny_model, UNMERGED["PROMPT_TUNING"], learning_rate=None, epochs=3)
    task = whole.job.train_task(whole.profile, attempt="killed")
    (task.checkpoints / "hardware.json").write_bytes((whole.task.checkpoints / "hardware.json").read_bytes())
    dying = tuning_jobs.Listener(die_when=lambda phase, done: (phase, done) == phase_and_done)
    with pytest.raises(tuning_jobs.Killed):
        whole.job.train(task, dying)
    again = tuning_jobs.Listener()
    result = whole.job.train(task, again)
    assert result == whole.result
    assert "learning_rate" not in [kind for kind, _, _ in again.events]
    for name in ("adapter/prompt.safetensors", "model/gyropilot-serving.json"):
        assert (task.output / name).read_bytes() == (whole.task.output / name).read_bytes()
    told = [json.loads((one.output / artifacts.EVALUATION).read_text())["epochs"] for one in (task, whole.task)]
    assert told[0] == told[1]


def test_a_found_learning_rate_is_told_kept_and_recorded(tmp_path, tiny_model):
    trained = Trained(tmp_path, tiny_model, UNMERGED["PROMPT_TUNING"], learning_rate=None, epochs=1)
    (detail,) = [detail for kind, _, detail in trained.listener.events if kind == "learning_rate"]
    assert json.loads((trained.task.checkpoints / learning_rate.FILE).read_text())["rate"] == detail["rate"]
    assert trained.result.chosen == {"learningRate": detail["rate"]}
    lineage = trained.json(artifacts.LINEAGE)
    assert lineage["hyperparameters"]["learningRate"] == {"value": detail["rate"], "chosen_by": "probe"}
    assert lineage["plan"]["learning_rate"] == detail["rate"]
    assert detail["why"] in (trained.task.output / artifacts.REPORT).read_text()


@pytest.mark.parametrize("name", MERGED)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_no_plain_lora_is_served_merged_and_exported_as_an_adapter(tmp_path, tiny_model, name):
    trained = Trained(tmp_path, tiny_model, MERGED[name], learning_rate=3e-3, epochs=2)
    measured = trained.json(artifacts.EVALUATION)["models"]
    assert measured["tuned"]["ValidationLoss"] < measured["base"]["ValidationLoss"]
    assert "model.safetensors" in trained.archived()
    assert not [one for one in trained.archived() if one.startswith("adapter")]
    assert trained.result.containers[0].shares == ""
    assert (trained.task.output / "adapter/adapter_model.safetensors").exists()
    assert trained.json("model/gyropilot-serving.json")["virtual_tokens"] == 0


def test_a_step_takes_batch_size_times_accumulated_steps(tmp_path, tiny_model):
    trained = Trained(tmp_path, tiny_model, TuningSpec(accumulate_steps=3), batch_size=4, epochs=1)
    assert trained.json(artifacts.LINEAGE)["training"]["steps"] == 4
    assert trained.json(artifacts.LINEAGE)["plan"]["batch_size"] == 12


def test_a_precision_that_was_replaced_is_told_and_recorded(tmp_path, tiny_model):
    trained = Trained(tmp_path, tiny_model, TuningSpec(torch_dtype="float64"), epochs=1)
    assert ("precision", "torch_dtype float64 was replaced by float32") in [
        (kind, message.split(":")[0]) for kind, message, _ in trained.listener.events
    ]
    assert trained.result.chosen == {"torch_dtype": "float32"}
    assert "torch_dtype float64 was replaced by float32" in (trained.task.output / artifacts.REPORT).read_text()
