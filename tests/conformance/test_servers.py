"""What the model server of every problem type must keep: trained, saved, loaded by a process that knows nothing else.

A subject trains a tiny model and says what it answers; a new problem type adds one.
"""

from __future__ import annotations

import copy
import json
import os
import random
from dataclasses import dataclass
from pathlib import Path

import pytest

import bad_payloads
import mean_problem
import served_models
import table_jobs
from gyropilot.problems import catalog, tasks
from gyropilot.problems.contract import LocalChannel, LocalFile, ProfileTask, TrainTask
from gyropilot.problems.tabular import tables
from gyropilot.problems.tabular.models import labels_of
from server_process import Refused, ServerProcess

FUZZED = int(os.environ.get("GYROPILOT_FUZZED", "500"))


@dataclass(frozen=True)
class Subject:
    """A trained model and how it is asked."""

    open_server: str
    base_models: Path
    containers: tuple
    """(folder, environment) of each, in the order of the chain."""
    good: bytes
    answer: bytes
    """What training's own scoring gave, as the answer to `good`."""
    bad: tuple[tuple[bytes, str], ...]
    """Calls that are refused, each with a word of the refusal."""
    content_type: str = "application/json"


def text_generation(root):
    tuned = served_models.train_tiny(root)
    (text, answer), *_ = tuned.scored()
    (container,) = tuned.result.containers
    return Subject(
        open_server=catalog.named("TextGeneration").open_server,
        base_models=tuned.base_models,
        containers=((served_models.unpacked(tuned.output, root / "model"), container.environment),),
        good=json.dumps({"inputs": text}).encode(),
        answer=json.dumps([{"generated_text": answer}], separators=(",", ":")).encode(),
        bad=tuple(bad_payloads.INVOCATIONS),
    )


def mean(root):
    rows = root / "rows.csv"
    rows.write_text("2\n3\n7\n")
    (root / "base_models").mkdir()
    common = {"job_name": "job", "base_models": root / "base_models", "prepared": root / "prepared", "cores": 1}
    common |= {"output": root / "output", "output_uri": "s3://out/job", "memory_bytes": 0}
    tabular = {"AutoMLProblemTypeConfig": {"TabularJobConfig": {}}, "Tags": [{"Key": "steps", "Value": "1"}]}
    chosen = mean_problem.read_request(tabular, None)
    spec = chosen.to_json()
    file = LocalFile(path=rows, uri="s3://data/rows.csv", size_bytes=6, etag="e")
    channel = LocalChannel(channel_type="training", content_type="text/csv", compression="None", files=(file,))
    for name in ("prepared", "checkpoints", "output"):
        (root / name).mkdir()
    listener = served_models.tuning_jobs.Listener()
    profile = mean_problem.profile(tasks.to_json(ProfileTask(spec=spec, channels=(channel,), **common)), listener)
    task = TrainTask(
        spec=spec,
        candidate=mean_problem.MeanSearch(chosen, profile).ask(),
        profile=profile,
        checkpoints=root / "checkpoints",
        seconds_left=None,
        checkpoint_seconds=0,
        evaluation_seconds=0,
        **common,
    )
    result = tasks.train_result(mean_problem.train(tasks.to_json(task), listener))
    learned = json.loads((root / "output" / result.containers[0].model_path).read_text())["mean"]
    return Subject(
        open_server=mean_problem.MEAN.open_server,
        base_models=root / "base_models",
        containers=((root / "output", result.containers[0].environment),),
        good=b"1\n2\n",
        answer=f"{learned}\n{learned}\n".encode(),
        bad=((b"refuse", "is the fault asked for"), (b"1\nrefuse it\n", "row")),
        content_type="text/csv",
    )


def tabular(root, **changes):
    """A job of the small table; `good` are its rows, the answer what the model says that was scored."""
    job = table_jobs.TableJob(root, **changes)
    model, rows = job.model(), [row[:-1] for row in job.rows]
    features = tables.from_text(rows, model.schema)
    if model.schema.is_regression:
        answers = [repr(one) for one in model.predict_numbers(features).tolist()]
    else:
        classes = labels_of(model.predict_probabilities(features), model.schema.labels, model.threshold)
        answers = [f'"{label}"' if "," in label else label for label in (model.schema.labels[one] for one in classes)]
    return Subject(
        open_server=catalog.named("Tabular").open_server,
        base_models=job.base_models,
        containers=tuple(zip(job.folders(), [one.environment for one in job.result.containers], strict=True)),
        good=job.csv(len(rows)),
        answer="".join(f"{one}\n" for one in answers).encode(),
        bad=bad_payloads.ROWS_OF_TABLES,
        content_type="text/csv",
    )


def tabular_chain(root):
    """The same by hyperparameter tuning: two containers of a regression."""
    changes = {"mode": "HYPERPARAMETER_TUNING", "algorithms": ("linear-learner",)}
    return tabular(root, problem_type="Regression", objective="MSE", **changes)


SUBJECTS = {
    "TextGeneration": text_generation,
    "Tabular": tabular,
    "Tabular (chain)": tabular_chain,
    "Tabular (mean)": mean,
}


