from __future__ import annotations

import pytest

import services
from gyropilot.errors import InvalidData
from gyropilot.problems.text_generation.fitting import Limits, encode_rows
from gyropilot.problems.text_generation.templates import Encoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return services.make_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def encoder(folder):
    return Encoder.of_base_model(folder, style="chat")


def test_a_row_that_fits_is_not_cut(encoder):
    (row,) = encode_rows(encoder, ["one two three"], ["four"], Limits(side=100, model=256))
    assert not row.is_input_cut
    assert not row.is_output_cut


def test_a_long_input_loses_its_beginning_and_keeps_the_template(encoder):
    text = " ".join(str(number) for number in range(500))
    (row,) = encode_rows(encoder, [text], ["yes"], Limits(side=20, model=256))
    (short,) = encode_rows(encoder, ["x"], ["yes"], Limits(side=20, model=256))
    assert row.is_input_cut
    assert not row.is_output_cut
    assert row.answer_ids == short.answer_ids
    shown = encoder.text(row.prompt_ids)
    assert "499" in shown
    assert " 1 2 3 " not in shown
    assert row.prompt_ids[0] == short.prompt_ids[0]
    assert row.prompt_ids[-1] == short.prompt_ids[-1]


def test_a_long_output_loses_its_end_and_keeps_eos(encoder):
    (row,) = encode_rows(encoder, ["x"], ["word " * 500], Limits(side=20, model=256))
    assert row.is_output_cut
    assert len(row.answer_ids) == 20
    assert row.answer_ids[-1] == encoder.template.eos_id


def test_the_prompt_is_cut_before_the_answer(encoder):
    (row,) = encode_rows(encoder, ["in " * 100], ["out " * 10], Limits(side=400, model=120))
    assert len(row.prompt_ids) + len(row.answer_ids) <= 120
    assert row.is_input_cut
    assert not row.is_output_cut


def test_an_answer_longer_than_the_model_is_cut_last(encoder):
    (row,) = encode_rows(encoder, ["in " * 100], ["out " * 300], Limits(side=1000, model=60))
    assert len(row.prompt_ids) + len(row.answer_ids) <= 60
    assert row.answer_ids[-1] == encoder.template.eos_id
    assert row.is_output_cut


def test_a_template_longer_than_the_model_is_refused(encoder):
    with pytest.raises(InvalidData, match="no room for an answer"):
        encode_rows(encoder, ["in"], ["out"], Limits(side=10, model=3))


def test_what_an_encoder_reads_keeps_its_end_token(folder):
    bare = Encoder.of_base_model(folder, style="bare")
    (cut,) = encode_rows(bare, ["What is 3 and 4?" * 40], ["It is 7."], Limits(side=20, model=40))
    assert (len(cut.prompt_ids), cut.prompt_ids[-1], cut.is_input_cut) == (21, bare.template.eos_id, True)


@pytest.mark.parametrize("style", ["chat", "bare"])
def test_the_first_tokens_of_a_verbalizers_prompt_are_kept(folder, style):
    template = "Complaint: {{input}} Label:"
    encoder = Encoder.of_base_model(folder, style=style, verbalizer=template)
    text = " ".join(str(number) for number in range(200))
    (whole,) = encoder.prompts([text])
    (row,) = encode_rows(encoder, [text], ["yes"], Limits(side=1000, model=2000, source=30))
    end = [encoder.template.eos_id] if style == "bare" else []
    assert row.prompt_ids == whole[: 30 - len(end)] + end
    assert row.is_input_cut
    (short,) = encode_rows(encoder, ["x"], ["yes"], Limits(side=1000, model=2000, source=30))
    assert short.prompt_ids == encoder.prompts(["x"])[0]
    assert not short.is_input_cut


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
def test_a_target_keeps_its_end_token_within_its_length(folder, limit):
    encoder = Encoder.of_base_model(folder, style="plain", verbalizer="{{input}}")
    (whole,) = encoder.answers(["a b c d e f g h"])
    (row,) = encode_rows(encoder, ["x"], ["a b c d e f g h"], Limits(side=1000, model=2000, target=limit))
    assert row.answer_ids == (whole if limit >= len(whole) else [*whole[: limit - 1], whole[-1]])
    assert row.is_output_cut == (limit < len(whole))


def test_a_source_length_cuts_the_input_inside_the_models_own_template(encoder):
    text = " ".join(str(number) for number in range(500))
    short, empty = encoder.prompts(["499", ""])
    limit = len(empty) + 12
    (row,) = encode_rows(encoder, [text], ["yes"], Limits(side=5, model=2000, source=limit))
    assert len(empty) < len(row.prompt_ids) <= limit
    assert row.prompt_ids[-3:] == short[-3:]
    assert "499" in encoder.text(row.prompt_ids)
    with pytest.raises(InvalidData, match=r"max_source_length.*template alone has"):
        encode_rows(encoder, [text], ["yes"], Limits(side=5, model=2000, source=2))


def test_a_verbalizers_prompt_is_cut_before_the_answer(folder):
    encoder = Encoder.of_base_model(folder, style="plain", verbalizer="{{input}}")
    (row,) = encode_rows(encoder, ["in " * 100], ["out " * 10], Limits(side=400, model=60))
    assert len(row.prompt_ids) + len(row.answer_ids) == 60
    assert row.is_input_cut
    assert not row.is_output_cut
