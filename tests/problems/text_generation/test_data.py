from __future__ import annotations

import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import services
import tuning_jobs
from gyropilot.data.frames import PARQUET
from gyropilot.errors import InvalidData
from gyropilot.problems.contract import LocalChannel, LocalFile
from gyropilot.problems.text_generation import data, findings
from gyropilot.problems.text_generation.batches import TokenCache

ROWS = [(f"q{number}", f"a{number}") for number in range(10)]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    return services.make_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def job(tmp_path, model_folder):
    return tuning_jobs.Job(tmp_path, model_folder)


def kinds(profile):
    return {one["kind"]: one["count"] for one in profile["findings"]}


def rows_of(job, name):
    cache = TokenCache.open(job.root / "prepared" / name)
    rows = data.read_prepared_rows(job.root / "prepared", (one.row for one in cache))
    return [(rows[one.row].input, rows[one.row].output) for one in cache]


def test_rows_are_split_and_left_as_tokens(job):
    profile = job.profile(job.stage(ROWS))
    assert profile["rows"] == {"read": 10, "dropped": 0, "training": 8, "validation": 2}
    training, validation = rows_of(job, "training"), rows_of(job, "validation")
    assert sorted(training + validation) == sorted(ROWS)
    assert profile["cache"]["training"] == TokenCache.open(job.root / "prepared" / "training").digest
    assert profile["split"] == {"kind": "random", "fraction": 0.2, "seed": job.spec.seed}


def test_profile_can_be_run_again_to_the_same_result(job):
    channel = job.stage(ROWS)
    assert job.profile(channel) == job.profile(channel)


def test_two_channels_are_taken_as_they_are(tmp_path, model_folder):
    job = tuning_jobs.Job(tmp_path, model_folder, validation_fraction=None)
    profile = job.profile(job.stage(ROWS[:7]), job.stage(ROWS[7:], kind="validation"))
    assert (rows_of(job, "training"), rows_of(job, "validation")) == (ROWS[:7], ROWS[7:])
    assert profile["split"]["kind"] == "channels"


def test_the_record_names_files_with_digest_and_rows(job):
    profile = job.profile(job.stage(ROWS))
    (file,) = profile["files"]
    assert file["rows"] == 10
    assert len(file["sha256"]) == 64
    assert json.loads(json.dumps(profile)) == profile


def test_parquet_and_csv_give_the_same_tokens(job):
    csv = job.profile(job.stage(ROWS))
    path = job.root / "rows.parquet"
    pq.write_table(pa.table({"output": [row[1] for row in ROWS], "input": [row[0] for row in ROWS]}), path)
    file = LocalFile(path=path, uri="s3://data/rows.parquet", size_bytes=path.stat().st_size, etag="e")
    parquet = job.profile(
        LocalChannel(channel_type="training", content_type=PARQUET, compression="None", files=(file,))
    )
    assert parquet["cache"] == csv["cache"]


def test_rows_without_output_are_dropped_and_named(job):
    listener = tuning_jobs.Listener()
    rows = [*ROWS[:4], ("asked", ""), ("asked", "  \n"), *ROWS[4:]]
    profile = job.profile(job.stage(rows), listener=listener)
    assert profile["rows"]["dropped"] == 2
    finding = next(detail for kind, _, detail in listener.events if detail["kind"] == "blank_output")
    assert finding["severity"] == "dropped"
    assert finding["rows"] == ["s3://data/training.csv: row 5", "s3://data/training.csv: row 6"]


def test_when_no_output_is_left_the_data_is_refused(job):
    with pytest.raises(InvalidData, match="10 rows, 10 with a blank output"):
        job.profile(job.stage([(text, " ") for text, _ in ROWS]))


def test_files_with_a_header_alone_are_told_to_take_rows(job):
    with pytest.raises(InvalidData, match=r"the files hold a header and no rows.*training\.csv.*; add rows"):
        job.profile(job.stage([]))


def test_reading_ends_at_everything(job):
    listener = tuning_jobs.Listener()
    job.profile(job.stage([*ROWS, ("asked", "")]), listener=listener)
    last = listener.progressed[-1]
    assert (last["done"], last["total"]) == (11, 11)


def test_a_learning_rate_of_zero_is_warned_of(tmp_path, model_folder):
    job = tuning_jobs.Job(tmp_path, model_folder, learning_rate=0.0)
    listener = tuning_jobs.Listener()
    assert kinds(job.profile(job.stage(ROWS), listener=listener))["zero_learning_rate"] == 1
    assert any("nothing will be learned" in message for _, message, _ in listener.events)


