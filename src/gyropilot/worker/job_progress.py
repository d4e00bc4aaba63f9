"""How far the training of a job is: what its one candidate says, or of many how many have ended and how far others are.

Called by the threads of the candidates.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from gyropilot.store.candidates import CandidateRecord
from gyropilot.worker import ranking
from gyropilot.worker.job_book import JobBook

Json = Any


class JobProgress:
    """The progress of the TrainingModels phase."""

    def __init__(self, book: JobBook, most_candidates: int) -> None:
        """Take where progress is told, and how many candidates there may be."""
        self._book, self._most = book, most_candidates
        self._telling = threading.Lock()
        self._ended = 0
        self._share_by_name: dict[str, float] = {}
        self.best: CandidateRecord | None = None
        """The best of those that have ended."""

    def begun(self, name: str) -> None:
        """Say that a candidate is being trained."""
        with self._telling:
            self._share_by_name[name] = 0.0
            self._tell()

    def heard(self, name: str, body: Mapping[str, Json]) -> None:
        """Pass on what a candidate's child says."""
        if self._most <= 1:
            self._book.progress(body)
            return
        with self._telling:
            if body["phase"] == "training" and body["total"] > 0 and name in self._share_by_name:
                share = min(1.0, max(0.0, body["done"] / body["total"]))
                self._share_by_name[name] = max(share, self._share_by_name[name])
            self._tell()

    def ended(self, record: CandidateRecord) -> None:
        """Say how a candidate ended."""
        with self._telling:
            self._share_by_name.pop(record.name, None)
            self._ended += 1
            self.best = ranking.best_of([record] if self.best is None else [self.best, record])
            self._tell()

    @property
    def ended_count(self) -> int:
        """Give how many candidates have ended."""
        return self._ended

    def _tell(self) -> None:
        if self._most <= 1:
            return
        values: dict[str, float] = {"running": float(len(self._share_by_name))}
        if self.best is not None and self.best.score is not None:
            values["best"] = self.best.score
        done = self._ended + sum(self._share_by_name.values())
        total = max(self._most, self._ended + len(self._share_by_name))
        self._book.progress({"phase": "training", "done": done, "total": total, "unit": "candidates", "values": values})
