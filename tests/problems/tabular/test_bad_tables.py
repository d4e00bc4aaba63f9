"""Every bad table through the real profile function in a child of bounded memory: accepted as stated or refused."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

import bad_table_reading
import table_jobs
from bad_tables import CASES, GOOD
from gyropilot.engine.engine import Task
from gyropilot.engine.local_process import LocalProcessEngine
from gyropilot.problems import tasks
from gyropilot.problems.contract import LocalChannel, LocalFile, ProfileTask

TESTS = Path(bad_table_reading.__file__).parent
MEMORY_BYTES = 2**30
"""What the child may hold, libraries and all."""
RISE_BYTES = 256 * 2**20
"""What any one table may add to what it holds."""
SECONDS = 240
NOTHING_SAID = {"problem_type": None, "objective": None, "target": "y"}


def profile_task(root, number, contents, *, content_type="text/csv;header=present", compression="None", **changes):
    folder = root / str(number)
    folder.mkdir()
    staged = []
    for at, (key, content) in enumerate(contents):
        path = folder / f"{at}"
        path.write_bytes(content)
        staged.append(LocalFile(path=path, uri=f"s3://data/{key}", size_bytes=len(content), etag="e"))
    channel = LocalChannel(
        channel_type="training", content_type=content_type, compression=compression, files=tuple(staged)
    )
    (folder / "output").mkdir()
    task = ProfileTask(
        job_name="bad",
        spec=table_jobs.spec(**NOTHING_SAID | changes).to_json(),
        channels=(channel,),
        base_models=folder,
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
    log: list[bytes] = []
    engine = LocalProcessEngine(
        cores=1, memory_bytes=2 * MEMORY_BYTES, allowed_prefixes=("bad_table_reading:",), python_path=(TESTS,)
    )
    each = [
        profile_task(
            root,
            number,
            case.contents(),
            content_type=case.content_type,
            compression=case.compression,
            **case.spec,
        )
        for number, case in enumerate(CASES)
    ]
    task = Task(
        function="bad_table_reading:profile_each",
        arguments={"warm": profile_task(root, "warm", [("warm.csv", GOOD)]), "tasks": each},
        scratch=root / "scratch",
        log=log.append,
        cores=1,
        memory_bytes=MEMORY_BYTES,
        python=sys.executable,
    )
    run = engine.start(task)
    until = time.monotonic() + SECONDS
    while (ending := run.ending()) is None:
        run.next_message(0.5)
        assert time.monotonic() < until, run.kill()
    assert ending.outcome == "result", (ending, b"".join(log)[-3000:])
    return {case.name: outcome for case, outcome in zip(CASES, ending.result, strict=True)}


def test_there_are_as_many_cases_as_promised_and_each_has_a_name():
    assert len({case.name for case in CASES}) == len(CASES) >= 40


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_table_is_accepted_as_stated_or_refused_with_its_place(outcomes, case):
    outcome = outcomes[case.name]
    if case.rows is None:
        message = outcome.get("message", f"accepted: {str(outcome)[:500]}")
        assert [part for part in case.told if part not in message] == [], message
        assert "s3://data/" in message
        assert len(message) < 4000
    else:
        assert "message" not in outcome, outcome["message"]
        profile, read = outcome["profile"], outcome["read"]
        assert sum(rows for rows, _, _ in read) == case.rows
        assert all(rows == height and width == len(profile["columns"]) for rows, height, width in read)
        told = {one["name"]: one["kind"] for one in profile["columns"]}
        assert {name: told.get(name) for name in case.kinds} == case.kinds
        assert set(case.found) <= {one["kind"] for one in profile["findings"]}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_memory_stays_bounded(outcomes, case):
    assert outcomes[case.name]["risen_bytes"] < RISE_BYTES
