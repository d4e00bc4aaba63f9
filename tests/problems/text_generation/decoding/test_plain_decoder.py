from __future__ import annotations

import os

import pytest
import torch

import tiny_models
from gyropilot.problems.text_generation import models
from gyropilot.problems.text_generation.decoding.decoder import Read
from gyropilot.problems.text_generation.decoding.plain_decoder import PlainDecoder
from gyropilot.problems.text_generation.generation import generate


@pytest.fixture(autouse=True)
def one_thread():
    """More only wait for each other on models of this size."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def answered(decoder, prompts, lengths):
    """Begin a prompt a step; each leaves after its length; give the answers and the widest cache."""
    rows, answers, widest = {}, {}, 0
    for place, prompt in enumerate([*prompts, *[None] * 60]):
        reads = [Read(row, [answers[number][-1]]) for number, row in rows.items()]
        if prompt is not None:
            rows[place], answers[place] = decoder.begin(prompt, None), []
            reads.append(Read(rows[place], prompt))
        if not rows:
            break
        for number, token in zip(list(rows), decoder.compute(reads).argmax(-1).tolist(), strict=True):
            answers[number].append(token)
            widest = max(widest, rows[number].cohort.mask.shape[1])
            if len(answers[number]) == lengths[number]:
                decoder.end(rows.pop(number))
    return [answers[place] for place in range(len(prompts))], widest


@pytest.mark.parametrize("kind", ["falcon-7b", "mpt", "flan-t5"])
def test_a_cohort_that_never_empties_stays_as_wide_as_its_longest_row(tmp_path, kind):
    folder = tiny_models.make(kind, tmp_path / "tiny")
    draw = torch.Generator().manual_seed(2)
    prompts = [torch.randint(3, 200, (3 + number % 5,), generator=draw).tolist() for number in range(40)]
    lengths = [4 + number % 3 for number in range(40)]
    found, widest = answered(PlainDecoder(folder, dtype="float32"), prompts, lengths)
    model = models.load(folder, dtype="float32", attention="sdpa").model
    for prompt, length, answer in zip(prompts[::7], lengths[::7], found[::7], strict=True):
        assert answer == list(generate(model, [prompt], stop_ids=(), max_new_tokens=length)[0].token_ids)
    assert widest <= 7 + 6 + 1


PARTS = ([1, 1, 25, 1, 2], [3, 27], [1] * 6, [12, 1, 1], [30])
"""How many tokens of each prompt are read at a time."""


def test_prompts_that_are_read_in_parts_of_any_size_answer_as_alone(tmp_path):
    folder = tiny_models.make("gpt-neox", tmp_path / "tiny")
    decoder = PlainDecoder(folder, dtype="float32")
    draw = torch.Generator().manual_seed(3)
    prompts = [torch.randint(3, 200, (sum(sizes),), generator=draw).tolist() for sizes in PARTS]
    left = [list(sizes) for sizes in PARTS]
    rows = [decoder.begin(prompt, None) for prompt in prompts]
    read, answers, lengths = [0] * len(PARTS), [[] for _ in PARTS], (9, 4, 12, 2, 15)
    while going := [place for place, answer in enumerate(answers) if len(answer) < lengths[place]]:
        reads = []
        for place in going:
            size = left[place].pop(0) if left[place] else 0
            part = prompts[place][read[place] : read[place] + size] if size else [answers[place][-1]]
            read[place] += size
            reads.append(Read(rows[place], part))
        for place, token in zip(going, decoder.compute(reads).argmax(-1).tolist(), strict=True):
            if not left[place]:
                answers[place].append(token)
            if len(answers[place]) == lengths[place]:
                decoder.end(rows[place])
    model = models.load(folder, dtype="float32", attention="sdpa").model
    for prompt, length, answer in zip(prompts, lengths, answers, strict=True):
        assert answer == list(generate(model, [prompt], stop_ids=(), max_new_tokens=length)[0].token_ids)


def test_a_file_that_is_written_to_changes_no_model_in_memory(tmp_path):
    folder = tiny_models.make("gpt-neox", tmp_path / "tiny")
    decoder = PlainDecoder(folder, dtype="float32")
    before = decoder.compute([Read(decoder.begin([5, 6], None), [5, 6])])
    path = folder / "model.safetensors"
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 3)
        file.write(os.urandom(path.stat().st_size // 3))
    assert torch.equal(decoder.compute([Read(decoder.begin([5, 6], None), [5, 6])]), before)
