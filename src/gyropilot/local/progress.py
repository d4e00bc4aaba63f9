"""A progress bar on standard error, for Python calls that ask for one."""

from __future__ import annotations

import sys

from gyropilot import clock
from gyropilot.engine.engine import Message
from gyropilot.log import printable

_CELLS, _WIDTH = 24, 100
_PIPE_SECONDS = 10.0
_TOLD_KINDS = frozenset({"finding", "learning_rate"})


class ProgressBar:
    """Hears what a child says: a line that moves in a terminal, one now and then elsewhere."""

    def __init__(self) -> None:
        self._phase, self._shown_at = "", 0.0

    def __call__(self, message: Message) -> None:
        """Show progress, and what was found."""
        body = message.body
        if message.kind == "progress":
            self.show(body["phase"], body["done"], body["total"], body["unit"], (body.get("values") or {}).get("loss"))
        elif message.kind == "event" and body["kind"] in _TOLD_KINDS:
            self.close()
            sys.stderr.write(f"{printable(body['message'])}\n")

    def show(self, phase: str, done: float, total: float, unit: str, loss: float | None) -> None:
        """Show how far a phase is."""
        is_terminal = sys.stderr.isatty()
        if not is_terminal and phase == self._phase and clock.monotonic() - self._shown_at < _PIPE_SECONDS:
            return
        self._phase, self._shown_at = phase, clock.monotonic()
        filled = round(_CELLS * min(1.0, done / total)) if total > 0 else 0
        count = f"{done:g}/{total:g} {unit}" if total > 0 else ""
        said = f"{phase:20} [{'#' * filled}{'.' * (_CELLS - filled)}] {count}"
        line = printable(said if loss is None else f"{said}  loss {loss:.3f}")[:_WIDTH]
        sys.stderr.write(f"\r\x1b[K{line}" if is_terminal else f"{line}\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Leave the terminal as it was found."""
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
