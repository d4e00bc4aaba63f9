"""Logging: one line format, secrets cut out, control characters escaped."""

from __future__ import annotations

import logging
import re
import sys
import textwrap
from pathlib import Path
from types import TracebackType

_ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
_TALKATIVE = ("alembic", "uvicorn", "botocore", "aiobotocore", "s3fs", "sqlalchemy", "psycopg")
_SECRETS = re.compile(
    r"(?i)(authorization['\"]?\s*[:=]\s*)[^\r\n]+|(signature=)[0-9a-f]+|(x-amz-security-token['\"]?\s*[:=]\s*)\S+"
    r"|((?:secret|password|token)[a-z_]*['\"]?\s*[:=]\s*)\S+"
    r"|(sk-gyro-\w+-)[0-9a-f]+"
    r"|(postgres(?:ql)?(?:\+\w+)?://[^\s:/@]*:)\S*(?=@)|(://[^\s:/@]*:)[^\s:/@]+(?=@)"
)


def set_up(*, level: int = logging.INFO, file: Path | None = None) -> None:
    """Send the process's log to stderr, or to `file`."""
    handler = logging.FileHandler(file, encoding="utf-8") if file else logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LineFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def redacted(text: str) -> str:
    """Give `text` without the values of signatures, tokens and passwords."""
    return _SECRETS.sub(lambda match: next(group for group in match.groups() if group) + "[cut]", text)


def printable(text: str) -> str:
    """Give `text` with control and direction-changing characters written as escapes, fit for a terminal or a log."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


class _LineFormatter(logging.Formatter):
    """One record, one line: what a caller sent can begin no second one. Lines of a traceback are set in."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(redacted(super().format(record)))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- logging names it
        return super().formatMessage(record).replace("\n", "\\n")

    def formatException(self, ei: _ExceptionInfo) -> str:  # noqa: N802 -- logging names it
        return textwrap.indent(super().formatException(ei), "    ")
