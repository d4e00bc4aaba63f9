from __future__ import annotations

import random
import subprocess
import sys

import pytest

import served_models
from gyropilot.errors import InvalidRequest
from gyropilot.problems.text_generation import data, verbalizer
from gyropilot.problems.text_generation.batches import TokenCache
from gyropilot.problems.text_generation.templates import Encoder
from gyropilot.problems.text_generation.tuning.specification import TuningSpec


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("{{input}}", ("input",)),
        ("a {{b_1}} c {{B}} {{b_1}}", ("b_1", "B")),
        ("{{{input}}}", ("input",)),
        ("{{a}}{{b}}", ("a", "b")),
        ("{{ input }} {{}} {input} {{in put}} {{in-put}} {{é}} {{in\nput}}", ()),
        ("{{a{{b}}}}", ("b",)),
    ],
)
def test_only_two_braces_round_letters_digits_and_underscores_are_a_place(template, names):
    assert verbalizer.fields(template) == names


def test_data_is_put_in_once_and_as_it_stands():
    values = {"input": r"\1 \g<0> {{other}} $& \n", "other": "{{input}}"}
    assert verbalizer.render("<{{input}}|{{other}}>", values) == "<" + values["input"] + "|{{input}}>"
    assert verbalizer.render("{{{input}}}", {"input": "x"}) == "{x}"
    assert verbalizer.render("{{ input }}{{input}}", {"input": ""}) == "{{ input }}"


def test_fields_without_a_value_are_all_named():
    with pytest.raises(InvalidRequest) as caught:
        verbalizer.render("{{input}} {{a}} {{b}}", {"input": "x"})
    assert [fault.where for fault in caught.value.faults] == ["a", "b"]


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        (None, "is not a text"),
        (7, "is not a text"),
        ("", "holds no"),
        ("{{ input }}", "holds no"),
        ("{{input}}" + "x" * verbalizer.MAX_BYTES, "is longer than 65536 bytes"),
        ("{{input}}" + "é" * (verbalizer.MAX_BYTES // 2), "is longer"),
        ("{{input}}\ud800", "surrogate"),
        ("{{input}}" * 65, "more than 64 places"),
    ],
)
def test_a_template_that_cannot_be_used_is_told(template, problem):
    (fault,) = verbalizer.faults(template, where="verbalizer")
    assert fault.where == "verbalizer"
    assert problem in str(fault)
    assert fault.fix


@pytest.mark.parametrize("template", ["{{input}}", "{{input}}" * 64, "x" * (verbalizer.MAX_BYTES - 9) + "{{input}}"])
def test_a_template_up_to_the_limits_can_be_used(template):
    assert verbalizer.faults(template, where="verbalizer") == []


def walked(template, values):
    """Render character by character, without regular expressions."""
    out, at = "", 0
    while at < len(template):
        if template.startswith("{{", at):
            end = at + 2
            while end < len(template) and template[end].isascii() and (template[end].isalnum() or template[end] == "_"):
                end += 1
            if end > at + 2 and template.startswith("}}", end):
                out += values[template[at + 2 : end]]
                at = end + 2
                continue
        out, at = out + template[at], at + 1
    return out


def test_random_templates_render_as_a_plain_walk_does():
    draw = random.Random(7)
    bits = ["{", "}", "{{", "}}", "a", "b_", "1", " ", "\\", "\\1", "{{a}}", "{{b_}}", "é", "\n", "{{a b}}"]
    rendered = 0
    for _ in range(20_000):
        template = "".join(draw.choices(bits, k=draw.randrange(9)))
        values = {name: "".join(draw.choices(bits, k=3)) for name in verbalizer.fields(template)}
        assert verbalizer.render(template, values) == walked(template, values), template
        rendered += bool(values)
    assert rendered > 5_000


def test_it_loads_nothing_heavy():
    code = "import sys, gyropilot.problems.text_generation.verbalizer; print(sorted(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not any(f"'{name}'" in found for name in ("torch", "tokenizers", "numpy", "jinja2"))


def test_a_tuned_model_is_asked_through_the_template_it_was_trained_with(tmp_path):
    source = "Stone: {{input}} Colour:"
    tuned = served_models.train_tiny(tmp_path, epochs=1, method=TuningSpec(verbalizer=source))
    served = Encoder.of_tuned_model(served_models.unpacked(tuned.output, tmp_path / "model"))
    assert served.template.source == source
    examples = TokenCache.open(tmp_path / "prepared" / "training")
    rows = data.read_prepared_rows(tmp_path / "prepared", (one.row for one in examples))
    for example in examples:
        assert example.prompt_ids.tolist() == served.prompts([rows[example.row].input])[0]
