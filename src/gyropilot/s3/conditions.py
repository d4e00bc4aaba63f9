"""Conditions of a request on the object that stands there: If-Match and its kin, for reads, copies and writes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from gyropilot.s3.errors import S3Error, no_key
from gyropilot.store.folder_objects import Check
from gyropilot.store.object_info import ObjectInfo, StoredObject


def http_date(moment: datetime) -> str:
    """Give a moment as HTTP headers carry it."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def check_read(headers: Mapping[str, str], info: ObjectInfo) -> None:
    """Check the conditions of a GET or HEAD.

    Raises:
        S3Error: one does not hold: PreconditionFailed, or NotModified.
    """
    if failed := _unmet(headers, info, ""):
        if failed in ("if-none-match", "if-modified-since"):
            said = {"ETag": f'"{info.etag}"', "Last-Modified": http_date(info.modified_at)}
            raise S3Error("NotModified", "Not modified.", headers=said)
        raise _failed(failed)


def check_copy_source(headers: Mapping[str, str], info: ObjectInfo) -> None:
    """Check the conditions of a copy on its source.

    Raises:
        S3Error: one does not hold.
    """
    if failed := _unmet(headers, info, "x-amz-copy-source-"):
        raise _failed(failed)


def write_check(headers: Mapping[str, str]) -> Check:
    """Give the check of a write by what stands under its key: `If-None-Match: *`, or If-Match.

    Raises:
        S3Error: another condition is asked for.
    """
    match, none_match = headers.get("if-match"), headers.get("if-none-match")
    if none_match not in (None, "*"):
        raise S3Error("NotImplemented", "If-None-Match of a write is implemented for * alone.")

    def check(current: StoredObject | None) -> None:
        if none_match and current:
            raise _failed("If-None-Match")
        if match and not current:
            raise no_key("")
        if match and current and not _names(match, current.info.etag):
            raise _failed("If-Match")

    return check


def _unmet(headers: Mapping[str, str], info: ObjectInfo, prefix: str) -> str:
    """Give the condition that does not hold; an ETag's answer outweighs a date's (RFC 9110, 13.2.2)."""
    modified_at = info.modified_at.replace(microsecond=0)
    match, since = headers.get(f"{prefix}if-match"), _date(headers, f"{prefix}if-unmodified-since")
    if match is not None and not _names(match, info.etag):
        return f"{prefix}if-match"
    if match is None and since and modified_at > since:
        return f"{prefix}if-unmodified-since"
    match, since = headers.get(f"{prefix}if-none-match"), _date(headers, f"{prefix}if-modified-since")
    if match is not None and _names(match, info.etag):
        return f"{prefix}if-none-match"
    if match is None and since and modified_at <= since:
        return f"{prefix}if-modified-since"
    return ""


def _names(condition: str, etag: str) -> bool:
    return any(one.strip().removeprefix("W/").strip('"') in ("*", etag) for one in condition.split(","))


def _date(headers: Mapping[str, str], name: str) -> datetime | None:
    """Give a date; one that is none counts as absent, as HTTP has it."""
    try:
        date = parsedate_to_datetime(headers.get(name, ""))
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _failed(condition: str) -> S3Error:
    message = "At least one of the pre-conditions you specified did not hold."
    return S3Error("PreconditionFailed", message, Condition=condition)
