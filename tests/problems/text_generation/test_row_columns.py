from __future__ import annotations

import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import services
import tuning_jobs
from gyropilot.data.frames import PARQUET
from gyropilot.errors import InvalidData
from gyropilot.problems.contract import LocalChannel, LocalFile
from gyropilot.problems.text_generation import data
from gyropilot.problems.text_generation.batches import TokenCache
from gyropilot.problems.text_generation.templates import Encoder
from gyropilot.problems.text_generation.tuning.specification import TuningSpec

ROWS = [(f"q{number}", f"a{number}") for number in range(10)]
TASKS = [(f"q{number}", f"a{number}", ("cats", "dogs", "cows")[number % 3]) for number in range(30)]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    return services.make_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def job(tmp_path, model_folder):
    def of(*, validation_fraction=0.2, learning_rate=1e-2, **method):
        given = {"validation_fraction": validation_fraction, "learning_rate": learning_rate}
        if "task_column" in method:
            method = {"tuning_type": "MULTITASK_PROMPT_TUNING", **method}
        return tuning_jobs.Job(tmp_path, model_folder, method=TuningSpec(**method), **given)

    return of


def prepared(job, name):
    cache = TokenCache.open(job.root / "prepared" / name)
    rows = data.read_prepared_rows(job.root / "prepared", (one.row for one in cache))
    return [(rows[one.row], one) for one in cache]


def both(job):
    return prepared(job, "training") + prepared(job, "validation")


def kinds(profile):
    return {one["kind"]: one["count"] for one in profile["findings"]}


def test_text_and_labels_are_input_and_output(job):
    plain = job().profile(job().stage(ROWS))
    renamed = job()
    assert renamed.profile(renamed.stage(ROWS, header=("text", "labels")))["cache"] == plain["cache"]


@pytest.mark.parametrize(
    ("labels", "output"),
    [
        ("a,b", "a,b"),
        ('["a", "b"]', "a,b"),
        ('["a"]', "a"),
        ("[a]", "[a]"),
        ("[1, 2]", "[1, 2]"),
        ("[" * 9999, "[" * 9999),
    ],
)
def test_labels_are_joined_by_commas(job, labels, output):
    one = job()
    one.profile(one.stage([("q", labels), *ROWS], header=("text", "labels")))
    assert {row.output for row, _ in both(one) if row.input == "q"} == {output}


def test_text_and_labels_of_parquet(job):
    one = job()
    path = one.root / "rows.parquet"
    pq.write_table(pa.table({"labels": ["a"] * 10, "text": [row[0] for row in ROWS]}), path)
    file = LocalFile(path=path, uri="s3://data/rows.parquet", size_bytes=path.stat().st_size, etag="e")
    one.profile(LocalChannel(channel_type="training", content_type=PARQUET, compression="None", files=(file,)))
    assert {(row.input, row.output) for row, _ in both(one)} == {(text, "a") for text, _ in ROWS}


@pytest.mark.parametrize(
    ("header", "missing"), [(("text", "label"), "labels"), (("text", "output"), "input"), (("a", "output"), "input")]
)
def test_the_missing_one_of_a_pair_is_named(job, header, missing):
    one = job()
    with pytest.raises(InvalidData, match=f"column '{missing}' is missing"):
        one.profile(one.stage(ROWS, header=header))


def test_every_field_of_the_verbalizer_that_is_no_column_is_named(job):
    one = job(verbalizer="{{a}} {{input}} {{b}} {{topic}}", task_column="topic")
    with pytest.raises(InvalidData) as caught:
        one.profile(one.stage(ROWS))
    assert [fault.problem for fault in caught.value.faults] == [
        "column 'topic' is missing",
        "column 'a' is missing",
        "column 'b' is missing",
    ]


def test_training_tokens_are_what_serving_renders(job, tmp_path):
    draw = random.Random(5)
    bits = ["{{", "}}", "input", "</s>", "<s>", "\\1", "word ", "é", "\n", "{{topic}}", "s>", "</"]
    rows = [("".join(draw.choices(bits, k=6)), f"a{n}", "".join(draw.choices(bits, k=2))) for n in range(40)]
    for template in ("Complaint: {{input}} Label:", "{{input}}", "[{{topic}}] {{input}}</s>{{input}} {{ input }}"):
        header = ("input", "output", "topic") if "topic" in template else ("input", "output")
        one = job(verbalizer=template)
        one.profile(one.stage([row[: len(header)] for row in rows], header=header))
        encoder = Encoder.of_base_model(one.base_models / services.TINY, style="chat", verbalizer=template)
        encoder.save(one.base_models / services.TINY)
        served = Encoder.of_tuned_model(one.base_models / services.TINY)
        for row, example in both(one):
            asked = {"input": row.input, "topic": row.fields["topic"]} if row.fields else row.input
            assert example.prompt_ids.tolist() == served.prompts([asked])[0], row
            assert example.prompt_ids.tolist().count(served.template.eos_id) == template.count("</s>")
            assert example.answer_ids.tolist() == served.answers([row.output])[0]


def test_lengths_that_the_job_asks_for_cut_and_are_told(job):
    one = job(verbalizer="{{input}}", max_source_length=9, max_target_length=4)
    profile = one.profile(one.stage([("word " * 30, "other " * 30)] * 9 + ROWS))
    assert (kinds(profile)["cut_prompt"], kinds(profile)["cut_output"]) == (9, 9)
    assert not {"cut_row", "cut_input"} & set(kinds(profile))
    assert (profile["limits"]["source_tokens"], profile["limits"]["target_tokens"]) == (9, 4)
    assert (profile["tokens"]["prompt"]["max"], profile["tokens"]["answer"]["max"]) == (9, 4)


