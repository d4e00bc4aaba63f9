"""Models of virtual tokens as they are deployed: an adapter folder without weights, on a base of the store."""

from __future__ import annotations

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

import prompted_models
import served_models
import services
from gyropilot.errors import TrainingFailed
from gyropilot.problems.text_generation import artifacts, models
from gyropilot.problems.text_generation.generation import generate
from gyropilot.problems.text_generation.templates import Encoder

QUESTION = "What colour has stone 1?"
ROWS = {"prompt": {"before_text": 6}, "prefix": {"prefix": 6}}


@pytest.fixture(params=ROWS)
def rows(request):
    return ROWS[request.param]


@pytest.fixture
def base_folder(tuned):
    return tuned.base_models / services.TINY


@pytest.fixture
def tuned_prompt(base_folder, rows):
    """The base behind drawn virtual tokens, as a training holds it."""
    return prompted_models.prompted(models.load(base_folder, dtype="float32", attention="sdpa").model, **rows)


@pytest.fixture
def folder(tuned, tuned_prompt, tmp_path):
    return deployed(tuned, tuned_prompt, tmp_path / "prompt")


def deployed(tuned, tuned_prompt, folder):
    """Write what the archive of an unmerged model holds: no weights, the virtual tokens in adapter/."""
    served_models.unpacked(tuned.output, folder)
    for path in folder.glob("*.safetensors"):
        path.unlink()
    shutil.rmtree(folder / artifacts.ADAPTER)
    tuned_prompt.virtual_tokens.save(folder / artifacts.ADAPTER)
    change(folder, tuning="PROMPT_TUNING", virtual_tokens=6)
    return folder


def change(folder, **values):
    file = folder / artifacts.SERVING
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def scored(model, folder, text, *, length=20, task=0):
    encoder = Encoder.of_tuned_model(folder)
    stop_ids = encoder.template.stop_ids
    (answer,) = generate(model, encoder.prompts([text]), stop_ids=stop_ids, max_new_tokens=length, tasks=[task])
    return encoder.text(answer.token_ids)


def test_a_prompt_is_served_beside_a_lora_on_the_one_base_that_both_share(
    tuned, tuned_prompt, folder, served, tmp_path
):
    server = served_models.opened(tuned.base_models)
    try:
        server.load("lora", served_models.unpacked(tuned.output, tmp_path / "lora"), {})
        server.load("prompt", folder, {})
        assert len(server.base_digests) == 1
        answer = served_models.Served(server, "prompt").text(QUESTION, max_new_tokens=20)
        assert answer == scored(tuned_prompt, folder, QUESTION)
        assert served_models.Served(server, "lora").text(QUESTION) == served.text(QUESTION) != answer
        server.unload("lora")
        assert served_models.Served(server, "prompt").text(QUESTION, max_new_tokens=20) == answer
    finally:
        server.close()


def test_a_folder_that_holds_the_base_s_weights_is_served_from_those_where_the_store_has_none(
    base_folder, tuned_prompt, folder, tmp_path
):
    for path in base_folder.glob("*.safetensors"):
        shutil.copy(path, folder)
    with served_models.serving(folder, base_models=tmp_path / "empty") as model:
        assert model.server.base_digests == []
        assert model.text(QUESTION, max_new_tokens=20) == scored(tuned_prompt, folder, QUESTION)


def test_without_weights_and_base_the_base_is_named_with_the_mend(tuned, folder, tmp_path):
    told = rf"adapter of base model {services.TINY} .*is not in the base-model store.*gyropilot models pull"
    with pytest.raises(TrainingFailed, match=told):
        served_models.opened(tmp_path / "empty").load("prompt", folder, {})
    change(folder, base_model_digest="0" * 64)
    with pytest.raises(TrainingFailed, match=r"is another one in the base-model store.*begins with 000000000000"):
        served_models.opened(tuned.base_models).load("prompt", folder, {})


def test_a_folder_that_lacks_its_virtual_tokens_is_refused(tuned, folder):
    for path in (folder / artifacts.ADAPTER).glob("*.safetensors"):
        path.unlink()
    with pytest.raises(TrainingFailed, match=r"lack its virtual tokens \(adapter/prompt.safetensors"):
        served_models.opened(tuned.base_models).load("prompt", folder, {})


def test_an_adapter_of_another_training_than_the_description_is_refused_and_nothing_of_it_stays(
    tuned, folder, served, tmp_path
):
    server = served_models.opened(tuned.base_models)
    try:
        server.load("lora", served_models.unpacked(tuned.output, tmp_path / "lora"), {})
        change(folder, virtual_tokens=7)
        with pytest.raises(TrainingFailed, match=r"says that 7 virtual tokens .*and the adapter has 6"):
            server.load("prompt", folder, {})
        change(folder, virtual_tokens=6)
        server.load("prompt", folder, {})
        assert served_models.Served(server, "lora").text(QUESTION) == served.text(QUESTION)
    finally:
        server.close()


TASKS = ("colours", "sizes", "names")


@pytest.mark.parametrize("rows", [{"before_text": 6, "tasks": 3}])
def test_each_task_of_a_model_is_answered_behind_its_own_tokens(tuned, tuned_prompt, folder):
    change(folder, tasks=TASKS)
    wanted = [scored(tuned_prompt, folder, QUESTION, task=number) for number in range(3)]
    assert len(set(wanted)) == 3
    with served_models.serving(folder, base_models=tuned.base_models) as model:
        assert [model.text(QUESTION, max_new_tokens=20, task=name) for name in TASKS] == wanted
        assert model.text(QUESTION, max_new_tokens=20) == wanted[0]
        assert model.answer({"text_inputs": QUESTION, "max_new_tokens": 20, "task": "names"}) == {
            "generated_texts": [wanted[2]]
        }
        (fault,) = model.refused({"inputs": QUESTION, "parameters": {"task": "colour"}})
        assert (fault.where, fault.found) == ("parameters.task", "colour")
        assert fault.fix == "known: colours, sizes, names"


