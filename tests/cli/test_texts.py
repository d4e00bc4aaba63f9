from datetime import UTC, datetime

import pytest

from gyropilot.cli import texts
from gyropilot.sdk.values import Event, Progress


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (7500, "2 h 5 min")]
)
def test_a_duration_names_its_two_largest_units(seconds, text):
    assert texts.duration(seconds) == text


def test_a_progress_line_shows_phase_share_step_loss_speed_and_time_left():
    progress = Progress(
        status="InProgress",
        secondary_status="TrainingModels",
        phase="training",
        done=26,
        total=104,
        unit="steps",
        values={"loss": 2.5, "tokens_per_second": 311.6, "seconds_left": 75},
    )
    line = texts.progress_line(progress, width=200)
    assert line.split("  ")[0] == "training"
    for part in ("25%", "26/104 steps", "loss 2.500", "312 tokens/s", "1 min 15 s left"):
        assert part in line


def test_the_progress_of_many_candidates_shows_the_best_and_how_many_train():
    values = {"best": 0.58608, "running": 2}
    progress = Progress(
        status="InProgress", secondary_status="ModelTuning", phase="training", done=2.5, total=10, unit="candidates",
        values=values,
    )  # fmt: skip
    line = texts.progress_line(progress, width=200)
    assert line.endswith("25%  2.5/10 candidates  best 0.5861  2 at once")


def test_a_progress_line_never_wraps():
    progress = Progress(status="InProgress", secondary_status="Starting", phase="x" * 300, done=1, total=2, unit="step")
    assert len(texts.progress_line(progress, width=79)) == 79


@pytest.mark.parametrize("width", [200, 79, 70, 60])
def test_a_narrow_terminal_shrinks_the_bar_before_speed_and_time_left(width):
    values = {"loss": 2.5, "tokens_per_second": 1311.6, "seconds_left": 4275}
    progress = Progress(
        status="InProgress",
        secondary_status="TrainingModels",
        phase="training",
        done=1026,
        total=2104,
        unit="steps",
        values=values,
    )
    line = texts.progress_line(progress, width=width)
    assert len(line) <= width
    assert line.endswith("1312 tokens/s  1 h 11 min left")


def test_a_queued_job_waits_for_its_turn():
    progress = Progress(status="InProgress", secondary_status="Starting", is_queued=True)
    assert texts.progress_line(progress, width=80) == "waiting for its turn"


def test_a_failure_is_told_with_its_reason():
    detail = {"status": "Failed", "secondary_status": "Failed", "failure_reason": "no rows"}
    event = Event(sequence=1, at=datetime(2026, 1, 2, tzinfo=UTC), kind="status", message="Failed", detail=detail)
    assert texts.event_line(event) == "Failed: no rows"


def test_a_job_that_said_nothing_yet_shows_its_status():
    assert texts.progress_line(Progress(status="InProgress", secondary_status="Starting"), width=80) == (
        "InProgress: Starting"
    )


def test_what_a_job_says_cannot_move_the_cursor():
    hostile = "\x1b[2Jtraining\u202e\r\n"
    progress = Progress(status="InProgress", secondary_status="x", phase=hostile, done=1, total=2, unit="\x1b]0;x\x07")
    for text in (
        texts.progress_line(progress, width=200),
        texts.columns([(hostile,)], headings=("NAME",)),
        texts.facts([("Name", hostile)]),
        texts.as_json({"name": hostile}),
    ):
        assert not any(c in text for c in "\x1b\r\u202e\x07")


def test_columns_align_under_their_headings():
    assert texts.columns([("a", "Completed"), ("longer", "Failed")], headings=("NAME", "STATUS")) == (
        "NAME    STATUS\na       Completed\nlonger  Failed"
    )


def test_json_carries_moments_as_iso_8601():
    assert '"2026-01-02T03:04:05+00:00"' in texts.as_json([datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)])


@pytest.mark.parametrize(("value", "text"), [(3.0, "3"), (0.123456, "0.1235"), (1234567.0, "1234567")])
def test_numbers_are_short(value, text):
    assert texts.number(value) == text


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (200, "NAME  STATUS  PHASE  TOOK\njob   done    end    1 s"),
        (22, "NAME  STATUS  TOOK\njob   done    1 s"),
        (12, "NAME  STATUS\njob   done"),
        (9, "NAME  ST…\njob   do…"),
    ],
)
def test_a_narrow_terminal_gets_fewer_columns_and_no_longer_lines(width, shown):
    headings = ("NAME", "STATUS", "PHASE", "TOOK")
    spare = ("PHASE", "TOOK")
    rows = [("job", "done", "end", "1 s")]
    assert texts.fitted_columns(rows, headings=headings, spare=spare, width=width) == shown