@pytest.mark.parametrize("lengths", [{}, {"max_source_length": 10**9, "max_target_length": 10**9}])
def test_a_text_beyond_all_that_the_model_takes_is_cut_before_it_is_encoded(job, lengths):
    one = job(verbalizer="{{input}}", **lengths)
    profile = one.profile(one.stage([("word " * 10_000, "other " * 10_000), *ROWS]))
    assert (kinds(profile)["cut_prompt"], kinds(profile)["cut_output"]) == (1, 1)
    row = data.read_prepared_rows(one.root / "prepared", [0])[0]
    assert len(row.input) == len(row.output) == 64 * 256


def test_virtual_tokens_take_room_of_the_model(job):
    long = [("word " * 400, "a"), *ROWS]
    profiles = []
    for method in ({}, {"tuning_type": "PROMPT_TUNING", "num_virtual_tokens": 20, "output_model_types": ("DECODER",)}):
        one = job(**method)
        profiles.append(one.profile(one.stage(long)))
    assert profiles[0]["limits"]["model_tokens"] - profiles[1]["limits"]["model_tokens"] == 20


def test_tasks_are_numbered_as_they_appear_and_each_is_in_both_splits(job):
    one = job(task_column="topic")
    profile = one.profile(one.stage(TASKS, header=("input", "output", "topic")))
    assert profile["tasks"] == ["cats", "dogs", "cows"]
    (told,) = [finding for finding in profile["findings"] if finding["kind"] == "several_tasks"]
    assert (told["count"], told["rows"]) == (3, ["task cats"])
    task_by_input = {text: profile["tasks"].index(topic) for text, _, topic in TASKS}
    assert all(example.task == task_by_input[row.input] for row, example in both(one))
    assert {example.task for _, example in prepared(one, "validation")} == {0, 1, 2}
    assert profile["rows"]["validation"] == 6
    assert json.loads(json.dumps(profile)) == profile


def test_without_a_task_column_all_rows_are_of_one_task(job):
    one = job()
    assert one.profile(one.stage(ROWS))["tasks"] == []
    assert {example.task for _, example in both(one)} == {0}


def test_rows_without_a_task_are_dropped_and_counted(job):
    one = job(task_column="topic")
    rows = [("q", "a", ""), ("q", "a", " \t"), *TASKS, ("q", "a", " cats ")]
    profile = one.profile(one.stage(rows, header=("input", "output", "topic")))
    assert profile["rows"]["dropped"] == 2
    found = next(each for each in profile["findings"] if each["kind"] == "blank_task")
    assert (found["severity"], found["rows"][0]) == ("dropped", "s3://data/training.csv: row 1")
    assert profile["tasks"] == ["cats", "dogs", "cows"]


def test_a_task_too_small_to_hold_out_of_is_learned_and_told(job):
    one = job(task_column="topic")
    profile = one.profile(one.stage([*TASKS, ("q", "a", "lone")], header=("input", "output", "topic")))
    assert kinds(profile)["unmeasured_task"] == 1
    assert 3 in {example.task for _, example in prepared(one, "training")}


def many_tasks(count):
    return [(f"q{number}", "a", f"t{number // 2}") for number in range(2 * count)]


def test_256_tasks_are_learned_and_one_more_is_refused(job):
    one = job(task_column="topic")
    assert len(one.profile(one.stage(many_tasks(256), header=("input", "output", "topic")))["tasks"]) == 256
    with pytest.raises(InvalidData, match="column topic: names more than the 256 tasks"):
        one.profile(one.stage(many_tasks(257), header=("input", "output", "topic")))
    with pytest.raises(InvalidData, match="column topic: names one task"):
        one.profile(one.stage(many_tasks(1), header=("input", "output", "topic")))


def test_a_validation_channel_may_not_bring_tasks_of_its_own(job):
    one = job(task_column="topic", validation_fraction=None)
    header = ("input", "output", "topic")
    training = one.stage(TASKS, header=header)
    one.profile(training, one.stage(TASKS[:1], header=header, kind="validation"))
    assert [example.task for _, example in prepared(one, "validation")] == [0]
    with pytest.raises(InvalidData, match=r"tasks that no training row is of.*birds"):
        one.profile(training, one.stage([("q", "a", "birds")], header=header, kind="validation"))


def test_the_same_question_in_two_tasks_is_no_copy(job):
    one = job(task_column="topic")
    rows = [("q", "a", topic) for topic in ("cats", "dogs")] + TASKS
    assert "duplicate" not in kinds(one.profile(one.stage(rows, header=("input", "output", "topic"))))


@pytest.mark.parametrize(
    "method", [{"task_column": "topic"}, {"max_source_length": 200}, {"verbalizer": "{{topic}} {{input}}"}]
)
def test_another_way_of_reading_prepares_the_rows_again(job, method):
    header = ("input", "output", "topic")
    listener = tuning_jobs.Listener()
    first = job(task_column="topic", max_source_length=100, verbalizer="{{topic}}: {{input}}")
    first.profile(first.stage(TASKS, header=header))
    kept = {"task_column": "topic", "max_source_length": 100, "verbalizer": "{{topic}}: {{input}}"}
    first.profile(first.stage(TASKS, header=header), listener=listener)
    assert "prepared_rows_kept" in {kind for kind, _, _ in listener.events}
    changed = {**kept, **method} if method != {"task_column": "topic"} else {**kept, "task_column": None}
    listener = tuning_jobs.Listener()
    again = job(**changed)
    again.profile(again.stage(TASKS, header=header), listener=listener)
    assert "prepared_rows_kept" not in {kind for kind, _, _ in listener.events}


def test_a_rate_that_is_to_be_found_is_not_warned_of(job):
    one = job(learning_rate=None)
    assert "zero_learning_rate" not in kinds(one.profile(one.stage(ROWS)))
