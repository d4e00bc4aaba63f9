"""The Python call: what it refuses, and on tiny models what comes out, answers, is saved and is loaded."""

import copy
import csv
import dataclasses
import inspect
import json
import shutil
import sys
from types import SimpleNamespace

import pytest

import services
import tiny_models
from gyropilot.base_models.store import BaseModelStore
from gyropilot.errors import InvalidData, InvalidRequest
from gyropilot.problems.text_generation.tuning.parameters import ELSEWHERE, PARAMETERS
from gyropilot.tuning import TuningConfig, load, tune
from tuning_calls import PROMPT, QUESTION, QUICK, ROWS, WRONG


@pytest.fixture(scope="module")
def home(tmp_path_factory, tiny_model_folder):
    home = tmp_path_factory.mktemp("tuning") / "home"
    BaseModelStore(home / "base_models", allow_downloads=False).add(services.TINY, tiny_model_folder, licence="mit")
    return home


@pytest.fixture(scope="module")
def prompted(home):
    """A prompt-tuned model, kept open."""
    with tune(
        base_model=services.TINY, train_stream=ROWS, tuning_config=TuningConfig(**PROMPT), home=home, **QUICK
    ) as one:
        yield one


def exact(answer):
    """Give what of an answer is the same to the last bit: its probabilities are rounded beside what is kept."""
    return [(one.id, one.text) for one in answer.tokens], dataclasses.replace(answer, tokens=())


def refused(home, **arguments):
    """Give the faults for which a call is refused."""
    given = {"base_model": services.TINY, "train_stream": ROWS, "tuning_config": PROMPT, "home": home}
    with pytest.raises(InvalidRequest) as caught:
        tune(**(given | arguments))
    return caught.value.faults


def test_the_call_has_the_parameters_of_the_table_and_no_others():
    config = {one.name for one in dataclasses.fields(TuningConfig)}
    assert config == {one.name for one in PARAMETERS if one.part == "tuning_config"}
    others = set(inspect.signature(tune).parameters)
    assert others >= {one.name for one in PARAMETERS if one.part == "job"} | {"lr", "tuning_config"}
    assert others >= {name for name in ELSEWHERE if name.islower()}


def test_members_of_the_configuration_may_stand_beside_it(home):
    faults = refused(home, lora_rank=4, nume_epochs=3, num_virtual_tokens=5, seed=-1)
    assert {one.where for one in faults} == {"lora_rank", "nume_epochs", "tuning_config.num_virtual_tokens", "seed"}
    (unknown,) = [one for one in faults if one.where == "nume_epochs"]
    assert "did you mean num_epochs?" in unknown.fix
    (fault,) = refused(home, tuning_type="LORA", tuning_config=None, lora_rank=0)
    assert (fault.where, fault.problem) == ("lora_rank", "is outside 1 to 1024")


def test_a_configuration_refuses_what_it_has_not_and_is_a_dataclass_else():
    with pytest.raises(InvalidRequest) as caught:
        TuningConfig(num_virtual_token=4, num_epochs=3, lora_rank=0)
    near, outer = caught.value.faults
    assert (near.where, "did you mean num_virtual_tokens?" in near.fix) == ("tuning_config.num_virtual_token", True)
    assert (outer.where, outer.fix) == ("tuning_config.num_epochs", "give it beside tuning_config")
    assert list(inspect.signature(TuningConfig).parameters) == [one.name for one in dataclasses.fields(TuningConfig)]
    config = TuningConfig(lora_rank=4)
    assert copy.deepcopy(config) == config == dataclasses.replace(TuningConfig(), lora_rank=4)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.lora_rank = 8


@pytest.mark.parametrize("name", ["val_stream", "validation_stream"])
def test_rows_to_measure_on_have_two_names_and_are_given_once(home, name):
    (fault,) = refused(home, **{name: []})
    assert (fault.where, fault.problem) == (name, "holds no rows")
    (fault,) = refused(home, val_stream=ROWS, validation_stream=iter(ROWS))
    assert (fault.where, fault.problem) == ("validation_stream", "is given by val_stream too")


