"""The rules of tags, callable without HTTP: what a tag may be, and which resources of a caller bear tags."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from gyropilot.control import page_tokens
from gyropilot.control.house import House
from gyropilot.errors import Fault, InvalidRequest, NotFound
from gyropilot.store import endpoint_configs, endpoints, jobs, models, tags, transform_jobs
from gyropilot.store.database import Database
from gyropilot.store.principals import Principal

Json = Any
FindArn = Callable[[House, Principal, str, str], "str | None"]
"""Takes house, caller, region and a resource's name; gives the ARN of the caller's resource of that name."""

_NAME = re.compile(r"[a-zA-Z0-9-]{1,63}")
_RESERVED = "aws:"


def add(house: House, principal: Principal, region: str, request: Mapping[str, Json]) -> dict[str, Json]:
    """Give AddTagsOutput: all tags that the resource then bears.

    Raises:
        InvalidRequest: a key may not be, stands twice, or there would be too many tags.
        NotFound: the caller has no such resource.
    """
    faults = list(faults_of(request["Tags"]))
    if faults:
        raise InvalidRequest.of(faults)
    arn = _own_arn(house, principal, region, request["ResourceArn"])
    given = {tag["Key"]: tag["Value"] for tag in request["Tags"]}
    return {"Tags": _on_the_wire(tags.put(house.db, arn, given).items())}


def list_tags(house: House, principal: Principal, region: str, request: Mapping[str, Json]) -> dict[str, Json]:
    """Give ListTagsOutput, keys in byte order.

    Raises:
        NotFound: the caller has no such resource.
        InvalidRequest: the token is none of this listing.
    """
    arn = _own_arn(house, principal, region, request["ResourceArn"])
    # The model lets MaxResults be any number from 50 on, and a page hold no more than 50.
    page = tags.page(house.db, arn, tags.MOST, page_tokens.read(request, request.get("NextToken")))
    return {"Tags": _on_the_wire(page.items)} | page_tokens.next_token(request, page.next_cursor)


def delete(house: House, principal: Principal, region: str, request: Mapping[str, Json]) -> dict[str, Json]:
    """Give DeleteTagsOutput, which is empty; keys that are not there are no error.

    Raises:
        NotFound: the caller has no such resource.
    """
    tags.remove(house.db, _own_arn(house, principal, region, request["ResourceArn"]), request["TagKeys"])
    return {}


def faults_of(given: Sequence[Mapping[str, str]]) -> Iterator[Fault]:
    """Give what is wrong with tags whose shape is checked already."""
    keys = [tag["Key"] for tag in given]
    for key in sorted({key for key in keys if keys.count(key) > 1}):
        yield Fault(where="Tags", found=key, problem="this key stands more than once", fix="give each key once")
    for key in sorted({key for key in keys if key.lower().startswith(_RESERVED)}):
        yield Fault(
            where="Tags", found=key, problem=f"keys that begin with {_RESERVED} are reserved", fix="choose another key"
        )


def _job_arn(house: House, principal: Principal, region: str, name: str) -> str | None:
    record = jobs.find(house.db, principal.account_id, region, name)
    return None if record is None else record.arn


def _transform_job_arn(house: House, principal: Principal, region: str, name: str) -> str | None:
    record = transform_jobs.find(house.db, principal.account_id, region, name)
    return None if record is None else record.arn


def _by_name(find_arn: Callable[[Database, str, str, str], str | None]) -> FindArn:
    return lambda house, principal, region, name: find_arn(house.db, principal.account_id, region, name)


_FIND_ARN_BY_KIND: Mapping[str, FindArn] = {
    "automl-job": _job_arn,
    "model": _by_name(models.find_arn),
    "endpoint-config": _by_name(endpoint_configs.find_arn),
    "endpoint": _by_name(endpoints.find_arn),
    "transform-job": _transform_job_arn,
}


def _own_arn(house: House, principal: Principal, region: str, arn: str) -> str:
    """Give the ARN under which the caller's resource is stored.

    The resource is sought in the caller's own account and region, and its ARN compared: another's ARN takes the path,
    the time and the words of one that is not there.
    """
    kind, _, name = arn.split(":", 5)[5].partition("/")
    find_arn = _FIND_ARN_BY_KIND.get(kind)
    own = find_arn(house, principal, region, name) if find_arn and _NAME.fullmatch(name) else None
    if own is None or own.lower() != arn.lower():
        raise NotFound(f"There is no resource with the ARN {arn!r}.")
    return own


def _on_the_wire(pairs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in pairs]
