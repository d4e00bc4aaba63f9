from __future__ import annotations

import json
import random
import re
import subprocess
import sys

import pytest
import torch

import prompted_models
import tiny_models
from gyropilot.problems.text_generation import models
from gyropilot.problems.text_generation.decoding import llama_weights, products
from gyropilot.problems.text_generation.decoding.decoder import Read
from gyropilot.problems.text_generation.decoding.opening import open_decoder, weight_bytes
from gyropilot.problems.text_generation.decoding.products import PackedProduct, PlainProduct, kind_of_products

KIND = "llama-2 with shared keys"
ROPES = {
    "default": {"rope_type": "default", "rope_theta": 500.0},
    "linear": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0},
    "llama3": {
        "rope_type": "llama3",
        "rope_theta": 10000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_models.make(KIND, tmp_path_factory.mktemp("models") / "tiny")


def texts(lengths, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return [torch.randint(3, 200, (length,), generator=draw).tolist() for length in lengths]


def whole(model, text):
    with torch.inference_mode():
        return model(torch.tensor([text])).logits[0]


def read_all(decoder, rows, parts):
    return decoder.compute([Read(row, part) for row, part in zip(rows, parts, strict=True)])


@pytest.mark.parametrize("rope", ROPES)
def test_positions_are_turned_as_transformers_turns_them(tmp_path, rope):
    folder = tiny_models.make(KIND, tmp_path / "tiny", rope_parameters=ROPES[rope])
    decoder = open_decoder(folder, dtype="float32")
    assert decoder.name == "fused"
    (text,) = texts([120])
    row = decoder.begin(text[:100], None)
    found = [decoder.compute([Read(row, text[:64])]), decoder.compute([Read(row, text[64:100])])]
    found += [decoder.compute([Read(row, [token])]) for token in text[100:]]
    wanted = whole(models.load(folder, dtype="float32", attention="sdpa").model, text)
    torch.testing.assert_close(torch.cat(found), wanted[[63, 99, *range(100, 120)]], rtol=1e-4, atol=2e-5)


def test_rows_grow_from_shelf_to_shelf_and_leave_in_any_order(folder):
    decoder = open_decoder(folder, dtype="float32")
    model = models.load(folder, dtype="float32", attention="sdpa").model
    given = texts([250, 30, 253, 255, 510])
    starts = [len(text) for text in given]
    longer = [text + more for text, more in zip(given, texts([8] * 5, seed=1), strict=True)]
    wanted = [whole(model, text) for text in longer]
    rows = {place: decoder.begin(text, None) for place, text in enumerate(given)}
    found = read_all(decoder, rows.values(), given)
    for place, one in enumerate(found):
        torch.testing.assert_close(one, wanted[place][starts[place] - 1], rtol=1e-4, atol=2e-5)
    for step in range(8):
        if step in (2, 4, 5):
            decoder.end(rows.pop({2: 0, 4: 3, 5: 1}[step]))
        parts = [[longer[place][starts[place] + step]] for place in rows]
        for place, one in zip(rows, read_all(decoder, rows.values(), parts), strict=True):
            torch.testing.assert_close(one, wanted[place][starts[place] + step], rtol=1e-4, atol=2e-5)


def test_memory_is_what_is_counted_as_rows_come_grow_and_go(folder):
    decoder = open_decoder(folder, dtype="float32")
    draw = random.Random(1)
    given = texts([draw.choice((1, 10, 60, 64, 130, 257, 400)) for _ in range(24)])
    most = [len(text) + draw.choice((1, 10, 70)) for text in given]
    rows = {}
    while given or rows:
        if given and len(rows) < 12:
            place = len(given) - 1
            rows[place] = [decoder.begin(given[-1], None), given.pop()]
        decoder.compute([Read(row, part) for row, part in rows.values()])
        held = sum(shelf.size_bytes for shelf in {row.shelf for row, _ in rows.values()})
        assert held <= decoder.tokens_kept([most[place] for place in rows]) * decoder.token_bytes
        for place, (row, _) in list(rows.items()):
            rows[place][1] = [7]
            if row.length + 1 >= most[place]:
                decoder.end(rows.pop(place)[0])


@pytest.mark.parametrize("kind", [KIND, "llama-2", "gpt-neox"])
def test_the_memory_of_weights_is_known_before_they_are_read(tmp_path, kind):
    made = tiny_models.make(kind, tmp_path / "tiny")
    assert weight_bytes(made, dtype="float32") == pytest.approx(
        open_decoder(made, dtype="float32").weight_bytes, rel=0.01
    )
    assert weight_bytes(tmp_path, dtype="float32") == 0


def test_it_needs_neither_transformers_nor_peft(folder):
    program = (
        "import sys; from pathlib import Path;"
        "from gyropilot.problems.text_generation.decoding.scheduler import Scheduler;"
        "from gyropilot.problems.text_generation.decoding.sampling import Sampling;"
        "one = Scheduler(Path(sys.argv[1]), dtype='float32', cores=1); one.add('base', None);"
        "print(len(list(one.submit('base', [5, 6], Sampling(max_new_tokens=3)))), one.way);"
        "one.close(); print(sorted({'transformers', 'peft'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["3 fused", "[]"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_another_precision_of_the_weights_gives_nearly_the_same(folder, dtype):
    decoder = open_decoder(folder, dtype=dtype)
    (text,) = texts([40])
    found = decoder.compute([Read(decoder.begin(text, None), text)])
    wanted = whole(models.load(folder, dtype=dtype, attention="sdpa").model, text)[-1].float()
    torch.testing.assert_close(found[0], wanted, rtol=0, atol=2e-5 if dtype == "float32" else 0.15)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "gpt_neox"}, "computed by transformers"),
        ({"hidden_act": "gelu"}, "activation is gelu"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "of type yarn"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}, "rope_parameters": None}, "of type dynamic"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "see less than others"),
        ({"quantization_config": {"bits": 4}}, "quantized"),
        ({"num_hidden_layers": 3}, r"model\.layers\.2\..* is not as expected"),
        ({"num_hidden_layers": 1}, r"model\.layers\.1\..* is not as expected"),
        ({"model_type": "mistral"}, "does not name sliding_window"),
        ({"tie_word_embeddings": False}, "lm_head.weight is not as expected"),
    ],
)
def test_a_model_that_is_not_known_to_the_last_key_is_left_to_transformers(folder, changes, reason):
    config = json.loads((folder / "config.json").read_text())
    with llama_weights.Weights(folder) as weights:
        assert llama_weights.why_not(config, weights.names) == ""
        found = llama_weights.why_not(config | changes, weights.names)
    assert re.search(reason, found)


