"""Models loaded into servers of this process, and what they answer."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import services
import tuning_jobs
from gyropilot.errors import InvalidRequest
from gyropilot.problems.contract import Call, ServeTask, TrainResult
from gyropilot.problems.text_generation import artifacts, inference

_ANSWER = """
import json, sys
from pathlib import Path
from gyropilot.problems.contract import Call, ServeTask
from gyropilot.problems.text_generation import inference
for folder, base_models, inputs, length in json.load(sys.stdin):
    server = inference.open_server(ServeTask(base_models=Path(base_models), cores=1, memory_bytes=0))
    server.load("model", Path(folder), {})
    parameters = {"max_new_tokens": length} if length else {}
    payloads = [json.dumps({"inputs": one, "parameters": parameters}).encode() for one in inputs]
    calls = [Call(body=one, content_type="application/json", accept="") for one in payloads]
    answers = [json.loads(server.answer("model", call).body) for call in calls]
    print(json.dumps([one["generated_text"] for (one,) in answers]))
    server.close()
"""


@dataclass(frozen=True)
class Tuned:
    """A finished job on a tiny model."""

    base_models: Path
    output: Path
    result: TrainResult

    def scored(self):
        """Give inputs with the answers that were scored."""
        rows = json.loads((self.output / artifacts.EVALUATION).read_text())["generations"]
        return [(row["input"], row["tuned"]["answer"]) for row in rows]


def train_tiny(root, **changes):
    job = tuning_jobs.Job(root, services.make_tiny_model(root / "tiny"), **changes)
    task = job.train_task(job.profile(job.stage(tuning_jobs.ROWS)))
    return Tuned(job.base_models, task.output, job.train(task))


class Served:
    """One loaded model."""

    def __init__(self, server, name):
        self.server, self.name = server, name

    def call(self, payload, *, style="invoke", content_type="application/json", accept=""):
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return Call(body=body, content_type=content_type, accept=accept, style=style, model_name="shop")

    def reply(self, payload, **how):
        return self.server.answer(self.name, self.call(payload, **how))

    def answer(self, payload, **how):
        return json.loads(self.reply(payload, **how).body)

    def text(self, text, **parameters):
        """Give the generated text for one input."""
        (one,) = self.answer({"inputs": text, "parameters": parameters})
        return one["generated_text"]

    def chat(self, *messages, **fields):
        """Give the chat completion for messages told as (role, content); the most likely one unless said otherwise."""
        told = [{"role": role, "content": content} for role, content in messages]
        return self.answer({"messages": told, "temperature": 0, **fields}, style="chat")

    def events(self, payload, **how):
        """Give the JSON values of a streamed answer's events; the last of OpenAI's stays a string."""
        streamed = self.server.stream(self.name, self.call(payload, **how))
        assert streamed.content_type == "text/event-stream"
        return events(b"".join(streamed.parts))

    def refused(self, payload, **how):
        """Give the faults for which a call is refused."""
        with pytest.raises(InvalidRequest) as caught:
            self.server.answer(self.name, self.call(payload, **how))
        return caught.value.faults


def events(body):
    assert body.endswith(b"\n\n")
    told = [part.removeprefix(b"data:").strip() for part in body.split(b"\n\n")[:-1]]
    return ["[DONE]" if one == b"[DONE]" else json.loads(one) for one in told]


def opened(base_models, *, cores=1, memory_bytes=0):
    return inference.open_server(ServeTask(base_models=base_models, cores=cores, memory_bytes=memory_bytes))


@contextmanager
def serving(folder, *, base_models, environment=None):
    """Give the model of a folder, loaded by itself."""
    server = opened(base_models)
    try:
        server.load("model", folder, environment or {})
        yield Served(server, "model")
    finally:
        server.close()


def unpacked(output, folder):
    """Give `folder` with what the archive of an output folder holds."""
    with tarfile.open(output / artifacts.ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


def answers_of_a_fresh_process(asked):
    """Give the answers of models that another process loads.

    `asked`: for each model its folder, the base-model store, inputs, and how long answers may be or None.
    """
    told = json.dumps([(str(folder), str(base_models), *rest) for folder, base_models, *rest in asked])
    done = subprocess.run([sys.executable, "-c", _ANSWER], input=told, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
