from __future__ import annotations

import json
import subprocess
import sys

import pytest

import services
import tuning_jobs
from gyropilot.errors import InvalidRequest, TrainingFailed
from gyropilot.problems.text_generation import artifacts
from gyropilot.problems.text_generation.inference import load


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    root = tmp_path_factory.mktemp("job")
    job = tuning_jobs.Job(root, services.make_tiny_model(root / "tiny"))
    task = job.train_task(job.profile(job.stage(tuning_jobs.ROWS)))
    job.train(task)
    return task.output


@pytest.fixture(scope="module")
def model(output):
    return load(output / artifacts.MODEL)


def test_a_fresh_process_gives_the_answers_that_were_scored(output):
    rows = json.loads((output / artifacts.EVALUATION).read_text())["generations"][:4]
    code = (
        "import json, pathlib, sys; from gyropilot.problems.text_generation.inference import load;"
        "model = load(pathlib.Path(sys.argv[1]));"
        "print(json.dumps([model.predict({'inputs': text})[0]['generated_text'] for text in json.loads(sys.argv[2])]))"
    )
    inputs = json.dumps([row["input"] for row in rows])
    command = [sys.executable, "-c", code, str(output / artifacts.MODEL), inputs]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == [row["tuned"]["answer"] for row in rows]


def test_an_answer_is_as_long_as_asked(model):
    payload = {"inputs": "What colour has stone 1?", "parameters": {"max_new_tokens": 2, "do_sample": False}}
    (answer,) = model.predict(payload)
    (whole,) = model.predict({"inputs": payload["inputs"]})
    assert whole["generated_text"].startswith(answer["generated_text"])
    assert len(answer["generated_text"]) < len(whole["generated_text"])


@pytest.mark.parametrize(
    ("payload", "where"),
    [
        ({}, "inputs"),
        ({"inputs": 3}, "inputs"),
        ([], "inputs"),
        ({"inputs": "x " * 600}, "inputs"),
        ({"inputs": "x", "parameters": []}, None),
        ({"inputs": "x", "parameters": {"beams": 2}}, "parameters"),
        ({"inputs": "x", "parameters": {"do_sample": True}}, "parameters.do_sample"),
        ({"inputs": "x", "parameters": {"max_new_tokens": 0}}, "parameters.max_new_tokens"),
        ({"inputs": "x", "parameters": {"max_new_tokens": True}}, "parameters.max_new_tokens"),
        ({"inputs": "x", "parameters": {"max_new_tokens": "5"}}, "parameters.max_new_tokens"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused_and_the_next_answered(model, payload, where):
    if where is not None:
        with pytest.raises(InvalidRequest) as caught:
            model.predict(payload)
        assert caught.value.faults[0].where == where
    assert model.predict({"inputs": "What colour has stone 2?"})[0]["generated_text"]


def test_another_tokenizer_than_in_training_is_refused(output, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for path in (output / artifacts.MODEL).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["merges"] = []
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(TrainingFailed, match="other tokens"):
        load(folder)
