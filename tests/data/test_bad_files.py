"""Every bad file through the real profile function in a real child of bounded memory: accepted as stated or refused."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

import bad_file_reading
import services
import tuning_jobs
from bad_files import CSV, GOOD, HEAD, PLAIN
from bad_parquet_files import CASES
from gyropilot.engine.engine import Task
from gyropilot.engine.local_process import LocalProcessEngine
from gyropilot.problems import tasks
from gyropilot.problems.contract import LocalChannel, LocalFile, ProfileTask

pytestmark = pytest.mark.slow
TESTS = Path(bad_file_reading.__file__).parent
MEMORY_BYTES = 512 * 2**20
"""What the child may hold, libraries and all."""
RISE_BYTES = 96 * 2**20
"""What any one file may add to what it holds."""
SECONDS = 240


def profile_task(job, name, files, content_type):
    folder = job.root / name.replace("/", "-")
    folder.mkdir()
    staged = []
    for number, (key, content) in enumerate(files):
        path = folder / f"{number}"
        path.write_bytes(content)
        staged.append(LocalFile(path=path, uri=f"s3://data/{key}", size_bytes=len(content), etag="e"))
    channel = LocalChannel(channel_type="training", content_type=content_type, compression="None", files=tuple(staged))
    task = ProfileTask(
        job_name="bad",
        spec=job.spec.to_json(),
        channels=(channel,),
        base_models=job.base_models,
        prepared=folder / "prepared",
        output=folder / "output",
        output_uri="s3://out/bad",
        cores=1,
        memory_bytes=0,
    )
    return tasks.to_json(task)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What came of each case, by name: one child reads them all."""
    root = tmp_path_factory.mktemp("bad")
    job = tuning_jobs.Job(root, services.make_tiny_model(root / "tiny"))
    log: list[bytes] = []
    engine = LocalProcessEngine(
        cores=1, memory_bytes=2**30, allowed_prefixes=("bad_file_reading:",), python_path=(TESTS,)
    )
    task = Task(
        function="bad_file_reading:profile_each",
        arguments={
            "warm": profile_task(job, "warm", [("warm.csv", HEAD + PLAIN)], CSV),
            "tasks": [profile_task(job, case.name, case.contents(), case.content_type) for case in CASES],
        },
        scratch=root / "scratch",
        log=log.append,
        cores=1,
        memory_bytes=MEMORY_BYTES,
        python=sys.executable,
    )
    run = engine.start(task)
    said, until = [], time.monotonic() + SECONDS
    while (ending := run.ending()) is None:
        message = run.next_message(0.5)
        said += [message.body["message"]] if message is not None and message.kind == "event" else []
        assert time.monotonic() < until, run.kill()
    assert ending.outcome == "result", (ending, b"".join(log)[-3000:])
    named = {case.name: outcome for case, outcome in zip(CASES, ending.result, strict=True)}
    return named, said, b"".join(log).decode(errors="replace")


def test_there_are_as_many_cases_as_promised_and_each_has_a_name():
    assert len({case.name for case in CASES}) == len(CASES) >= 84


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_file_is_accepted_as_stated_or_refused_with_its_place(outcomes, case):
    outcome = outcomes[0][case.name]
    if case.rows is None:
        message = outcome.get("message", f"accepted: {str(outcome)[:500]}")
        assert [part for part in case.told if part not in message] == [], message
        assert "s3://data/" in message or "channel" in message
        assert len(message) < 4000
    else:
        assert "message" not in outcome, outcome["message"]
        assert _shown(outcome["rows"]) == _shown(case.rows)
        assert set(case.found) <= {one["kind"] for one in outcome["findings"]}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_memory_stays_flat(outcomes, case):
    assert outcomes[0][case.name]["risen_bytes"] < RISE_BYTES


def test_no_secret_is_told(outcomes):
    named, said, log = outcomes
    for case in CASES:
        for untold in case.untold:
            told = [named[case.name].get("message", ""), str(named[case.name].get("findings")), *said, log]
            assert not any(untold in one for one in told)
            assert any("AWS access key id" in one for one in told[:2])


def _shown(rows):
    """Rows as far as any model could take them in: what is stored of longer ones."""
    return [(text[-1000:], answer[:1000]) for text, answer in rows]


def test_the_good_rows_are_good(outcomes):
    assert outcomes[0]["plain Parquet"]["rows"] == [list(one) for one in GOOD]
