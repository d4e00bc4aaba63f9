"""What to do about an endpoint that does not answer: it is not there, does not run yet, or failed."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import click

from gyropilot.log import printable
from gyropilot.sdk import endpoints
from gyropilot.sdk.client import Client
from gyropilot.sdk.errors import Refused, ServiceError

_MOST_NAMES = 1000
_SHOWN = 5
_NOT_FOUND_CODES = frozenset({"model_not_found"})
_NOT_READY_CODES = frozenset({"ModelNotReadyException", "model_not_ready"})


@contextmanager
def told(client: Client, name: str) -> Iterator[None]:
    """Say of a refusal about the endpoint `name` what the mend is.

    Raises:
        ClickException: the endpoint is not there or not ready.
        Refused: for another reason.
    """
    try:
        yield
    except Refused as error:
        message = _mended(client, name, error)
        if message is None:
            raise
        raise click.ClickException(message) from error


def why_not_in_service(name: str, status: str, reason: str) -> str:
    """Give what is to be done about an endpoint that is not InService."""
    if status == "Failed":
        return (
            f"endpoint {name} is Failed: {reason or 'for no reason told'}; its processes' words: gyropilot endpoints"
            f" logs {name}; then gyropilot endpoints delete {name} and deploy again"
        )
    return f"endpoint {name} is {status}; it answers once it is InService, which gyropilot endpoints show {name} tells"


def no_endpoint(name: str, names: list[str]) -> str:
    """Give what to say of an endpoint that is not there, with the names of those that are."""
    if not names:
        return f"there is no endpoint {name}, and no other; deploy a job's model: gyropilot deploy JOB"
    by_folded = {one.casefold(): one for one in names}
    near = difflib.get_close_matches(name.casefold(), by_folded, n=1)
    if near:
        return f"there is no endpoint {name}; did you mean {by_folded[near[0]]}?"
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    return f"there is no endpoint {name}; there are {shown}"


def _mended(client: Client, name: str, error: Refused) -> str | None:
    is_missing = (
        endpoints.is_missing(error)
        or error.code in _NOT_FOUND_CODES
        or (error.code == "ValidationError" and error.message.endswith("not found."))
    )
    if not is_missing and error.code not in _NOT_READY_CODES:
        return None
    try:
        found = client.endpoints.find(name)
        if found is None:
            names = [str(one["EndpointName"]) for one in islice(client.endpoints.summaries(), _MOST_NAMES)]
            return printable(no_endpoint(name, names))
    except Refused:  # a key that may only invoke endpoints may not ask which there are
        return _told_to_invokers(client, name)
    if found["EndpointStatus"] == "InService":
        return None
    return printable(why_not_in_service(name, found["EndpointStatus"], found.get("FailureReason", "")))


def _told_to_invokers(client: Client, name: str) -> str | None:
    """Give what the service says of an endpoint to whoever may only invoke: there it tells which others there are."""
    try:
        client.chat(name).check()
    except Refused as error:
        return printable(error.message) if error.code in _NOT_FOUND_CODES | _NOT_READY_CODES else None
    except ServiceError:
        return None
    return None
