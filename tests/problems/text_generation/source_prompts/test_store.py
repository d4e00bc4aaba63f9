from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
from tests import source_vectors
from tests.source_vectors import RANKS, ROWS, TASKS, WIDTH, shapes

from gyropilot.errors import AlreadyExists, InvalidData, InvalidRequest, NotFound
from gyropilot.problems.text_generation.source_prompts import record, store
from gyropilot.problems.text_generation.source_prompts.record import Wanted
from gyropilot.problems.text_generation.source_prompts.store import SourcePrompts


@pytest.fixture
def prompts(tmp_path):
    return SourcePrompts(tmp_path / "source_prompts")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "source_prompts"


def base(tmp_path, **config):
    made = tmp_path / f"base{len(list(tmp_path.glob('base*')))}"
    made.mkdir()
    (made / "config.json").write_text(json.dumps({"hidden_size": WIDTH, **config}))
    return made


def add(prompts, tmp_path, name="topics", **changes):
    tensors = tmp_path / "vectors.safetensors"
    if not tensors.exists():
        source_vectors.write(tensors)
    values = {
        "tensors": tensors,
        "submodules": 1,
        "tasks": TASKS,
        "base_model": "Tiny",
        "base_config_digest": "",
        "made_by": "test",
    }
    return prompts.add(name, **(values | changes))


def test_what_is_added_is_found_again_with_what_its_vectors_say(prompts, folder, tmp_path):
    added = add(prompts, tmp_path)
    found = SourcePrompts(folder).find("topics")
    assert found == added == prompts.verify("topics")
    assert (found.rows, found.width, found.ranks, found.tasks) == (ROWS, WIDTH, RANKS, TASKS)
    assert found.tensors.read_bytes() == (tmp_path / "vectors.safetensors").read_bytes()
    assert [path.name for path in folder.glob("[!.]*")] == ["topics"]


def test_prompts_are_listed_by_name_and_gone_once_removed(prompts, folder, tmp_path):
    for name in ("b", "a.1", "C_2"):
        add(prompts, tmp_path, name)
    assert [one.name for one in prompts.list()] == ["C_2", "a.1", "b"]
    prompts.remove("b")
    assert [one.name for one in prompts.list()] == ["C_2", "a.1"]
    assert not list(folder.glob(".incoming-*"))
    with pytest.raises(NotFound, match="did you mean a"):
        prompts.remove("a.2")


def test_a_folder_that_is_not_there_holds_none(prompts):
    assert prompts.list() == []
    assert prompts.find("topics") is None
    with pytest.raises(NotFound, match="gyropilot prompts list"):
        prompts.remove("topics")


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/b", ".hidden", "-a", "a b", "ä", "a\n", "x" * 64, "/etc"])
def test_a_name_that_is_none_is_refused_everywhere(prompts, tmp_path, name):
    with pytest.raises(InvalidRequest, match="NAME: is no name"):
        add(prompts, tmp_path, name)
    assert prompts.find(name) is None
    with pytest.raises(NotFound):
        prompts.verify(name)
    with pytest.raises(NotFound):
        prompts.remove(name)


def test_a_name_is_taken_once(prompts, tmp_path):
    add(prompts, tmp_path)
    with pytest.raises(AlreadyExists, match="gyropilot prompts remove topics"):
        add(prompts, tmp_path)


def test_links_out_of_the_folder_are_not_followed(prompts, folder, tmp_path):
    add(prompts, tmp_path)
    (folder / "topics").rename(tmp_path / "topics")
    (folder / "topics").symlink_to(tmp_path / "topics")
    assert prompts.find("topics") is None
    assert prompts.list() == []
    with pytest.raises(NotFound):
        prompts.remove("topics")
    assert (tmp_path / "topics" / "source.json").exists()


@pytest.mark.parametrize("name", ["source.json", "source.safetensors"])
def test_a_file_behind_a_link_is_not_read(prompts, folder, tmp_path, name):
    add(prompts, tmp_path)
    (folder / "topics" / name).rename(tmp_path / name)
    (folder / "topics" / name).symlink_to(tmp_path / name)
    assert prompts.find("topics") is None
    with pytest.raises(InvalidData):
        prompts.verify("topics")


def test_a_changed_file_is_seen_before_it_is_used(prompts, folder, tmp_path):
    add(prompts, tmp_path)
    path = folder / "topics" / "source.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InvalidData, match="another content than the one recorded"):
        prompts.verify("topics")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda values: values | {"format": 9},
        lambda values: values | {"name": "other"},
        lambda values: values | {"rows": 5},
        lambda values: values | {"rows": "4"},
        lambda values: values | {"tasks": ["one"]},
        lambda values: values | {"unknown": 1},
        lambda values: [],
    ],
)
def test_a_record_that_does_not_hold_is_passed_over_and_told(prompts, folder, tmp_path, spoil):
    add(prompts, tmp_path)
    path = folder / "topics" / "source.json"
    path.write_text(json.dumps(spoil(json.loads(path.read_text()))))
    assert prompts.find("topics") is None
    with pytest.raises(InvalidData):
        prompts.verify("topics")


