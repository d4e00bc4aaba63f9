from __future__ import annotations

from gyropilot.problems.text_generation.decoding import threads
from gyropilot.problems.text_generation.decoding.threads import Threads


def run(chosen, passes, seconds_of, tokens=1):
    numbers = []
    for _ in range(passes):
        number = chosen.next(tokens)
        chosen.note(tokens, number, seconds_of[number])
        numbers.append(number)
    return numbers


def test_all_numbers_are_tried_by_turns_and_the_faster_is_kept():
    chosen = Threads(4)
    seconds_of = {1: 0.02, 2: 0.01, 4: 0.03}
    tried = run(chosen, 3 * threads._TRIED, seconds_of)
    assert tried[:6] == [1, 2, 4, 1, 2, 4]
    assert set(run(chosen, threads._KEPT, seconds_of)) == {2}


def test_a_machine_that_becomes_quiet_is_noticed():
    chosen = Threads(2)
    run(chosen, 2 * threads._TRIED + threads._KEPT, {1: 0.02, 2: 0.03})
    run(chosen, 2 * threads._TRIED, {1: 0.02, 2: 0.01})
    assert set(run(chosen, threads._KEPT, {1: 0.02, 2: 0.01})) == {2}


def test_a_single_slow_pass_decides_nothing():
    chosen = Threads(2)
    chosen.note(1, 2, 9.0)
    run(chosen, 2 * threads._TRIED, {1: 0.02, 2: 0.01})
    assert chosen.next(1) == 2


def test_sizes_of_passes_are_judged_apart():
    chosen = Threads(2)
    run(chosen, 2 * threads._TRIED, {1: 0.02, 2: 0.03}, tokens=1)
    run(chosen, 2 * threads._TRIED, {1: 0.2, 2: 0.1}, tokens=64)
    assert (chosen.next(1), chosen.next(64)) == (1, 2)


def test_schedulers_of_one_process_share_its_cores():
    one, other = Threads(6), Threads(6)
    with one.shared() as alone, other.shared() as most:
        assert (alone, most) == (6, 3)
        for _ in range(2 * threads._TRIED):
            number = other.next(1, most=most)
            other.note(1, number, {1: 0.03, 2: 0.01}[number], most=most)
        assert other.next(1, most=most) == 2
    with other.shared() as most:
        assert most == 6


def test_one_core_leaves_no_choice():
    assert set(run(Threads(1), 30, {1: 0.01})) == {1}
