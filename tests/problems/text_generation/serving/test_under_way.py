"""A call of many answers: a bounded number of them is under way, the rest waits outside the scheduler."""

from __future__ import annotations

import pytest

from gyropilot.errors import LimitExceeded
from gyropilot.problems.text_generation.decoding.generations import Generation
from gyropilot.problems.text_generation.decoding.sampling import Token
from gyropilot.problems.text_generation.serving.answers import Answer
from gyropilot.problems.text_generation.serving.under_way import MOST, UnderWay


class Work:
    """Answers whose tokens are there as soon as they are begun, and which of them are under way."""

    def __init__(self, lengths, *, most_begun=None):
        self.lengths, self.most_begun = lengths, most_begun
        self.begun = []
        self.generations = []

    def answers(self):
        for place, length in enumerate(self.lengths):
            yield place, self.answer(place, length)

    def answer(self, place, length):
        def begin():
            if len(self.begun) == self.most_begun:
                raise LimitExceeded("no more")
            self.begun.append(place)
            generation = Generation()
            for token in range(length):
                generation.put(Token(id=token))
            generation.finish("stop")
            self.generations.append(generation)
            return generation

        return Answer(
            begin,
            lambda ids: "".join(chr(97 + one) for one in ids),
            stops=(),
            prompt_tokens=10,
            max_new_tokens=20,
            end_id=99,
            seed=None,
        )


def test_the_rest_is_begun_as_answers_end_and_all_are_read():
    work = Work([3, 1, 0, 5] * MOST)
    told: dict[int, str] = {}
    ended = set()
    for place, word in UnderWay(work.answers()):
        assert len(work.begun) - len(ended) <= MOST + 1
        if word is None:
            ended.add(place)
        else:
            told[place] = told.get(place, "") + word.text
    assert work.begun == list(range(4 * MOST)) == sorted(ended)
    assert told == {place: "abcde"[:length] for place, length in enumerate(work.lengths) if length}


def test_a_short_answer_does_not_wait_for_a_long_one_before_it():
    work = Work([20, 1, 1, 1])
    places = [place for place, word in UnderWay(work.answers()) if word is None]
    assert places == [1, 2, 3, 0]


def test_tokens_are_bounded_too_but_for_one_answer():
    work = Work([1] * 4)
    under_way = UnderWay(work.answers(), most_tokens=65)
    assert work.begun == [0, 1]
    under_way.wait()
    assert work.begun == [0, 1, 2, 3]
    work = Work([1] * 4)
    UnderWay(work.answers(), most_tokens=5)
    assert work.begun == [0]


def test_what_is_left_early_or_breaks_ends_the_work_for_all():
    work = Work([5] * 3)
    words = iter(UnderWay(work.answers()))
    next(words)
    words.close()
    assert all(one.is_cancelled for one in work.generations)
    work = Work([1] * 30, most_begun=20)
    with pytest.raises(LimitExceeded):
        UnderWay(work.answers()).wait()
    assert all(one.is_cancelled for one in work.generations)
    work = Work([1] * 3, most_begun=2)
    with pytest.raises(LimitExceeded):
        UnderWay(work.answers())
    assert [one.is_cancelled for one in work.generations] == [True, True]
