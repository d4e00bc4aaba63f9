"""What a training holds of the source prompt that it began with, whatever becomes of that."""

from __future__ import annotations

import json

import pytest

import source_vectors
import tuning_jobs
from gyropilot.errors import TrainingFailed
from gyropilot.problems.text_generation import artifacts
from gyropilot.problems.text_generation.source_prompts import kept
from gyropilot.problems.text_generation.source_prompts.store import SourcePrompts
from gyropilot.problems.text_generation.tuning.combinations import Surroundings
from gyropilot.problems.text_generation.tuning.reading import read

ROWS, WIDTH = 4, 32
"""Of the source prompt; the width is the tiny model's."""
METHOD = {
    "tuning_type": "MULTITASK_PROMPT_TUNING",
    "prompt_tuning_init_method": "ONLY_SOURCE_SHARED",
    "prompt_tuning_init_source_model": "topics",
}


def added(folder, *, value=None):
    """Give the source prompt topics, of random numbers or of one number everywhere."""
    folder.mkdir(exist_ok=True)
    shapes = source_vectors.shapes(width=WIDTH, rows=ROWS, tasks=0)
    vectors = source_vectors.write(folder.parent / f"vectors-{value}.safetensors", shapes, value=value)
    return SourcePrompts(folder).add(
        "topics", tensors=vectors, submodules=1, tasks=(), base_model="", base_config_digest="", made_by="test"
    )


def begun(tmp_path, digest):
    return kept.begun_with(
        "topics", digest=digest, source_prompts=tmp_path / "sources", checkpoints=tmp_path / "checkpoints"
    )


def test_the_digest_of_the_source_prompt_is_part_of_what_is_asked_for(tmp_path):
    source = added(tmp_path / "sources")
    around = Surroundings(is_encoder_decoder=False, source_prompts=SourcePrompts(tmp_path / "sources"))
    assert read(METHOD, around).tuning.prompt_tuning_init_source_digest == source.digest
    plain = read({"tuning_type": "PROMPT_TUNING", "num_virtual_tokens": 4}, around)
    assert plain.tuning.prompt_tuning_init_source_digest is None


def test_another_source_prompt_of_that_name_is_refused_before_training_begins(tmp_path):
    digest = added(tmp_path / "sources").digest
    SourcePrompts(tmp_path / "sources").remove("topics")
    with pytest.raises(TrainingFailed, match=r"there is no source prompt 'topics'.*create the job again"):
        begun(tmp_path, digest)
    other = added(tmp_path / "sources", value=0.5)
    with pytest.raises(TrainingFailed, match="another one than when the job was created"):
        begun(tmp_path, digest)
    assert begun(tmp_path, other.digest).digest == begun(tmp_path, None).digest == other.digest


def test_a_copy_that_cannot_be_read_is_made_again(tmp_path):
    source = added(tmp_path / "sources")
    copy = begun(tmp_path, source.digest)
    assert copy.tensors.is_relative_to(tmp_path / "checkpoints")
    copy.tensors.write_bytes(b"broken")
    assert begun(tmp_path, source.digest).tensors.read_bytes() == source.tensors.read_bytes()


@pytest.mark.parametrize("becomes", ["gone", "another"])
def test_a_killed_training_goes_on_with_the_source_prompt_it_began_with(tmp_path, tiny_model_folder, becomes):
    sources = tmp_path / "sources"
    source = added(sources)
    around = Surroundings(is_encoder_decoder=False, source_prompts=SourcePrompts(sources))
    method = read(METHOD, around).tuning
    job = tuning_jobs.Job(tmp_path, tiny_model_folder, method=method, epochs=1)
    task = job.train_task(job.profile(job.stage(tuning_jobs.ROWS[:24])), source_prompts=sources)
    with pytest.raises(tuning_jobs.Killed):
        job.train(task, tuning_jobs.Listener(die_when=lambda phase, done: (phase, done) == ("training", 2)))
    SourcePrompts(sources).remove("topics")
    if becomes == "another":
        added(sources, value=0.5)
    job.train(task)
    lineage = json.loads((task.output / artifacts.LINEAGE).read_text())
    assert source.digest in json.dumps(lineage)
