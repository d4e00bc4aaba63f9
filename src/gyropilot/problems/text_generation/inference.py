"""Opens the server of text-generation models in a replica process."""

from __future__ import annotations

from gyropilot.problems.contract import ModelServer, ServeTask
from gyropilot.problems.text_generation.hardware import prepare_process


def open_server(task: ServeTask) -> ModelServer:
    """Prepare this process for computing, then load what computes; models come by the server's `load`."""
    prepare_process(task.cores)
    # torch reads its threads from the environment when it is imported, so that comes after prepare_process
    from gyropilot.problems.text_generation.serving.model_server import TextGenerationServer

    return TextGenerationServer(task)
