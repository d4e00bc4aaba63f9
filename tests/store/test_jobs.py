from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gyropilot import clock
from gyropilot.errors import AlreadyExists, InvalidRequest, LimitExceeded
from gyropilot.store import events, jobs, leases, tags
from gyropilot.store.statuses import STATUSES
from new_jobs import ACCOUNT, REGION, in_threads, new_job

START = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def claim(db):
    return leases.claim(db, "worker", 600, 100)[0]


def listing(db, **chosen):
    values = {"account_id": ACCOUNT, "region": REGION, "sort_by": "Name", "sort_order": "Ascending", "limit": 100}
    return jobs.page(db, jobs.JobQuery(**(values | chosen)))


def names(page):
    return [one.name for one in page.items]


@pytest.fixture
def ticking(monkeypatch):
    """A clock that moves one second with each look."""
    times = iter(START + timedelta(seconds=second) for second in range(10_000))
    monkeypatch.setattr(clock, "now", lambda: next(times))


def test_a_created_job_is_read_back_as_it_was_written(db):
    request = {"z": 1, "a": [1.5, None, True, "é中\ud800\0"], "nested": {"b": {}}}
    made = jobs.create(db, new_job("Job-1", request=request, spec={"s": 1}, resolved={"r": 2}), {"k": "v"})
    assert made == jobs.get(db, made.id) == jobs.find(db, ACCOUNT, REGION, "jOB-1")
    assert made.request == request
    assert list(made.request) == ["z", "a", "nested"]
    assert (made.name, made.status, made.secondary_status) == ("Job-1", "InProgress", "Starting")
    assert made.created_at == made.modified_at
    assert made.created_at.tzinfo is UTC
    assert (made.attempts, made.partial_failure_reasons, made.state) == (0, (), {})
    assert tags.all_of(db, made.arn) == {"k": "v"}
    assert [(one.sequence, one.kind) for one in events.after(db, made.id, 0, 10)] == [(1, "created")]


def test_what_is_not_there_is_none(db):
    assert jobs.get(db, "0" * 32) is None
    assert jobs.find(db, ACCOUNT, REGION, "job") is None
    assert jobs.request_stop(db, ACCOUNT, REGION, "job") is None


def test_a_name_is_taken_in_every_letter_case(db):
    jobs.create(db, new_job("Job"), {})
    with pytest.raises(AlreadyExists, match="'Job'"):
        jobs.create(db, new_job("jOB"), {"k": "v"})


def test_accounts_and_regions_have_names_of_their_own(db):
    for chosen in ({}, {"account_id": "111111111111"}, {"region": "eu-west-1"}):
        jobs.create(db, new_job("job", arn=str(chosen), **chosen), {})
    assert jobs.find(db, "111111111111", REGION, "job").account_id == "111111111111"
    assert names(listing(db)) == ["job"]


def test_a_repeated_call_is_no_second_job(db):
    made = jobs.create(db, new_job("job", invocation_id="call-1"), {})
    assert jobs.create(db, new_job("job", invocation_id="call-1"), {"k": "v"}) == made
    assert tags.all_of(db, made.arn) == {}
    for other in ("call-2", None):
        with pytest.raises(AlreadyExists):
            jobs.create(db, new_job("job", invocation_id=other), {})


@pytest.mark.parametrize("changed", [{"principal": "GYROBBBB"}, {"request": {"AutoMLJobName": "job", "Tags": []}}])
def test_the_id_of_another_caller_s_call_or_for_another_request_repeats_nothing(db, changed):
    jobs.create(db, new_job("job", invocation_id="call-1"), {})
    with pytest.raises(AlreadyExists):
        jobs.create(db, new_job("job", invocation_id="call-1", **changed), {})


def test_a_repeated_id_with_another_name_is_another_job(db):
    first = jobs.create(db, new_job("a", invocation_id="call"), {})
    assert jobs.create(db, new_job("b", invocation_id="call"), {}).id != first.id


