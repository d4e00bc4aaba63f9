import json

import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file

import services
import source_vectors
from gyropilot.cli.main import gyropilot
from gyropilot.errors import GyropilotError
from gyropilot.problems.text_generation.source_prompts.store import SourcePrompts

MULTITASK = {"peft_type": "MULTITASK_PROMPT_TUNING", "num_transformer_submodules": 1, "num_tasks": 3}


@pytest.fixture(scope="module")
def home(tmp_path_factory, tiny_model_folder):
    """A home with the tiny model, whose embeddings are 64 wide."""
    home = tmp_path_factory.mktemp("prompts") / "home"
    added = services.run(
        [*services.GYROPILOT, "models", "add", services.TINY, tiny_model_folder, "--home", home],
        env=services.clean_environment(),
    )
    assert added.returncode == 0, added.stderr
    return home


def prompts(home, *arguments, **variables):
    """Run the command in this process, but for what it starts in a child of its own."""
    return CliRunner().invoke(gyropilot, ["prompts", *map(str, arguments), "--home", str(home)], env=variables)


def told(ran):
    """Give what the command line says of what went wrong."""
    return str(ran.exception) if isinstance(ran.exception, GyropilotError) else ran.stderr


def adapter(folder, *, width, base_model=services.TINY, **changes):
    """Write what PEFT saves of multitask prompt tuning."""
    folder.mkdir(parents=True)
    config = MULTITASK | {"base_model_name_or_path": base_model} | changes
    (folder / "adapter_config.json").write_text(json.dumps(config))
    source_vectors.write(folder / "adapter_model.safetensors", source_vectors.shapes(width=width))
    return folder


def width_of(tiny_model_folder):
    return json.loads((tiny_model_folder / "config.json").read_text())["hidden_size"]


def test_an_adapter_is_imported_shown_listed_and_removed(home, tmp_path, tiny_model_folder):
    folder = adapter(tmp_path / "job" / "adapter", width=width_of(tiny_model_folder))
    imported = prompts(home, "import", tmp_path / "job", "--name", "topics")
    assert imported.exit_code == 0, told(imported)
    assert imported.stdout.startswith(f"topics is in {home / 'source_prompts' / 'topics'} (4 rows of")
    shown = json.loads(prompts(home, "show", "topics", "--json").stdout)
    assert (shown["base_model"], shown["tasks"], shown["ranks"]) == (services.TINY, ["task-1", "task-2", "task-3"], 2)
    assert len(shown["base_config_digest"]) == 64
    found = SourcePrompts(home / "source_prompts").verify("topics")
    made, given = load_file(found.tensors), load_file(folder / "adapter_model.safetensors")
    assert all((made[name] == one).all() for name, one in given.items())
    listed = [line.split() for line in prompts(home, "list").stdout.splitlines()]
    assert ["topics", services.TINY, "4"] in [line[:3] for line in listed]
    assert [one["name"] for one in json.loads(prompts(home, "list", "--json").stdout)] == ["topics"]
    assert "AVERAGE_SOURCE" in prompts(home, "show", "topics").stdout
    taken = prompts(home, "import", tmp_path / "job", "--name", "topics")
    assert "gyropilot prompts remove topics" in told(taken)
    assert prompts(home, "remove", "topics").exit_code == 0
    assert "gyropilot prompts list" in told(prompts(home, "remove", "topics"))
    assert json.loads(prompts(home, "list", "--json").stdout) == []


def test_the_folder_of_the_setting_is_used_and_the_name_is_the_folders(home, tmp_path, tiny_model_folder):
    adapter(tmp_path / "shared-start", width=width_of(tiny_model_folder))
    imported = prompts(home, "import", tmp_path / "shared-start", SOURCE_PROMPT_BASE=str(tmp_path / "elsewhere"))
    assert imported.exit_code == 0, told(imported)
    assert [one.name for one in SourcePrompts(tmp_path / "elsewhere").list()] == ["shared-start"]


