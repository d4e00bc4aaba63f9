"""What goes to the model and what is kept; the first tables are the service's documented examples."""

import json

import pytest

from gyropilot.errors import InvalidData
from gyropilot.serve.transforms import assembling, filters
from gyropilot.serve.transforms.splitting import Record
from mean_transforms import plan

URI = "s3://data/in/a"
LINE = {"split_type": "Line", "assemble_with": "Line"}
JSON = {"content_type": "application/json", "accept": "application/json"}
JSON_LINES = {"content_type": "application/jsonlines", "accept": "application/jsonlines"} | LINE


def through(data, answer, *, answer_type="", **chosen):
    """Give what the model is sent of `data`, and what is written of its answer."""
    chosen = plan(**chosen)
    records = [Record(number=1, data=data)]
    if chosen.split == "Line":
        records = [Record(number=number, data=one) for number, one in enumerate(data.split(b"\n"), start=1)]
    payload = filters.payload_of(records, chosen, URI)
    kept = filters.output_of(payload, answer, answer_type or chosen.accept, chosen)
    return payload.body, assembling.piece(kept, chosen)


@pytest.mark.parametrize(
    ("chosen", "sent", "written"),
    [
        ({}, b"7,1,2\n8,3,4", b"0.5\n0.75\n"),
        ({"join_source": "Input"}, b"7,1,2\n8,3,4", b"7,1,2,0.5\n8,3,4,0.75\n"),
        ({"join_source": "Input", "input_filter": "$[1:]"}, b"1,2\n3,4", b"7,1,2,0.5\n8,3,4,0.75\n"),
        (
            {"join_source": "Input", "input_filter": "$[1:]", "output_filter": "$[0,-1]"},
            b"1,2\n3,4",
            b"7,0.5\n8,0.75\n",
        ),
        ({"join_source": "Input", "output_filter": "$[0,2:]"}, b"7,1,2\n8,3,4", b"7,2,0.5\n8,4,0.75\n"),
        ({"join_source": "Input", "output_filter": "$[-1,0]"}, b"7,1,2\n8,3,4", b"0.5,7\n0.75,8\n"),
        ({"input_filter": "$[0]"}, b"7\n8", b"0.5\n0.75\n"),
    ],
)
def test_csv(chosen, sent, written):
    assert through(b"7,1,2\n8,3,4", b"0.5\n0.75\n", accept="text/csv", **LINE, **chosen) == (sent, written)


@pytest.mark.parametrize(
    ("chosen", "sent", "written"),
    [
        ({}, {"id": 7, "features": [1, 2]}, {"score": 0.5}),
        ({"input_filter": "$.features"}, [1, 2], {"score": 0.5}),
        (
            {"input_filter": "$.features", "join_source": "Input"},
            [1, 2],
            {"id": 7, "features": [1, 2], "SageMakerOutput": {"score": 0.5}},
        ),
        (
            {"input_filter": "$.features", "join_source": "Input", "output_filter": "$['id','SageMakerOutput']"},
            [1, 2],
            {"id": 7, "SageMakerOutput": {"score": 0.5}},
        ),
        (
            {"join_source": "Input", "output_filter": "$.SageMakerOutput.score"},
            {"id": 7, "features": [1, 2]},
            0.5,
        ),
        ({"output_filter": "$.score"}, {"id": 7, "features": [1, 2]}, 0.5),
    ],
)
@pytest.mark.parametrize("form", [JSON, JSON | LINE, JSON_LINES])
def test_json(form, chosen, sent, written):
    body, output = through(b'{"id": 7, "features": [1, 2]}', b'{"score": 0.5}', **form, **chosen)
    assert (json.loads(body), json.loads(output)) == (sent, written)
    assert output.endswith(b"\n") == ("assemble_with" in form)


def test_a_json_value_that_is_no_object_stands_beside_its_answer():
    _, output = through(b"[1, 2]", b'"yes"', join_source="Input", **JSON)
    assert json.loads(output) == {"SageMakerInput": [1, 2], "SageMakerOutput": "yes"}


def test_an_answer_takes_the_place_of_a_member_of_its_name():
    _, output = through(b'{"a": 1, "SageMakerOutput": 2}', b"3", join_source="Input", **JSON)
    assert output == b'{"a":1,"SageMakerOutput":3}'


@pytest.mark.parametrize(
    ("form", "answer"),
    [
        (JSON_LINES, b'"x"\n"y"\n"z"\n'),
        (JSON | LINE | {"strategy": "MultiRecord"}, b'"x"\n"y"\n"z"\n'),
        (JSON_LINES | {"accept": "application/json"}, b'["x", "y", "z"]'),
    ],
)
def test_several_json_lines_are_joined_with_the_lines_of_one_answer_or_its_elements(form, answer):
    lines = b'{"a": 1}\n{"a": 2}\n3'
    _, output = through(lines, answer, join_source="Input", **form)
    assert [json.loads(line) for line in output.splitlines()] == [
        {"a": 1, "SageMakerOutput": "x"},
        {"a": 2, "SageMakerOutput": "y"},
        {"SageMakerInput": 3, "SageMakerOutput": "z"},
    ]