def test_a_request_that_is_no_json_stores_nothing(db):
    with pytest.raises(Exception, match="JSON"):
        jobs.create(db, new_job("job", request={"a": float("nan")}), {"k": "v"})
    assert jobs.find(db, ACCOUNT, REGION, "job") is None


def test_of_many_creates_of_one_name_one_succeeds(db):
    spellings = ["training-job", "Training-Job", "TRAINING-JOB", "training-JOB"]
    outcomes = in_threads(100, lambda number: jobs.create(db, new_job(spellings[number % 4]), {"by": str(number)}))
    made = [one for one in outcomes if isinstance(one, jobs.JobRecord)]
    refused = [one for one in outcomes if isinstance(one, AlreadyExists)]
    assert (len(made), len(refused)) == (1, 99), [one for one in outcomes if one not in made + refused]
    assert names(listing(db)) == [made[0].name]


def test_a_change_is_written_and_told_as_an_event(db):
    made = jobs.create(db, new_job(), {})
    lease = claim(db)
    moment = START.replace(microsecond=1)
    changed = jobs.update(
        db,
        lease,
        jobs.JobChanges(
            secondary_status="TrainingModels",
            partial_failure_reasons=("one", "two"),
            best_candidate="best",
            artifacts={"a": "b"},
            state={"pinned": [1]},
            started_at=moment,
        ),
    )
    assert changed == jobs.get(db, made.id)
    assert (changed.status, changed.secondary_status) == ("InProgress", "TrainingModels")
    assert changed.partial_failure_reasons == ("one", "two")
    assert (changed.best_candidate, changed.artifacts, changed.state) == ("best", {"a": "b"}, {"pinned": [1]})
    assert changed.started_at == moment
    assert changed.modified_at > made.modified_at
    last = events.latest(db, made.id, "status")
    assert last.detail == {"status": "InProgress", "secondary_status": "TrainingModels"}
    assert last.message == "InProgress: TrainingModels"


def test_what_a_change_leaves_out_stays(db):
    jobs.create(db, new_job(), {})
    lease = claim(db)
    jobs.update(db, lease, jobs.JobChanges(state={"a": 1}, best_candidate="best"))
    changed = jobs.update(db, lease, jobs.JobChanges(state={}))
    assert (changed.state, changed.best_candidate, changed.ended_at) == ({}, "best", None)
    assert len(events.after(db, lease.job_id, 0, 10)) == 1


@pytest.mark.parametrize("status", ["Completed", "Failed", "Stopped"])
def test_an_end_is_complete_and_for_good(db, status):
    jobs.create(db, new_job(), {})
    lease = claim(db)
    ended = jobs.update(db, lease, jobs.JobChanges(status=status, failure_reason="because"))
    assert (ended.status, ended.secondary_status, ended.ended_at) == (status, status, ended.modified_at)
    assert events.latest(db, lease.job_id, "status").detail["failure_reason"] == "because"
    for changes in (
        jobs.JobChanges(status="InProgress"),
        jobs.JobChanges(status="Failed"),
        jobs.JobChanges(state={"a": 1}),
    ):
        with pytest.raises(ValueError, match="cannot go"):
            jobs.update(db, lease, changes)
    assert jobs.get(db, lease.job_id) == ended
    assert jobs.request_stop(db, ACCOUNT, REGION, "job") == ended


def test_an_end_may_have_a_secondary_status_of_its_own(db):
    jobs.create(db, new_job(), {})
    ended = jobs.update(
        db,
        claim(db),
        jobs.JobChanges(status="Completed", secondary_status="MaxAutoMLJobRuntimeReached", ended_at=START),
    )
    assert (ended.secondary_status, ended.ended_at) == ("MaxAutoMLJobRuntimeReached", START)


