"""A runtime door over a house whose endpoints lie on stand-in replicas, and clients that call it."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager

import houses
import replica_servers
from api_servers import serving
from gyropilot import names
from gyropilot.names import new_id
from gyropilot.serve.doors import runtime as door
from gyropilot.store import endpoints, replicas
from gyropilot.store.named_rows import NewRow
from gyropilot.store.replicas import ReplicaRecord


@contextmanager
def running(folder, sockets, *, make_app=door.make_app, **settings):
    """Give a server of the runtime door, or of more; stand-in replicas listen on `sockets`, names below the folder."""
    house = houses.build(folder / "house", (), **settings)
    with ExitStack() as stack:
        for name in sockets:
            stack.enter_context(replica_servers.running(folder / name))
        yield stack.enter_context(serving(house, make_app=make_app))
    house.db.close()


def variant(name, weight=1.0, role_arn=houses.ROLE):
    return {
        "name": name,
        "weight": weight,
        "instances": 1,
        "instance_type": "ml.m5.large",
        "startup_seconds": 600,
        "download_seconds": 600,
        "model": {
            "name": "m",
            "arn": "arn:m",
            "role_arn": role_arn,
            "problem": "Tabular",
            "shares": "",
            "containers": [],
        },
    }


def put_endpoint(house, name, variants=None, *, account=names.ACCOUNT_ID, status="InService", reason=None, **more):
    """Store an endpoint with these variants in service; none: it never was."""
    wanted = {"config_name": "config", "variants": variants or [variant("main")], "data_capture": None} | more
    arn = names.arn(region=houses.REGION, account_id=account, kind="endpoint", name=name)
    row = NewRow(account_id=account, region=houses.REGION, name=name, arn=arn)
    made = endpoints.create(house.db, row, principal="GYROKEY", wanted=wanted, tags={})
    serving = wanted if variants else None
    endpoints.set_status(house.db, made.id, generation=1, status=status, failure_reason=reason, serving=serving)
    return made.id


def put_replica(house, endpoint_id, socket, *, variant="main", number=1, status="Ready", model="m"):
    record = ReplicaRecord(
        id=new_id(),
        endpoint_id=endpoint_id,
        generation=1,
        variant=variant,
        number=number,
        status=status,
        socket=str(socket),
        model=model,
        restarts=0,
    )
    replicas.put(house.db, record)
    return record
