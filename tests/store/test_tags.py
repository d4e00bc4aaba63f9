from __future__ import annotations

import pytest

from gyropilot.errors import InvalidRequest
from gyropilot.store import tags
from new_jobs import in_threads


def test_tags_are_added_replaced_and_removed(db):
    tags.put(db, "arn:a", {"b": "1", "a": "2", "é": ""})
    tags.put(db, "arn:a", {"a": "3"})
    tags.put(db, "arn:b", {"a": "other"})
    assert list(tags.all_of(db, "arn:a").items()) == [("a", "3"), ("b", "1"), ("é", "")]
    tags.remove(db, "arn:a", ["a", "not there"])
    assert tags.all_of(db, "arn:a") == {"b": "1", "é": ""}
    tags.remove(db, "arn:a", [])
    assert tags.all_of(db, "arn:b") == {"a": "other"}
    assert tags.all_of(db, "arn:c") == {}


def test_a_resource_bears_no_more_than_fifty_tags(db):
    assert len(tags.put(db, "arn:a", {f"k{number}": "" for number in range(50)})) == 50
    with pytest.raises(InvalidRequest, match="at most 50"):
        tags.put(db, "arn:a", {"k1": "changed", "one more": ""})
    assert tags.all_of(db, "arn:a")["k1"] == ""
    assert tags.put(db, "arn:a", {"k1": "changed"})["k1"] == "changed"


def test_tags_added_at_once_do_not_pass_the_limit_nor_each_other(db):
    tags.put(db, "arn:a", {f"k{number}": "" for number in range(45)})
    outcomes = in_threads(10, lambda number: tags.put(db, "arn:a", {"same": str(number), f"new{number}": ""}))
    assert sum(isinstance(one, dict) for one in outcomes) == 4
    assert sum(isinstance(one, InvalidRequest) for one in outcomes) == 6
    assert len(tags.all_of(db, "arn:a")) == 50


def test_pages_of_tags_follow_each_other(db):
    tags.put(db, "arn:a", {key: key for key in "cabed"})
    first = tags.page(db, "arn:a", 2, None)
    second = tags.page(db, "arn:a", 2, first.next_cursor)
    third = tags.page(db, "arn:a", 2, second.next_cursor)
    assert [first.items, second.items, third.items] == [
        (("a", "a"), ("b", "b")),
        (("c", "c"), ("d", "d")),
        (("e", "e"),),
    ]
    assert third.next_cursor is None
