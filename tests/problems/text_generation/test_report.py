from __future__ import annotations

import dataclasses
from html.parser import HTMLParser

import pytest

from gyropilot.problems.contract import Limits
from gyropilot.problems.text_generation import report
from gyropilot.problems.text_generation.base_model import BaseModelFacts
from gyropilot.problems.text_generation.epoch_losses import EpochLoss
from gyropilot.problems.text_generation.evaluate import Evaluation, LossPart, Sample
from gyropilot.problems.text_generation.hardware import HardwarePlan
from gyropilot.problems.text_generation.loop import StepRecord, TrainOutcome
from gyropilot.problems.text_generation.request import TextGenerationSpec
from gyropilot.problems.text_generation.summary import MergeCheck, TrainingSummary
from gyropilot.problems.text_generation.templates import PromptTemplate

CANARY = "</td><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u202e\x1b[31m"


class Page(HTMLParser):
    """Reads a page: its tags with attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def evaluation(loss, score, *, text="fine"):
    samples = tuple(
        Sample(
            row=row,
            place=f"s3://data/rows.csv: row {row} {text}",
            input=f"question {row} {text}",
            reference=f"wanted {row} {text}",
            answer=f"given {row} {text}",
            is_ended=True,
            scores=dict.fromkeys(("rouge1", "rouge2", "rougeL", "rougeLsum"), score * row / 20),
        )
        for row in range(20)
    )
    return Evaluation(
        loss=loss,
        labels=100,
        loss_rows=40,
        rows=40,
        mode="reference",
        max_new_tokens=9,
        samples=samples,
        seconds=1.0,
        loss_parts=(LossPart(rows=40, loss_sum=100 * loss, labels=100),),
    )


def profile(text):
    finding = {"kind": "duplicate", "severity": "warning", "count": 2, "message": f"2 rows {text}", "rows": [text]}
    file = {"channel": "training", "uri": f"s3://data/{text}.csv", "rows": 60, "sha256": "ab" * 32}
    lengths = {"p50": 1, "p90": 2, "p95": 2, "p99": 3, "max": 4, "total": 9}
    return {
        "rows": {"read": 61, "dropped": 1, "training": 20, "validation": 40},
        "files": [file],
        "split": {"kind": "random", "fraction": 0.2, "seed": 42},
        "tokens": {"prompt": lengths, "answer": lengths},
        "limits": {},
        "cache": {},
        "findings": [finding],
    }


@pytest.fixture
def summarise(tiny):
    def make(*, text="fine", steps=30, base=(3.0, 0.2), tuned=(1.0, 0.8), ended_by="finished"):
        records = tuple(
            StepRecord(
                step=step,
                epoch=step / 10,
                loss=3 / step,
                learning_rate=1e-3,
                grad_norm=1.0,
                tokens=50,
                labels=9,
                seconds=0.1,
            )
            for step in range(1, steps + 1)
        )
        return TrainingSummary(
            job_name=f"job {text}",
            candidate_name=f"candidate {text}",
            spec=TextGenerationSpec(
                base_model=text,
                loaded_model=text,
                accept_eula=False,
                epochs=3,
                batch_size=2,
                learning_rate=1e-3,
                warmup_steps=0,
                seed=42,
                validation_fraction=0.2,
                defaulted=("epochCount",),
                limits=Limits(max_candidates=1, seconds_per_candidate=None, seconds_per_job=None),
            ),
            profile=profile(text),
            base_model=BaseModelFacts(
                name=text,
                folder=None,
                digest="cd" * 32,
                revision=text,
                licence=text,
                context_tokens=9,
                model_tokens=9,
                max_rows=9,
                template_style="chat",
            ),
            template=PromptTemplate(kind="chat", source=text, special_tokens={}, bos_id=None, eos_id=1, stop_ids=(1,)),
            method={"name": "LORA", "rank": 16},
            plan=tiny.plan(epochs=3),
            hardware=HardwarePlan(
                device="cpu",
                threads=1,
                dtype="float32",
                max_pack_tokens=9,
                micro_batch=9,
                needed_bytes=9,
                gflops={},
                spin_count="",
            ),
            trained=TrainOutcome(
                steps=steps,
                records=records,
                tokens=1500,
                seconds=3.0,
                ended_by=ended_by,
                resumed_at=0,
                forward="plain",
            ),
            trained_parameters=4321,
            found_rate=None,
            epoch_losses=tuple(EpochLoss(epoch=n, step=10 * n, loss=2.0 / n, rows=16) for n in (1, 2, 3)),
            first_adapter="ef" * 32,
            merge=MergeCheck(rows=4, labels=40, loss_before=1.0, loss_after=1.01, largest_logit_change=0.1),
            base=evaluation(*base, text=text),
            tuned=evaluation(*tuned, text=text),
        )

    return make


def test_the_page_shows_verdict_metrics_findings_and_answers(summarise):
    text = Page(report.html(summarise())).text
    for part in (
        "Use the tuned model",
        "RougeLSum",
        "1.0000",
        "2 rows fine",
        "given 19 fine",
        "wanted 0 fine",
        "61 rows",
    ):
        assert part in text
    assert "(default)" in text


def test_markup_in_any_value_stays_text(summarise):
    page = Page(report.html(summarise(text=CANARY)))
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "img", "iframe", "link", "object"}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in page.text
    assert "\u202e" not in page.text
    assert "\x1b" not in page.text


def test_the_page_needs_nothing_else(summarise):
    html = report.html(summarise())
    assert "default-src &#x27;none&#x27;" in html
    assert not [
        value
        for _, attributes in Page(html).tags
        for name, value in attributes.items()
        if name in {"src", "href"} or "http:" in str(value) or "https:" in str(value)
    ]


@pytest.mark.parametrize("steps", [1, 2, 5000])
def test_a_curve_of_any_length_is_drawn(summarise, steps):
    html = report.html(summarise(steps=steps))
    assert "<svg" in html
    assert "nan" not in html
    assert len(html) < 200_000


def test_a_base_that_was_not_measured_is_shown_as_such(summarise):
    text = Page(report.html(dataclasses.replace(summarise(), base=None))).text
    assert "The time was too short to measure the base model" in text
    assert "(not measured)" in text
    assert "validation, base" not in text
    assert "given 19 fine" in text


def test_a_base_measured_on_fewer_rows_is_compared_on_those(summarise):
    summary = summarise()
    parts = (LossPart(rows=10, loss_sum=50.0, labels=25), LossPart(rows=30, loss_sum=30.0, labels=75))
    tuned = dataclasses.replace(summary.tuned, loss=0.8, loss_parts=parts)
    base_parts = (LossPart(rows=10, loss_sum=75.0, labels=25),)
    base = dataclasses.replace(
        summary.base, loss=3.0, labels=25, loss_rows=10, loss_parts=base_parts, samples=summary.base.samples[:5]
    )
    summary = dataclasses.replace(summary, base=base, tuned=tuned)
    loss = next(one for one in summary.evaluation()["metrics"] if one["name"] == "ValidationLoss")
    assert (loss["tuned"], loss["base"], loss["tuned_on_rows_of_base"]) == (0.8, 3.0, 2.0)
    text = Page(report.html(summary)).text
    assert "on more than 10 rows and 5 answered rows" in text
    assert "-1.0000" in text
    assert "2.000 against 3.000 of the base model on 10 of the 40 validation rows" in summary.verdict()


def test_rounding_says_which_model_was_measured(summarise):
    text = Page(report.html(summarise())).text
    assert "1.0100 after, on 4 rows (40 tokens of answers): the saved model is one of float32, and" in text


def test_an_early_end_is_told(summarise):
    assert "ran out of time after 30 of 30 steps" in report.html(summarise(ended_by="time limit"))


def test_the_training_loss_is_that_of_the_last_epoch(summarise):
    summary = summarise()
    wanted = sum(3 / step for step in range(21, 31)) / 10
    assert summary.training_loss == pytest.approx(wanted)
    first = dataclasses.replace(summary.trained, records=summary.trained.records[:1])
    assert dataclasses.replace(summary, trained=first).training_loss == 3.0
