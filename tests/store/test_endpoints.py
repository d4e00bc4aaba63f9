from __future__ import annotations

import pytest

from gyropilot.errors import AlreadyExists, LimitExceeded
from gyropilot.store import endpoints, models, replicas, tags
from gyropilot.store.named_rows import NamedQuery, NewRow
from gyropilot.store.replicas import ReplicaRecord
from new_jobs import ACCOUNT, REGION, in_threads


def named(name, *, account=ACCOUNT, region=REGION, kind="endpoint"):
    arn = f"arn:aws:sagemaker:{region}:{account}:{kind}/{name.lower()}"
    return NewRow(account_id=account, region=region, name=name, arn=arn)


def create(db, name="An-Endpoint", **chosen):
    given = {"principal": "GYROAAAA", "wanted": {"config_name": "one", "variants": []}, "tags": {}}
    return endpoints.create(db, named(name), **(given | chosen))


def replica(endpoint_id, number, **chosen):
    values = {"id": f"r{number}", "endpoint_id": endpoint_id, "generation": 1, "variant": "v", "number": number}
    values |= {"status": "Starting", "socket": "/run/s", "model": "m", "restarts": 0}
    return ReplicaRecord(**(values | chosen))


def test_an_endpoint_from_its_creation_to_its_end(db):
    made = create(db, tags={"team": "a"})
    assert (made.status, made.generation, made.serving, made.failure_reason) == ("Creating", 1, None, None)
    assert made == endpoints.find(db, ACCOUNT, REGION, "An-Endpoint") == endpoints.get(db, made.id)
    assert endpoints.set_status(db, made.id, generation=1, status="InService", serving=made.wanted)
    there = endpoints.update_wanted(db, made.id, {"config_name": "two"}, ["InService"], 1)
    assert (there.status, there.generation, there.wanted, there.serving) == (
        "Updating",
        2,
        {"config_name": "two"},
        made.wanted,
    )
    assert endpoints.set_status(db, made.id, generation=2, status="InService", failure_reason="no room")
    there = endpoints.get(db, made.id)
    assert (there.status, there.failure_reason, there.serving) == ("InService", "no room", made.wanted)
    assert endpoints.update_wanted(db, made.id, {}, ["InService"], 2).failure_reason is None
    assert endpoints.request_delete(db, made.id)
    assert not endpoints.request_delete(db, made.id)
    replicas.put(db, replica(made.id, 1))
    assert endpoints.remove(db, made.id)
    assert not endpoints.remove(db, made.id)
    assert endpoints.all_of(db) == replicas.of_endpoint(db, made.id) == []
    assert tags.all_of(db, made.arn) == {}


def test_a_write_about_what_is_wanted_no_more_changes_nothing(db):
    made = create(db)
    assert endpoints.update_wanted(db, made.id, {}, ["InService"], 1) is None
    assert endpoints.update_wanted(db, made.id, {}, ["Creating"], 2) is None
    assert endpoints.update_wanted(db, made.id, {"config_name": "two"}, ["Creating"], 1).generation == 2
    assert not endpoints.set_status(db, made.id, generation=1, status="Failed", failure_reason="late")
    endpoints.request_delete(db, made.id)
    assert not endpoints.set_status(db, made.id, generation=2, status="InService", serving={})
    assert endpoints.update_wanted(db, made.id, {}, ["InService", "Updating"], 2) is None
    there = endpoints.get(db, made.id)
    assert (there.status, there.failure_reason, there.serving) == ("Deleting", None, None)


def test_a_name_is_taken_in_every_letter_case_and_found_in_its_own(db):
    made = create(db)
    with pytest.raises(AlreadyExists, match=f'^Cannot create already existing endpoint "{made.arn}".$'):
        create(db, "an-endpoinT")
    assert endpoints.find(db, ACCOUNT, REGION, "an-endpoint") is None
    assert endpoints.find(db, ACCOUNT, "eu-west-1", "An-Endpoint") is None
    assert endpoints.find_arn(db, ACCOUNT, REGION, "an-endpoint") == made.arn
    other = endpoints.create(db, named("an-endpoint", account="1" * 12), principal="", wanted={}, tags={})
    assert [one.id for one in endpoints.all_of(db)] == [made.id, other.id]


