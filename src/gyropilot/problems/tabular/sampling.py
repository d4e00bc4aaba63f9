"""Takes fewer rows than there are where a table is larger than can be worked on, keeping classes balanced."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MAX_BYTES = 5 * 10**9
"""What a table is sampled down to in any case, as the service does."""
_MEMORY_SHARE = 16
"""The table as it is trained on may take this part of the memory: libraries copy it several times over."""
_CELL_BYTES = 40
"""What a value takes in memory beside its text."""
_LIBRARIES_BYTES = 400 * 10**6
"""What a training process holds beside the table."""
_RARE_ROWS = 100
"""Of a class so many rows are kept, if it has them, however few of all rows they are."""

Rows = npt.NDArray[np.int64]


def most_rows(*, rows: int, text_bytes: int, columns: int, memory_bytes: int) -> int:
    """Give how many rows of a table can be worked on; as many as there are where all can.

    Args:
        rows: number of rows.
        text_bytes: all their fields together.
        columns: number of columns.
        memory_bytes: memory that the job was given; 0: no bound.
    """
    bounds = [MAX_BYTES, *([memory_bytes / _MEMORY_SHARE] if memory_bytes else [])]
    return min(rows, int(min(bounds) / _row_bytes(rows, text_bytes, columns)))


def most_at_once(*, used_rows: int, rows: int, text_bytes: int, columns: int, memory_bytes: int) -> int | None:
    """Give how many processes can train on the table side by side, each in its part of the memory; None: no bound.

    Args:
        used_rows: how many of the rows they train on.
        rows: number of rows that `text_bytes` counts.
        text_bytes: all their fields together.
        columns: number of columns.
        memory_bytes: memory that the job was given; 0: no bound.
    """
    if not memory_bytes:
        return None
    needed = _LIBRARIES_BYTES + _MEMORY_SHARE * used_rows * _row_bytes(rows, text_bytes, columns)
    return max(1, int(memory_bytes / needed))


def sample(rows: Rows, classes: npt.NDArray[np.int64] | None, most: int, seed: int) -> Rows:
    """Give at most about `most` of the rows, in their order: of each class its share, rare classes whole.

    Args:
        rows: row numbers.
        classes: [row], the class of each; None: there are none.
        most: how many; each class keeps _RARE_ROWS beyond that.
        seed: what the choice depends on, beside the rows.
    """
    if len(rows) <= most:
        return rows
    draw = np.random.RandomState(seed)
    if classes is None:
        return np.sort(draw.permutation(rows)[:most])
    kept = []
    for one in np.unique(classes):
        members = rows[classes == one]
        wanted = max(round(most * len(members) / len(rows)), min(len(members), _RARE_ROWS))
        kept.append(draw.permutation(members)[:wanted])
    return np.sort(np.concatenate(kept))


def _row_bytes(rows: int, text_bytes: int, columns: int) -> float:
    return max(text_bytes / max(rows, 1) + _CELL_BYTES * columns, 1)
