"""The tabular containers of one replica process; inference.py opens it once the process is prepared.

A chain's containers lie in one process, each in a server of its own: what one answers, the next one is called with.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping
from pathlib import Path

from gyropilot.errors import NotFound
from gyropilot.problems.contract import Call, Reply, ServeTask, StreamedReply
from gyropilot.problems.tabular.serving import containers
from gyropilot.problems.tabular.serving.containers import Container

_CALLS_A_CORE = 8
"""A call that waits for a model's turn is read and joined with others meanwhile."""


class TabularServer:
    """A ModelServer."""

    is_sound = True

    def __init__(self, task: ServeTask) -> None:
        self.calls_at_once = _CALLS_A_CORE * max(1, task.cores)
        self._containers: dict[str, Container] = {}

    def load(self, name: str, folder: Path, environment: Mapping[str, str]) -> None:
        """Load a container's model data.

        Raises:
            TrainingFailed: the folder is not whole, or is not of the container's role.
            InvalidRequest: the environment holds what cannot be honoured.
        """
        self._containers[name] = containers.load(folder, environment)

    def unload(self, name: str) -> None:
        """Let go of a model, its memory included."""
        del self._containers[name]
        gc.collect()

    def answer(self, name: str, call: Call) -> Reply:
        """Answer a call.

        Raises:
            InvalidRequest: the payload does not fit: the caller's fault.
        """
        container = self._containers.get(name)
        if container is None:
            raise NotFound(f"no model {name!r} is loaded here")
        return container.answer(call)

    def stream(self, name: str, call: Call) -> StreamedReply:
        """Answer a call whole, in one part: predictions are there together."""
        reply = self.answer(name, call)
        return StreamedReply(content_type=reply.content_type, parts=iter([reply.body]))

    def close(self) -> None:
        """Let go of all models."""
        self._containers.clear()
