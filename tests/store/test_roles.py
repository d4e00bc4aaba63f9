from __future__ import annotations

from gyropilot.store import roles
from gyropilot.store.roles import Role


def test_roles_are_added_replaced_found_and_removed(db):
    first = Role(arn="arn:a", read_prefixes=("s3://in",), write_prefixes=("s3://out/x",), passable_by=("K1", "K2"))
    roles.add(db, first)
    assert roles.find(db, "arn:a") == first
    second = Role(arn="arn:a", read_prefixes=(), write_prefixes=(), passable_by=())
    roles.add(db, second)
    roles.add(db, Role(arn="arn:0", read_prefixes=("s3://*",), write_prefixes=(), passable_by=("*",)))
    assert [one.arn for one in roles.all_of(db)] == ["arn:0", "arn:a"]
    assert roles.find(db, "arn:a") == second
    assert roles.remove(db, "arn:a")
    assert not roles.remove(db, "arn:a")
    assert roles.find(db, "arn:a") is None


def test_the_default_role_covers_all_and_is_kept_as_the_operator_left_it(db):
    made = roles.ensure_default(db, "arn:d")
    assert (made.read_prefixes, made.write_prefixes, made.passable_by) == (("s3://*",), ("s3://*",), ("*",))
    narrowed = Role(arn="arn:d", read_prefixes=("s3://a",), write_prefixes=(), passable_by=("*",))
    roles.add(db, narrowed)
    assert roles.ensure_default(db, "arn:d") == narrowed
