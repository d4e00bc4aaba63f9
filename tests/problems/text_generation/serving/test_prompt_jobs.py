"""Jobs of prompt tuning from the rows to the answers of what they left: those that were scored."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

import served_models
import tiny_models
import tuning_jobs
from gyropilot.problems.text_generation.tuning.specification import TuningSpec

PROMPT = {
    "tuning_type": "PROMPT_TUNING",
    "num_virtual_tokens": 8,
    "prompt_tuning_init_method": "SAMPLE_VOCAB",
    "verbalizer": "Question: {{input}} Answer:",
    "torch_dtype": "float32",
}


SIDES = {"llama-2 with shared keys": ("DECODER",), "flan-t5": ("ENCODER", "DECODER")}


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """Give the job on a kind of model, run once."""
    made = {}

    def give(kind):
        if kind not in made:
            root = tmp_path_factory.mktemp("job")
            method = TuningSpec(**PROMPT, output_model_types=SIDES[kind])
            job = tuning_jobs.Job(root, tiny_models.make(kind, root / "tiny"), method=method, epochs=1)
            task = job.train_task(job.profile(job.stage(tuning_jobs.ROWS)))
            made[kind] = served_models.Tuned(job.base_models, task.output, job.train(task))
        return made[kind]

    return give


@contextmanager
def serving(tuned, folder):
    served_models.unpacked(tuned.output, folder)
    (container,) = tuned.result.containers
    environment = dict(container.environment)
    with served_models.serving(folder, base_models=tuned.base_models, environment=environment) as model:
        yield model


@pytest.mark.parametrize("kind", SIDES)
def test_a_prompt_answers_at_its_endpoint_as_it_was_scored(tuned, tmp_path, kind):
    job = tuned(kind)
    with serving(job, tmp_path / "served") as model:
        assert not list((tmp_path / "served").glob("*.safetensors"))
        rows = job.scored()[:6]
        assert [model.text(question) for question, _ in rows] == [answer for _, answer in rows]


def test_the_rendered_prompt_is_put_before_a_continuation_alone(tuned, tmp_path):
    question = "What colour has stone 1?"
    with serving(tuned("llama-2 with shared keys"), tmp_path / "causal") as model:
        rendered = model.text(question, preserve_input_text=True)
        assert rendered == f"Question: {question} Answer:{model.text(question)}"
    with serving(tuned("flan-t5"), tmp_path / "sided") as model:
        (fault,) = model.refused({"inputs": question, "parameters": {"preserve_input_text": True}})
        assert fault.where == "parameters.preserve_input_text"


def test_each_task_answers_at_the_endpoint_as_its_rows_were_scored(tmp_path):
    kind = "llama-2 with shared keys"
    given = {**PROMPT, "tuning_type": "MULTITASK_PROMPT_TUNING", "task_column": "topic"}
    method = TuningSpec(**given, output_model_types=SIDES[kind])
    made = tuning_jobs.Job(tmp_path, tiny_models.make(kind, tmp_path / "tiny"), method=method, learning_rate=0.3)
    topics = ("stones", "words")
    rows = [(*row, topics[number % 2]) for number, row in enumerate(tuning_jobs.ROWS)]
    channel = made.stage(rows, header=("input", "output", "topic"))
    task = made.train_task(made.profile(channel))
    job = served_models.Tuned(made.base_models, task.output, made.train(task))
    topic_by_question = {question: topic for question, _, topic in rows}
    with serving(job, tmp_path / "served") as model:
        scored = job.scored()[:8]
        assert {topic_by_question[question] for question, _ in scored} == set(topics)
        for question, answer in scored:
            assert model.text(question, task=topic_by_question[question]) == answer
        questions = [question for question, _ in scored]
        assert [model.text(one, task="stones") for one in questions] != [
            model.text(one, task="words") for one in questions
        ]
