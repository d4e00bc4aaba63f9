"""Names and ARNs: how they are made, read and compared."""

from __future__ import annotations

import re
import secrets

ACCOUNT_ID = "000000000000"
DEFAULT_ROLE_NAME = "gyropilot"
EVERY_BUCKET = "s3://*"
"""The prefix under which every object lies."""

_ACCESS_KEY_ID = re.compile(r"GYRO[A-Z2-7]{16}")


def arn(*, region: str, account_id: str, kind: str, name: str) -> str:
    """Give the ARN of a SageMaker resource, `kind` as in `automl-job`."""
    return f"arn:aws:sagemaker:{region}:{account_id}:{kind}/{name}"


def role_arn(account_id: str, role_name: str) -> str:
    """Give the ARN of a role."""
    return f"arn:aws:iam::{account_id}:role/{role_name}"


def user_arn(account_id: str, name: str) -> str:
    """Give the ARN of a principal, whose access key it is told by."""
    return f"arn:aws:iam::{account_id}:user/{name}"


def is_access_key_id(text: str) -> bool:
    """Say whether `text` is the id of an access key that this service makes; those of AWS begin otherwise."""
    return _ACCESS_KEY_ID.fullmatch(text) is not None


def folded(name: str) -> str:
    """Give the form under which names are compared: job names differ by more than letter case."""
    return name.casefold()


def new_id() -> str:
    """Give a fresh random identifier, 32 hex digits."""
    return secrets.token_hex(16)


def is_s3_uri(uri: str) -> bool:
    """Say whether `uri` is `s3://bucket[/key]`."""
    return uri.startswith("s3://") and bool(uri[5:].split("/", 1)[0])


def split_s3_uri(uri: str) -> tuple[str, str]:
    """Give bucket and key of an s3 URI; the key may be empty."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def is_under(uri: str, prefix: str) -> bool:
    """Say whether an s3 URI lies under `prefix`, compared on whole segments: `s3://b/data2` is not under `s3://b/data`."""
    if prefix == EVERY_BUCKET:
        return True
    wanted = prefix.rstrip("/").split("/")
    return uri.split("/")[: len(wanted)] == wanted and ".." not in uri.split("/")
