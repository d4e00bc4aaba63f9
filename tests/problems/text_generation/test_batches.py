import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gyropilot.errors import InvalidData
from gyropilot.problems.text_generation import batches
from gyropilot.problems.text_generation.batches import Example, TokenCache


def example(prompt, answer, row=0):
    return Example(prompt_ids=np.array(prompt, dtype=np.int64), answer_ids=np.array(answer, dtype=np.int64), row=row)


def test_labels_are_the_answer_s_span_even_where_its_tokens_equal_pad_and_eos():
    pack = batches.pack([example([5, 0, 6], [0, 7, 0]), example([5, 0, 8, 9], [0])])
    assert pack.prefix_length == 2
    assert pack.input_ids.tolist() == [5, 0, 6, 0, 7, 0, 8, 9, 0]
    assert pack.position_ids.tolist() == [0, 1, 2, 3, 4, 5, 2, 3, 4]
    assert pack.label_positions.tolist() == [2, 3, 4, 7]
    assert pack.labels.tolist() == [0, 7, 0, 0]
    assert pack.example_tokens == 11
    assert pack.tokens == 9


def test_an_example_sees_the_shared_start_and_itself_and_nothing_ahead():
    pack = batches.pack([example([1, 2], [3]), example([1, 4], [5])])
    assert pack.visible().astype(int).tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 0, 0, 1, 0],
        [1, 0, 0, 1, 1],
    ]


def test_the_token_that_predicts_the_first_label_is_never_shared():
    same = [example([1, 2, 3], [4, 9]), example([1, 2, 3], [5, 9])]
    pack = batches.pack(same)
    assert pack.prefix_length == 2
    assert pack.input_ids[pack.label_positions].tolist() == [3, 4, 3, 5]
    assert batches.pack(same[:1]).prefix_length == 0


def test_places_in_front_of_a_pack_are_seen_by_all_and_carry_no_label():
    pack = batches.pack([example([1, 2], [3]), example([1, 4], [5])])
    longer = pack.after(2)
    assert longer.position_ids.tolist() == [0, 1, 2, 3, 4, 3, 4]
    assert longer.input_ids[2:].tolist() == pack.input_ids.tolist()
    assert longer.input_ids[longer.label_positions].tolist() == pack.input_ids[pack.label_positions].tolist()
    assert longer.visible().astype(int).tolist() == [
        [1, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 1, 0, 0],
        [1, 1, 1, 0, 0, 1, 0],
        [1, 1, 1, 0, 0, 1, 1],
    ]
    assert (longer.tokens, longer.example_tokens) == (7, 6)
    assert pack.after(0) is pack


def test_virtual_tokens_of_every_row_count_in_a_padded_pack():
    examples = [example([1, 2, 3], [4], row) for row in range(8)]
    for virtual_tokens, wanted in ((0, 5), (1, 4), (2, 3), (6, 2)):
        found = batches.padded(examples, max_tokens=20, max_examples=9, sides=1, virtual_tokens=virtual_tokens)
        assert len(next(found).lengths) == wanted


rows = st.lists(
    st.tuples(st.lists(st.integers(0, 3), min_size=1, max_size=9), st.lists(st.integers(0, 3), min_size=1, max_size=9)),
    min_size=1,
    max_size=12,
)


@given(rows=rows, max_tokens=st.integers(1, 40), max_examples=st.integers(1, 5))
@settings(max_examples=150, deadline=None)
def test_every_example_stands_in_one_pack_whole_and_no_pack_outgrows_its_bounds(rows, max_tokens, max_examples):
    examples = [example(prompt, answer, row) for row, (prompt, answer) in enumerate(rows)]
    found = []
    for pack in batches.packs(examples, max_tokens=max_tokens, max_examples=max_examples):
        assert len(pack.lengths) <= max_examples
        assert pack.tokens <= max_tokens or len(pack.lengths) == 1
        start = pack.prefix_length
        for length in pack.lengths:
            found.append((*pack.input_ids[: pack.prefix_length], *pack.input_ids[start : start + length]))
            start += length
        assert start == pack.tokens
        follows = pack.visible()[pack.label_positions].sum(axis=1) == pack.position_ids[pack.label_positions] + 1
        assert follows.all()
    assert sorted(found) == sorted((*prompt, *answer) for prompt, answer in rows)


