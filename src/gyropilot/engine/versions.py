"""Which gyropilot this process is: read once at its start, so that a later installation does not change it."""

from __future__ import annotations

from importlib import metadata

VERSION = metadata.version("gyropilot")
