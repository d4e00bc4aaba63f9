"""Asynchronous invocations in the database: taken once, given back, late ones found."""

from dataclasses import replace
from datetime import timedelta

import pytest

from gyropilot import clock
from gyropilot.errors import Unavailable
from gyropilot.store import async_invocations


def add(db, name, endpoint="e", ttl_seconds=60):
    async_invocations.add(db, name, endpoint, {"name": name}, ttl_seconds=ttl_seconds)


def taken(db, endpoint="e", most=10):
    return [one.id for one in async_invocations.take(db, endpoint, most)]


def test_the_oldest_are_taken_first_and_each_once(db, monkeypatch):
    now = clock.now()
    for number in range(4):
        monkeypatch.setattr(async_invocations.clock, "now", lambda number=number: now + timedelta(seconds=number))
        add(db, f"i{number}")
    add(db, "other", "f")
    assert sorted(async_invocations.waiting_endpoints(db)) == ["e", "f"]
    assert taken(db, most=3) == ["i0", "i1", "i2"]
    assert taken(db) == ["i3"]
    assert taken(db) == []
    assert async_invocations.waiting_endpoints(db) == ["f"]
    (other,) = async_invocations.take(db, "f", 10)
    assert (other.request, other.attempts, other.status) == ({"name": "other"}, 1, "Running")


def test_one_that_is_given_back_waits_again_with_its_attempts_or_without(db):
    add(db, "i")
    (first,) = async_invocations.take(db, "e", 1)
    async_invocations.give_back(db, first, is_counted=True)
    (second,) = async_invocations.take(db, "e", 1)
    assert second.attempts == 2
    async_invocations.give_back(db, second, is_counted=False)
    (third,) = async_invocations.take(db, "e", 1)
    assert third == replace(second, attempts=2)
    assert async_invocations.give_all_back(db) == 1
    assert async_invocations.give_all_back(db) == 0
    (fourth,) = async_invocations.take(db, "e", 1)
    assert fourth.attempts == 2
    async_invocations.remove(db, "i")
    assert async_invocations.give_all_back(db) == 0


def test_those_that_waited_too_long_are_found_whatever_they_wait_for(db, monkeypatch):
    add(db, "soon", ttl_seconds=60)
    add(db, "late", "f", ttl_seconds=3600)
    assert async_invocations.take_expired(db, 10) == []
    now = clock.now()
    monkeypatch.setattr(async_invocations.clock, "now", lambda: now + timedelta(seconds=61))
    assert [one.id for one in async_invocations.take_expired(db, 10)] == ["soon"]


def test_no_more_are_taken_in_than_may_wait(db, monkeypatch):
    monkeypatch.setattr(async_invocations, "MOST_WAITING", 2)
    add(db, "a")
    add(db, "b")
    with pytest.raises(Unavailable, match="2 invocations wait for this endpoint already"):
        add(db, "c")
    add(db, "c", "f")
    taken(db, most=1)
    add(db, "d")
