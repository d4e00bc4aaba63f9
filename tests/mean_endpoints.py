"""Endpoints of the small problem type on real replicas: rows as the rules write them, and a supervisor over them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import socket
import struct
import tarfile
from contextlib import contextmanager
from http.client import HTTPException

import houses
import mean_problem
import replica_houses
from gyropilot import names
from gyropilot.serve.replicas.endpoint_replicas import Patience
from gyropilot.serve.replicas.held_processes import HeldProcesses
from gyropilot.serve.replicas.model_files import ModelFiles
from gyropilot.serve.replicas.supervisor import Supervisor
from gyropilot.store import endpoints, replicas
from gyropilot.store.named_rows import NewRow
from replica_houses import invoke, wait_until

SHORT = Patience(attempts=2, first_seconds=0.05, longest_seconds=0.2)


def house(folder, **settings):
    return houses.build(folder, (mean_problem.MEAN,), **settings)


@contextmanager
def supervised(house, *, patience=SHORT, **chosen):
    processes = HeldProcesses(replica_houses.room(house, **chosen))
    supervisor = Supervisor(house, processes, ModelFiles(house), patience=patience, poll_seconds=0.03)
    supervisor.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()


def put_model(house, key, mean=2.0, *, shares="", environment=None, **more):
    """Put a model's archive into s3://data/ and give the snapshot of a model of it."""
    archive = archive_of({"model.json": json.dumps({"mean": mean} | more).encode()})
    house.objects.put_bytes("data", key, archive)
    container = {
        "uri": f"s3://data/{key}",
        "sha256": hashlib.sha256(archive).hexdigest(),
        "size_bytes": len(archive),
        "image": "gyropilot/mean",
        "environment": environment or {},
    }
    return {
        "name": key,
        "arn": f"arn:model/{key}",
        "role_arn": houses.ROLE,
        "problem": "Tabular",
        "shares": shares,
        "containers": [container],
    }


def archive_of(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def variant(model, *, name="main", weight=1.0, instances=1, startup_seconds=60):
    return {
        "name": name,
        "weight": weight,
        "instances": instances,
        "instance_type": "ml.m5.large",
        "startup_seconds": startup_seconds,
        "download_seconds": 60,
        "model": model,
    }


def wanted(*variants):
    return {"config_name": "config", "variants": list(variants), "data_capture": None}


def create(house, name, *variants, account=names.ACCOUNT_ID):
    """Store an endpoint that is Creating and give its id."""
    row = NewRow(account_id=account, region=houses.REGION, name=name, arn=f"arn:aws:sagemaker:x:y:endpoint/{name}")
    return endpoints.create(house.db, row, principal="AKIA", wanted=wanted(*variants), tags={}).id


def update(house, endpoint_id, *variants):
    there = endpoints.get(house.db, endpoint_id)
    assert endpoints.update_wanted(house.db, endpoint_id, wanted(*variants), ["InService"], there.generation)


def status(house, endpoint_id):
    found = endpoints.get(house.db, endpoint_id)
    return found.status if found else None


def settled(house, endpoint_id):
    """Wait until the endpoint is on its way nowhere, and give it; None: it is gone."""
    moving = {"Creating", "Updating", "Deleting"}
    wait_until(lambda: status(house, endpoint_id) not in moving, lambda: f"{endpoints.get(house.db, endpoint_id)}")
    return endpoints.get(house.db, endpoint_id)


def ready(house, endpoint_id):
    return [one for one in replicas.of_endpoint(house.db, endpoint_id) if one.status == "Ready"]


def in_service(house, endpoint_id):
    endpoint = settled(house, endpoint_id)
    assert endpoint.status == "InService", endpoint.failure_reason
    assert endpoint.failure_reason is None
    return ready(house, endpoint_id)


def answer_of(replica, body=b"1\n"):
    return invoke(replica.socket, replica.model, body)


def log_of(house, endpoint_id, name="main.1"):
    folder = house.settings.logs / "endpoints" / endpoint_id / name
    return "".join(one.read_text() for one in sorted(folder.glob("*.log")))


def process_of(replica):
    """The number of the process that answers on a replica's socket."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(replica.socket)
        return struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    finally:
        connection.close()


def kill(replica):
    os.kill(process_of(replica), signal.SIGKILL)


def answers(replica):
    try:
        return answer_of(replica).status == 200
    except (OSError, HTTPException):
        return False


def deleted(house, endpoint_id):
    """Delete an endpoint and wait until it is gone."""
    assert endpoints.request_delete(house.db, endpoint_id)
    wait_until(lambda: status(house, endpoint_id) is None, "the endpoint to be gone")
