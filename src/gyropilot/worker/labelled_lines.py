"""What a child prints, line by line, each led by a label: what children print side by side stays apart in the log."""

from __future__ import annotations

from collections.abc import Callable

_LONGEST = 65536
"""Bytes of a line that are held until its end comes."""


class LabelledLines:
    """Takes what one child prints, in pieces; called by one thread at a time."""

    def __init__(self, write: Callable[[bytes], None], label: str) -> None:
        self._write, self._lead = write, f"[{label}] ".encode()
        self._rest = b""

    def __call__(self, data: bytes) -> None:
        """Write the lines that are whole by now, together."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST:
            lines, self._rest = [*lines, self._rest], b""
        if lines:
            self._write(b"".join(self._lead + line + b"\n" for line in lines))

    def close(self) -> None:
        """Write what came without the end of its line."""
        if self._rest:
            self._write(self._lead + self._rest + b"\n")
            self._rest = b""
