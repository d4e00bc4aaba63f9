"""Where rows begin: at random like embeddings, at tokens, at a text, at a source."""

from __future__ import annotations

import pytest
import torch
from peft import PromptEmbedding, PromptTuningConfig
from safetensors.torch import save_file
from tokenizers import Tokenizer

import tiny_models
from gyropilot.errors import TrainingFailed
from gyropilot.problems.text_generation import batches, models
from gyropilot.problems.text_generation.batches import Example
from gyropilot.problems.text_generation.models import trainable_parameters
from gyropilot.problems.text_generation.plain import PlainForward
from gyropilot.problems.text_generation.tuning import prompted
from gyropilot.problems.text_generation.tuning.multitask_prompt_tuning import MultitaskPromptTuning
from gyropilot.problems.text_generation.tuning.prefix_tuning import PrefixTuning
from gyropilot.problems.text_generation.tuning.prompt_tuning import PromptTuning

TEXT = "Say whether the colour is warm or cold."


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_models.make("llama-2", tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    return tiny_models.make("t5", tmp_path_factory.mktemp("models") / "t5")


def attached(folder, method):
    return method.attach(models.load(folder, dtype="float32", attention="sdpa"), seed=3)


def rows_of(model, task=0):
    return torch.cat(list(prompted.effective(model, task).values()))


def test_random_rows_are_as_long_as_embeddings(folder):
    model = attached(folder, PromptTuning(num_virtual_tokens=200))
    embedding = model.base.get_input_embeddings().weight
    assert float(rows_of(model).norm(dim=1).mean()) == pytest.approx(float(embedding.norm(dim=1).mean()), rel=0.1)
    torch.testing.assert_close(rows_of(model).mean(0), embedding.mean(0), atol=0.08, rtol=0)
    assert len({tuple(one.tolist()) for one in rows_of(model)}) == 200


@pytest.mark.parametrize("method", [PromptTuning, MultitaskPromptTuning])
def test_sampled_rows_are_embeddings_of_tokens(folder, method):
    model = attached(folder, method(num_virtual_tokens=9, init_method="SAMPLE_VOCAB"))
    embedding = model.base.get_input_embeddings().weight
    nearest = torch.cdist(rows_of(model), embedding).argmin(dim=1)
    torch.testing.assert_close(rows_of(model), embedding[nearest])
    assert len(set(nearest.tolist())) > 5


@pytest.mark.parametrize("count", [3, 60])
@pytest.mark.parametrize("sides", [("ENCODER",), ("ENCODER", "DECODER")], ids="+".join)
def test_rows_begin_at_a_text_cut_or_repeated_as_peft_does(t5, count, sides):
    model = attached(
        t5,
        PromptTuning(num_virtual_tokens=count, init_method="TEXT", init_text=TEXT, output_model_types=sides),
    )
    config = PromptTuningConfig(
        task_type="SEQ_2_SEQ_LM",
        num_virtual_tokens=count,
        token_dim=32,
        num_transformer_submodules=len(sides),
        prompt_tuning_init="TEXT",
        prompt_tuning_init_text=TEXT,
        tokenizer_name_or_path=str(t5),
        tokenizer_kwargs={"local_files_only": True},
    )
    wanted = PromptEmbedding(config, model.base.get_input_embeddings()).embedding.weight
    assert torch.equal(model.prompt.embedding.weight, wanted)


def test_a_multitask_prompt_begins_at_the_text_itself_in_every_task(folder):
    method = MultitaskPromptTuning(num_virtual_tokens=5, init_method="TEXT", init_text=TEXT, tasks=3, ranks=2)
    model = attached(folder, method)
    plain = attached(folder, PromptTuning(num_virtual_tokens=5, init_method="TEXT", init_text=TEXT))
    for task in range(3):
        torch.testing.assert_close(rows_of(model, task), rows_of(plain))


def test_every_rank_of_a_multitask_prompt_can_grow(folder):
    model = attached(folder, MultitaskPromptTuning(num_virtual_tokens=5, ranks=3))
    model.virtual_tokens.text_rows(0).square().sum().backward()
    gradients = {name: one.grad for name, one in trainable_parameters(model).items()}
    assert (gradients["prompt.prefix_task_rows"].abs().sum(-1) > 0).all()
    assert len({float(one.abs().sum()) for one in gradients["prompt.prefix_task_rows"][0]}) == 3


@pytest.mark.parametrize("text", ["", None])
@pytest.mark.parametrize("method", [PromptTuning, MultitaskPromptTuning])
def test_a_text_without_tokens_is_refused(folder, method, text):
    with pytest.raises(TrainingFailed, match="prompt_tuning_init_text has no tokens"):
        attached(folder, method(num_virtual_tokens=5, init_method="TEXT", init_text=text))


def test_a_prefix_begins_as_the_base_itself_reads_the_text(folder):
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(TEXT).ids[:6]
    model = attached(folder, PrefixTuning(num_virtual_tokens=6, init_text=TEXT))
    prompt, answer = torch.arange(40, 50).numpy(), torch.arange(70, 74).numpy()
    with torch.no_grad():
        found = PlainForward(model).loss_sum(batches.pack([Example(prompt_ids=prompt, answer_ids=answer, row=0)]))
        longer = Example(prompt_ids=torch.tensor([*ids, *prompt.tolist()]).numpy(), answer_ids=answer, row=0)
        wanted = PlainForward(model.base).loss_sum(batches.pack([longer]))
    assert float(found) == pytest.approx(float(wanted), rel=1e-5)


def source(folder, *, rows=5, width=32, tasks=3, ranks=2, **changes):
    torch.manual_seed(8)
    tensors = {
        "prompt_embeddings": torch.randn(rows, width),
        "prefix_task_cols": torch.randn(tasks, rows, ranks),
        "prefix_task_rows": torch.randn(tasks, ranks, width),
    } | changes
    folder.mkdir()
    save_file({name: one for name, one in tensors.items() if one is not None}, folder / "source.safetensors")
    return tensors


def from_source(method, folder):
    return MultitaskPromptTuning(num_virtual_tokens=5, ranks=2, init_method=method, source=folder)


def test_only_the_shared_rows_of_a_source_are_taken(folder, tmp_path):
    tensors = source(tmp_path / "flan")
    model = attached(folder, from_source("ONLY_SOURCE_SHARED", tmp_path / "flan"))
    torch.testing.assert_close(rows_of(model), tensors["prompt_embeddings"])


def test_the_mean_of_a_sources_tasks_is_taken(folder, tmp_path):
    tensors = source(tmp_path / "flan")
    model = attached(folder, from_source("AVERAGE_SOURCE", tmp_path / "flan"))
    product = tensors["prefix_task_cols"].mean(0) @ tensors["prefix_task_rows"].mean(0)
    torch.testing.assert_close(rows_of(model), tensors["prompt_embeddings"] * product)


def test_a_bare_vector_serves_as_shared_rows_and_not_as_a_mean(folder, tmp_path):
    source(tmp_path / "bare", prefix_task_cols=None, prefix_task_rows=None)
    attached(folder, from_source("ONLY_SOURCE_SHARED", tmp_path / "bare"))
    with pytest.raises(TrainingFailed, match="prefix_task_cols is missing"):
        attached(folder, from_source("AVERAGE_SOURCE", tmp_path / "bare"))


FAULTS = {
    "rows": ({"rows": 6}, r"prompt_embeddings is \(6, 32\), wanted \(5, 32\)"),
    "width": ({"width": 16}, r"prompt_embeddings is \(5, 16\), wanted \(5, 32\)"),
    "ranks": ({"ranks": 1}, r"prefix_task_cols is \(3, 5, 1\), wanted \(5, 2\) of each task"),
    "numbers": ({"prompt_embeddings": torch.full((5, 32), float("nan"))}, "values that are not finite"),
}


@pytest.mark.parametrize(("changes", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_a_source_that_does_not_fit_is_refused(folder, tmp_path, changes, message):
    source(tmp_path / "flan", **changes)
    with pytest.raises(TrainingFailed, match=message):
        attached(folder, from_source("AVERAGE_SOURCE", tmp_path / "flan"))


def test_a_source_method_without_a_source_is_refused(folder):
    with pytest.raises(TrainingFailed, match="begins with a source prompt; name one"):
        attached(folder, from_source("AVERAGE_SOURCE", None))


def test_what_training_left_is_a_source_itself(folder, tmp_path):
    method = MultitaskPromptTuning(num_virtual_tokens=5, tasks=3, ranks=2, init_method="SAMPLE_VOCAB")
    model = attached(folder, method)
    method.save(model, tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_model.safetensors").rename(tmp_path / "adapter" / "source.safetensors")
    again = attached(folder, from_source("AVERAGE_SOURCE", tmp_path / "adapter"))
    torch.testing.assert_close(rows_of(again), rows_of(model))