def test_an_answer_that_spans_lines_is_one_json_value_to_one_record():
    _, output = through(b'{"a": 1}', b'{\n "b": 2\n}', join_source="Input", **(JSON | LINE))
    assert output == b'{"a":1,"SageMakerOutput":{"b":2}}\n'


def test_csv_cells_keep_their_text_and_are_quoted_where_they_must_be():
    row = b'"a ""b"", c",007,1e5,\xc3\xbc,'
    _, output = through(row, b'"x, y"\n', join_source="Input", accept="text/csv", **LINE)
    assert output.decode() == '"a ""b"", c",007,1e5,ü,,"x, y"\n'


def test_csv_that_is_not_split_may_have_newlines_in_its_cells():
    data = b'7,"two\nlines",1\n8,one,2\n'
    body, output = through(
        data, b"0.5\n0.75\n", accept="text/csv", join_source="Input", input_filter="$[1:]", output_filter="$[0,-1]"
    )
    assert (body, output) == (b'"two\nlines",1\none,2', b"7,0.5\n8,0.75")


def test_long_cells_and_half_surrogates_come_through():
    cell = b"x" * 2**18
    body, _ = through(b"7," + cell, b"1", input_filter="$[1]", **LINE)
    assert body == cell
    body, _ = through(b'{"a": "\\ud800\\u00fc"}', b"1", input_filter="$.a", **JSON)
    assert body == b'"\\ud800\\u00fc"'


def test_a_header_that_the_model_does_not_answer_is_told():
    joined = {"join_source": "Input", "answer_type": "text/csv"}
    with pytest.raises(InvalidData, match=r"2 answers to 3 records.* first line may be a header"):
        through(b"x,y\n7,1\n8,2", b"1\n2\n", **joined, **LINE)
    with pytest.raises(InvalidData, match=r"1 answers to 3 records.* set BatchStrategy to SingleRecord"):
        through(b"x,y\n7,1\n8,2", b"1\n", **joined, **LINE)


def test_without_filters_records_and_answers_are_bytes():
    data, answer = b'"open\xff\n\x00', b"\x89PNG\n\xff"
    assert through(data, answer, **LINE) == (data, answer + b"\n")
    assert through(data, answer, content_type="image/png") == (data, answer)


def test_a_mark_of_byte_order_is_no_part_of_the_first_cell():
    body, _ = through(b"\xef\xbb\xbf7,1", b"0.5", input_filter="$[0]", **LINE)
    assert body == b"7"


@pytest.mark.parametrize(
    ("data", "answer", "chosen", "said"),
    [
        (
            b"7,1\n8",
            b"1\n2\n",
            {"input_filter": "$[1]"} | LINE,
            r"a line 2: .*InputFilter '\$\[1\]' picks .* has 1 elem",
        ),
        (b'7,1\n8,"open', b"1\n2\n", {"input_filter": "$[1]"} | LINE, "a line 2: it is no CSV"),
        (b"7\n\xff", b"1\n2\n", {"input_filter": "$[0]"} | LINE, "a line 2: is not UTF-8 at byte 0"),
        (b"{}", b"1", {"input_filter": "$.x"} | JSON, r"a: .*has no member 'x', only none"),
        (b"{", b"1", {"input_filter": "$.x"} | JSON, "a: it is no JSON"),
        (b'{"x": NaN}', b"1", {"input_filter": "$.x"} | JSON, "a: it is no JSON: NaN is no number of JSON"),
        (b'{"x": 1e999}', b"1", {"input_filter": "$.x"} | JSON, "a: it is no JSON: 1e999 is larger than"),
        (b"[" * 100_000, b"1", {"input_filter": "$[0]"} | JSON, "a: it is no JSON"),
        (
            b"7\n8",
            b"1\n",
            {"join_source": "Input", "accept": "text/csv"} | LINE,
            "a lines 1 to 2: .*1 answers to 2 rec",
        ),
        (b"7", b"1\n", {"join_source": "Input", "output_filter": "$[2]"} | LINE, "a line 1: .*OutputFilter.* has 2"),
        (
            b"7",
            b"{}",
            {"join_source": "Input", "answer_type": "application/json"} | LINE,
            "CSV and JSON cannot be joined",
        ),
        (b"7", b"?", {"join_source": "Input", "answer_type": "image/png"} | LINE, "of a content type that DataProc"),
        (
            b"7",
            b"?",
            {"output_filter": "$.a", "accept": "application/json"} | LINE,
            "the model's answer: it is no JSON",
        ),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(data, answer, chosen, said):
    chosen = {"answer_type": "text/csv"} | chosen
    with pytest.raises(InvalidData, match=said):
        through(data, answer, **chosen)


def test_pieces_end_with_one_newline_where_lines_are_assembled():
    assert assembling.piece(b"a", plan(assemble_with="Line")) == b"a\n"
    assert assembling.piece(b"a\n", plan(assemble_with="Line")) == b"a\n"
    assert assembling.piece(b"a", plan()) == b"a"