def test_a_job_nobody_claimed_stops_at_once(db):
    made = jobs.create(db, new_job(), {})
    stopped = jobs.request_stop(db, ACCOUNT, REGION, "JOB")
    assert (stopped.status, stopped.secondary_status) == ("Stopped", "Stopped")
    assert stopped.ended_at == stopped.stop_requested_at
    assert leases.claim(db, "worker", 600, 10) is None
    assert events.latest(db, made.id, "status").detail["status"] == "Stopped"


def test_a_job_in_work_is_asked_to_stop_once(db):
    jobs.create(db, new_job(), {})
    lease = claim(db)
    asked = jobs.request_stop(db, ACCOUNT, REGION, "job")
    assert (asked.status, asked.secondary_status, asked.ended_at) == ("Stopping", "Stopping", None)
    assert jobs.request_stop(db, ACCOUNT, REGION, "job") == asked
    assert jobs.update(db, lease, jobs.JobChanges(secondary_status="TrainingModels")).secondary_status == "Stopping"
    with pytest.raises(ValueError, match="cannot go"):
        jobs.update(db, lease, jobs.JobChanges(status="InProgress"))
    assert jobs.update(db, lease, jobs.JobChanges(status="Stopped")).status == "Stopped"


def test_a_job_that_was_handed_back_is_stopped_by_its_next_worker(db):
    jobs.create(db, new_job(), {})
    leases.release(db, claim(db))
    assert jobs.request_stop(db, ACCOUNT, REGION, "job").status == "Stopping"
    assert leases.claim(db, "worker", 600, 10)[1].status == "Stopping"


def test_stop_against_completion_leaves_one_end(db):
    for number in range(20):
        name = f"job-{number}"
        made = jobs.create(db, new_job(name), {})
        lease = claim(db)
        in_threads(
            2,
            lambda turn, name=name, lease=lease: (
                jobs.request_stop(db, ACCOUNT, REGION, name)
                if turn
                else jobs.update(db, lease, jobs.JobChanges(status="Completed"))
            ),
        )
        ended = [one.detail["status"] for one in events.after(db, made.id, 1, 10)]
        assert ended in (["Completed"], ["Stopping", "Completed"])


SORTS = [("Name", "name"), ("CreationTime", "created_at"), ("Status", "status")]


@pytest.fixture
def many(db, ticking):
    """Thirty jobs, in four statuses, names out of order and in mixed case."""
    for number in range(30):
        name = f"{'Job' if number % 2 else 'job'}-{(number * 7) % 30:02}"
        jobs.create(db, new_job(name), {})
        if number % 3 == 0:
            jobs.request_stop(db, ACCOUNT, REGION, name)
    for status in ("Completed", "Failed"):
        for _ in range(4):
            jobs.update(db, claim(db), jobs.JobChanges(status=status))
    return listing(db).items


@pytest.mark.parametrize("order", ["Ascending", "Descending"])
@pytest.mark.parametrize(("sort_by", "field"), SORTS)
def test_pages_hold_every_job_once_in_order(db, many, sort_by, field, order):
    seen, after = [], None
    while True:
        page = listing(db, sort_by=sort_by, sort_order=order, limit=7, after=after)
        seen += page.items
        after = page.next_cursor
        if after is None:
            break
        assert len(page.items) == 7
    assert {one.id for one in seen} == {one.id for one in many}
    assert len(seen) == 30
    values = [str(getattr(one, field)).casefold() for one in seen]
    assert values == sorted(values, reverse=order == "Descending")


def test_no_more_jobs_are_open_than_may_be(db):
    made = [jobs.create(db, new_job(f"j{number}"), {}, most_open=3) for number in range(3)]
    with pytest.raises(LimitExceeded) as caught:
        jobs.create(db, new_job("one-more"), {}, most_open=3)
    assert str(caught.value).startswith(
        "The account-level service limit 'Maximum number of concurrent AutoML jobs' is 3 Jobs, with current "
        "utilization of 3 Jobs and a request delta of 1 Jobs."
    )
    with pytest.raises(AlreadyExists):
        jobs.create(db, new_job("J0"), {}, most_open=3)
    jobs.create(db, new_job("other-account", account_id="1" * 12), {}, most_open=3)
    jobs.create(db, new_job("other-region", region="eu-west-1"), {}, most_open=3)
    jobs.request_stop(db, ACCOUNT, REGION, made[1].name)
    jobs.create(db, new_job("one-more"), {}, most_open=3)