@pytest.mark.parametrize(("place", "value"), WRONG)
def test_a_wrong_value_is_refused_by_its_name_before_anything_is_computed(home, place, value):
    outer, _, name = place.rpartition(".")
    arguments = {"tuning_config": PROMPT | {name: value}} if outer else {name: value}
    (fault,) = refused(home, **arguments)
    assert fault.where == place
    assert fault.problem
    assert fault.fix
    assert [path.name for path in home.iterdir()] == ["base_models"]


def test_all_that_is_wrong_is_told_at_once(home, tmp_path):
    (tmp_path / "file").write_text("taken")
    faults = refused(
        home,
        base_model="No-Such-Model",
        train_stream=[{"input": "a"}],
        validation_stream=tmp_path / "absent.csv",
        lr=0.0,
        seed="7",
        tuning_config=TuningConfig(num_virtual_tokens=-1),
        output=tmp_path,
    )
    assert {one.where for one in faults} == {
        "output",
        "base_model",
        "train_stream[0].output",
        "validation_stream",
        "lr",
        "seed",
        "tuning_config.num_virtual_tokens",
    }


@pytest.mark.parametrize(
    ("stream", "where", "told"),
    [
        ([], "train_stream", "holds no rows"),
        (7, "train_stream", "is no stream of rows but a int"),
        ({"input": "a", "output": "b"}, "train_stream", "is no stream of rows"),
        (["text"], "train_stream[0]", "is no mapping: it is a str"),
        ([ROWS[0], "text"], "train_stream[1]", "is no mapping: it is a str"),
        ([{"question": "a"}], "train_stream[0]", "it is a mapping of question"),
        ([ROWS[0], {"input": "b"}], "train_stream[1].output", "is missing"),
        ([{"input": 3, "output": "b"}], "train_stream[0].input", "is no text"),
        ([{"text": "a", "labels": ["x", 3]}], "train_stream[0].labels", "is neither a text nor a list of texts"),
        ([{"input": "a\ud800", "output": "b"}], "train_stream[0].input", "is no text"),
    ],
)
def test_rows_that_are_none_are_refused_by_their_number(home, stream, where, told):
    (fault,) = refused(home, train_stream=stream)
    assert fault.where == where
    assert told in fault.problem


def test_a_file_that_lacks_a_column_is_refused(home, tmp_path):
    (tmp_path / "rows.csv").write_text("input,answer\na,b\n")
    (fault,) = refused(home, train_stream=tmp_path / "rows.csv")
    assert (fault.where, fault.problem) == ("train_stream", "has the columns input, answer")
    (tmp_path / "rows.txt").write_text("input,output\na,b\n")
    (fault,) = refused(home, train_stream=str(tmp_path / "rows.txt"))
    assert "ends in .csv or .parquet" in fault.fix


@pytest.mark.parametrize(
    ("argument", "value"), [("accept_eula", "yes"), ("server", "http://x"), ("output", 7), ("base_model", None)]
)
def test_what_is_of_another_kind_is_refused_by_its_name(home, argument, value):
    (fault,) = refused(home, **{argument: value})
    assert fault.where == argument
    assert (fault.problem == "is missing") == (value is None)


@pytest.mark.parametrize("place", ["/dev/fd/gyropilot/model", "x" * 300])
def test_a_place_that_cannot_be_made_is_refused_before_anything_is_computed(home, tmp_path, place):
    (fault,) = refused(home, output=tmp_path / place)
    assert (fault.where, fault.problem.partition(":")[0]) == ("output", "cannot be made")
    assert [path.name for path in home.iterdir()] == ["base_models"]


