"""What a problem type may look at beside a request: small objects that it names, tags that are its own.

Called by admission.py, which hands it down as a RequestContext.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from gyropilot.control.house import House
from gyropilot.control.places import Places, open_places, store_fault, uri_faults
from gyropilot.errors import Fault, InvalidData, InvalidRequest, NotAllowed, NotFound
from gyropilot.names import split_s3_uri
from gyropilot.problems.contract import Problem
from gyropilot.store.principals import Principal

Json = Any

_OUR_TAGS = "gyropilot:"


def read_object(
    house: House, principal: Principal, request: Mapping[str, Json], where: str, uri: str, most_bytes: int
) -> bytes | None:
    """Give the bytes of an object that a request names, read as its role; None where the role cannot be used.

    Args:
        house: the parts.
        principal: the caller.
        request: names the role.
        where: the field that names the object.
        uri: the object's.
        most_bytes: how long it may be.

    Raises:
        InvalidRequest: the role may not read it, it is not there, or it is longer.
    """
    places, _ = open_places(house, principal, "RoleArn", request["RoleArn"])
    faults = list(uri_faults(places, where, uri, "read"))
    if faults:
        raise InvalidRequest.of(faults)
    if places is None:
        return None  # told as a fault of the role
    try:
        return _bytes_of(places, where, uri, most_bytes)
    except (InvalidData, NotAllowed, NotFound, OSError) as error:
        raise InvalidRequest.of([store_fault(where, uri, error)]) from error


def tag_faults(problem: Problem, given: Sequence[Mapping[str, str]], problems: Sequence[Problem]) -> Iterator[Fault]:
    """Give the faults of tags that only some problem types read, with one that does not."""
    readers = {key: one.config_name for one in problems for key in one.reads_tags}
    for tag in given:
        key = tag["Key"]
        if key in readers and key not in problem.reads_tags:
            told = f"means something for {readers[key]} alone, not for {problem.config_name}"
            yield Fault(where=f"Tags[{key}]", found=tag["Value"], problem=told, fix="leave the tag out")
        elif key not in readers and (near := _nearest(key, readers)):
            told = "is no tag that a job reads"
            yield Fault(where=f"Tags[{key}]", found=tag["Value"], problem=told, fix=f"did you mean {near}?")


def _nearest(key: str, known: Collection[str]) -> str | None:
    """Give the tag that a key of ours is meant to be, if it is near one; our own tools set others."""
    if not key.startswith(_OUR_TAGS):
        return None
    by_rest = {one.removeprefix(_OUR_TAGS).lower(): one for one in known}
    near = difflib.get_close_matches(key.removeprefix(_OUR_TAGS).lower(), by_rest, n=1, cutoff=0.7)
    return by_rest[near[0]] if near else None


def _bytes_of(places: Places, where: str, uri: str, most_bytes: int) -> bytes:
    bucket, key = split_s3_uri(uri)
    info = places.objects.head(bucket, key)
    if info is None:
        fix = "name the file itself, in full; keys are compared letter by letter"
        raise InvalidRequest(where=where, found=uri, problem="there is no such object", fix=fix)
    if info.size_bytes > most_bytes:
        problem = f"has {info.size_bytes} bytes, more than the {most_bytes} that are read"
        raise InvalidRequest(where=where, found=uri, problem=problem, fix="shorten it")
    return b"".join(places.objects.stream(bucket, key, etag=info.etag))
