"""Splits rows into training and validation, the same way each time for the same seed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from random import Random

from gyropilot.errors import InvalidData


def split(
    row_count: int, fraction: float, seed: int, *, alike: Sequence[Sequence[int]] = ()
) -> tuple[list[int], list[int]]:
    """Give the indices of training and of validation rows, each ascending, disjoint, together all rows.

    Args:
        row_count: rows to split.
        fraction: share of validation rows, in (0, 1); their number is rounded up. Rows that are alike may make it a
            little less, or more where every set of them is larger.
        seed: what the choice depends on, and nothing else.
        alike: disjoint sets of rows, ascending, that must stay on one side together, as copies of each other.

    Raises:
        InvalidData: one side would be empty.
    """
    wanted = math.ceil(round(row_count * fraction, 9))
    if row_count - wanted < 1 or wanted < 1:
        raise InvalidData(
            where="training channel",
            found=f"{row_count} usable rows",
            problem=f"too few to hold out {fraction:g} of them: {max(row_count - wanted, 0)} would be left to train on,"
            f" {wanted} to validate on",
            fix="give more rows, a lower ValidationFraction, or a validation channel",
        )
    draw = Random(seed)  # of Python's generators, random() alone is promised to stay the same
    keys = [draw.random() for _ in range(row_count)]
    order = sorted(range(row_count), key=keys.__getitem__)
    validation = set(order[:wanted]) if not alike else _held_out(order, wanted, alike)
    if len(validation) == row_count:
        raise InvalidData(
            where="training channel",
            found=f"{row_count} usable rows, all of them alike",
            problem="copies stay on one side, so there is nothing to hold out",
            fix="give rows that differ, or a validation channel",
        )
    return [row for row in range(row_count) if row not in validation], sorted(validation)


def split_by_group(
    groups: Sequence[int], fraction: float, seed: int, *, alike: Sequence[Sequence[int]] = ()
) -> tuple[list[int], list[int]]:
    """Give the indices of training and of validation rows as `split` does, the share held out of each group by itself.

    A group too small to be split stays in training whole.

    Args:
        groups: [n], the group of each row.
        fraction: share of validation rows of each group, in (0, 1); their number is rounded up.
        seed: what the choice depends on, and nothing else.
        alike: disjoint sets of rows, each of one group, that must stay on one side together.

    Raises:
        InvalidData: no group can be split.
    """
    rows_by_group: dict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(groups):
        rows_by_group[group].append(row)
    place = {row: at for rows in rows_by_group.values() for at, row in enumerate(rows)}
    alike_by_group: dict[int, list[list[int]]] = defaultdict(list)
    for rows in alike:
        alike_by_group[groups[rows[0]]].append([place[row] for row in rows])
    validation: list[int] = []
    for group, rows in rows_by_group.items():
        try:
            _, held_out = split(len(rows), fraction, seed, alike=alike_by_group[group])
        except InvalidData:
            continue
        validation += [rows[at] for at in held_out]
    if not validation:
        raise InvalidData(
            where="training channel",
            found=f"{len(groups)} usable rows in {len(rows_by_group)} groups",
            problem=f"no group has rows enough to hold out {fraction:g} of them",
            fix="give more rows, a lower ValidationFraction, or a validation channel",
        )
    held = set(validation)
    return [row for row in range(len(groups)) if row not in held], sorted(validation)


def _held_out(order: Sequence[int], wanted: int, alike: Sequence[Sequence[int]]) -> set[int]:
    """Take rows in this order, each with those alike, where they still fit; the smallest set where none fits."""
    members: dict[int, Sequence[int]] = {row: rows for rows in alike for row in rows}
    sizes: dict[int, list[int]] = defaultdict(list)
    taken: set[int] = set()
    for row in order:
        together = members.get(row, (row,))
        if len(taken) + len(together) <= wanted:
            taken.update(together)
        elif not taken and row == min(together):
            sizes[len(together)].append(row)
        if len(taken) == wanted:
            break
    if not taken:
        row = sizes[min(sizes)][0]
        taken.update(members.get(row, (row,)))
    return taken