def test_a_column_of_tasks_that_no_row_has_is_told_once(home):
    config = {"num_virtual_tokens": 4, "task_column": "count"}  # which every text has as an attribute
    (fault,) = refused(home, tuning_type="MULTITASK_PROMPT_TUNING", tuning_config=config)
    assert (fault.where, fault.problem.partition(",")[0]) == ("train_stream[0].count", "is missing")
    assert "a mapping of input, output" in fault.problem


def test_neither_the_call_nor_the_command_imports_what_computes():
    heavy = ("torch", "transformers", "peft", "pandas", "numpy", "pyarrow", "sqlalchemy")
    code = f"import sys, gyropilot.tuning, gyropilot.cli.tune\nprint([one for one in {heavy} if one in sys.modules])"
    assert services.run([sys.executable, "-c", code]).stdout == "[]\n"


def test_a_folder_that_is_no_model_is_refused(home, tmp_path):
    (fault,) = refused(home, base_model=str(tmp_path / "nowhere"))
    assert (fault.where, fault.problem) == ("base_model", "is no folder, and no installed model")
    with pytest.raises((InvalidRequest, InvalidData), match=r"config\.json"):
        tune(base_model=tmp_path, train_stream=ROWS, tuning_config=PROMPT, home=home)


def test_a_folder_is_copied_for_a_call_that_is_right_alone(home, tmp_path, tiny_model_folder):
    folder = shutil.copytree(tiny_model_folder, tmp_path / "large")
    size = (shutil.disk_usage(tmp_path).free // 2**30 + 1) * 2**30  # more than there is room for
    header = json.dumps({"weight": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + size)
    (fault,) = refused(home, base_model=folder, tuning_config={"num_virtual_tokens": 0})
    assert fault.where == "tuning_config.num_virtual_tokens"
    (folder / "config.json").unlink()
    both = refused(home, base_model=folder, tuning_config={"num_virtual_tokens": 0})
    assert both[0].problem == "holds no config.json"
    assert both[1].where == "tuning_config.num_virtual_tokens"


def test_a_model_is_fetched_for_a_call_that_is_right_and_accepts_its_licence_alone(home, monkeypatch):
    monkeypatch.setenv("GYROPILOT_ALLOW_DOWNLOADS", "true")
    (fault,) = refused(home, base_model="FlanT5L", tuning_config={"num_virtual_tokens": 0})
    assert fault.where == "tuning_config.num_virtual_tokens"
    (fault,) = refused(home, base_model="Llama2-7B")
    assert fault.where == "accept_eula"
    assert "must be accepted first" in fault.problem
    assert "accept_eula=True" in fault.fix


def test_a_tuned_prompt_learns_answers_and_tells_what_was_measured(prompted):
    assert prompted.metrics["ValidationLoss"] < prompted.base_metrics["ValidationLoss"] - 0.5
    steps = prompted.training_log
    assert steps[-1]["loss"] < steps[0]["loss"]
    assert [one["epoch"] for one in prompted.epochs] == [1, 2, 3, 4]
    assert prompted.ended_by == "finished"
    assert (prompted.spec.epochs, prompted.spec.method.num_virtual_tokens) == (4, 4)
    answer = prompted.run(QUESTION, max_new_tokens=6)
    assert answer.generated_tokens == len(answer.tokens) == 6
    assert (answer.finish_reason, answer.seed) == ("MAX_TOKENS", None)
    assert 0 < answer.input_token_count < 40


def test_pieces_joined_are_the_answer_and_the_last_tells_what_ended_it(prompted):
    for parameters in (
        {"max_new_tokens": 8},
        {"max_new_tokens": 8, "decoding_method": "SAMPLING", "temperature": 0.8, "seed": 7},
        {"max_new_tokens": 4, "preserve_input_text": True},
        {"max_new_tokens": 4, "input_tokens": True, "token_ranks": True},
        {"max_new_tokens": 4, "return_full_text": True},
    ):
        whole = prompted.run(QUESTION, **parameters)
        pieces = list(prompted.run_stream(QUESTION, **parameters))
        assert "".join(one.generated_text for one in pieces) == whole.generated_text
        assert all(one.finish_reason is None for one in pieces[:-1])
        last = pieces[-1]
        told = (last.finish_reason, last.generated_tokens, last.input_token_count, last.seed)
        assert told == (whole.finish_reason, whole.generated_tokens, whole.input_token_count, whole.seed)
        assert len(last.input_tokens) == len(whole.input_tokens)
        assert len(whole.input_tokens) == (whole.input_token_count if "input_tokens" in parameters else 0)


def test_a_wrong_question_is_refused_by_the_name_of_its_parameter(prompted):
    for text, parameters, where in (
        (QUESTION, {"max_new_tokens": 0}, "max_new_tokens"),
        (QUESTION, {"decoding_method": "BEAM"}, "decoding_method"),
        (QUESTION, {"top_q": 1}, "top_q"),
        (QUESTION, {"stop_sequences": {1}}, "parameters"),
        ("word " * 400, {}, "text"),
        ([QUESTION], {}, "text"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            prompted.run(text, **parameters)
        assert [one.where for one in caught.value.faults] == [where]


def test_a_saved_model_answers_the_same_to_the_token_with_and_without_its_base(prompted, home, tmp_path):
    asked = {"max_new_tokens": 12}
    answer = prompted.run(QUESTION, **asked)
    without, whole = prompted.save(tmp_path / "without"), prompted.save(str(tmp_path / "whole"), with_base=True)
    assert not list(without.glob("**/model.safetensors"))
    with load(without, home=home) as again:
        assert exact(again.run(QUESTION, **asked)) == exact(answer)
        assert again.metrics == prompted.metrics
        assert again.spec == prompted.spec
    elsewhere = tmp_path / "empty-home"
    with load(whole, home=elsewhere) as again:
        assert exact(again.run(QUESTION, **asked)) == exact(answer)
        moved = again.save(tmp_path / "moved", with_base=True)
    with load(moved, home=elsewhere) as again:
        assert exact(again.run(QUESTION, **asked)) == exact(answer)
    with pytest.raises(InvalidRequest, match=r"base_model: is not installed .*gyropilot models pull"):
        load(without, home=elsewhere)
    with pytest.raises(InvalidRequest, match="folder: is there already, and not empty"):
        prompted.save(whole)


def test_folders_of_others_are_loaded_on_a_base_that_is_named(prompted, home, tmp_path, tiny_model_folder):
    asked = {"max_new_tokens": 12}
    answer = prompted.run(QUESTION, **asked)
    saved = prompted.save(tmp_path / "saved")
    adapter = shutil.copytree(saved / "adapter", tmp_path / "adapter")
    (adapter / "prompt.safetensors").unlink()  # what PEFT itself writes is left
    for folder in (saved / "caikit", adapter):
        with load(folder, base_model=tiny_model_folder, home=tmp_path / "other") as again:
            assert exact(again.run(QUESTION, **asked)) == exact(answer)
    with load(saved / "caikit", home=home) as again:  # whose config.yml names the base
        assert exact(again.run(QUESTION, **asked)) == exact(answer)
    with load(adapter, home=home, verbalizer="Say: {{input}}") as again:
        whole = again.run(QUESTION, max_new_tokens=1, preserve_input_text=True)
        assert whole.generated_text.startswith(f"Say: {QUESTION}")


def test_a_base_that_is_another_model_is_refused(prompted, home, tmp_path):
    other = tiny_models.make("llama-2", tmp_path / "other")
    with pytest.raises(InvalidRequest, match="base_model: is another model than the"):
        load(prompted.save(tmp_path / "saved"), base_model=other, home=home)


def test_what_is_no_models_folder_is_refused(home, tmp_path):
    with pytest.raises(InvalidData, match="is no folder of a tuned model"):
        load(tmp_path, home=home)
    with pytest.raises(InvalidData, match="is no folder"):
        load(tmp_path / "absent", home=home)


def test_a_closed_model_says_so_and_leaves_nothing(home, tmp_path, tiny_model_folder):
    rows = (SimpleNamespace(text=one["input"], labels=["stone", one["output"]]) for one in ROWS[:12])
    model = tune(
        base_model=tiny_model_folder,
        train_stream=rows,
        val_stream=ROWS[:3],
        tuning_config=PROMPT,
        verbalizer="Stone: {{input}}",
        home=tmp_path / "home",
        output=tmp_path / "out",
        **(QUICK | {"num_epochs": 1}),
    )
    evaluated = json.loads((tmp_path / "out" / "evaluation.json").read_text())["generations"]
    assert {one["reference"] for one in evaluated} <= {one["output"] for one in ROWS[:3]}
    assert model.spec.validation_fraction is None
    model.close()
    model.close()
    with pytest.raises(InvalidRequest, match="model: is closed"):
        model.run(QUESTION)
    assert not list((tmp_path / "home").glob(".tune-*"))
    with load(tmp_path / "out", base_model=tiny_model_folder, home=home) as again:
        whole = again.run("one", max_new_tokens=1, preserve_input_text=True)
    assert whole.generated_text.startswith("Stone: one")


@pytest.mark.slow
def test_an_encoder_decoder_model_answers_the_same_after_it_was_saved(home, tmp_path):
    base = tiny_models.make("t5", tmp_path / "t5")
    file = tmp_path / "rows.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([("text", "labels"), *((one["input"], one["output"]) for one in ROWS)])
    config = PROMPT | {"output_model_types": ["ENCODER", "DECODER"]}
    with tune(base_model=base, train_stream=file, tuning_config=config, home=home, **QUICK) as model:
        assert model.metrics["ValidationLoss"] < model.base_metrics["ValidationLoss"]
        answer = model.run(QUESTION, max_new_tokens=10)
        assert "".join(one.generated_text for one in model.run_stream(QUESTION, max_new_tokens=10)) == (
            answer.generated_text
        )
        saved, whole = model.save(tmp_path / "saved"), model.save(tmp_path / "whole", with_base=True)
    for folder, named in ((saved, base), (whole, None), (saved / "caikit", base), (saved / "adapter", base)):
        with load(folder, named, home=tmp_path / "other") as again:
            assert exact(again.run(QUESTION, max_new_tokens=10)) == exact(answer)


@pytest.mark.slow
@pytest.mark.parametrize("tuning_type", ["LORA", "FULL", "PREFIX_TUNING", "MULTITASK_PROMPT_TUNING"])
def test_other_types_are_tuned_saved_and_loaded(home, tmp_path, tuning_type):
    config = {"num_virtual_tokens": 4} if tuning_type.endswith("_TUNING") else None
    arguments = {"num_epochs": 2, "learning_rate": 5e-3, "tuning_type": tuning_type, "tuning_config": config}
    arguments["verbalizer"] = "{{input}}"  # as an adapter folder of PEFT is asked
    with tune(base_model=services.TINY, train_stream=ROWS, home=home, **arguments) as model:
        answer = model.run(QUESTION, max_new_tokens=10)
        saved = model.save(tmp_path / "saved")
        whole = model.save(tmp_path / "whole", with_base=True)
    assert (saved / "model.safetensors").exists() == (tuning_type == "FULL")
    with load(saved, home=home) as again:
        assert exact(again.run(QUESTION, max_new_tokens=10)) == exact(answer)
    with load(whole, home=tmp_path / "other") as again:
        assert exact(again.run(QUESTION, max_new_tokens=10)) == exact(answer)
    if tuning_type != "FULL":
        for served in ("prefix.safetensors", "prompt.safetensors"):
            (saved / "adapter" / served).unlink(missing_ok=True)  # what PEFT itself writes is left
        with load(saved / "adapter", home=home) as again:
            assert exact(again.run(QUESTION, max_new_tokens=10)) == exact(answer)
