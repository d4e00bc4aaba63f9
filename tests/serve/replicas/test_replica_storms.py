"""Replicas are killed at random moments under a steady stream of calls; GYROPILOT_KILLS of them, by default few."""

from __future__ import annotations

import os
import random
import threading
from contextlib import ExitStack

import pytest

import mean_endpoints
import steady_callers
from mean_endpoints import create, in_service, kill, put_model, ready, variant
from replica_houses import wait_until

KILLS = int(os.environ.get("GYROPILOT_KILLS", "12"))
CALLS_PER_SECOND = 20
BACK_SECONDS = 10
LONGEST_CALM_SECONDS = 0.5
MODELLED = {"Unavailable", "ModelNotReady"}


@pytest.mark.slow
@pytest.mark.parametrize("shares", ["", "base"], ids=["a process each", "a process shared"])
def test_every_answer_is_right_or_a_modelled_error_while_replicas_are_killed(tmp_path, shares):
    draw = random.Random(7)
    house = mean_endpoints.house(tmp_path / "h")
    with mean_endpoints.supervised(house):
        models = [put_model(house, f"{mean}.tar.gz", mean, shares=shares) for mean in (2.0, 3.0)]
        made = [create(house, f"storm-{n}", variant(model, instances=2 - n)) for n, model in enumerate(models)]
        for one in made:
            in_service(house, one)
        with ExitStack() as stack:
            callers = [
                stack.enter_context(
                    steady_callers.calling(house, name, calls_per_second=CALLS_PER_SECOND / 2, lasting_seconds=0.1)
                )
                for name in ("storm-0", "storm-1")
            ]
            for _ in range(KILLS // 2):
                threading.Event().wait(draw.uniform(0, LONGEST_CALM_SECONDS))
                _kill_one(house, draw, made, instances=[2, 1])
                before = [one.answered for one in callers]
                wait_until(
                    lambda before=before: all(one.answered > was for one, was in zip(callers, before, strict=True)),
                    "an answer of each endpoint",
                    seconds=BACK_SECONDS,
                )
    for caller, mean in zip(callers, (2.0, 3.0), strict=True):
        assert caller.wrong == []
        assert caller.errors.keys() <= MODELLED
        assert caller.means.keys() == {mean}
        assert caller.answered + caller.errors.total() == caller.sent
        print(f"\n{KILLS // 2} kills: {caller.answered} of {caller.sent} calls answered, {dict(caller.errors)}")


def _kill_one(house, draw, made, *, instances):
    """Kill a replica that is ready, and wait until every endpoint has all its replicas again."""
    before = {one.id: one.restarts for endpoint in made for one in ready(house, endpoint)}
    victim = draw.choice([one for endpoint in made for one in ready(house, endpoint)])
    kill(victim)

    def is_back():
        there = [ready(house, endpoint) for endpoint in made]
        restarts = {one.id: one.restarts for found in there for one in found}
        return list(map(len, there)) == instances and restarts.get(victim.id, 0) > before[victim.id]

    wait_until(is_back, lambda: f"{victim.variant}/{victim.number} to be back", seconds=BACK_SECONDS)
