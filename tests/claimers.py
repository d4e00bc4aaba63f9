"""Claims jobs from many processes at once, as workers do; run as a program, it prints when each job was held.

    python claimers.py <database url> <claimers> <quota> <seconds> <seed>
    [[claimer, job, held from, held until], ...]    by the machine's monotonic clock, one for all processes

A claimer holds a job for some milliseconds and gives it back, or dies over it and leaves the lease to run out. What is
told as held is always a part of what was: from the claim's return, until just before it was given back or ran out.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import sys
import time
import traceback

from gyropilot.errors import LeaseLost
from gyropilot.store import leases
from gyropilot.store.database import Database

LEASE_SECONDS = 1.0
HELD_SECONDS = 0.08
DEATHS = 0.2


def main(url, claimers, quota, seconds, seed):
    # Forked before a database is opened: no connection is carried over.
    forking = multiprocessing.get_context("fork")
    ready, told = forking.Barrier(claimers), forking.SimpleQueue()
    processes = [
        forking.Process(target=_claim, args=(url, number, quota, seconds, f"{seed} {number}", ready, told))
        for number in range(claimers)
    ]
    for process in processes:
        process.start()
    held = [one for _ in processes for one in told.get()]
    for process in processes:
        process.join()
    print(json.dumps(held))


def _claim(url, number, quota, seconds, seed, ready, told):
    try:
        db = Database.open(url)
        ready.wait(60)
        told.put(_claim_on(db, number, quota, time.monotonic() + seconds, random.Random(seed)))
    except BaseException:
        traceback.print_exc()
        told.put([])
        raise


def _claim_on(db, number, quota, deadline, draw):
    held = []
    while (asked_at := time.monotonic()) < deadline:
        found = leases.claim(db, f"claimer-{number}", LEASE_SECONDS, quota)
        if found is None:
            time.sleep(draw.uniform(0, HELD_SECONDS))
            continue
        held_from = time.monotonic()
        lease, record = found
        time.sleep(draw.uniform(0, HELD_SECONDS))
        runs_out = asked_at + LEASE_SECONDS
        held.append((number, record.id, held_from, min(time.monotonic(), runs_out)))
        if draw.random() < DEATHS:
            held[-1] = (number, record.id, held_from, runs_out)
            continue
        try:
            leases.release(db, lease)
        except LeaseLost:
            assert time.monotonic() > runs_out, "a lease was lost before it ran out"
    return held


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), sys.argv[5])
