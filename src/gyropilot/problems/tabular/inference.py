"""Opens the server of tabular models in a replica process."""

from __future__ import annotations

from gyropilot.problems.contract import ModelServer, ServeTask
from gyropilot.problems.tabular.threads import use_threads


def open_server(task: ServeTask) -> ModelServer:
    """Prepare this process for predicting; models come by the server's `load`, with the libraries that they need."""
    use_threads(1)  # calls are answered side by side, a thread each
    # what this imports reads the environment, so it comes after use_threads
    from gyropilot.problems.tabular.serving.model_server import TabularServer

    return TabularServer(task)
