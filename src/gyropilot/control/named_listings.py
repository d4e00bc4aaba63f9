"""Listings of what callers make under names: the members that all their requests share, read into one query."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gyropilot.control import page_tokens
from gyropilot.store.named_rows import NamedQuery, NamedSummary
from gyropilot.store.principals import Principal

Json = Any

PER_PAGE = 100


def query_of(principal: Principal, region: str, request: Mapping[str, Json], *, per_page: int = PER_PAGE) -> NamedQuery:
    """Give the query that a request lists by: newest first and `per_page` at a time, unless it says otherwise.

    Raises:
        InvalidRequest: its token is none of this listing.
    """
    return NamedQuery(
        account_id=principal.account_id,
        region=region,
        created_after=request.get("CreationTimeAfter"),
        created_before=request.get("CreationTimeBefore"),
        modified_after=request.get("LastModifiedTimeAfter"),
        modified_before=request.get("LastModifiedTimeBefore"),
        name_contains=request.get("NameContains"),
        status=request.get("StatusEquals"),
        sort_by=request.get("SortBy", "CreationTime"),
        sort_order=request.get("SortOrder", "Descending"),
        limit=request.get("MaxResults", per_page),
        after=page_tokens.read(request, request.get("NextToken")),
    )


def summaries(prefix: str, items: Iterable[NamedSummary]) -> list[dict[str, Json]]:
    """Give rows that never change as the wire has them; `prefix` begins their members' names, as in ModelName."""
    return [{f"{prefix}Name": one.name, f"{prefix}Arn": one.arn, "CreationTime": one.created_at} for one in items]
