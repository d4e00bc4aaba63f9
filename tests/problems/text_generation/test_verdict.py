"""The one sentence at the end says the truth in every case, and is one sentence."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from gyropilot.problems.text_generation.evaluate import Evaluation, LossPart, Sample
from gyropilot.problems.text_generation.verdict import LEAST_ROWS, margin_of_loss, verdict

PARTS = 8


def measured(loss, score=0.5, *, rows=400, answered=40, losses=None):
    """A model whose parts of 50 labels have these mean losses."""
    losses = losses or [loss] * PARTS
    parts = tuple(LossPart(rows=rows // len(losses), loss_sum=50 * one, labels=50) for one in losses)
    samples = tuple(
        Sample(row=row, place="", input="", reference="", answer="", is_ended=True, scores={"rougeL": score})
        for row in range(answered)
    )
    return Evaluation(
        loss=sum(losses) / len(losses),
        labels=50 * len(losses),
        loss_rows=rows,
        rows=rows,
        mode="reference",
        max_new_tokens=9,
        samples=samples,
        seconds=1.0,
        loss_parts=parts,
    )


def said(base, tuned, *, leaked=0, stands_in_for=""):
    sentence = verdict(base, tuned, leaked=leaked, model="Small", stands_in_for=stands_in_for)
    assert sentence.endswith(".")
    assert ". " not in sentence
    return sentence


def test_a_better_model_is_to_be_used():
    sentence = said(measured(3.0, 0.2), measured(1.0, 0.8))
    assert sentence.startswith("Use the tuned model: its validation loss is 1.000 against 3.000")
    assert "RougeL 0.800 against 0.200 on 40 answered rows" in sentence


def test_a_worse_model_is_not_to_be_used_however_good_its_answers():
    sentence = said(measured(1.0, 0.5), measured(1.2, 0.9))
    assert sentence.startswith("Do not use the tuned model:")
    assert "predicts the validation answers worse" in sentence


def test_an_equal_model_is_not_to_be_used():
    one_part = measured(1.0, losses=[1.0])
    assert "predicts the validation answers no better" in said(one_part, one_part)
    many = measured(1.0)
    assert said(many, many).startswith("Do not use the tuned model:")


@pytest.mark.parametrize("shift", [0.01, -0.01])
def test_a_difference_within_the_noise_is_no_difference(shift):
    draw = random.Random(1)
    base = [2.0 + draw.gauss(0, 0.3) for _ in range(PARTS)]
    tuned = [one + draw.gauss(0, 0.2) for one in base]
    off = shift - (sum(tuned) - sum(base)) / PARTS
    tuned = [one + off for one in tuned]
    sentence = said(measured(0, losses=base), measured(0, 0.9, losses=tuned))
    assert sentence.startswith("Do not use the tuned model:")
    assert "within the noise of these rows (± 0." in sentence


def test_a_small_difference_that_every_part_shows_counts():
    base = [1.0, 2.0, 3.0, 4.0]
    tuned = [one - 0.05 for one in base]
    assert said(measured(0, losses=base), measured(0, losses=tuned)).startswith("Use the tuned model:")


def test_the_margin_of_equal_parts_is_that_of_a_paired_t_test():
    base, tuned = [1.0, 2.0, 3.0, 4.0], [0.9, 1.7, 2.8, 3.9]
    changes = [after - before for before, after in zip(base, tuned, strict=True)]
    mean = sum(changes) / 4
    deviation = (sum((one - mean) ** 2 for one in changes) / 3) ** 0.5
    found = margin_of_loss(measured(0, losses=base), measured(0, losses=tuned))
    assert found == pytest.approx(3.18 * deviation / 2)


def test_parts_that_are_few_or_differ_tell_no_margin():
    assert margin_of_loss(measured(0, losses=[1.0, 2.0]), measured(0, losses=[1.0, 2.0])) is None
    other = measured(0, losses=[1.0] * 4)
    cut = LossPart(rows=1, loss_sum=1.0, labels=7)
    other = Evaluation(**{**vars(other), "loss_parts": (cut, *other.loss_parts[1:])})
    assert margin_of_loss(measured(0, losses=[1.0] * 4), other) is None


def test_worse_answers_call_for_care():
    assert said(measured(3.0, 0.9), measured(1.0, 0.1)).startswith("Use the tuned model with care:")


def test_rows_in_both_splits_call_for_care():
    sentence = said(measured(3.0), measured(1.0), leaked=21)
    assert sentence.startswith("Use the tuned model with care:")
    assert "21 of the 400 validation rows stand in the training rows too, so these numbers flatter it" in sentence
    assert said(measured(3.0), measured(1.0), leaked=20).startswith("Use the tuned model:")


@pytest.mark.parametrize("rows", [1, 3, LEAST_ROWS - 1])
@pytest.mark.parametrize("tuned", [0.5, 1.0, 1.5])
def test_so_few_rows_that_they_tell_nothing_are_told_first(rows, tuned):
    sentence = said(measured(1.0, 0.0, rows=rows, losses=[1.0]), measured(tuned, 0.0, rows=rows, losses=[tuned]))
    assert sentence.startswith("Too few rows to say whether to use the tuned model:")
    assert f"on only {rows} row{'' if rows == 1 else 's'}," in sentence


def test_only_few_of_many_rows_measured_tell_nothing_either():
    base, tuned = (measured(loss, rows=LEAST_ROWS - 1, losses=[loss]) for loss in (3.0, 1.0))
    sentence = said(replace(base, rows=400), replace(tuned, rows=400))
    assert sentence.startswith("Too few rows to say")
    assert "on 19 of the 400 validation rows" in sentence


@pytest.mark.parametrize(("rows", "words"), [(29, "on only 29 rows"), (20, "on only 20 rows")])
def test_few_rows_are_told(rows, words):
    sentence = said(
        measured(3.0, rows=rows, answered=1, losses=[3.0]), measured(1.0, rows=rows, answered=1, losses=[1.0])
    )
    assert words in sentence
    assert "on 1 answered row." in sentence


def test_a_base_that_was_not_measured_leaves_the_question_open():
    sentence = said(None, measured(1.0, 0.8))
    assert sentence.startswith("Whether to use the tuned model is not known: its validation loss is 1.000")
    assert "the time was too short to measure the base model" in sentence


@pytest.mark.parametrize("base", [measured(3.0), measured(0.5), None])
def test_a_stand_in_is_told_in_every_case(base):
    sentence = said(base, measured(1.0), stands_in_for="Falcon7BInstruct")
    assert "Small, which stood in for Falcon7BInstruct, and says nothing of Falcon7BInstruct" in sentence