@pytest.mark.parametrize(
    ("made", "changes", "said"),
    [
        ({"prompt_embeddings": (4, 8)}, {}, "does not hold exactly prompt_embeddings, prefix_task_cols"),
        (shapes(), {"tasks": ()}, "does not hold exactly prompt_embeddings"),
        (shapes(), {"tasks": ("one",)}, "prefix_task_cols: does not fit 1 tasks"),
        (shapes(rows=5), {"submodules": 2}, "rows that two sides cannot share"),
        (shapes() | {"prompt_embeddings": (4, 8, 1)}, {}, "prompt_embeddings: is no"),
        (shapes() | {"prefix_task_rows": (3, 2, 9)}, {}, "prefix_task_rows: does not fit"),
        (shapes() | {"prefix_task_cols": (3, 4, 3)}, {}, "prefix_task_cols: does not fit"),
        (shapes() | {"prefix_task_rows": (3, 16)}, {}, "prefix_task_rows: does not fit"),
        ({"prompt_embeddings": (0, 8)}, {"tasks": ()}, "prompt_embeddings: is no"),
    ],
)
def test_vectors_that_do_not_fit_each_other_are_refused(prompts, folder, tmp_path, made, changes, said):
    source_vectors.write(tmp_path / "vectors.safetensors", made)
    with pytest.raises(InvalidData, match=said):
        add(prompts, tmp_path, **changes)
    assert not folder.exists() or not list(folder.iterdir())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused(prompts, tmp_path, value):
    source_vectors.write(tmp_path / "vectors.safetensors", value=value)
    with pytest.raises(InvalidData, match="not finite"):
        add(prompts, tmp_path)


def test_other_precisions_than_float32_are_refused(prompts, tmp_path):
    source_vectors.write(tmp_path / "vectors.safetensors", dtype="BF16")
    with pytest.raises(InvalidData, match="is not float32") as caught:
        add(prompts, tmp_path)
    assert len(caught.value.faults) == 3


def wanted(tmp_path, **changes):
    values = {
        "method": "AVERAGE_SOURCE",
        "base_model": "Tiny",
        "base_folder": base(tmp_path),
        "num_virtual_tokens": ROWS,
        "prompt_ranks": RANKS,
        "submodules": 1,
    }
    return Wanted(**(values | changes))


def misfits(source, wanted):
    return record.misfits(source, wanted, where=lambda name: f"TuningConfig.{name}")


def test_a_source_prompt_fits_the_job_it_was_made_for(prompts, tmp_path):
    right = wanted(tmp_path)
    made = add(prompts, tmp_path, base_config_digest=record.config_digest(right.base_folder))
    assert misfits(made, right) == ()
    assert misfits(made, wanted(tmp_path, method="ONLY_SOURCE_SHARED", prompt_ranks=7)) == ()


def test_all_that_does_not_fit_is_told_at_once_by_its_field(prompts, tmp_path):
    made = add(prompts, tmp_path)
    wrong = wanted(
        tmp_path, base_folder=base(tmp_path, hidden_size=16), num_virtual_tokens=9, prompt_ranks=1, submodules=2
    )
    faults = misfits(made, wrong)
    assert [fault.where.removeprefix("TuningConfig.") for fault in faults] == [
        "prompt_tuning_init_source_model",
        "prompt_ranks",
        "num_virtual_tokens",
        "output_model_types",
    ]
    assert all(fault.fix for fault in faults)


def test_another_base_of_the_same_width_is_told_by_its_configuration(prompts, tmp_path):
    made = add(prompts, tmp_path, base_config_digest=record.config_digest(base(tmp_path)))
    faults = misfits(made, wanted(tmp_path, base_folder=base(tmp_path, vocab_size=9)))
    assert [fault.problem for fault in faults] == ["was made on Tiny, whose configuration is not that of Tiny"]


def test_a_bare_vector_has_no_mean_of_tasks(prompts, tmp_path):
    source_vectors.write(tmp_path / "vectors.safetensors", shapes(tasks=0))
    made = add(prompts, tmp_path, tasks=())
    assert made.ranks == 0
    assert [fault.where for fault in misfits(made, wanted(tmp_path))] == ["TuningConfig.prompt_tuning_init_method"]
    assert misfits(made, wanted(tmp_path, method="ONLY_SOURCE_SHARED")) == ()


def test_the_width_is_that_of_the_embedding_where_the_blocks_have_another(tmp_path):
    assert record.embedding_width(base(tmp_path, hidden_size=64, word_embed_proj_dim=16)) == 16
    assert record.embedding_width(base(tmp_path, hidden_size=None, d_model=32)) == 32
    assert record.embedding_width(base(tmp_path, hidden_size=None)) is None


def test_reading_source_prompts_takes_no_heavy_library():
    code = (
        f"import sys; import {store.__name__}; print({{'torch', 'transformers', 'numpy', 'peft'}} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
