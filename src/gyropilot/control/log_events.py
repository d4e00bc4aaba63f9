"""The rules of CloudWatch Logs, callable without HTTP: groups, streams and events of an account, for readers alone.

An event is a line. Tokens are offsets in a stream: `f/120` goes on behind the events that were given, `b/80` before
them; at either end a token gives itself again, and no event, which is how readers know the end.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from gyropilot.control import log_patterns, page_tokens
from gyropilot.control.house import House
from gyropilot.control.log_groups import Group, LogGroups, Stream
from gyropilot.errors import InvalidRequest
from gyropilot.store import job_logs
from gyropilot.store.log_lines import Line, LogLines, Stretch
from gyropilot.store.principals import Principal

Json = Any
Item = TypeVar("Item")

PER_PAGE = 50
EVENTS_PER_PAGE = 10_000
STREAMS_PER_SEARCH = 200
"""How many streams one call of FilterLogEvents looks into."""
PAGE_CHARACTERS = 2**20

_TOKEN = re.compile(r"([fb])/([0-9]{1,18})")


def groups(house: House, principal: Principal, region: str, request: Mapping[str, Json]) -> dict[str, Json]:
    """Give DescribeLogGroupsResponse.

    Raises:
        InvalidRequest: other accounts are asked about, or the token is none of this listing.
    """
    foreign = set(request.get("accountIdentifiers", ())) - {principal.account_id}
    if foreign or request.get("includeLinkedAccounts"):
        raise InvalidRequest(
            where="accountIdentifiers" if foreign else "includeLinkedAccounts",
            found=sorted(foreign) or True,
            problem="asks about logs of other accounts",
            fix="leave it out; an account sees its own logs",
        )
    named = {_group_name(one) for one in request.get("logGroupIdentifiers", ())}
    prefix, part = request.get("logGroupNamePrefix", ""), request.get("logGroupNamePattern", "")
    is_standard = request.get("logGroupClass", "STANDARD") == "STANDARD"
    found = [
        one
        for one in LogGroups(house, principal.account_id, region).groups()
        if is_standard and one.name.startswith(prefix) and part in one.name and (not named or one.name in named)
    ]
    listed, token = _page(found, request)
    return {"logGroups": [_group(one, principal, region) for one in listed]} | token


def streams(house: House, principal: Principal, region: str, request: Mapping[str, Json]) -> dict[str, Json]:
    """Give DescribeLogStreamsResponse.

    Raises:
        NotFound: there is no such group.
        InvalidRequest: no group is named, or the token is none of this listing.
    """
    group = _named_group(request)
    by_time = request.get("orderBy") == "LastEventTime"
    if by_time and "logStreamNamePrefix" in request:
        raise InvalidRequest(
            where="orderBy", found="LastEventTime", problem="goes with no prefix", fix="leave logStreamNamePrefix out"
        )
    found = LogGroups(house, principal.account_id, region).streams(group, request.get("logStreamNamePrefix", ""))
    if by_time:
        found.sort(key=lambda one: (job_logs.written_at(one.folder) or 0, one.name))
    if request.get("descending"):
        found.reverse()
    listed, token = _page(found, request)
    return {"logStreams": [_stream(one, group, principal, region) for one in listed]} | token


def events(house: House, principal: Principal, region: str, request: Mapping[str, Json]) -> dict[str, Json]:
    """Give GetLogEventsResponse: from the token on, or the newest events unless startFromHead.

    Raises:
        NotFound: there is no such group or stream.
        InvalidRequest: no group is named, or the token is none of ours.
    """
    stream = LogGroups(house, principal.account_id, region).stream(_named_group(request), request["logStreamName"])
    lines = LogLines(stream.folder, is_over=stream.is_over)
    since, until = _bounds(lines, request)
    most = request.get("limit", EVENTS_PER_PAGE)
    way, offset = _read_token(request, head=since, tail=until)
    if way == "f":
        stretch = lines.forward(max(offset, since), until, most)
    else:
        stretch = lines.backward(min(offset, until), since, most)
    return {
        "events": [_event(one) for one in stretch.lines],
        "nextForwardToken": f"f/{stretch.end:018d}",
        "nextBackwardToken": f"b/{stretch.start:018d}",
    }


def search(house: House, principal: Principal, region: str, request: Mapping[str, Json]) -> dict[str, Json]:
    """Give FilterLogEventsResponse: stream by stream, the events of one page by their times.

    Raises:
        NotFound: there is no such group.
        InvalidRequest: no group is named, names and a prefix of streams are, or a pattern that is not read here.
    """
    passes = log_patterns.read(request.get("filterPattern", ""))
    wanted = _searched(house, principal, region, request)
    begun, offset = _read_place(request)
    left = [one for one in wanted if one.name >= begun]
    room, found = request.get("limit", EVENTS_PER_PAGE), list[dict[str, Json]]()
    characters = 0
    for number, stream in enumerate(left):
        if number == STREAMS_PER_SEARCH or room <= len(found) or characters >= PAGE_CHARACTERS:
            return _searched_page(found, request, (stream.name, 0))
        stretch, is_end = _looked_through(stream, request, offset if stream.name == begun else 0)
        for line in stretch.lines:
            if len(found) == room:
                return _searched_page(found, request, (stream.name, line.offset))
            if passes(line.text):
                found.append({**_event(line), "logStreamName": stream.name, "eventId": _event_id(stream, line)})
                characters += len(line.text)
        if not is_end:
            return _searched_page(found, request, (stream.name, stretch.end))
    return _searched_page(found, request, None)


def _searched(house: House, principal: Principal, region: str, request: Mapping[str, Json]) -> list[Stream]:
    names = request.get("logStreamNames")
    if names is not None and "logStreamNamePrefix" in request:
        raise InvalidRequest(
            where="logStreamNamePrefix", problem="goes not with logStreamNames", fix="leave one of them out"
        )
    logs, group = LogGroups(house, principal.account_id, region), _named_group(request)
    if names is None:
        return logs.streams(group, request.get("logStreamNamePrefix", ""))
    return sorted((logs.stream(group, name) for name in set(names)), key=lambda one: one.name)


def _looked_through(stream: Stream, request: Mapping[str, Json], offset: int) -> tuple[Stretch, bool]:
    """Give a piece of a stream's lines within the times asked for, and whether it is the last one."""
    written_at = job_logs.written_at(stream.folder)
    if written_at is None or written_at < request.get("startTime", 0):
        return Stretch(lines=(), start=0, end=0), True
    lines = LogLines(stream.folder, is_over=stream.is_over)
    since, until = _bounds(lines, request)
    stretch = lines.forward(max(offset, since), until, EVENTS_PER_PAGE)
    return stretch, stretch.end >= until or stretch.end <= max(offset, since)


