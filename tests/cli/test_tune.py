"""`gyropilot tune`: what it refuses by its options, what it makes with and without a service, how Ctrl-C ends it."""

import csv
import json
import signal
import subprocess

import pytest
from click.testing import CliRunner

import services
from gyropilot.base_models.store import BaseModelStore
from gyropilot.cli.main import gyropilot
from gyropilot.errors import GyropilotError
from gyropilot.problems.text_generation.tuning.parameters import PARAMETERS
from gyropilot.tuning import load
from tuning_calls import QUESTION, ROWS, WRONG

_PROMPT = ("--num-virtual-tokens", 4, "--prompt-tuning-init-method", "SAMPLE_VOCAB")
_QUICK = ("--num-epochs", 2, "--lr", 0.05)


@pytest.fixture(scope="module")
def home(tmp_path_factory, tiny_model_folder):
    home = tmp_path_factory.mktemp("tune") / "home"
    BaseModelStore(home / "base_models", allow_downloads=False).add(services.TINY, tiny_model_folder, licence="mit")
    return home


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    file = tmp_path_factory.mktemp("rows") / "rows.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([("input", "output"), *((one["input"], one["output"]) for one in ROWS)])
    return file


def tune(home, rows, output, *arguments):
    """Run the command in this process, but for what it starts in a child of its own."""
    given = ["tune", rows, "--output", output, "--base-model", services.TINY, "--home", home, *arguments]
    return CliRunner().invoke(gyropilot, list(map(str, given)))


def told(ran):
    """Give what the command line says of what went wrong."""
    return str(ran.exception) if isinstance(ran.exception, GyropilotError) else ran.stderr


def written(value):
    """Give a value as one writes it behind an option."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, list) else str(value)


@pytest.mark.parametrize(("place", "value"), WRONG)
def test_a_wrong_option_is_refused_by_its_name(home, rows, tmp_path, place, value):
    option = f"--{place.rpartition('.')[2].replace('_', '-')}"
    if place == "max_target_length":
        value = "eight"  # on a command line every number is a text
    needed = () if option == "--num-virtual-tokens" else _PROMPT[:2]
    ran = tune(home, rows, tmp_path / "out", *needed, option, written(value))
    assert ran.exit_code == 1
    assert told(ran).startswith(f"{option}: ")
    assert " | " not in told(ran)
    assert not (tmp_path / "out").exists()


def test_every_parameter_is_an_option_and_stands_in_a_group_of_the_help():
    said = CliRunner().invoke(gyropilot, ["tune", "--help"]).stdout
    groups = [line for line in said.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert groups == ["Options:", "Training:", "Virtual tokens:", "LoRA and other adapters:"]
    for one in PARAMETERS:
        assert f"  --{one.name.replace('_', '-')} " in said
    assert "  --lr X" in said


def test_a_file_of_parameters_is_read_and_options_go_before_it(home, rows, tmp_path):
    config = tmp_path / "config.json"
    inner = {"num_virtual_tokens": 0, "lora_rank": 4}
    config.write_text(json.dumps({"num_epochs": 0, "seed": -1, "nun_epochs": 3, "tuning_config": inner}))
    ran = tune(home, rows, tmp_path / "out", "--config", config, "--seed", 3, "--num-virtual-tokens", 4)
    assert [one.split(": ")[:2] for one in told(ran).split(" | ")] == [
        ["config.json", "num_epochs"],
        ["config.json", "nun_epochs"],
        ["config.json", "tuning_config.lora_rank"],
    ]
    assert "did you mean num_epochs?" in told(ran)
    config.write_text("{")
    assert "--config: is not JSON" in told(tune(home, rows, tmp_path / "out", "--config", config))


def test_two_rates_by_two_names_are_refused(home, rows, tmp_path):
    ran = tune(home, rows, tmp_path / "out", *_PROMPT, "--lr", 0.1, "--learning-rate", 0.2)
    assert "is given as 0.2 by --learning-rate too" in told(ran) or "by --lr too" in told(ran)


def test_places_are_named_as_they_were_given(home, rows, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("")
    given = ("--validation", tmp_path / "absent.csv")
    ran = tune(home, tmp_path / "nowhere.csv", tmp_path / "taken", *given)
    named = [one.split(": ")[0] for one in told(ran).split(" | ")]
    assert named == ["--output", "DATA", "--validation", "--num-virtual-tokens"]


def test_a_model_is_tuned_and_written(home, rows, tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"base_model": services.TINY, "verbalizer": "Stone: {{input}}"}))
    out = tmp_path / "out"
    given = ["tune", rows, "--output", out, "--config", config, "--home", home, *_PROMPT, *_QUICK, "--json"]
    ran = CliRunner().invoke(gyropilot, list(map(str, given)))
    assert ran.exit_code == 0, told(ran)
    said = json.loads(ran.stdout)
    assert said["metrics"]["ValidationLoss"] < said["base_metrics"]["ValidationLoss"]
    assert said["hyperparameters"]["epochCount"] == 2
    assert "training" in ran.stderr
    with load(out, home=home) as model:
        assert model.run(QUESTION, max_new_tokens=1, preserve_input_text=True).generated_text.startswith("Stone: What")


@pytest.mark.slow
def test_ctrl_c_ends_training_early_and_keeps_what_was_learned(home, rows, tmp_path):
    out = tmp_path / "out"
    given = [*services.GYROPILOT, "tune", rows, "--output", out, "--base-model", services.TINY, "--home", home]
    given += [*_PROMPT, "--num-epochs", 100_000, "--lr", 0.01]
    with subprocess.Popen(
        list(map(str, given)),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=services.clean_environment(),
    ) as running:
        said = next(line for line in running.stderr if line.startswith("training "))
        running.send_signal(signal.SIGINT)
        stdout, rest = running.communicate(timeout=120)
    assert running.returncode == 0, said + rest
    assert "ending early with what there is" in rest
    assert str(out) in stdout
    with load(out, home=home) as model:
        assert model.ended_by == "stop"
        assert 0 < len(model.training_log) < 100_000
        assert model.run(QUESTION, max_new_tokens=2).generated_tokens == 2


@pytest.mark.slow
def test_a_running_service_trains_and_its_model_is_fetched(service, rows, tmp_path):
    out = tmp_path / "out"
    given = ["tune", rows, "--output", out, "--base-model", services.TINY, "--server", *_PROMPT, *_QUICK]
    ran = service.gyropilot(*given, "--verbalizer", "Stone: {{input}}")
    assert ran.returncode == 0, ran.stderr
    assert "validation loss" in ran.stdout
    with load(out, home=service.home) as model:
        assert model.run(QUESTION, max_new_tokens=1, preserve_input_text=True).generated_text.startswith("Stone: What")
        assert model.base_model == services.TINY
    refused = service.gyropilot(*given[:3], tmp_path / "other", "--base-model", services.TINY, "--server")
    assert refused.returncode == 1
    assert "--num-virtual-tokens" in refused.stderr
    refused = service.gyropilot(*given[:3], tmp_path / "other", "--base-model", "Nope", "--server", *_PROMPT)
    assert "BaseModelName" in refused.stderr
