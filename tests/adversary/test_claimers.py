"""Twenty processes that claim jobs against a quota of four, some dying over theirs: never are five held at once."""

import itertools
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from gyropilot.store import jobs
from gyropilot.store.database import Database
from new_jobs import new_job

CLAIMERS, QUOTA, JOBS = 20, 4, 30
SECONDS = float(os.environ.get("GYROPILOT_CLAIM_SECONDS", 4))
SEED = os.environ.get("GYROPILOT_SEED", str(random.SystemRandom().randrange(2**32)))
CLAIMING = Path(__file__).resolve().parents[1] / "claimers.py"


def held_by(url, quota):
    """Give (claimer, job, from, until) of every claim that was made in some seconds."""
    print(f"GYROPILOT_SEED={SEED}")
    db = Database.open(url)
    for number in range(JOBS):
        jobs.create(db, new_job(f"job-{number}"), {})
    db.close()
    given = [url, str(CLAIMERS), str(quota), str(SECONDS), SEED]
    ran = subprocess.run(
        [sys.executable, CLAIMING, *given], capture_output=True, text=True, timeout=SECONDS + 60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr, ran.stderr
    return [tuple(one) for one in json.loads(ran.stdout) if one[2] < one[3]]


def most_at_once(held):
    """Give how many of the claims overlap at the worst moment."""
    changes = sorted(itertools.chain.from_iterable(((start, 1), (end, -1)) for _, _, start, end in held))
    return max(itertools.accumulate(change for _, change in changes))


@pytest.mark.slow
def test_never_more_are_held_at_once_than_the_quota(database_url):
    held = held_by(database_url, QUOTA)
    assert 1 < most_at_once(held) <= QUOTA
    for _, of_one_job in itertools.groupby(sorted(held, key=lambda one: one[1]), key=lambda one: one[1]):
        assert most_at_once(list(of_one_job)) == 1, "one job was held by two"
    assert len(held) > 2 * SECONDS


@pytest.mark.slow
def test_without_the_quota_more_are_held(postgresql_url):
    """The mutant: what is measured above would show it."""
    assert most_at_once(held_by(postgresql_url, JOBS)) > QUOTA