def _searched_page(
    found: list[dict[str, Json]], request: Mapping[str, Json], on: tuple[str, int] | None
) -> dict[str, Json]:
    by_time = sorted(found, key=lambda event: event["timestamp"])
    token = {} if on is None else {"nextToken": page_tokens.write(_listing(request), on)}
    return {"events": by_time, "searchedLogStreams": []} | token


def _bounds(lines: LogLines, request: Mapping[str, Json]) -> tuple[int, int]:
    """Give the offsets between which the lines begin that were written from startTime on and before endTime."""
    since = lines.offset_at(request.get("startTime", 0))
    until = lines.offset_at(request["endTime"]) if "endTime" in request else lines.extent.end
    return since, max(since, until)


def _read_token(request: Mapping[str, Json], *, head: int, tail: int) -> tuple[str, int]:
    token = request.get("nextToken")
    if token is None:
        return ("f", head) if request.get("startFromHead") else ("b", tail)
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise InvalidRequest(
            where="nextToken", found=token, problem="is no token of this stream", fix="begin without one"
        )
    return found[1], int(found[2])


def _named_group(request: Mapping[str, Json]) -> str:
    given = [request[name] for name in ("logGroupName", "logGroupIdentifier") if name in request]
    if len(given) != 1:
        fix = "name the group by logGroupName alone"
        problem = f"{len(given)} groups are named where one must be"
        raise InvalidRequest(where="logGroupName", problem=problem, fix=fix)
    return _group_name(given[0])


def _group_name(identifier: str) -> str:
    """Give the name in the ARN of a group; a name is itself."""
    return identifier.split(":", 6)[6].removesuffix(":*") if identifier.count(":") >= 6 else identifier


def _page(items: Sequence[Item], request: Mapping[str, Json]) -> tuple[Sequence[Item], dict[str, Json]]:
    """Give one page of what is listed whole, and the token of the next; what came or went since may shift it."""
    start = _read_place(request)[1]
    end = start + request.get("limit", PER_PAGE)
    token = {"nextToken": page_tokens.write(_listing(request), ("", end))} if end < len(items) else {}
    return items[start:end], token


def _read_place(request: Mapping[str, Json]) -> tuple[str, int]:
    """Give what a listing's token says: a stream, or none, and a place in it."""
    match page_tokens.read(_listing(request), request.get("nextToken")):
        case None:
            return "", 0
        case (str() as name, int() as place) if place >= 0:
            return name, place
        case _:
            raise InvalidRequest(where="nextToken", problem="is no token of this listing", fix="list from the start")


def _listing(request: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in request.items() if name not in {"nextToken", "limit"}}


def _group(group: Group, principal: Principal, region: str) -> dict[str, Json]:
    arn = _arn(group.name, principal, region)
    return {
        "logGroupName": group.name,
        "creationTime": _milliseconds(group.created_at.timestamp()),
        "metricFilterCount": 0,
        "arn": f"{arn}:*",
        "logGroupArn": arn,
        "logGroupClass": "STANDARD",
    }


def _stream(stream: Stream, group: str, principal: Principal, region: str) -> dict[str, Json]:
    times = job_logs.extent(stream.folder).times
    told = {
        "logStreamName": stream.name,
        "creationTime": _milliseconds(stream.created_at.timestamp()),
        "arn": f"{_arn(group, principal, region)}:log-stream:{stream.name}",
    }
    if times:
        written_at = max(times[-1][1], job_logs.written_at(stream.folder) or 0)
        told |= {"firstEventTimestamp": times[0][1], "lastEventTimestamp": times[-1][1]}
        told |= {"lastIngestionTime": written_at}
    return told


def _arn(group: str, principal: Principal, region: str) -> str:
    return f"arn:aws:logs:{region}:{principal.account_id}:log-group:{group}"


def _event(line: Line) -> dict[str, Json]:
    return {"timestamp": line.at, "message": line.text, "ingestionTime": line.at}


def _event_id(stream: Stream, line: Line) -> str:
    """Give what tells one event from all others of the group."""
    return f"{zlib.crc32(stream.name.encode()):010d}{line.offset:020d}"


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
