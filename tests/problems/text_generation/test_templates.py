from __future__ import annotations

import json

import pytest

import services
from gyropilot.errors import InvalidData, TrainingFailed
from gyropilot.problems.text_generation.templates import FILE, Encoder, read_template


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return services.make_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def encoder(folder):
    return Encoder.of_base_model(folder, style="chat")


@pytest.fixture
def plain(folder):
    return Encoder.of_base_model(folder, style="plain")


def change(folder, **values):
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.fixture
def own(tmp_path):
    return services.make_tiny_model(tmp_path / "own")


def test_the_chat_prompt_is_what_transformers_renders(folder, encoder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    messages = [{"role": "user", "content": "What is 3 and 4?\n"}]
    wanted = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True)
    assert encoder.prompts(["What is 3 and 4?\n"])[0] == list(getattr(wanted, "input_ids", wanted))


def test_the_tokens_of_the_check_row_are_golden(encoder, plain):
    found = {"chat": encoder.check(), "plain": plain.check()}
    assert encoder.text(found["chat"]["prompt_ids"]).count("What is 2 + 2?\nShow it: «é» ✓") == 1
    assert found["chat"]["answer_ids"] == found["plain"]["answer_ids"]
    assert found["chat"]["answer_ids"][-1] == encoder.template.eos_id
    assert plain.text(found["plain"]["prompt_ids"]).startswith("### Instruction:\nWhat is 2 + 2?")


def test_the_saved_template_gives_the_same_tokens(encoder, folder, own):
    encoder.save(own)
    again = Encoder.of_tuned_model(own)
    assert again.template == encoder.template
    assert again.check() == encoder.check()


def test_a_tokenizer_that_gives_other_tokens_is_refused(encoder, own):
    encoder.save(own)
    saved = json.loads((own / FILE).read_text())
    saved["check"]["prompt_ids"][0] += 1
    (own / FILE).write_text(json.dumps(saved))
    with pytest.raises(TrainingFailed, match="other tokens"):
        Encoder.of_tuned_model(own)


def test_the_answer_ends_with_eos_once_and_the_prompt_has_one_start(own):
    change(own, chat_template="{{ bos_token }}{% for m in messages %}[{{ m.content }}]{% endfor %}")
    encoder = Encoder.of_base_model(own, style="chat")
    row = encoder.rows(["a"], ["b"], side_limit=50, model_limit=100)[0]
    bos = encoder.prompts([""])[0][0]
    assert row.prompt_ids.count(bos) == 1
    assert row.answer_ids.count(encoder.template.eos_id) == 1


def test_control_texts_of_a_row_stay_text(encoder):
    eos, text = "</s>", "end</s>now"
    (prompt,), (answer,) = encoder.prompts([text]), encoder.answers([text])
    eos_id = encoder.template.eos_id
    assert encoder.holds_control_text(eos)
    assert answer.count(eos_id) == 1
    (usual,) = encoder.prompts(["end now"])
    assert prompt.count(eos_id) == usual.count(eos_id)
    assert encoder.text(answer) == text


def test_a_row_that_fits_is_not_cut(encoder):
    (row,) = encoder.rows(["one two three"], ["four"], side_limit=100, model_limit=256)
    assert not row.is_input_cut
    assert not row.is_output_cut


def test_a_long_input_loses_its_beginning_and_keeps_the_template(encoder):
    text = " ".join(str(number) for number in range(500))
    (row,) = encoder.rows([text], ["yes"], side_limit=20, model_limit=256)
    (short,) = encoder.rows(["x"], ["yes"], side_limit=20, model_limit=256)
    assert row.is_input_cut
    assert not row.is_output_cut
    assert row.answer_ids == short.answer_ids
    shown = encoder.text(row.prompt_ids)
    assert "499" in shown
    assert " 1 2 3 " not in shown
    assert row.prompt_ids[0] == short.prompt_ids[0]
    assert row.prompt_ids[-1] == short.prompt_ids[-1]


def test_a_long_output_loses_its_end_and_keeps_eos(encoder):
    (row,) = encoder.rows(["x"], ["word " * 500], side_limit=20, model_limit=256)
    assert row.is_output_cut
    assert len(row.answer_ids) == 20
    assert row.answer_ids[-1] == encoder.template.eos_id


def test_the_prompt_is_cut_before_the_answer(encoder):
    (row,) = encoder.rows(["in " * 100], ["out " * 10], side_limit=400, model_limit=120)
    assert len(row.prompt_ids) + len(row.answer_ids) <= 120
    assert row.is_input_cut
    assert not row.is_output_cut


def test_an_answer_longer_than_the_model_is_cut_last(encoder):
    (row,) = encoder.rows(["in " * 100], ["out " * 300], side_limit=1000, model_limit=60)
    assert len(row.prompt_ids) + len(row.answer_ids) <= 60
    assert row.answer_ids[-1] == encoder.template.eos_id
    assert row.is_output_cut


def test_a_template_longer_than_the_model_is_refused(encoder):
    with pytest.raises(InvalidData, match="no room for an answer"):
        encoder.rows(["in"], ["out"], side_limit=10, model_limit=3)


def test_a_template_that_drops_the_message_is_refused(own):
    change(own, chat_template="hello")
    with pytest.raises(TrainingFailed, match="exactly once"):
        Encoder.of_base_model(own, style="chat")


def test_a_folder_without_chat_template_gets_the_plain_one(own):
    change(own, chat_template=None)
    assert read_template(own, style="chat").kind == "plain"


def test_no_end_token_is_an_error(own):
    change(own, eos_token=None)
    config = json.loads((own / "config.json").read_text())
    (own / "config.json").write_text(json.dumps({**config, "eos_token_id": None}))
    with pytest.raises(TrainingFailed, match="no end token"):
        read_template(own, style="chat")


def test_every_end_token_of_the_generation_config_stops(own):
    (own / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 9]}))
    template = read_template(own, style="chat")
    assert set(template.stop_ids) == {template.eos_id, 7, 9}


def test_an_encoder_reads_the_input_as_it_stands_with_its_end_token(folder, own):
    bare = Encoder.of_base_model(folder, style="bare")
    prompt = bare.prompts(["What is 3 and 4?"])[0]
    assert prompt[-1] == bare.template.eos_id
    assert bare.text(prompt) == "What is 3 and 4?"
    assert bare.prompts(["<s>"])[0] == [*bare.answers(["<s>"])[0][:-1], bare.template.eos_id]
    assert bare.prompts([""]) == [[bare.template.eos_id]]
    bare.save(own)
    assert Encoder.of_tuned_model(own).check() == bare.check()
    (cut,) = bare.rows(["What is 3 and 4?" * 40], ["It is 7."], side_limit=20, model_limit=40)
    assert (len(cut.prompt_ids), cut.prompt_ids[-1], cut.is_input_cut) == (21, bare.template.eos_id, True)
