"""What the memory of one replica process is given to: libraries, weights, adapters, and the texts that are computed.

    granted = libraries + weights and adapters of all models + texts of all schedulers + what is free

All schedulers of a process share one Memory. Those whose texts find no room come in turn, so that none is starved.
"""

from __future__ import annotations

import threading

from gyropilot.errors import LimitExceeded

LIBRARY_BYTES = 500 << 20
"""What the libraries and the work of a step take beside weights, keys and values; once a process."""
_DRAIN_SECONDS = 120.0
"""How long weights wait for texts, which may have what nobody else wants, to end."""


class Memory:
    """The memory granted to a process; its functions may be called from any thread."""

    def __init__(self, granted: int) -> None:
        """`granted`: bytes in all; 0: no bound."""
        self._granted = granted
        self._changed = threading.Condition()
        self._kept = 0
        self._texts: dict[object, int] = {}
        self._waiting: list[object] = []

    @property
    def for_texts(self) -> int | None:
        """Give the bytes that all texts together may take; None: no bound."""
        with self._changed:
            return max(0, self._room()) if self._granted else None

    def keep(self, what: str, size: int, *, beside: int = 0) -> None:
        """Give `size` bytes to weights or an adapter, called `what`; new texts wait until those that are there fit.

        Args:
            what: for the message.
            size: bytes.
            beside: bytes that must be left for texts.

        Raises:
            LimitExceeded: there is no room for it.
        """
        with self._changed:
            left = self._room() - size
            if self._granted and left < beside:
                raise LimitExceeded(
                    f"{what} takes {_mib(size)} MiB, the libraries {_mib(LIBRARY_BYTES)} and the models loaded before"
                    f" {_mib(self._kept)}, which leaves {_mib(max(0, left))} of the replica's {_mib(self._granted)} MiB"
                    " for texts; give replicas more memory"
                )
            self._kept += size
            if not self._changed.wait_for(self._do_texts_fit, _DRAIN_SECONDS):
                self._kept -= size
                raise LimitExceeded(f"answers under way left no room for {what} for {_DRAIN_SECONDS:.0f} s")

    def give_back(self, size: int) -> None:
        """Take bytes back that `keep` gave."""
        with self._changed:
            self._kept -= size

    def hold_texts(self, holder: object, size: int) -> bool:
        """Let the texts of a scheduler take `size` bytes in all from now on; False: there is no room for more."""
        with self._changed:
            before = self._texts.get(holder, 0)
            if size > before and self._granted:
                if holder not in self._waiting:
                    self._waiting.append(holder)
                is_full = sum(self._texts.values()) - before + size > self._room()
                if is_full or self._waiting[0] is not holder:
                    return False
                self._waiting.remove(holder)
            self._texts[holder] = size
            self._changed.notify_all()
            return True

    def want_no_more(self, holder: object) -> None:
        """Let others come first: nothing of this scheduler waits."""
        with self._changed:
            if holder in self._waiting:
                self._waiting.remove(holder)

    def let_go(self, holder: object) -> None:
        """Forget a scheduler's texts."""
        self.want_no_more(holder)
        with self._changed:
            self._texts.pop(holder, None)
            self._changed.notify_all()

    def _room(self) -> int:
        return self._granted - LIBRARY_BYTES - self._kept

    def _do_texts_fit(self) -> bool:
        return not self._granted or sum(self._texts.values()) <= self._room()


def _mib(size: int) -> int:
    return size >> 20
