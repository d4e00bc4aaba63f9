"""NextToken: an opaque text that carries where a listing goes on, and for which listing it was made."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from gyropilot.errors import InvalidRequest
from gyropilot.store.pages import Cursor

Json = Any


def write(listing: Mapping[str, Json], cursor: Cursor) -> str:
    """Give the token for the page after `cursor` of the listing that these request fields describe."""
    text = json.dumps([_digest(listing), *cursor], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode()


def next_token(listing: Mapping[str, Json], cursor: Cursor | None) -> dict[str, Json]:
    """Give the member NextToken of a response; nothing after the last page."""
    return {} if cursor is None else {"NextToken": write(listing, cursor)}


def read(listing: Mapping[str, Json], token: str | None) -> Cursor | None:
    """Give the cursor in `token`; None where there is no token.

    Raises:
        InvalidRequest: the token is none of ours, or was made for other filters.
    """
    if token is None:
        return None
    try:
        digest, *cursor = json.loads(base64.urlsafe_b64decode(token.encode()))
        if not all(_is_storable(one) for one in cursor):
            raise TypeError
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidRequest(
            where="NextToken", found=token, problem="is no token of this service", fix="list from the start"
        ) from error
    if digest != _digest(listing):
        raise InvalidRequest(
            where="NextToken",
            problem="was made for other filters or another order",
            fix="repeat the filters of the first page, or list from the start",
        )
    return tuple(cursor)


def _is_storable(value: Json) -> bool:
    """Say whether a database takes the value: a text without NUL, a whole number of 64 bits or a finite one."""
    if isinstance(value, str):
        value.encode()  # a lone surrogate is a ValueError
        return "\0" not in value
    if isinstance(value, int):
        return not isinstance(value, bool) and -(2**63) <= value < 2**63
    return isinstance(value, float) and math.isfinite(value)


def _digest(listing: Mapping[str, Json]) -> str:
    kept = {name: str(value) for name, value in listing.items() if name not in {"NextToken", "MaxResults"}}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]
