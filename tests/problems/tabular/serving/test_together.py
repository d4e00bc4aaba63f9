"""Calls that come while a model predicts: they go together after it, and each gets its own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

import services
from gyropilot.problems.tabular.serving.together import Together


class Doubling:
    """A model of one column that doubles it; holds its first call until `go`, and breaks on what is negative."""

    def __init__(self):
        self.sizes = []
        self.go = threading.Event()

    def __call__(self, features):
        self.sizes.append(len(features))
        if len(self.sizes) == 1:
            assert self.go.wait(30)
        if (features["x"] < 0).any():
            raise ValueError("a row is broken")
        return 2.0 * features["x"].to_numpy()


def rows(*values):
    return pd.DataFrame({"x": np.array(values, dtype=np.float64)})


@pytest.fixture
def held():
    """Give a way to ask for rows while a first call is held; then what each was answered, and the model."""
    model = Doubling()
    with ThreadPoolExecutor(32) as pool:
        together = Together(model, most_rows=10)

        def ask(*calls):
            first = pool.submit(together, rows(0), threading.Event())
            services.wait_until(lambda: model.sizes == [1], seconds=30, what="the first call to be under way")
            asked = [pool.submit(together, frame, cancelled) for frame, cancelled in calls]
            services.wait_until(
                lambda: len(together._waiting) == len(calls), seconds=30, what="the other calls to wait"
            )
            model.go.set()
            assert first.result(30).tolist() == [0.0]
            return [one.exception(30) or one.result() for one in asked]

        yield ask, model
        model.go.set()


def test_calls_that_wait_go_together_and_each_gets_its_own(held):
    ask, model = held
    found = ask(*((rows(*range(size)), threading.Event()) for size in (1, 2, 3)))
    assert [one.tolist() for one in found] == [[0.0], [0.0, 2.0], [0.0, 2.0, 4.0]]
    assert model.sizes == [1, 6]


def test_no_more_rows_than_some_go_together(held):
    ask, model = held
    found = ask(*((rows(*range(size)), threading.Event()) for size in (6, 6, 25)))
    assert [len(one) for one in found] == [6, 6, 25]
    assert sorted(model.sizes) == [1, 6, 6, 25]


def test_what_is_wrong_with_one_call_is_no_other_calls_matter(held):
    ask, _ = held
    good, bad, other = ask(*((rows(value), threading.Event()) for value in (1, -1, 2)))
    assert (good.tolist(), other.tolist()) == ([2.0], [4.0])
    assert isinstance(bad, ValueError)


def test_a_call_whose_caller_has_gone_is_left_out(held):
    ask, model = held
    gone = threading.Event()
    gone.set()
    left_out, answered = ask((rows(1, 2, 3), gone), (rows(4), threading.Event()))
    assert left_out is None
    assert answered.tolist() == [8.0]
    assert model.sizes == [1, 1]
