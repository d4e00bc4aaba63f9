"""What a process holds at most while it prepares, or trains on, so many rows; test_row_memory.py runs it."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from pathlib import Path

import services
import tuning_jobs

STEPS = 6


def main(what: str, root: Path, count: int) -> int:
    """Give the most bytes of anonymous memory, which is what only a kill would give back."""
    job = tuning_jobs.Job(root, root / "tiny", epochs=1, batch_size=16)
    record = job.base_models / services.TINY / "gyropilot-model.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"max_rows": 10**6}))
    seen, over = [0], threading.Event()
    watcher = threading.Thread(target=_watch, args=(seen, over))
    watcher.start()
    if what == "profile":
        rows = (
            (f"What is {number} and {number}? " + "word " * (number % 20), f"It is {number}.")
            for number in range(count)
        )
        (root / "profile.json").write_text(json.dumps(job.profile(job.stage(rows))))
    else:
        profile = json.loads((root / "profile.json").read_text())
        listener = tuning_jobs.Listener(die_when=lambda phase, done: phase == "training" and done >= STEPS)
        with contextlib.suppress(tuning_jobs.Killed):
            job.train(job.train_task(profile, checkpoint_seconds=1e9), listener)
    over.set()
    watcher.join()
    return seen[0]


def _watch(seen, over):
    while not over.wait(0.01):
        lines = Path("/proc/self/status").read_text().splitlines()
        seen[0] = max(seen[0], *(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:")))


if __name__ == "__main__":
    print(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
