"""How an asynchronous invocation fails: the reason that is told, the notice of it, how long that is tried."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from gyropilot import clock
from gyropilot.errors import GyropilotError
from gyropilot.serve.replicas.client import ReplicaBroke
from gyropilot.store.async_invocations import AsyncInvocation

Json = Any

logger = logging.getLogger(__name__)


def told(invocation: AsyncInvocation, error: Exception) -> str:
    """Give what is told of an error that ends an invocation."""
    if isinstance(error.__cause__, ReplicaBroke):
        return f"{error} That happened {invocation.attempts} times."
    if isinstance(error, GyropilotError):
        return str(error)
    logger.error("asynchronous invocation %s failed", invocation.id, exc_info=error)
    return f"It failed for a reason inside the service; its log has it under {invocation.id}."


def until(invocation: AsyncInvocation) -> datetime:
    """Give how long the failure of an invocation is tried to be stored: RequestTTLSeconds from when it failed."""
    kept = invocation.request.get("failure")
    if kept is not None:
        return datetime.fromisoformat(kept["until"])
    return clock.now() + (invocation.expires_at - invocation.created_at)


def notice(invocation: AsyncInvocation, why: str) -> dict[str, Json]:
    """Give what stands in the object of a failure: what the service's own notice of one says."""
    request = invocation.request
    return {
        "invocationStatus": "Failed",
        "failureReason": why,
        "inferenceId": request["inference_id"],
        "requestParameters": {
            "endpointName": request["endpoint_name"],
            "inputLocation": request["input_location"],
            "contentType": request["content_type"],
            "accept": request["accept"],
            "customAttributes": request["custom_attributes"],
        },
        "receivedTime": invocation.created_at.isoformat(),
        "eventTime": clock.now().isoformat(),
    }