def test_endpoints_created_at_once_do_not_pass_the_quota(db):
    outcomes = in_threads(8, lambda number: create(db, f"e{number}", most=3))
    assert sum(isinstance(one, LimitExceeded) for one in outcomes) == 5
    assert "endpoints_per_account" in str(next(one for one in outcomes if isinstance(one, LimitExceeded)))
    assert len(endpoints.all_of(db)) == 3
    endpoints.remove(db, endpoints.all_of(db)[0].id)
    assert create(db, "again", most=3).status == "Creating"


def test_one_of_many_creates_of_a_name_is_taken(db):
    outcomes = in_threads(8, lambda number: create(db, "SaMe" if number % 2 else "sAmE"))
    assert sum(isinstance(one, AlreadyExists) for one in outcomes) == 7


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ({}, ["b", "A", "c"]),
        ({"sort_order": "Descending"}, ["c", "A", "b"]),
        ({"sort_by": "Name"}, ["A", "b", "c"]),
        ({"sort_by": "Status", "status": "Creating"}, ["A", "b"]),
        ({"name_contains": "a"}, ["A"]),
        ({"name_contains": "_"}, []),
        ({"modified_after": "c"}, []),
        ({"modified_before": "c"}, ["b", "A"]),
        ({"created_after": "b"}, ["A", "c"]),
        ({"created_before": "b"}, []),
    ],
)
def test_endpoints_are_listed_by_every_filter_and_order(db, chosen, found):
    made = {name: create(db, name) for name in ("b", "A", "c")}
    endpoints.set_status(db, made["c"].id, generation=1, status="InService", serving={})
    times = {name: endpoints.get(db, one.id) for name, one in made.items()}
    for name in chosen.keys() & {"modified_after", "modified_before", "created_after", "created_before"}:
        chosen = chosen | {name: getattr(times[chosen[name]], f"{name.partition('_')[0]}_at")}
    listed, cursor = [], None
    while True:
        query = {"sort_by": "CreationTime", "sort_order": "Ascending", "after": cursor} | chosen
        page = endpoints.page(db, NamedQuery(account_id=ACCOUNT, region=REGION, limit=1, **query))
        listed += [one.name for one in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert (sorted(listed) if chosen.get("sort_by") == "Status" else listed) == found
    assert not endpoints.page(
        db, NamedQuery(account_id="1" * 12, region=REGION, limit=9, **query | {"after": None})
    ).items


def test_a_model_is_removed_with_its_tags_and_its_name_is_free(db):
    made = models.create(db, named("M", kind="model"), request={"a": 1}, containers=[{"uri": "u"}], tags={"k": "v"})
    assert models.find(db, ACCOUNT, REGION, "M") == made
    assert not models.remove(db, ACCOUNT, REGION, "m")
    assert models.remove(db, ACCOUNT, REGION, "M")
    assert tags.all_of(db, made.arn) == {}
    assert models.create(db, named("m", kind="model"), request={}, containers=[], tags={}).name == "m"


def test_replicas_are_told_of_replaced_and_forgotten(db):
    for number in (2, 1):
        replicas.put(db, replica("e", number))
    replicas.put(db, replica("other", 3))
    replicas.put(db, replica("e", 2, status="Ready", restarts=4, reason="it died"))
    first, second = replicas.of_endpoint(db, "e")
    assert (first.number, first.status, first.restarts, first.reason) == (1, "Starting", 0, None)
    assert (second.number, second.status, second.restarts, second.reason) == (2, "Ready", 4, "it died")
    assert replicas.remove(db, "r1")
    assert not replicas.remove(db, "r1")
    assert replicas.clear_all(db) == 2
    assert replicas.of_endpoint(db, "other") == []
