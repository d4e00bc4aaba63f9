"""The tasks that rows name for multitask prompt tuning, numbered as they first appear; filled by data."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gyropilot.errors import InvalidData
from gyropilot.problems.text_generation.findings import Findings

MOST = 256
_SHOWN, _SHOWN_CHARACTERS = 20, 60


class RowTasks:
    """Names of tasks, and the number of each row's task."""

    def __init__(self) -> None:
        self._number_by_name: dict[str, int] = {}
        self._numbers = array("H")

    def add(self, name: str) -> int:
        """Take the task of the next row and give its number; of what is too many all have one number."""
        if len(self._number_by_name) <= MOST:
            self._number_by_name.setdefault(name, len(self._number_by_name))
        number = self._number_by_name.get(name, MOST)
        self._numbers.append(number)
        return number

    @property
    def names(self) -> list[str]:
        """By number."""
        return list(self._number_by_name)

    @property
    def numbers(self) -> npt.NDArray[np.uint16]:
        """[n]: the task of each row."""
        return np.frombuffer(self._numbers, np.uint16)

    def check(self, where: str) -> None:
        """Raise InvalidData where so many tasks cannot be learned together."""
        count = len(self._number_by_name)
        if 2 <= count <= MOST:
            return
        shown = [name[:_SHOWN_CHARACTERS] for name in self.names[:_SHOWN]]
        if count > MOST:
            problem = f"names more than the {MOST} tasks that can be learned together"
            raise InvalidData(where=where, found=shown, problem=problem, fix="join tasks, or name another column")
        problem = "names one task, and what tasks share is learned of two or more"
        raise InvalidData(where=where, found=shown, problem=problem, fix="add rows of another task, or name no column")

    def check_split(self, where: str, training: Sequence[int], validation: Sequence[int], found: Findings) -> None:
        """Note the task that is served unless another is named, and those without a validation row.

        Raises:
            InvalidData: a task has validation rows alone.
        """
        learned, measured = (set(np.unique(self.numbers[np.asarray(rows)]).tolist()) for rows in (training, validation))
        names = self.names
        if measured - learned:
            raise InvalidData(
                where=where,
                found=[names[number][:_SHOWN_CHARACTERS] for number in sorted(measured - learned)[:_SHOWN]],
                problem="names tasks that no training row is of",
                fix="add training rows of them, or take their validation rows out",
            )
        found.add("several_tasks", f"task {names[0][:_SHOWN_CHARACTERS]}", count=len(names))
        if learned - measured:
            found.add("unmeasured_task", count=len(learned - measured))
