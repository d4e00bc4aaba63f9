"""The bearer token of an access key, for programs that speak OpenAI's API and know no signatures."""

from __future__ import annotations

import hashlib
import hmac

_PURPOSE = b"gyropilot bearer token v1"


def token(access_key: str, secret: str) -> str:
    """Give the key's token; it opens the service's OpenAI-compatible API and nothing else, and ends with the key."""
    return f"sk-gyro-{access_key}-{hmac.new(secret.encode(), _PURPOSE, hashlib.sha256).hexdigest()}"