def test_packs_are_of_about_one_size_and_as_many_as_asked(tiny):
    examples = tiny.examples(24)
    for count in (1, 2, 3):
        packs = list(batches.packs(examples, max_tokens=4096, max_examples=64, multiple_of=count))
        assert len(packs) == count
        assert max(pack.tokens for pack in packs) - min(pack.tokens for pack in packs) <= 12
    assert len(list(batches.packs(examples, max_tokens=100, max_examples=64, multiple_of=2))) % 2 == 0
    assert len(list(batches.packs(examples[:1], max_tokens=100, max_examples=64, multiple_of=2))) == 1


def test_each_epoch_takes_every_example_once_in_an_order_of_its_own(tiny):
    examples = tiny.examples(21)
    steps = batches.steps_per_epoch(21, 8)
    assert steps == 3
    taken = [
        [
            one.row
            for step in range(epoch * steps, (epoch + 1) * steps)
            for one in batches.step_examples(examples, batch_size=8, seed=3, step=step)
        ]
        for epoch in range(2)
    ]
    assert sorted(taken[0]) == sorted(taken[1]) == list(range(21))
    assert taken[0] != taken[1]
    assert taken[0] == [int(row) for row in batches.epoch_order(21, seed=3, epoch=0)]
    assert taken[0] != [int(row) for row in batches.epoch_order(21, seed=4, epoch=0)]


def test_rows_without_labels_are_named_all_at_once():
    with pytest.raises(InvalidData, match=r"row 4: has no tokens in its output.*row 9: has no tokens in its input"):
        batches.check([example([1], [2], 1), example([1], [], 4), example([], [1], 9)])
    with pytest.raises(InvalidData, match="none are left"):
        batches.check([])


def test_the_token_cache_gives_back_what_was_written(tmp_path, tiny):
    examples = tiny.examples(9)
    cache = TokenCache.write(tmp_path / "cache", iter(examples))
    assert len(cache) == 9
    for written, read in zip(examples, TokenCache.open(tmp_path / "cache"), strict=True):
        assert (written.prompt_ids == read.prompt_ids).all()
        assert (written.answer_ids == read.answer_ids).all()
        assert written.row == read.row
    assert [one.row for one in cache[2:4]] == [2, 3]
    assert cache.digest == batches.digest(examples) != batches.digest(examples[:8])
    assert len(TokenCache.write(tmp_path / "empty", iter([]))) == 0


def test_a_cache_that_is_not_whole_is_refused(tmp_path, tiny):
    TokenCache.write(tmp_path, iter(tiny.examples(3)))
    whole = (tmp_path / "tokens.bin").read_bytes()
    (tmp_path / "tokens.bin").write_bytes(whole[:-4])
    with pytest.raises(InvalidData, match="has lost bytes"):
        TokenCache.open(tmp_path)
    (tmp_path / "tokens.json").unlink()
    with pytest.raises(InvalidData, match="no complete token cache"):
        TokenCache.open(tmp_path)


@pytest.mark.parametrize("name", ["tokens.bin", "spans.bin"])
def test_a_cache_with_a_changed_byte_is_refused(tmp_path, tiny, name):
    TokenCache.write(tmp_path, iter(tiny.examples(3)))
    data = bytearray((tmp_path / name).read_bytes())
    data[5] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InvalidData, match=f"has changed.*{name}"):
        TokenCache.open(tmp_path)


def test_a_cache_tells_its_lengths_without_making_examples(tmp_path, tiny):
    examples = tiny.examples(9)
    cache = TokenCache.write(tmp_path, iter(examples))
    assert cache.lengths.tolist() == [one.length for one in examples]
    assert cache.answer_lengths.tolist() == [len(one.answer_ids) for one in examples]
    assert cache.tokens == sum(one.length for one in examples)
    assert not isinstance(cache[0].prompt_ids, np.memmap)