@pytest.mark.parametrize("kind", [PackedProduct, PlainProduct])
@pytest.mark.parametrize("has_bias", [True, False])
def test_products_of_both_kinds_are_the_same(kind, has_bias):
    weight, x, start = torch.randn(40, 24), torch.randn(5, 24), torch.randn(5, 40)
    bias = torch.randn(40) if has_bias else None
    product = kind(weight, bias)
    wanted = torch.nn.functional.linear(x, weight, bias)
    torch.testing.assert_close(product.of(x), wanted)
    torch.testing.assert_close(product.added(x, start), wanted + start)


def test_products_that_differ_are_not_used(monkeypatch):
    assert kind_of_products(torch.float32) is PackedProduct
    monkeypatch.setattr(products.PackedProduct, "added", lambda _, x, start: start)
    assert kind_of_products(torch.float32) is PlainProduct


@pytest.mark.parametrize("parts", [[27], [7, 20], [20, 7], [1, 24, 2]])
@pytest.mark.parametrize("rows", [{"before_text": 20}, {"prefix": 20}], ids=["prompt", "prefix"])
def test_virtual_tokens_are_read_in_parts_as_a_text_is(folder, tmp_path, rows, parts):
    tuned = prompted_models.prompted(models.load(folder, dtype="float32", attention="sdpa").model, **rows)
    decoder = open_decoder(folder, dtype="float32")
    adapter = decoder.read_adapter(tuned.virtual_tokens.save(tmp_path / "adapter"), task=0)
    (text, beside) = texts([7, 30])
    left = [0] * adapter.before.read + text
    row, other = decoder.begin(left, adapter), decoder.begin(beside, None)
    for size in parts if adapter.before.read else [3, 4]:
        found = decoder.compute([Read(row, left[:size]), *([Read(other, beside)] if not other.length else [])])[:1]
        left = left[size:]
        if other.length == len(beside):
            decoder.end(other)
    with torch.inference_mode():
        wanted = prompted_models.next_logits(tuned, text, [])
        torch.testing.assert_close(found[0], wanted, rtol=1e-4, atol=5e-5)
        found = decoder.compute([Read(row, [9])])
        wanted = prompted_models.next_logits(tuned, text, [9])
    torch.testing.assert_close(found[0], wanted, rtol=1e-4, atol=5e-5)
    assert row.length == 28
