"""The models of the OpenAI-compatible door: a caller's text endpoints, under their names."""

from __future__ import annotations

import difflib
from typing import Any

from gyropilot.control.entrance import Caller
from gyropilot.control.house import House
from gyropilot.errors import ModelNotReady, NotFound
from gyropilot.problems.contract import Style
from gyropilot.serve.doors.openai_errors import NotText
from gyropilot.serve.router import Router, Target
from gyropilot.store import endpoints
from gyropilot.store.endpoints import EndpointRecord

Json = Any

_OWNER = "gyropilot"
_SHOWN = 10


class TextModels:
    """Which endpoints are models of this door; every function asks the database."""

    def __init__(self, house: House, router: Router) -> None:
        self._house = house
        self._router = router

    def listed(self, caller: Caller) -> list[dict[str, Json]]:
        """Give the text endpoints of the caller's account that answer now, newest first."""
        return [described(one) for one in self._answering(caller)]

    def find(self, caller: Caller, name: str, style: Style) -> Target:
        """Give an endpoint of the caller's account that answers calls of that style.

        Raises:
            NotFound: there is none of the name, or it failed.
            NotText: its model does not understand such calls.
            ModelNotReady: it does not answer yet.
        """
        try:
            found = self._router.find(caller.principal.account_id, caller.region, name)
        except NotFound as error:
            raise NotFound(_missing(name, [one.name for one in self._answering(caller)])) from error
        endpoint = found.endpoint
        if style not in self._styles(endpoint):
            raise NotText(
                where="model",
                found=name,
                problem=f"is an endpoint of {_problem_name(endpoint)}, whose models answer no {style} requests",
                fix="call it by InvokeEndpoint, as `gyropilot invoke` does",
            )
        if endpoint.status == "Failed":
            reason = endpoint.failure_reason or "no reason is known"
            raise NotFound(f"The endpoint {name} is Failed: {reason}; delete it and deploy the model again.")
        if endpoint.serving is None:
            raise ModelNotReady(f"The endpoint {name} is {endpoint.status}; it answers once it is InService.")
        return found

    def _answering(self, caller: Caller) -> list[EndpointRecord]:
        theirs = endpoints.of_account(self._house.db, caller.principal.account_id, caller.region)
        return [
            one
            for one in reversed(theirs)
            if one.status in ("InService", "Updating") and _is_single(one) and "chat" in self._styles(one)
        ]

    def _styles(self, endpoint: EndpointRecord) -> tuple[Style, ...]:
        problem = _problem_name(endpoint)
        return next((one.styles for one in self._house.problems if one.config_name == problem), ())


def described(endpoint: EndpointRecord) -> dict[str, Json]:
    """Give an endpoint as OpenAI's API describes a model."""
    created = int(endpoint.created_at.timestamp())
    return {"id": endpoint.name, "object": "model", "created": created, "owned_by": _OWNER}


def _is_single(endpoint: EndpointRecord) -> bool:
    """Say whether an endpoint answers, by models of one container each; those of a chain read no OpenAI requests."""
    variants = (endpoint.serving or {}).get("variants", ())
    return bool(variants) and all(len(one["model"]["containers"]) <= 1 for one in variants)


def _problem_name(endpoint: EndpointRecord) -> str:
    state = endpoint.serving or endpoint.wanted
    return str(state["variants"][0]["model"]["problem"])


def _missing(name: str, names: list[str]) -> str:
    begin = f"There is no model {name!r}"
    if not names:
        return f"{begin}: no text endpoint of your account is InService; `gyropilot deploy JOB` makes one."
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{begin}. {hint}Your account's text endpoints are {', '.join(names[:_SHOWN])}{more}."
