"""Transform jobs in the store: one name each, statuses that only go forward, the oldest first and accounts by turns."""

import pytest

from gyropilot.errors import AlreadyExists, LimitExceeded
from gyropilot.store import tags, transform_jobs
from gyropilot.store.named_rows import NewRow
from new_jobs import ACCOUNT, REGION, in_threads


def create(db, name="job", *, call=None, most_open=100, **changed):
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:transform-job/{name.lower()}"
    row = NewRow(**({"account_id": ACCOUNT, "region": REGION, "name": name, "arn": arn} | changed))
    return transform_jobs.create(
        db,
        row,
        principal="GYROAAAA",
        request={"TransformJobName": name},
        model={"name": "m"},
        tags={"team": "a"},
        most_open=most_open,
        call=call,
    )


def test_a_job_from_create_to_its_end(db):
    made = create(db, "My-Job")
    assert transform_jobs.find(db, ACCOUNT, REGION, "mY-jOB") == made == transform_jobs.get(db, made.id)
    assert (made.status, made.state, made.started_at) == ("InProgress", {}, None)
    assert tags.all_of(db, made.arn) == {"team": "a"}
    begun = transform_jobs.begin(db, made.id)
    assert begun.started_at >= made.created_at
    assert transform_jobs.begin(db, made.id).started_at == begun.started_at
    assert transform_jobs.note(db, made.id, {"files": 2}) == "InProgress"
    assert transform_jobs.request_stop(db, ACCOUNT, REGION, "my-job").status == "InProgress"
    assert transform_jobs.request_stop(db, ACCOUNT, REGION, "my-job").status == "Stopping"
    assert transform_jobs.note(db, made.id, {"files": 3}) == "Stopping"
    assert transform_jobs.end(db, made.id, "Stopped", failure_reason=None)
    ended = transform_jobs.get(db, made.id)
    assert (ended.status, ended.state) == ("Stopped", {"files": 3})
    assert ended.started_at <= ended.stop_requested_at <= ended.ended_at


def test_an_ended_job_stays_as_it_is(db):
    made = create(db)
    assert transform_jobs.end(db, made.id, "Failed", failure_reason="why")
    ended = transform_jobs.get(db, made.id)
    assert not transform_jobs.end(db, made.id, "Completed")
    assert transform_jobs.begin(db, made.id) is None
    assert transform_jobs.note(db, made.id, {"a": 1}) is None
    assert transform_jobs.request_stop(db, ACCOUNT, REGION, "job").status == "Failed"
    assert transform_jobs.get(db, made.id) == ended
    assert transform_jobs.request_stop(db, ACCOUNT, REGION, "none") is None


def test_the_accounts_take_turns_and_what_has_begun_comes_first(db):
    def made(name, account):
        return create(db, name, account_id=account, arn=f"{account}:{name}").id

    def order():
        return [one.id for one in transform_jobs.next_open(db, limit=9)]

    first, second, other = "1" * 12, "2" * 12, "3" * 12
    a1, a2, a3 = (made(name, first) for name in ("a1", "a2", "a3"))
    b1, b2, c1 = made("b1", second), made("b2", second), made("c1", other)
    assert order() == [a1, b1, c1, a2, b2, a3]
    transform_jobs.begin(db, b1)
    assert order() == [b1, a1, c1, a2, b2, a3], "the one that has a job begun comes behind the others"
    transform_jobs.end(db, b1, "Completed")
    assert order() == [a1, c1, b2, a2, a3], "and so does the one that was served last"
    for job in (a1, c1):
        transform_jobs.begin(db, job)
        transform_jobs.end(db, job, "Completed")
    assert order() == [b2, a2, a3]
    assert [one.id for one in transform_jobs.next_open(db, limit=1)] == [b2]


def test_open_jobs_come_oldest_first(db):
    made = [create(db, name).id for name in ("c", "a", "b")]
    transform_jobs.end(db, made[1], "Completed")
    assert [one.id for one in transform_jobs.next_open(db, limit=9)] == [made[0], made[2]]
    assert [one.id for one in transform_jobs.next_open(db, limit=1)] == [made[0]]


def test_a_name_is_taken_once_whatever_its_case_and_a_repeated_call_finds_its_job(db):
    outcomes = in_threads(8, lambda number: create(db, "Job" if number % 2 else "jOB", call=f"{number}"))
    (winner,) = [one for one in outcomes if not isinstance(one, Exception)]
    assert [type(one) for one in outcomes].count(AlreadyExists) == 7
    assert create(db, winner.name, call=winner.creating_call).id == winner.id
    with pytest.raises(AlreadyExists):
        create(db, winner.name)
    assert create(db, "job", account_id="111122223333", arn="other").id != winner.id


def test_open_jobs_of_an_account_are_bounded(db):
    made = create(db, "one", most_open=1)
    with pytest.raises(LimitExceeded, match="is 1 Jobs, with current utilization of 1 Jobs"):
        create(db, "two", most_open=1)
    create(db, "two", most_open=1, account_id="111122223333", arn="other")
    transform_jobs.end(db, made.id, "Completed")
    create(db, "two", most_open=1)
