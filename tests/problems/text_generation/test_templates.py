from __future__ import annotations

import json

import pytest

import services
from gyropilot.errors import InvalidRequest, TrainingFailed
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
    (prompt,), (answer,) = encoder.prompts(["a"]), encoder.answers(["b"])
    bos = encoder.prompts([""])[0][0]
    assert prompt.count(bos) == 1
    assert answer.count(encoder.template.eos_id) == 1


def test_control_texts_of_a_row_stay_text(encoder):
    eos, text = "</s>", "end</s>now"
    (prompt,), (answer,) = encoder.prompts([text]), encoder.answers([text])
    eos_id = encoder.template.eos_id
    assert encoder.holds_control_text(eos)
    assert answer.count(eos_id) == 1
    (usual,) = encoder.prompts(["end now"])
    assert prompt.count(eos_id) == usual.count(eos_id)
    assert encoder.text(answer) == text


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


@pytest.mark.parametrize("style", ["chat", "plain", "bare"])
def test_a_verbalizer_is_the_whole_prompt_but_for_start_and_end_token(folder, style):
    from transformers import AutoTokenizer

    encoder = Encoder.of_base_model(folder, style=style, verbalizer="Complaint: {{input}} Label:")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    wanted = tokenizer("Complaint: it's {{input}} \\1 Label:", add_special_tokens=False)["input_ids"]
    end = [encoder.template.eos_id] if style == "bare" else []
    assert encoder.prompts([r"it's {{input}} \1"]) == [[*wanted, *end]]
    assert encoder.template.has_encoder == (style == "bare")


@pytest.mark.parametrize("style", ["chat", "plain", "bare"])
def test_a_template_as_a_verbalizer_gives_the_same_tokens(folder, style):
    encoder = Encoder.of_base_model(folder, style=style)
    again = Encoder.of_base_model(folder, style=style, verbalizer=encoder.text_as_verbalizer)
    assert again.check() == encoder.check()
    assert again.text_as_verbalizer == encoder.text_as_verbalizer
    assert encoder.end_text == "</s>"


def test_a_verbalizer_has_the_start_token_that_the_tokenizer_puts(own):
    change(own, add_bos_token=True)
    template = read_template(own, style="plain")
    assert template.bos_id is not None
    for source in ("{{input}}", "<s>{{input}}"):
        (prompt,) = Encoder.of_base_model(own, style="chat", verbalizer=source).prompts(["a <s> b"])
        assert prompt[0] == template.bos_id
        assert prompt.count(template.bos_id) == 1


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<{{input}}>", "/s"),
        ("{{input}}s>", "</"),
        ("say {{input}}", "a</s>b"),
        ("</{{input}}</s>", "s>"),
        ("</s>{{input}}", ""),
    ],
)
def test_only_a_verbalizers_own_text_becomes_control_tokens(folder, source, text):
    encoder = Encoder.of_base_model(folder, style="plain", verbalizer=source)
    eos_id = encoder.template.eos_id
    (prompt,) = encoder.prompts([text])
    assert prompt.count(eos_id) == source.count("</s>")
    (usual,) = encoder.prompts(["x"])
    assert usual.count(eos_id) == source.count("</s>")


def test_a_saved_verbalizer_renders_alike(folder, own):
    encoder = Encoder.of_base_model(folder, style="chat", verbalizer="{{topic}}: {{input}}")
    encoder.save(own)
    again = Encoder.of_tuned_model(own)
    row = {"topic": "cats", "input": "{{topic}} </s>"}
    assert again.template == encoder.template
    assert again.prompts([row]) == encoder.prompts([row])
    assert (
        encoder.template.digest != Encoder.of_base_model(folder, style="chat", verbalizer="{{input}}").template.digest
    )
    with pytest.raises(InvalidRequest, match=r"topic.*give the field topic"):
        again.prompts(["a text alone"])


def test_a_template_is_saved_in_the_form_that_older_models_have(encoder, own):
    encoder.save(own)
    saved = json.loads((own / FILE).read_text())
    assert set(saved["template"]) == {"kind", "source", "special_tokens", "bos_id", "eos_id", "stop_ids"}
    assert saved["template"]["kind"] == "chat"