@pytest.fixture(scope="module", params=SUBJECTS)
def subject(request, tmp_path_factory):
    return SUBJECTS[request.param](tmp_path_factory.mktemp("subject"))


@pytest.fixture(scope="module")
def server(subject):
    with ServerProcess(subject.open_server, subject.base_models, subject.containers) as process:
        yield process


def is_right(server, subject):
    return server.ask(subject.good, content_type=subject.content_type) == (subject.content_type, subject.answer)


def test_every_problem_type_has_a_subject():
    assert {problem.config_name for problem in catalog.PROBLEMS} <= SUBJECTS.keys()


def test_a_fresh_process_answers_as_training_scored(server, subject):
    assert is_right(server, subject)


def test_a_stream_is_the_same_answer(server, subject):
    kind, body = server.ask(subject.good, content_type=subject.content_type, is_streamed=True)
    assert (kind, body) == (subject.content_type, subject.answer)


def test_bad_payloads_are_refused_by_what_is_wrong_and_the_next_is_answered(server, subject):
    for body, word in subject.bad:
        with pytest.raises(Refused) as caught:
            server.ask(body, content_type=subject.content_type)
        assert word in str(caught.value), body[:200]
        assert len(str(caught.value)) < 10_000
    assert is_right(server, subject)


@pytest.mark.parametrize("content_type", ["text/html", "application/x-npy", "image/png"])
def test_another_content_type_is_refused(server, subject, content_type):
    with pytest.raises(Refused, match="ContentType"):
        server.ask(subject.good, content_type=content_type)
    assert is_right(server, subject)


@pytest.mark.slow
@pytest.mark.parametrize("subject", ["TextGeneration"], indirect=True)
def test_fuzzed_payloads_end_no_server_and_change_no_later_answer(server, subject):
    draw = random.Random(4)
    counts = {"answered": 0, "refused": 0}
    for number in range(FUZZED):
        style, body = _fuzzed(draw)
        kind = draw.choice(["application/json"] * 8 + ["application/jsonlines", "application/octet-stream", ""])
        try:
            server.ask(body, content_type=kind, style=style, is_streamed=draw.random() < 0.3)
            counts["answered"] += 1
        except Refused:
            counts["refused"] += 1
        if number % 50 == 0:
            assert is_right(server, subject), body
    assert server.is_alive
    assert is_right(server, subject)
    assert counts["refused"] > FUZZED / 4
    assert counts["answered"] > FUZZED / 20


_SEEDS = (
    ("invoke", {"inputs": "What?", "parameters": {"max_new_tokens": 2, "temperature": 0.5, "stop": ["a"], "seed": 1}}),
    ("invoke", {"inputs": ["What?", "é🙂"], "parameters": {"details": True, "top_n_tokens": 2, "max_new_tokens": 3}}),
    ("invoke", {"inputs": "What?", "stream": True, "parameters": {"do_sample": True, "top_k": 5, "max_new_tokens": 3}}),
    ("invoke", {"text_inputs": "What?", "max_length": 60, "num_return_sequences": 2, "top_p": 0.9}),
    ("chat", {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "</s>"}], "max_tokens": 3}),
    ("chat", {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}], "stream": True, "n": 2}),
    ("completion", {"prompt": ["a", "b"], "max_tokens": 2, "logprobs": 2, "temperature": 0, "stop": "x"}),
)
_ODD = (
    None, True, False, 0, 1, -1, 3, 0.5, 1e308, -0.0, 10**30, "", "x", "</s><s>", "\x00", "\ud83d", "\ue0000\ue002",
    "🙂" * 9, "a b " * 500, [], {}, [[]], [None], ["x"] * 3, [0] * 200, {"a": {}}, {"role": "user", "content": "x"},
    "inputs",
)  # fmt: skip


def _fuzzed(draw):
    """Give a style and a body: a good one with values, names or bytes of it changed."""
    style, seed = draw.choice(_SEEDS)
    value = json.loads(json.dumps(seed))
    for _ in range(draw.choice((0, 1, 1, 1, 2, 3))):
        _change(draw, value)
    body = bytearray(json.dumps(value, ensure_ascii=draw.random() < 0.8).encode("utf-8", "surrogatepass"))
    if draw.random() < 0.25:
        for _ in range(draw.randrange(1, 6)):
            place = draw.randrange(len(body))
            cut = slice(place, place + draw.randrange(0, 4))
            body[cut] = draw.choice((b"", b"\x00", b"\xff", b'"', b"}", b"[", b"\\u", b"9" * 30, b"\n"))
    return draw.choice([style] * 9 + ["invoke"]), bytes(body)


def _change(draw, value):
    """Change one thing somewhere in a JSON value that holds others."""
    place = draw.choice(list(value) if isinstance(value, dict) else range(len(value)))
    inner = value[place]
    if isinstance(inner, (dict, list)) and inner and draw.random() < 0.6:
        _change(draw, inner)
    elif isinstance(value, dict) and draw.random() < 0.3:
        value[draw.choice(["top_k", "stop", "inputs", "strem", "n", "seed", "parameters", "\ud800"])] = value.pop(place)
    else:
        value[place] = copy.deepcopy(draw.choice(_ODD))