def test_creates_at_once_never_pass_the_limit(db):
    outcomes = in_threads(16, lambda number: jobs.create(db, new_job(f"j{number}"), {}, most_open=5))
    assert sum(isinstance(one, LimitExceeded) for one in outcomes) == 11
    assert len(listing(db, limit=100).items) == 5


def test_a_call_that_arrives_twice_at_once_is_one_job(db):
    made = in_threads(8, lambda _: jobs.create(db, new_job("twice", invocation_id="call-1"), {"a": "b"}, most_open=1))
    assert len({one.id for one in made}) == 1


def test_a_page_that_just_fits_has_no_next(db, many):
    assert listing(db, limit=30).next_cursor is None
    assert listing(db, limit=29).next_cursor is not None


@pytest.mark.parametrize(("sort_by", "order"), [("Name", "Ascending"), ("CreationTime", "Descending")])
def test_jobs_made_between_pages_shift_nothing(db, many, sort_by, order):
    first = listing(db, sort_by=sort_by, sort_order=order, limit=10)
    for name in ("aaa", "job-05a", "zzz"):
        jobs.create(db, new_job(name), {})
    rest = listing(db, sort_by=sort_by, sort_order=order, limit=100, after=first.next_cursor)
    seen = [one.id for one in first.items + rest.items]
    assert len(seen) == len(set(seen))
    assert {one.id for one in many} <= set(seen)


def test_a_cursor_survives_json_and_belongs_to_its_order(db, many):
    import json

    page = listing(db, sort_by="CreationTime", limit=10)
    again = tuple(json.loads(json.dumps(page.next_cursor)))
    assert listing(db, sort_by="CreationTime", limit=10, after=again).items[0].created_at > page.items[-1].created_at
    with pytest.raises(InvalidRequest, match="another order"):
        listing(db, after=("one",))


def test_filters_by_time_name_and_status(db, many):
    by_time = sorted(many, key=lambda one: one.created_at)
    middle = by_time[15].created_at
    assert {one.id for one in listing(db, created_after=middle).items} == {one.id for one in by_time[16:]}
    assert {one.id for one in listing(db, created_before=middle).items} == {one.id for one in by_time[:15]}
    changed = [one for one in many if one.modified_at > by_time[-1].created_at]
    late = listing(db, modified_after=by_time[-1].created_at)
    assert {one.id for one in late.items} == {one.id for one in changed}
    early = listing(db, modified_before=by_time[5].created_at)
    assert all(one.modified_at < by_time[5].created_at for one in early.items)
    assert names(listing(db, name_contains="B-1")) == [f"{'Job' if (n * 13) % 2 else 'job'}-{n}" for n in range(10, 20)]
    assert listing(db, name_contains="%").items == ()
    assert listing(db, name_contains="_").items == ()
    for status in STATUSES:
        found = listing(db, status=status).items
        assert {one.id for one in found} == {one.id for one in many if one.status == status}
    assert len(listing(db, status="Failed", name_contains="job", created_before=middle).items) <= 4


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=80))
def test_no_text_in_a_filter_is_more_than_text(db, text):
    if jobs.find(db, ACCOUNT, REGION, "job") is None:
        jobs.create(db, new_job("job"), {})
    found = listing(db, name_contains=text).items
    assert len(found) == (1 if text.casefold() in "job" else 0)
    assert len(listing(db, status=text).items) == (text == "InProgress")
    assert (jobs.find(db, ACCOUNT, text, "job") is None) == (text != REGION)
    assert listing(db, after=(text, text)).next_cursor is None
