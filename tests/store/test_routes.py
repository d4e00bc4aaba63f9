"""An endpoint and its replicas, read at once."""

import json

from gyropilot.names import new_id
from gyropilot.store import endpoints, replicas, routes
from gyropilot.store.named_rows import NewRow
from gyropilot.store.replicas import ReplicaRecord

ACCOUNT, REGION = "000000000000", "us-east-1"


def put(db, name, account=ACCOUNT):
    row = NewRow(account_id=account, region=REGION, name=name, arn=f"arn:{account}:{name}")
    return endpoints.create(db, row, principal="k", wanted={"variants": []}, tags={})


def put_replica(db, endpoint, number):
    record = ReplicaRecord(
        id=new_id(),
        endpoint_id=endpoint.id,
        generation=1,
        variant="main",
        number=number,
        status="Ready",
        socket=f"/tmp/{number}",
        model="m",
        restarts=0,
    )
    replicas.put(db, record)


def test_a_route_is_what_endpoints_and_replicas_say(db):
    mine, theirs = put(db, "Shop"), put(db, "Shop", "111111111111")
    for number in (2, 1):
        put_replica(db, mine, number)
    put_replica(db, theirs, 7)
    found = routes.find(db, ACCOUNT, REGION, "Shop")
    assert found.endpoint == endpoints.find(db, ACCOUNT, REGION, "Shop")
    assert list(found.replicas) == replicas.of_endpoint(db, mine.id)
    assert [one.number for one in found.replicas] == [1, 2]


def test_what_an_endpoint_serves_is_read_once_however_many_replicas_it_has(db, monkeypatch):
    mine = put(db, "Shop")
    endpoints.set_status(db, mine.id, generation=1, status="InService", serving=mine.wanted)
    for number in range(20):
        put_replica(db, mine, number)
    read = []
    monkeypatch.setattr(json, "loads", lambda text, whole=json.loads: read.append(text) or whole(text))
    found = routes.find(db, ACCOUNT, REGION, "Shop")
    assert len(found.replicas) == 20
    assert found.endpoint.serving == {"variants": []}
    assert len(read) == 2  # `wanted` and `serving`


def test_an_endpoint_without_replicas_has_none_and_one_of_another_name_is_not_found(db):
    put(db, "Shop")
    assert routes.find(db, ACCOUNT, REGION, "Shop").replicas == ()
    for account, region, name in (
        (ACCOUNT, REGION, "shop"),
        (ACCOUNT, "eu-west-1", "Shop"),
        ("1" * 12, REGION, "Shop"),
    ):
        assert routes.find(db, account, region, name) is None
