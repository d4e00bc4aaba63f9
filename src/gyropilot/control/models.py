"""The rules of models, callable without HTTP: create, describe, list, delete; and the snapshot that is served."""

from __future__ import annotations

from typing import Any

from gyropilot import names
from gyropilot.control.house import House
from gyropilot.errors import NotFound
from gyropilot.store import models
from gyropilot.store.models import ModelRecord

Json = Any


def snapshot(house: House, account_id: str, region: str, name: str) -> dict[str, Json]:
    """Give a model with all that it takes to serve it, as JSON values; it outlives the model's record.

    {name, arn, role_arn, problem, shares, containers: [{uri, sha256, size_bytes, image, environment}]}; `shares` is
    empty where the model may not live in a process with others.

    Raises:
        NotFound: the account has no model of exactly that name.
    """
    record = find(house, account_id, region, name)
    kept = ("uri", "sha256", "size_bytes", "image", "environment")
    return {
        "name": record.name,
        "arn": record.arn,
        "role_arn": record.request["ExecutionRoleArn"],
        "problem": record.containers[0]["problem"],
        # A chain of containers has a process of its own.
        "shares": record.containers[0]["shares"] if len(record.containers) == 1 else "",
        "containers": [{key: one[key] for key in kept} for one in record.containers],
    }


def find(house: House, account_id: str, region: str, name: str) -> ModelRecord:
    """Give an account's model of exactly that name.

    Raises:
        NotFound: there is none.
    """
    record = models.find(house.db, account_id, region, name)
    if record is None:
        arn = names.arn(region=region, account_id=account_id, kind="model", name=name.lower())
        raise NotFound(f'Could not find model "{arn}".')
    return record
