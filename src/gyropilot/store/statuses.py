"""Job statuses and the one table of moves between them."""

from __future__ import annotations

from typing import Literal, get_args

Status = Literal["InProgress", "Stopping", "Completed", "Failed", "Stopped"]
STATUSES: tuple[Status, ...] = get_args(Status)
OPEN: tuple[Status, ...] = ("InProgress", "Stopping")
"""What a worker may still work on."""

_MOVES: dict[Status, tuple[Status, ...]] = {
    "InProgress": ("InProgress", "Stopping", "Completed", "Failed", "Stopped"),
    "Stopping": ("Stopping", "Completed", "Failed", "Stopped"),
    "Completed": (),
    "Failed": (),
    "Stopped": (),
}


def is_terminal(status: str) -> bool:
    """Say whether a job of this status has ended for good."""
    return status not in OPEN


def check_move(before: str, after: str) -> None:
    """Let an allowed move pass.

    Raises:
        ValueError: the move is not in the table; no caller's input leads here, only a mistake of ours.
    """
    if after not in STATUSES:
        raise ValueError(f"{after!r} is no job status")
    if after not in _MOVES[_known(before)]:
        raise ValueError(f"a job cannot go from {before} to {after}")


def _known(status: str) -> Status:
    for one in STATUSES:
        if one == status:
            return one
    raise ValueError(f"{status!r} is no job status")
