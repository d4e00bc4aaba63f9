"""Secrets in the database are sealed: AES-256-GCM under a key that lies in an owner-only file beside it.

sealed = "v1:" + base64(12 bytes nonce, ciphertext, 16 bytes tag); the associated data is the name of the row that
holds it, so that a sealed secret moved to another row does not open.
"""

from __future__ import annotations

import base64
import os
import secrets
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gyropilot.errors import InvalidRequest, SealBroken
from gyropilot.store import private_files

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = "v1:"
_KEY_BYTES = 32
_NONCE_BYTES = 12


class Seal:
    """Seals and opens secrets; safe for threads."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def open(cls, path: Path) -> Seal:
        """Read the key file; where there is none, make it with a random key.

        Raises:
            InvalidRequest: others than the owner may reach the file, or it is not as we write it.
        """
        if not path.exists():
            private_files.make(path, base64.b64encode(secrets.token_bytes(_KEY_BYTES)) + b"\n")
        return cls.read(path)

    @classmethod
    def read(cls, path: Path) -> Seal:
        """Read the key file.

        Raises:
            FileNotFoundError: there is none.
            InvalidRequest: others than the owner may reach the file, or it is not as we write it.
        """
        try:
            key = base64.b64decode(private_files.read(path).strip(), validate=True)
        except ValueError:
            key = b""
        if len(key) != _KEY_BYTES:
            raise InvalidRequest(
                where=str(path),
                problem="is no seal key",
                fix="restore the file from a copy; without it, remove it, and make sealed keys and roles anew",
            )
        return cls(key)

    def seal(self, secret: str, *, row: str) -> str:
        """Give the sealed form of a secret that stands in `row`."""
        nonce = os.urandom(_NONCE_BYTES)
        data = nonce + self._cipher.encrypt(nonce, secret.encode(), row.encode())
        return _VERSION + base64.b64encode(data).decode()

    def unseal(self, sealed: str, *, row: str) -> str:
        """Give the secret.

        Raises:
            SealBroken: it was sealed under another key or for another row, or changed.
        """
        from cryptography.exceptions import InvalidTag

        try:
            data = base64.b64decode(sealed.removeprefix(_VERSION), validate=True)
            plain: bytes = self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], row.encode())
        except (InvalidTag, ValueError) as error:
            raise SealBroken(
                f"the secret of {row} was sealed under another seal key; restore the home's seal.key, or make it anew"
            ) from error
        return plain.decode()

    @cached_property
    def _cipher(self) -> AESGCM:
        # Imported at the first use: a start of the service has no time for it, and few homes have sealed secrets.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self._key)