def test_an_unknown_base_is_told_and_can_be_named(home, tmp_path, tiny_model_folder):
    adapter(tmp_path / "foreign", width=width_of(tiny_model_folder), base_model="/data/models/tiny")
    bare = prompts(home, "import", tmp_path / "foreign", "--name", "bare")
    assert bare.exit_code == 0, told(bare)
    assert "/data/models/tiny" in bare.stderr
    assert "--base-model" in bare.stderr
    assert SourcePrompts(home / "source_prompts").find("bare").base_config_digest == ""
    named = prompts(home, "import", tmp_path / "foreign", "--name", "named", "--base-model", services.TINY)
    assert named.exit_code == 0, told(named)
    assert SourcePrompts(home / "source_prompts").find("named").base_model == services.TINY
    prompts(home, "remove", "bare")
    prompts(home, "remove", "named")


def test_what_cannot_be_imported_says_why_and_what_to_do(home, tmp_path, tiny_model_folder):
    wide = adapter(tmp_path / "wide", width=width_of(tiny_model_folder) + 1)
    (tmp_path / "empty").mkdir()
    for arguments, status, said in (
        (["import", tmp_path / "nowhere"], 2, "is no folder"),
        (["import", tmp_path / "empty"], 1, "adapter_config.json (PEFT)"),
        (["import", tmp_path / "empty", "--name", "../up"], 1, "NAME: is no name for a source prompt"),
        (["import", wide], 1, "name the base model that the prompt was tuned on"),
        (["import", wide, "--base-model", "Nope"], 1, "gyropilot models list"),
        (["import", "s3://nowhere/job", "--name", "job"], 1, "adapter/adapter_config.json"),
        (["show", "nope"], 1, "gyropilot prompts list"),
    ):
        ran = prompts(home, *arguments)
        assert ran.exit_code == status, told(ran)
        assert said in told(ran)
    names = {one["name"] for one in json.loads(prompts(home, "list", "--json").stdout)}
    assert not names & {"wide", "empty", "job"}


def test_a_column_of_tasks_that_is_not_there_is_told_by_its_option(home, tmp_path):
    (tmp_path / "rows.csv").write_text("input,output,topic\na,b,c\n")
    ran = prompts(home, "train", tmp_path / "rows.csv", "--name", "topics", "--base-model", services.TINY)
    assert told(ran) == (
        "--task-column: is no column of the training data (found 'task'); name the column of the tasks;"
        " there are input, output, topic"
    )


def test_all_that_is_wrong_with_a_training_is_told_before_it_begins_by_its_option(home, tmp_path):
    rows = tmp_path / "rows.csv"
    rows.write_text("input,output,task\na,b,c\n")
    asked = ["--name", "wrong", "--base-model", services.TINY, "--init", "TEXT"]
    ran = prompts(home, "train", rows, *asked, "--num-virtual-tokens", "0", "--learning-rate", "-1", "--epochs", "0")
    assert ran.exit_code == 1
    for option in ("--num-virtual-tokens", "--learning-rate", "--epochs", "--init-text"):
        assert f"{option}: " in told(ran)
    unknown = prompts(home, "train", rows, "--name", "wrong", "--base-model", "Nope")
    assert "Nope" in told(unknown)


@pytest.mark.slow
def test_rows_of_several_tasks_become_a_source_prompt(home, tmp_path):
    rows = tmp_path / "rows.csv"
    told_rows = [f"What is {number}?,{word},{word}" for number in range(20) for word in ("even", "odd", "round")]
    rows.write_text("\n".join(["input,output,kind", *told_rows]))
    asked = ["--name", "kinds", "--base-model", services.TINY, "--task-column", "kind", "--num-virtual-tokens", "5"]
    ran = prompts(home, "train", rows, *asked, "--epochs", "1", "--learning-rate", "0.05", "--ranks", "2")
    assert ran.exit_code == 0, told(ran)
    assert "validation loss" in ran.stdout
    assert "training" in ran.stderr
    found = SourcePrompts(home / "source_prompts").verify("kinds")
    assert (found.tasks, found.rows, found.ranks) == (("even", "odd", "round"), 5, 2)
    assert found.base_model == services.TINY
    assert found.base_config_digest
    assert found.made_by == "trained on rows.csv, 48 rows, 1 epochs, seed 42"
    assert not list(home.glob(".source-prompt-*"))
    one_task = tmp_path / "one.csv"
    one_task.write_text("\n".join(["input,output,kind", *(f"What is {number}?,one,one" for number in range(20))]))
    refused = prompts(home, "train", one_task, *["--name", "one", *asked[2:]], "--learning-rate", "0.05")
    assert "names one task" in told(refused)
    assert SourcePrompts(home / "source_prompts").find("one") is None