def test_blank_inputs_are_kept_and_counted(job):
    profile = job.profile(job.stage([("", "a"), *ROWS]))
    assert kinds(profile)["blank_input"] == 1
    assert profile["rows"]["dropped"] == 0


def test_duplicates_and_rows_in_both_splits_are_counted(tmp_path, model_folder):
    job = tuning_jobs.Job(tmp_path, model_folder, validation_fraction=None)
    validation = [ROWS[0], ("q1", "other"), ("new", "new")]
    profile = job.profile(job.stage([*ROWS, ROWS[5]]), job.stage(validation, kind="validation"))
    found = kinds(profile)
    assert (found["duplicate"], found["in_both_splits"], found["input_in_both_splits"]) == (2, 1, 1)
    assert profile["rows"]["training"] == 11


def test_a_joined_pair_is_not_its_neighbour(job):
    assert "duplicate" not in kinds(job.profile(job.stage([("ab", "c"), ("a", "bc"), *ROWS])))


def limited(job, **limits):
    record = job.base_models / services.TINY / "gyropilot-model.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), **limits}))


def test_exactly_the_row_limit_passes_and_one_more_is_counted(job):
    limited(job, max_rows=10)
    assert job.profile(job.stage(ROWS))["rows"]["read"] == 10
    with pytest.raises(InvalidData, match=r"more than the 10 rows that Tiny takes.*12 rows"):
        job.profile(job.stage([*ROWS, *ROWS[:2]]))


def test_the_row_limit_counts_both_channels(tmp_path, model_folder):
    job = tuning_jobs.Job(tmp_path, model_folder, validation_fraction=None)
    limited(job, max_rows=9)
    with pytest.raises(InvalidData, match="training and validation channel"):
        job.profile(job.stage(ROWS[:7]), job.stage(ROWS[7:], kind="validation"))


def test_sixty_percent_of_rows_may_be_cut_and_no_more(job):
    limited(job, context_tokens=40)
    long = ("word " * 100, "a")
    profile = job.profile(job.stage([long] * 6 + ROWS[:4]))
    assert kinds(profile)["cut_row"] == 6
    with pytest.raises(InvalidData, match=r"more than 60%.*40 tokens.*7 of 11 rows \(63\.6%\)"):
        job.profile(job.stage([long] * 7 + ROWS[:4]))


def test_cut_outputs_keep_their_end_token(job):
    limited(job, context_tokens=8)
    profile = job.profile(job.stage([("x", "word " * 100), *ROWS]))
    assert kinds(profile)["cut_output"] == 1
    assert profile["tokens"]["answer"]["max"] == 8


def test_the_text_of_control_tokens_is_noted(job):
    assert kinds(job.profile(job.stage([("say </s> now", "no"), *ROWS])))["control_text"] == 1


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        (("input", "output", "id"), [("a", "b", "1")], "not expected.*id"),
        (("prompt", "output"), [("a", "b")], "'input' is missing"),
        (("input", "output"), [("a", "b"), ("a", "b", "c")], "row 2"),
        (("input", "output"), [("a", "b")], "too few"),
    ],
)
def test_files_that_do_not_fit_are_named(job, header, rows, message):
    with pytest.raises(InvalidData, match=message) as caught:
        job.profile(job.stage(rows, header=header))
    if message != "too few":
        assert "s3://data/training.csv" in str(caught.value)


def test_a_channel_left_without_rows_is_refused(tmp_path, model_folder):
    job = tuning_jobs.Job(tmp_path, model_folder, validation_fraction=None)
    with pytest.raises(InvalidData, match="validation channel"):
        job.profile(job.stage(ROWS), job.stage([("a", " ")], kind="validation"))