@pytest.mark.parametrize("rows", [{"before_text": 6, "tasks": 2}])
def test_a_task_that_the_adapter_lacks_is_refused_at_loading(tuned, folder):
    change(folder, tasks=TASKS)
    with pytest.raises(TrainingFailed, match="does not fit the model in its task 2: it holds nothing"):
        served_models.opened(tuned.base_models).load("prompt", folder, {})


@pytest.mark.parametrize("rows", [ROWS["prompt"]])
def test_a_prompt_that_lost_its_end_is_put_before_its_answer_as_it_was_read(tuned, base_folder, folder):
    Encoder.of_base_model(base_folder, style="chat", verbalizer="Question: {{input}} Answer:").save(folder)
    with served_models.serving(folder, base_models=tuned.base_models) as model:
        parameters = {"preserve_input_text": True, "truncate_input_tokens": 12, "input_tokens": True}
        (one,) = model.answer({"inputs": QUESTION * 3, "parameters": parameters})
        kept = "".join(token["text"] for token in one["details"]["input_tokens"])
        assert len(one["details"]["input_tokens"]) == 12
        assert f"Question: {QUESTION * 3} Answer:".startswith(kept)
        assert one["generated_text"].startswith(kept)
        assert len(one["generated_text"]) < len(QUESTION * 3)


def of_another_width(tensors):
    return {name: one[..., :-1].contiguous() for name, one in tensors.items()}


def not_finite(tensors):
    return {name: one.clone().fill_(float("nan")) for name, one in tensors.items()}


def without_tokens(tensors):
    return {name: one[..., :0, :].contiguous() for name, one in tensors.items()}


def under_other_names(tensors):
    return {f"my_{name}": one for name, one in tensors.items()}


def longer_than_the_model_reads(tensors):
    return {name: one.repeat_interleave(400, dim=-2) for name, one in tensors.items()}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (of_another_width, "not .*one token or more"),
        (not_finite, "holds what is no finite number"),
        (without_tokens, "one token or more"),
        (under_other_names, "it holds my_"),
        (longer_than_the_model_reads, "2400 tokens leave no room for a text in the"),
    ],
)
def test_virtual_tokens_that_do_not_fit_the_base_are_refused_by_name(tuned, folder, changed, told):
    (path,) = (folder / artifacts.ADAPTER).glob("*.safetensors")
    save_file(changed(load_file(path)), path)
    with pytest.raises(TrainingFailed, match=rf"{path.name} does not fit the model.*{told}"):
        served_models.opened(tuned.base_models).load("prompt", folder, {})


def test_virtual_tokens_take_room_of_the_text_and_are_counted_as_nobody_s(tuned, folder):
    with served_models.serving(folder, base_models=tuned.base_models) as model:
        most = int(json.loads((folder / artifacts.SERVING).read_text())["model_tokens"])
        prompt_tokens = len(Encoder.of_tuned_model(folder).prompts([QUESTION])[0])
        (fault,) = model.refused({"inputs": QUESTION, "parameters": {"max_new_tokens": most - prompt_tokens}})
        assert "virtual tokens of its tuning 6" in fault.problem
        assert f"ask for at most {most - prompt_tokens - 6}," in fault.fix
        (fault,) = model.refused({"inputs": "word " * most})
        assert "6 virtual tokens of its tuning among them" in fault.problem
        room = most - prompt_tokens - 6
        (one,) = model.answer({"inputs": QUESTION, "parameters": {"max_new_tokens": room, "details": True}})
        assert one["details"]["prompt_tokens"] == prompt_tokens
        assert model.chat(("user", QUESTION), max_tokens=2)["usage"]["prompt_tokens"] == prompt_tokens


def test_an_adapter_that_is_no_plain_lora_is_served_by_the_merged_weights(tuned, tmp_path):
    folder = served_models.unpacked(tuned.output, tmp_path / "dora")
    config = folder / artifacts.ADAPTER / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "use_dora": True}))
    (question, answer), *_ = tuned.scored()
    with served_models.serving(folder, base_models=tuned.base_models) as model:
        assert model.server.base_digests == []
        assert model.text(question) == answer


@pytest.mark.parametrize("rows", [ROWS["prompt"]])
def test_a_verbalizer_renders_an_input_and_one_message_and_takes_no_conversation(
    tuned, base_folder, tuned_prompt, folder
):
    Encoder.of_base_model(base_folder, style="chat", verbalizer="Question: {{input}} Answer:").save(folder)
    with served_models.serving(folder, base_models=tuned.base_models) as model:
        answer = model.text(QUESTION, max_new_tokens=20)
        assert answer == scored(tuned_prompt, folder, QUESTION)
        chat = model.chat(("user", QUESTION), max_tokens=20)
        assert chat["choices"][0]["message"]["content"] == answer
        for messages in (["system", "user"], ["user", "assistant", "user"]):
            payload = {"messages": [{"role": role, "content": QUESTION} for role in messages]}
            (fault,) = model.refused(payload, style="chat")
            assert fault.fix == "send one user message alone"
