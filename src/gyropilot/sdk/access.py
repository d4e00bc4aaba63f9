"""Access keys and the roles of jobs, seen by an admin.

access = Access(url=..., access_key=..., secret=..., region=...)
made = access.create_key(kind="operator", name="ci")
print(made["AccessKeyId"], made["SecretAccessKey"])     # the secret is told this once
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from gyropilot.sdk.connection import Connection

Json = Any


class Access:
    """One service, seen by one admin. Every method may raise `sdk.errors.Refused` and `sdk.errors.Unreachable`."""

    def __init__(self, *, url: str, access_key: str, secret: str, region: str, key_from: str = "") -> None:
        self._connection = Connection(url=url, access_key=access_key, secret=secret, region=region, key_from=key_from)

    def create_key(
        self, *, kind: Literal["admin", "operator", "invoker"], name: str, account_id: str | None = None
    ) -> dict[str, Json]:
        """Make an access key; give its AccessKeyId, SecretAccessKey, AccountId, Kind and Name."""
        return self._call("create_caller_key", Kind=kind, Name=name, AccountId=account_id)

    def list_keys(self) -> list[dict[str, Json]]:
        """Give the access keys, revoked ones too, without their secrets."""
        listed: list[dict[str, Json]] = self._call("list_caller_keys")["Keys"]
        return listed

    def revoke_key(self, access_key_id: str) -> None:
        """End an access key."""
        self._call("delete_caller_key", AccessKeyId=access_key_id)

    def add_role(
        self,
        name: str,
        *,
        read: Sequence[str],
        write: Sequence[str],
        passable_by: Sequence[str] = ("*",),
        s3_store: Mapping[str, str] | None = None,
        account_id: str | None = None,
        if_taken: Literal["refuse", "replace"] = "refuse",
    ) -> str:
        """Make a role; give its ARN.

        Args:
            name: the role's.
            read: s3 prefixes that jobs may read, compared on whole segments; `s3://*` is every bucket.
            write: s3 prefixes that jobs may write.
            passable_by: access key ids that may hand the role to a job; `*` is everybody of the role's account.
            s3_store: Endpoint, Region, AccessKeyId and SecretAccessKey of a store of its own; None: the service's.
            account_id: whose the role is; None: the caller's account.
            if_taken: what becomes of a role of that name.
        """
        answer = self._call(
            "create_job_role",
            RoleName=name,
            ReadPrefixes=list(read),
            WritePrefixes=list(write),
            PassableBy=list(passable_by),
            S3Store=s3_store,
            AccountId=account_id,
            Replace=if_taken == "replace",
        )
        return str(answer["RoleArn"])

    def list_roles(self) -> list[dict[str, Json]]:
        """Give the roles."""
        listed: list[dict[str, Json]] = self._call("list_job_roles")["Roles"]
        return listed

    def role(self, name: str, *, account_id: str | None = None) -> dict[str, Json]:
        """Give a role."""
        found: dict[str, Json] = self._call("describe_job_role", RoleName=name, AccountId=account_id)["Role"]
        return found

    def remove_role(self, name: str, *, account_id: str | None = None) -> None:
        """Remove a role; jobs that run with it fail at their next read or write."""
        self._call("delete_job_role", RoleName=name, AccountId=account_id)

    def _call(self, operation: str, **members: Json) -> dict[str, Json]:
        given = {name: value for name, value in members.items() if value is not None}
        return self._connection.call("gyropilot", operation, given)
