"""The report of one training: one HTML page that needs nothing else, no script, no network; every value is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from gyropilot.log import printable
from gyropilot.problems.contract import Json
from gyropilot.problems.text_generation import curves
from gyropilot.problems.text_generation.findings import rows_of
from gyropilot.problems.text_generation.summary import SCORES, MergeCheck, TrainingSummary

SHOWN_SAMPLES = 5
_SHOWN_CHARACTERS = 700
_NOT_MEASURED = '<span class="note">(not measured)</span>'

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = """
:root { color-scheme: light dark; --ink: light-dark(#1b1f24, #e6e8eb); --soft: light-dark(#5c6670, #9aa4ae);
  --line: light-dark(#d9dee3, #3a424a); --card: light-dark(#f5f7f9, #20262c); --page: light-dark(#fff, #14181c);
  --tuned: light-dark(#0b6bcb, #6cb2ff); --base: light-dark(#b3541e, #f0a36b); --faint: light-dark(#b8d4ee, #2c4a66); }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 2rem auto;
  max-width: 62rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
.sub, .note { color: var(--soft); } .note { font-size: .9rem; }
.verdict { background: var(--card); border-left: 4px solid var(--tuned); padding: .8rem 1rem; margin: 1.2rem 0; }
table { border-collapse: collapse; width: 100%; } .wide { overflow-x: auto; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); font-size: .85rem; } td.n, th.n { text-align: right;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
td.text { white-space: pre-wrap; overflow-wrap: anywhere; min-width: 9rem; }
.better { font-weight: 600; color: var(--tuned); } .worse { font-weight: 600; color: var(--base); }
svg { width: 100%; height: auto; } svg text { fill: var(--soft); font-size: 12px; }
"""


def html(summary: TrainingSummary) -> str:
    """Give the page."""
    title = f"Fine-tuning report: {summary.job_name}"
    body = "".join(
        (
            f"<h1>{_text(title)}</h1>",
            f'<p class="sub">{_text(f"{summary.candidate_name}, base model {summary.base_model.title}")}</p>',
            f'<p class="verdict">{_text(summary.verdict())}</p>',
            _ended(summary),
            "<h2>Base against tuned model</h2>",
            _metrics(summary),
            "<h2>Loss</h2>",
            curves.loss_chart(summary),
            "<h2>Answers</h2>",
            _answers(summary),
            "<h2>Data</h2>",
            _data(summary.profile),
            "<h2>Training</h2>",
            _training(summary),
        )
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">'
        f'<meta name="viewport" content="width=device-width"><title>{_text(title)}</title>'
        f"<style>{_STYLE}</style></head><body>{body}</body></html>\n"
    )


def _ended(summary: TrainingSummary) -> str:
    if summary.trained.ended_by == "finished":
        return ""
    cause = {"stop": "was stopped", "time limit": "ran out of time"}[summary.trained.ended_by]
    planned = summary.trained.steps / summary.trained.records[-1].epoch * summary.plan.epochs
    return (
        f"<p><strong>Training {cause} after {summary.trained.steps} of {planned:.0f} steps;</strong>"
        " what was trained until then was measured and kept.</p>"
    )


def _metrics(summary: TrainingSummary) -> str:
    directions = {one["name"]: one["direction"] for one in summary.evaluation()["metrics"]}
    rows = []
    for metric in summary.metrics():
        base = summary.base_value(metric.name)
        margin = summary.tuned.margin(SCORES[metric.name]) if metric.name in SCORES else 0.0
        rows.append(
            [
                metric.name,
                metric.split,
                "" if base is None else f"{base:.4f}",
                f"{metric.value:.4f}" + (f" ± {margin:.3f}" if margin else ""),
                _change(base, summary.compared_value(metric), str(directions[metric.name])),
            ]
        )
    tuned = summary.tuned
    note = (
        f"Losses in nats per answer token over {tuned.loss_rows} of {rows_of(tuned.rows, 'validation')}. ROUGE"
        f" ({tuned.mode} words, F-measure, 0 to 1) over {len(tuned.samples)} of them, answered greedily with at most"
        f" {tuned.max_new_tokens} tokens; ± is the 95 % interval of that sample. The tuned model ended"
        f" {tuned.ended_share:.0%} of its answers by itself{_of_base(summary)}"
    )
    head = ("Metric", "Rows", "Base", "Tuned", "Change")
    return _table(head, rows, numbers=(2, 3, 4)) + f'<p class="note">{_text(note)}</p>'


def _of_base(summary: TrainingSummary) -> str:
    base, tuned = summary.base, summary.tuned
    if base is None:
        return ". The time was too short to measure the base model."
    said = f", the base model {base.ended_share:.0%}."
    if (base.loss_rows, len(base.samples)) == (tuned.loss_rows, len(tuned.samples)):
        return said
    return said + (
        f" The time was too short to measure the base model on more than {rows_of(base.loss_rows)} and"
        f" {rows_of(len(base.samples), 'answered')}; Change compares both models on those."
    )


def _change(base: float | None, tuned: float, direction: str) -> _Markup | str:
    if base is None:
        return ""
    is_better = tuned < base if direction == "Minimize" else tuned > base
    kind = "" if tuned == base else ("better" if is_better else "worse")
    return _Markup(f'<span class="{kind}">{tuned - base:+.4f}</span>')


def _answers(summary: TrainingSummary) -> str:
    ranked = sorted(summary.generations(), key=lambda one: -float(one["tuned"]["scores"]["rougeL"]))
    count = min(SHOWN_SAMPLES, len(ranked) // 2 or 1)
    parts = [f"<h3>Best by RougeL</h3>{_answer_table(ranked[:count])}"]
    if len(ranked) > count:
        parts.append(f"<h3>Worst by RougeL</h3>{_answer_table(ranked[::-1][:count])}")
    return "".join(parts) + '<p class="note">All answered rows stand in evaluation.json.</p>'


def _answer_table(generations: Iterable[Mapping[str, Json]]) -> str:
    rows = [
        [
            _Markup(_shortened(one["input"])),
            _Markup(_shortened(one["reference"])),
            _Markup(_shortened(one["base"]["answer"]) if one["base"] else _NOT_MEASURED),
            _Markup(_shortened(one["tuned"]["answer"])),
            (f"{one['base']['scores']['rougeL']:.2f} → " if one["base"] else "")
            + f"{one['tuned']['scores']['rougeL']:.2f}",
        ]
        for one in generations
    ]
    return _table(
        ("Input", "Expected", "Base answers", "Tuned answers", "RougeL"), rows, numbers=(4,), texts=(0, 1, 2, 3)
    )


def _data(profile: Mapping[str, Json]) -> str:
    rows, split = profile["rows"], profile["split"]
    how = (
        "as the two channels give them"
        if split["kind"] == "channels"
        else f"{split['fraction']:g} held out at random, seed {split['seed']}"
    )
    summary = (
        f"{rows_of(rows['read'])} read, {rows['dropped']} left out, {rows['training']} to train on and"
        f" {rows['validation']} to validate on ({how})."
    )
    lengths = [
        [name, *(str(values[key]) for key in ("p50", "p90", "p99", "max"))]
        for name, values in profile["tokens"].items()
    ]
    found = [[one["severity"], one["message"], ", ".join(one["rows"][:3])] for one in profile["findings"]]
    files = [[one["channel"], one["uri"], str(one["rows"]), one["sha256"]] for one in profile["files"]]
    return "".join(
        (
            f"<p>{_text(summary)}</p>",
            _table(("Finding", "What", "Rows, as"), found) if found else "<p>Nothing to remark in the rows.</p>",
            _table(("Tokens a row", "median", "90 %", "99 %", "longest"), lengths, numbers=(1, 2, 3, 4)),
            _table(("Channel", "File", "Rows", "SHA-256"), files, numbers=(2,)),
        )
    )


def _training(summary: TrainingSummary) -> str:
    trained, hardware = summary.trained, summary.hardware
    speed = trained.tokens / trained.seconds if trained.seconds else 0.0
    facts = [
        [
            key,
            (value if isinstance(value, str) else f"{value:g}")
            + (" (default)" if key in summary.spec.defaulted else ""),
        ]
        for key, value in summary.hyperparameters().items()
    ]
    if summary.found_rate is not None:
        facts.append(["Learning rate", summary.found_rate.why])
    facts += [
        [
            "Method",
            ", ".join(f"{name} {value}" for name, value in summary.method.items() if value not in ("", (), None, {})),
        ],
        ["Template", f"{summary.template.kind}, digest {summary.template.digest[:16]}"],
        ["Steps", f"{trained.steps}, {trained.tokens} tokens, {speed:.0f} tokens/s"],
        ["Trained", f"{summary.trained_parameters} numbers"],
        ["Hardware", f"{hardware.device}, {hardware.threads} threads, {_precision(summary)}"],
        *([["Rounding", _rounding(summary.merge, hardware.dtype)]] if summary.merge else []),
        [
            "Base model",
            f"{summary.base_model.title}, licence {summary.base_model.licence}, {summary.base_model.digest[:16]}",
        ],
    ]
    return _table(("What", "Value"), facts) + '<p class="note">The whole record stands in lineage.json.</p>'


def _precision(summary: TrainingSummary) -> str:
    replaced = summary.hardware.replaced_dtype
    return summary.hardware.dtype + (f" ({replaced})" if replaced else "")


def _rounding(merge: MergeCheck, dtype: str) -> str:
    return (
        f"loss {merge.loss_before:.4f} before, {merge.loss_after:.4f} after, on {rows_of(merge.rows)}"
        f" ({merge.labels} tokens of answers): the saved model is one of {dtype}, and ValidationLoss describes it"
    )


class _Markup(str):
    """Text that is already escaped."""


def _table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = (), texts: Sequence[int] = ()
) -> str:
    def cell(tag: str, place: int, value: str) -> str:
        kind = "n" if place in numbers else ("text" if place in texts and tag == "td" else "")
        return f'<{tag} class="{kind}">{value if isinstance(value, _Markup) else _text(value)}</{tag}>'

    heading = "".join(cell("th", place, value) for place, value in enumerate(head))
    body = "".join(f"<tr>{''.join(cell('td', place, value) for place, value in enumerate(row))}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{heading}</tr></thead><tbody>{body}</tbody></table></div>'


def _shortened(text: str) -> str:
    cut = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + " […]"
    return _text(cut) or '<span class="note">(nothing)</span>'


def _text(value: str) -> str:
    """Give text fit for a page: markup escaped, control and direction-changing characters written out."""
    return escape(printable(value), quote=True)
