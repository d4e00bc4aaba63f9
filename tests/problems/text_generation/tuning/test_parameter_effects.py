"""Walks the parameters of tuning on to what trains: each value reaches the method, or the rows as they are encoded."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

import services
import tuning_jobs
from gyropilot.problems.text_generation import artifacts
from gyropilot.problems.text_generation.base_model import read_base_model
from gyropilot.problems.text_generation.fitting import limits_of
from gyropilot.problems.text_generation.templates import Encoder
from gyropilot.problems.text_generation.tuning.combinations import Surroundings
from gyropilot.problems.text_generation.tuning.methods import method_of
from gyropilot.problems.text_generation.tuning.parameters import PARAMETERS
from gyropilot.problems.text_generation.tuning.reading import read

PROMPT = {"tuning_type": "PROMPT_TUNING", "num_virtual_tokens": 8}
MULTITASK = {"tuning_type": "MULTITASK_PROMPT_TUNING", "num_virtual_tokens": 8}
LORA, PEFT = {"tuning_type": "LORA"}, {"tuning_type": "PEFT", "peft_type": "LOHA"}
OF_METHODS = [
    ({}, LORA, "name", "LORA"),
    (PROMPT, {"num_virtual_tokens": 4}, "num_virtual_tokens", 4),
    (MULTITASK, {"num_virtual_tokens": 4}, "num_virtual_tokens", 4),
    ({**PROMPT, "tuning_type": "P_TUNING"}, {"num_virtual_tokens": 4}, "num_virtual_tokens", 4),
    ({**PROMPT, "tuning_type": "PREFIX_TUNING"}, {"num_virtual_tokens": 4}, "num_virtual_tokens", 4),
    (PROMPT, {"prompt_tuning_init_method": "SAMPLE_VOCAB"}, "init_method", "SAMPLE_VOCAB"),
    ({**PROMPT, "prompt_tuning_init_method": "TEXT"}, {"prompt_tuning_init_text": "Say."}, "init_text", "Say."),
    (MULTITASK, {"prompt_ranks": 3}, "ranks", 3),
    (LORA, {"lora_rank": 4}, "rank", 4),
    (LORA, {"lora_rank": 4}, "alpha", 8.0),
    (LORA, {"lora_alpha": 7}, "alpha", 7.0),
    (LORA, {"lora_dropout": 0.1}, "dropout", 0.1),
    (LORA, {"lora_targets": ["q_proj"]}, "targets", ("q_proj",)),
    ({"tuning_type": "IA3"}, {"lora_targets": ["q_proj"]}, "targets", ("q_proj",)),
    (PEFT, {"lora_targets": ["q_proj"]}, "targets", ("q_proj",)),
    (LORA, {"lora_variant": "DORA"}, "variant", "DORA"),
    (LORA, {"lora_init": "PISSA"}, "init", "PISSA"),
    (PEFT, {"peft_type": "VERA"}, "peft_type", "VERA"),
    (PEFT, {"peft_settings": {"r": 3}}, "settings", {"r": 3}),
]
CAUSAL = Surroundings(is_encoder_decoder=False, linear_layers=("q_proj", "v_proj"))


@pytest.mark.parametrize(("beside", "given", "field", "held"), OF_METHODS)
def test_a_parameter_of_a_type_is_a_setting_of_its_method(beside, given, field, held):
    method = method_of(read(beside | given, CAUSAL).tuning)
    assert asdict(method)[field] == held


def test_the_sides_of_an_encoder_decoder_model_are_those_of_its_method():
    seq2seq = Surroundings(is_encoder_decoder=True)
    for sides in (["ENCODER"], ["DECODER"], ["ENCODER", "DECODER"]):
        tuning = read({**PROMPT, "output_model_types": sides}, seq2seq).tuning
        assert asdict(method_of(tuning))["output_model_types"] == tuple(sides)


def test_what_is_kept_of_a_row_and_its_template_are_as_they_were_asked_for(tmp_path, tiny_model_folder):
    job = tuning_jobs.Job(tmp_path, tiny_model_folder)
    base = read_base_model(job.base_models, services.TINY, requested=services.TINY)
    given = {**PROMPT, "max_source_length": 9, "max_target_length": 4, "verbalizer": "Say {{input}}"}
    tuning = read(given, CAUSAL).tuning
    limits = limits_of(tuning, base)
    assert (limits.source, limits.target, limits.model) == (9, 4, base.model_tokens - 8)
    encoder, other = (
        Encoder.of_base_model(base.folder, style=base.template_style, verbalizer=one)
        for one in (tuning.verbalizer, "{{input}}")
    )
    assert encoder.prompts(["it"]) == other.prompts(["Say it"]) != other.prompts(["it"])


def test_what_a_job_trains_by_is_as_it_was_asked_for(tmp_path, tiny_model_folder):
    tuning = read({**LORA, "accumulate_steps": 3, "device": "cpu", "torch_dtype": "float32"}, CAUSAL).tuning
    job = tuning_jobs.Job(tmp_path, tiny_model_folder, method=tuning, epochs=1, batch_size=4, learning_rate=0.003)
    task = job.train_task(job.profile(job.stage(tuning_jobs.ROWS)))
    job.train(task)
    steps = [json.loads(line) for line in (task.output / artifacts.TRAINING).read_text().splitlines()]
    assert len(steps) == 48 // (4 * 3), "rows to train on, a step of twelve"
    assert (steps[-1]["epoch"], max(one["learning_rate"] for one in steps)) == (1.0, 0.003)
    hardware = json.loads((task.checkpoints / "hardware.json").read_text())
    assert (hardware["device"], hardware["dtype"]) == ("cpu", "float32")


def test_the_walk_leaves_no_parameter_of_tuning_config_out():
    walked = {name for beside, given, _, _ in OF_METHODS for name in (*beside, *given)}
    elsewhere = {"output_model_types", "prompt_tuning_init_source_model", "task_column"}
    assert walked | elsewhere == {one.name for one in PARAMETERS if one.part == "tuning_config"} | {"tuning_type"}
