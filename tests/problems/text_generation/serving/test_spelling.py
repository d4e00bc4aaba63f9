from __future__ import annotations

import random

import pytest
from tokenizers import Tokenizer, decoders, models

import services
from gyropilot.problems.text_generation.serving.spelling import LOST, Spelling, StopTexts
from gyropilot.problems.text_generation.templates import Encoder

TEXTS = (
    "It is red.",
    " two  spaces, at the start and within",
    "żółć, Größe, 日本語, हिन्दी",
    "👩‍👩‍👧‍👦 and 🇨🇭: several characters that look like one",
    "a" + "\N{COMBINING ACUTE ACCENT}" * 5,
    f"a true {LOST} in a text, {LOST}{LOST}",
    "",
)


@pytest.fixture(scope="module")
def bytewise(tmp_path_factory):
    """Every byte beyond ASCII is a token, as GPT-2's and Llama 3's fall back to."""
    encoder = Encoder.of_base_model(services.make_tiny_model(tmp_path_factory.mktemp("model") / "tiny"), style="chat")
    return encoder.text, lambda text: encoder.answers([text])[0][:-1]


@pytest.fixture(scope="module")
def falling_back():
    """Words by characters, what is unknown by byte tokens, a space dropped at the beginning: as Llama 2's."""
    vocabulary = {f"<0x{byte:02X}>": byte for byte in range(256)}
    vocabulary |= {text: 256 + place for place, text in enumerate("▁abcdefghijklmnopqrstuvwxyz.,:")}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True, unk_token=None))
    replaced = decoders.Replace("▁", " ")
    tokenizer.decoder = decoders.Sequence(
        [replaced, decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(content=" ", left=1)]
    )
    return tokenizer.decode, lambda text: tokenizer.encode("▁" + text.replace(" ", "▁")).ids


@pytest.fixture(params=["bytewise", "falling_back"])
def tokenizer(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("text", TEXTS)
def test_the_parts_are_whole_characters_and_make_up_the_text(tokenizer, text):
    decode, encode = tokenizer
    ids = encode(text)
    spelling = Spelling(decode)
    parts = [spelling.push(one) for one in ids]
    assert "".join(parts) + spelling.finish() == decode(ids) == text
    if LOST not in text:
        assert not any(LOST in part for part in parts)


def test_a_character_comes_with_its_last_byte(bytewise):
    decode, encode = bytewise
    spelling = Spelling(decode)
    assert [spelling.push(one) for one in encode("a🙂b")] == ["a", "", "", "", "🙂", "b"]


def test_half_a_character_at_the_end_is_told_as_the_decoder_tells_it(bytewise):
    decode, encode = bytewise
    ids = encode("a🙂")[:-1]
    spelling = Spelling(decode)
    assert "".join(spelling.push(one) for one in ids) == "a"
    assert spelling.finish() == LOST == decode(ids)[1:]


def test_any_tokens_give_in_parts_what_they_give_together(bytewise):
    decode, _ = bytewise
    draw = random.Random(0)
    for _ in range(200):
        ids = [draw.randrange(3, 320) for _ in range(draw.randrange(1, 40))]
        spelling = Spelling(decode)
        parts = [spelling.push(one) for one in ids]
        assert "".join(parts) + spelling.finish() == decode(ids)


@pytest.mark.parametrize(
    ("parts", "stops", "shown"),
    [
        (["It is red."], ["red"], "It is "),
        (["It is r", "e", "d."], ["red"], "It is "),
        (["It is r", "ough"], ["red"], "It is rough"),
        (["a", "a", "b"], ["ab"], "a"),
        (["aa", "ab"], ["aab"], "a"),
        (["one\n", "\ntwo"], ["\n\n"], "one"),
        (["one\n"], ["\n\n"], "one\n"),
        (["end user"], ["user", "end"], ""),
        (["x <|im", "_end|> y"], ["<|im_end|>"], "x "),
        (["nothing"], [], "nothing"),
    ],
)
def test_text_ends_before_the_first_stop_text(parts, stops, shown):
    filtered = StopTexts(stops)
    assert "".join(map(filtered.push, parts)) + filtered.finish() == shown
    assert filtered.is_met == (shown != "".join(parts))


def test_any_cutting_of_a_text_ends_at_the_same_place():
    draw = random.Random(1)
    for _ in range(500):
        text = "".join(draw.choices("ab", k=30))
        stops = ["".join(draw.choices("ab", k=draw.randrange(1, 7))) for _ in range(draw.randrange(1, 4))]
        met = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
        filtered, shown, start = StopTexts(stops), "", 0
        while start < len(text):
            size = draw.randrange(1, 5)
            shown += filtered.push(text[start : start + size])
            start += size
        assert shown + filtered.finish() == (text[: min(met)[1]] if met else text)
