import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from gyropilot.metrics.rouge import RougeScores, choose_mode, rouge, score, words

KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")
ORACLE = RougeScorer(KINDS, use_stemmer=False)

FOX = "The quick brown fox jumps over the lazy dog.\nIt was not amused; the dog was."
DOG = "The lazy dog was jumped over by a quick, brown fox!\nthe dog was not amused\n\nIt was."


def expected(prediction, reference):
    return {kind: one.fmeasure for kind, one in ORACLE.score(reference, prediction).items()}


def got(prediction, reference, mode="reference"):
    scores = score(prediction, reference, mode)
    return {kind: getattr(scores, kind) for kind in KINDS}


@pytest.mark.parametrize(
    ("prediction", "reference"),
    [
        (FOX, DOG),
        (DOG, FOX),
        (FOX, FOX),
        ("", FOX),
        (FOX, ""),
        ("", ""),
        ("...", "!!!"),
        ("\n\n", "a\n"),
        ("a", "a"),
        ("a_b-c'd", "a b c d"),
        ("word " * 300, "word other " * 150),
        ("x y z\ny z x\nz x y", "z y x\nx y z\ny y"),
        ("tab\tand\rreturn\x0band\x1cmore", "tab and return\x85and more"),
        ("café ÀÉ ﬁne İstanbul K", "cafe ae fine istanbul k"),
    ],
)
def test_reference_mode_is_rouge_score_to_the_bit(prediction, reference):
    assert got(prediction, reference) == expected(prediction, reference)


few_words = st.lists(st.sampled_from(["a", "b", "c", "the", "A", "\n", "\n\n", ",", "9"]), max_size=40).map(" ".join)
ascii_text = st.text(st.characters(max_codepoint=126), max_size=120)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(few_words | ascii_text, few_words | ascii_text)
def test_reference_mode_is_rouge_score_on_generated_text(prediction, reference):
    assert got(prediction, reference) == expected(prediction, reference)
    assert got(prediction, reference, "unicode") == expected(prediction, reference)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(max_size=60))
def test_a_text_against_itself_is_perfect_or_has_no_words(text):
    scores = got(text, text, "unicode")
    lines = [words(line, "unicode") for line in text.split("\n")]
    assert scores["rouge1"] == (1.0 if any(lines) else 0.0)
    assert all(0.0 <= value <= 1.0 for value in scores.values())


@pytest.mark.parametrize(
    ("text", "expected_words"),
    [
        ("¿Dónde está el niño?", ["dónde", "está", "el", "niño"]),
        (unicodedata.normalize("NFD", "está niño"), ["está", "niño"]),
        ("मैं हिन्दी बोलता हूँ।", ["मैं", "हिन्दी", "बोलता", "हूँ"]),
        ("क्\u200dष", ["क्ष"]),
        ("我喜欢北京。", ["我", "喜", "欢", "北", "京"]),
        ("用Python写3行", ["用", "python", "写", "3", "行"]),
        ("ｶﾞｲﾄﾞ 東京タワーへ", ["ガ", "イ", "ド", "東", "京", "タ", "ワ", "ー", "へ"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("한국어 문장입니다", ["한국어", "문장입니다"]),
        ("Straße STRASSE", ["strasse", "strasse"]),
        ("ﬁne ½ ①", ["fine", "1", "2", "1"]),
        ("Это ёлка", ["это", "ёлка"]),
        ("العَرَبِيَّة، نعم", ["العَرَبِيَّة", "نعم"]),
        ("ok 👍🏽!", ["ok", "👍"]),
        ("soft\u00adhyphen zero\u200bwidth", ["softhyphen", "zero", "width"]),
        ("don't snake_case", ["don", "t", "snake", "case"]),
    ],
)
def test_unicode_mode_finds_the_words_of_every_script(text, expected_words):
    normalised = [unicodedata.normalize("NFKC", word) for word in expected_words]
    assert words(text, "unicode") == normalised


@pytest.mark.parametrize(
    ("prediction", "reference", "rouge1", "rouge2"),
    [
        ("el niño está aquí", "el niño está aquí", 1.0, 1.0),
        ("el niño come", "el niño duerme", 2 / 3, 0.5),
        ("मैं हिन्दी बोलता हूँ", "मैं हिन्दी पढ़ता हूँ", 0.75, 1 / 3),
        ("我喜欢北京", "我喜欢上海", 0.6, 0.5),
        ("東京に行く", "東京へ行く", 0.8, 0.5),
        ("ไปบ้าน", "ไปวัด", 0.5, None),
    ],
)
def test_unicode_mode_scores_other_scripts(prediction, reference, rouge1, rouge2):
    scores = score(prediction, reference, "unicode")
    if rouge2 is not None:
        assert scores.rouge1 == pytest.approx(rouge1)
        assert scores.rouge2 == pytest.approx(rouge2)
    assert 0 < scores.rougeL < 1 or prediction == reference


def test_reference_mode_is_blind_to_other_scripts_and_so_never_chosen_for_them():
    assert score("मैं हिन्दी", "मैं हिन्दी", "reference").rouge1 == 0.0
    assert choose_mode(["plain", "ascii 123"]) == "reference"
    assert choose_mode(["it’s “quoted” – twice…"]) == "reference"
    assert choose_mode([]) == "reference"
    for text in ("niño", "मैं", "我", "ไป", "²", "👍"):
        assert choose_mode(["plain", text]) == "unicode"


def test_an_empty_prediction_counts_as_zero_in_the_mean():
    assert rouge(["a b c", ""], ["a b c", "a"], "reference") == RougeScores(
        rouge1=0.5, rouge2=0.5, rougeL=0.5, rougeLsum=0.5
    )


def test_no_pairs_and_unequal_counts_are_errors():
    with pytest.raises(ValueError, match="no pairs"):
        rouge([], [], "reference")
    with pytest.raises(ValueError, match="shorter"):
        rouge(["a", "b"], ["a"], "reference")
