"""A source prompt made of three topics, and what a fourth begins with."""

from __future__ import annotations

import csv
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import yaml

import services
import tuning_jobs
from gyropilot import settings
from gyropilot.base_models.store import BaseModelStore
from gyropilot.cli.source_training import training_tasks
from gyropilot.problems.text_generation import batches, models
from gyropilot.problems.text_generation.batches import Example
from gyropilot.problems.text_generation.plain import PlainForward
from gyropilot.problems.text_generation.source_prompts import asking, training
from gyropilot.problems.text_generation.source_prompts.record import config_digest
from gyropilot.problems.text_generation.source_prompts.store import SourcePrompts
from gyropilot.problems.text_generation.templates import Encoder
from gyropilot.problems.text_generation.tuning.multitask_prompt_tuning import MultitaskPromptTuning

TOPICS, FOURTH = ("ai", "emotion", "psychology"), "money"
SMOL = "SmolLM2-135M-Instruct"
ROWS = 8
_MOST_TOKENS = 200
"""What the tiny model takes beside the rows before the text."""


def pairs(topic, count):
    """Give questions and answers of a topic of the ChatterBot corpus."""
    text = files("chatterbot_corpus").joinpath(f"data/english/{topic}.yml").read_text(encoding="utf-8")
    said = [turns for turns in yaml.safe_load(text)["conversations"] if len(turns) >= 2]
    return [(str(turns[0]), str(turns[1])) for turns in said[:count]]


def made_of_topics(home, base_model, *, rows, **parameters):
    """Give the source prompt that is made of three topics, as `gyropilot prompts train` makes it."""
    chosen = settings.read({"home": home, "cores": 1, "memory_gib": 6}, {})
    data = home / "rows.csv"
    with data.open("w", newline="", encoding="utf-8") as file:
        lines = [(*pair, topic) for topic in TOPICS for pair in pairs(topic, rows)]
        csv.writer(file).writerows([("input", "output", "topic"), *lines])
    store = BaseModelStore(chosen.base_models, allow_downloads=False)
    values = {"task_column": "topic", "num_virtual_tokens": ROWS, "prompt_tuning_init_method": "SAMPLE_VOCAB"}
    named = {"base_model": base_model, "columns": lambda: None, "where": str}
    spec = asking.spec_of(values | parameters, accept_eula=False, store=store, **named)
    arguments = training_tasks("topics", data, spec, chosen, home / "working")
    made = training.make(arguments, tuning_jobs.Listener())
    assert made["tasks"] == list(TOPICS)
    return SourcePrompts(chosen.source_prompts).add(
        "topics",
        tensors=Path(arguments["to"]),
        submodules=made["submodules"],
        tasks=tuple(made["tasks"]),
        base_model=base_model,
        base_config_digest=config_digest(store.find(base_model).path),
        made_by="test",
    )


def first_loss(folder, source, method, *, rows):
    """Give the loss of the fourth topic behind a prompt that nothing was trained of yet."""
    encoder = Encoder.of_base_model(folder, style="chat", verbalizer="{{input}}")
    asked, answered = zip(*pairs(FOURTH, rows), strict=True)
    tokens = zip(encoder.prompts(list(asked)), encoder.answers(list(answered)), strict=True)
    examples = [
        Example(prompt_ids=np.array(prompt), answer_ids=np.array(answer), row=row)
        for row, (prompt, answer) in enumerate(tokens)
        if len(prompt) + len(answer) < _MOST_TOKENS
    ]
    loaded = models.load(folder, dtype="float32", attention="sdpa")
    tuning = MultitaskPromptTuning(
        num_virtual_tokens=ROWS, init_method=method, ranks=max(1, source.ranks), source=source.folder
    )
    way = PlainForward(tuning.attach(loaded, seed=3))
    total = sum(float(way.loss_sum(batches.pack([one])).detach()) for one in examples)
    return total / sum(len(one.answer_ids) for one in examples)


def check_begins_lower(folder, source, *, rows):
    losses = {
        method: first_loss(folder, source, method, rows=rows)
        for method in ("RANDOM", "ONLY_SOURCE_SHARED", "AVERAGE_SOURCE")
    }
    assert losses["AVERAGE_SOURCE"] < losses["RANDOM"] - 0.1, losses
    assert losses["ONLY_SOURCE_SHARED"] < losses["RANDOM"] - 0.1, losses


@pytest.mark.slow
def test_a_fourth_topic_begins_lower_behind_a_source_of_three(tmp_path, tiny_model_folder):
    store = BaseModelStore(tmp_path / "base_models", allow_downloads=False)
    (tmp_path / "base_models").mkdir()
    store.add(services.TINY, tiny_model_folder, licence="mit")
    source = made_of_topics(tmp_path, services.TINY, rows=40, num_epochs=6, learning_rate=0.05)
    assert (source.rows, source.width, source.ranks, source.submodules) == (ROWS, 32, 1, 1)
    check_begins_lower(tiny_model_folder, source, rows=20)


@pytest.mark.slow
def test_a_fourth_topic_begins_lower_on_a_model_that_speaks(tmp_path, smollm2):
    (tmp_path / "base_models").mkdir()
    (tmp_path / "base_models" / SMOL).symlink_to(smollm2.path)
    source = made_of_topics(tmp_path, SMOL, rows=24, num_epochs=2, learning_rate=0.03)
    check_begins_lower(smollm2.path, source, rows=16)
