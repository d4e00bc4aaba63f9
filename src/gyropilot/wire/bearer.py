"""Bearer tokens: an access key as programs carry it that know no signatures; called by the OpenAI-compatible door.

sk-gyro-<access key id>-<HMAC-SHA256 of a fixed text under the key's secret, 64 hex digits>

A token follows from its key, so it is stored nowhere, is shown again to whoever has the key, and ends with it; the
secret does not follow from the token, so who reads one can sign no call. `sdk/bearer.py` makes tokens.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence

from gyropilot.errors import NotAuthentic

PURPOSE = b"gyropilot bearer token v1"
"""What is signed: no text that a signature V4 begins with, so that neither stands in for the other."""

FindSecret = Callable[[str], "str | None"]

_PREFIX = "sk-gyro-"
_TOKEN = re.compile(r"sk-gyro-([A-Za-z0-9]{4,128})-([0-9a-f]{64})")
_FIX = "`gyropilot keys token` prints the token of a key of yours"


def verify(headers: Sequence[tuple[str, str]], find_secret: FindSecret) -> str:
    """Give the access key id that a request's bearer token proves.

    Args:
        headers: of the request, names in lower case.
        find_secret: gives the secret of an access key id, or None.

    Raises:
        NotAuthentic: there is no token, or it is none of ours, or its key is unknown, withdrawn or another one's; the
            last three read alike.
    """
    given = [value.strip() for name, value in headers if name == "authorization"]
    if not given:
        raise NotAuthentic("missing", f"The header Authorization is missing; send `Bearer TOKEN`: {_FIX}.")
    scheme, _, text = given[0].partition(" ")
    if len(given) > 1 or scheme.lower() != "bearer" or not text.strip():
        raise NotAuthentic("incomplete", f"The header Authorization must be one `Bearer TOKEN`: {_FIX}.")
    found = _TOKEN.fullmatch(text.strip())
    if found is None and text.strip().lower().startswith(_PREFIX):
        raise NotAuthentic(
            "wrong", f"The bearer token is damaged or cut off: {_PREFIX}KEY-, then 64 hex digits is one; {_FIX}."
        )
    if found is None:
        raise NotAuthentic("wrong", f"The bearer token is none of this service, which begin with {_PREFIX}: {_FIX}.")
    secret = find_secret(found[1])
    expected = _digest(secret or "an unknown key costs the same time as a known one")
    if not hmac.compare_digest(expected, found[2]) or secret is None:
        raise NotAuthentic("wrong", f"The bearer token is not valid: its key is unknown here or was withdrawn; {_FIX}.")
    return found[1]


def _digest(secret: str) -> str:
    return hmac.new(secret.encode(), PURPOSE, hashlib.sha256).hexdigest()
