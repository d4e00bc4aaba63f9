from gyropilot.problems.text_generation import row_keys
from gyropilot.problems.text_generation.row_keys import RowKeys


def keys_of(*rows):
    keys = RowKeys()
    for text, answer in rows:
        keys.add(text, answer)
    return keys


def test_spaces_and_unicode_form_make_no_other_row_and_all_else_does():
    keys = keys_of(("a b", "c"), (" a\n\tb ", "c"), ("a b", "C"), ("ab", "c"), ("e\u0301", "x"), ("\u00e9", "x"))
    assert keys.alike() == [[0, 1], [4, 5]] or keys.alike() == [[4, 5], [0, 1]]
    assert row_keys.repeated(keys.pairs) == 2
    assert row_keys.repeated(keys.inputs) == 3


def test_a_row_is_not_its_neighbour_joined():
    assert keys_of(("ab", "c"), ("a", "bc"), ("a", "b c")).alike() == []


def test_another_task_makes_another_row():
    keys = RowKeys()
    for task in ("cats", "dogs", " cats "):
        keys.add("a", "b", task)
    assert keys.alike() == [[0, 2]]
    assert row_keys.repeated(keys.inputs) == 1


def test_no_rows_are_not_alike():
    assert keys_of().alike() == []


def test_rows_in_both_splits_are_counted_once_for_each_validation_row():
    keys = keys_of(("a", "1"), ("b", "1"), ("a", "1"), ("a", "2"), ("c", "1"))
    assert row_keys.shared(keys.pairs, [0, 1], [2, 3, 4]) == 1
    assert row_keys.shared(keys.inputs, [0, 1], [2, 3, 4]) == 2
