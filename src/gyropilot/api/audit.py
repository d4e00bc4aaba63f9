"""Notes the calls that change something in the audit log, before they are answered."""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from gyropilot.api.exchange import NAMING_MEMBERS, Exchange
from gyropilot.errors import GyropilotError
from gyropilot.store import audit
from gyropilot.store.audit import AuditLine
from gyropilot.wire import parse

Json = Any

_NAMING = ("Arn", "Id", "Name")
"""How the members end that name a resource, the telling ones first."""


def note(exchange: Exchange, path: Path) -> None:
    """Append what came of a call, if its operation changes something; callers who proved nothing are the log's alone.

    Raises:
        Unavailable: the line could not be written; the call must not be acknowledged.
    """
    if not hasattr(exchange, "entry") or not exchange.entry.changes_something:
        return
    audit.append(
        path,
        AuditLine(
            principal=exchange.caller.principal,
            action=exchange.entry.action,
            resource=_made(exchange) or _asked_for(exchange),
            result=exchange.error_code or "OK",
            request_id=exchange.request_id,
        ),
    )


def _request(exchange: Exchange) -> Mapping[str, Json]:
    """Give what was asked for; a call refused before it was read is read here, if it can be."""
    if hasattr(exchange, "request"):
        return exchange.request
    try:
        return parse.read_body(exchange.body)
    except GyropilotError:
        return {}


def _made(exchange: Exchange) -> str:
    return _named_in(getattr(exchange, "response", None) or {}, but={"AccountId"})


def _asked_for(exchange: Exchange) -> str:
    members = _request(exchange)
    # A role that is passed, or a configuration that is used, is not what the call changes.
    telling = (members[one] for one in NAMING_MEMBERS if isinstance(members.get(one), str))
    name = next(telling, None) or _named_in(members, but={"AccountId", "RoleArn", "ExecutionRoleArn"})
    account = members.get("AccountId")
    return f"{account}:{name}" if isinstance(account, str) else name


def _named_in(members: Mapping[str, Json], *, but: Container[str]) -> str:
    found = (
        value
        for ending in _NAMING
        for member, value in members.items()
        if member.endswith(ending) and isinstance(value, str) and member not in but
    )
    return next(found, "")
