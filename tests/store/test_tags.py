from __future__ import annotations

from gyropilot.store import tags


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
