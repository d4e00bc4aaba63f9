from __future__ import annotations

import pytest
import torch

import tiny_models
from gyropilot.problems.text_generation import models
from gyropilot.problems.text_generation.decoding.decoder import Read
from gyropilot.problems.text_generation.decoding.plain_decoder import PlainDecoder
from gyropilot.problems.text_generation.generation import generate


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