def test_checking_rows_needs_no_torch():
    code = (
        "import sys, gyropilot.problems.text_generation.data; print('torch' in sys.modules, 'pyarrow' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]


def test_our_own_split_keeps_copies_on_one_side(job):
    profile = job.profile(job.stage([*ROWS, *((f" {text}", answer) for text, answer in ROWS), ("q0  ", "a0")]))
    found = kinds(profile)
    assert found["duplicate"] == 11
    assert "in_both_splits" not in found
    assert profile["rows"] == {"read": 21, "dropped": 0, "training": 17, "validation": 4}  # as near to 5 as pairs allow


def test_one_input_with_several_outputs_is_noted(job):
    assert kinds(job.profile(job.stage([*ROWS, ("q1", "b"), ("q1", "c"), ROWS[2]])))["same_input"] == 2


def test_secrets_are_told_by_row_column_and_kind_and_never_by_themselves(job):
    key, card = "AKIA" + "Q3ZX7RT5" * 2, "4111 1111 " + "1111 1111"
    listener = tuning_jobs.Listener()
    profile = job.profile(job.stage([("key?", f"It is {key}."), *ROWS, (f"pay {card}", "ok")]), listener=listener)
    secret, paid = (
        next(one for one in profile["findings"] if one["kind"] == kind) for kind in ("secret", "card_number")
    )
    assert secret["rows"] == ["s3://data/training.csv: row 1, column output (AWS access key id)"]
    assert paid["rows"] == ["s3://data/training.csv: row 12, column input (payment card number)"]
    assert secret["severity"] == "warning"
    told = json.dumps(profile) + str(listener.events) + str(listener.progressed)
    assert key not in told
    assert card not in told


def test_lost_and_control_characters_are_counted(job):
    found = kinds(job.profile(job.stage([("a\ufffd", "b"), ("\x1b[1m", "c"), *ROWS])))
    assert (found["lost_character"], found["control_character"]) == (1, 1)


def test_very_long_rows_are_named_longest_first(job):
    rows = [*ROWS, ("x" * 160, "a"), ("x" * 200, "a")]
    finding = next(one for one in job.profile(job.stage(rows))["findings"] if one["kind"] == "long_row")
    assert finding["rows"] == ["s3://data/training.csv: row 12", "s3://data/training.csv: row 11"]


def test_text_that_no_model_takes_is_cut_before_it_is_encoded_and_counted(job):
    limited(job, context_tokens=8)
    profile = job.profile(job.stage([("x" * 100_000, "a"), ("q", "y " * 100_000), *ROWS]))
    assert (kinds(profile)["cut_input"], kinds(profile)["cut_output"]) == (1, 1)
    assert (job.root / "prepared" / data.ROWS_FILE).stat().st_size < 10_000


def test_rows_far_beyond_the_limit_are_not_counted_to_the_end(job):
    limited(job, max_rows=3)
    with pytest.raises(InvalidData, match=r"more than 31 rows"):
        job.profile(job.stage(ROWS * 20))


@pytest.fixture
def counted(monkeypatch):
    """How often rows were read."""
    calls = []
    real = data.read_rows
    monkeypatch.setattr(data, "read_rows", lambda *given: calls.append(1) or real(*given))
    return calls


def test_a_later_attempt_takes_over_what_the_first_prepared(job, counted):
    channel = job.stage([*ROWS, ROWS[0]])
    first = job.profile(channel)
    listener = tuning_jobs.Listener()
    assert job.profile(channel, listener=listener) == first
    assert len(counted) == 1
    assert [kind for kind, _, _ in listener.events] == ["prepared_rows_kept", "finding", "finding"]


@pytest.mark.parametrize("change", ["input", "a byte of the cache", "a cut profile", "cut rows", "split", "model"])
def test_anything_else_is_prepared_again(job, counted, change):
    channel, prepared = job.stage(ROWS), job.root / "prepared"
    first = job.profile(channel)
    if change == "input":
        channel = job.stage([*ROWS[:9], ("q9", "other")])
    elif change == "a byte of the cache":
        tokens = bytearray((prepared / "training" / "tokens.bin").read_bytes())
        tokens[0] ^= 1
        (prepared / "training" / "tokens.bin").write_bytes(tokens)
    elif change == "a cut profile":
        (prepared / data.PROFILE_FILE).write_text((prepared / data.PROFILE_FILE).read_text()[:-9])
    elif change == "cut rows":
        (prepared / data.ROWS_FILE).write_text((prepared / data.ROWS_FILE).read_text()[:-9])
    elif change == "split":
        job.spec = tuning_jobs.spec(seed=7)
    else:
        limited(job, context_tokens=9)
    second = job.profile(channel)
    assert len(counted) == 2
    assert (second == first) == (change in {"a byte of the cache", "a cut profile", "cut rows"})
    assert TokenCache.open(prepared / "training").digest == second["cache"]["training"]


def test_what_is_told_of_one_is_in_the_singular():
    assert findings.told("blank_output", 1).startswith("1 row has a blank output and was left out")
    assert findings.told("blank_output", 2).startswith("2 rows have a blank output and were left out")
    for kind in findings.KINDS:
        assert not set("[]|{}") & set(findings.told(kind, 1) + findings.told(kind, "N")), kind


def test_places_in_one_object_name_it_once():
    places = ["s3://x/a.csv: row 1", "s3://x/a.csv: row 7", "s3://x/b.csv: row 2"]
    assert findings.joined(places) == "s3://x/a.csv: rows 1, 7; s3://x/b.csv: row 2"
