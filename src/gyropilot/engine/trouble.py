"""Tells trouble of the machine, its disks and its object store, which may pass, from mistakes, which come again."""

from __future__ import annotations

import errno

from gyropilot.errors import Unavailable

_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_PASSING = _SPACE | {
    errno.EIO,
    errno.EROFS,
    errno.ESTALE,
    errno.EAGAIN,
    errno.EBUSY,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.ECONNABORTED,
    errno.ETIMEDOUT,
    errno.EPIPE,
}
_SPACE_WORDS = f"(os error {errno.ENOSPC})"
"""How a library written in Rust, as safetensors is, speaks of a full disk."""
_NO_CONNECTION = ("ConnectionError", "EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "HTTPError")


def may_pass(error: BaseException) -> bool:
    """Say whether the same step may succeed later, nothing in the program or the request being changed."""
    if isinstance(error, Unavailable | ConnectionError | TimeoutError):
        return True
    if any(kind.__name__ in _NO_CONNECTION for kind in type(error).__mro__):  # botocore's, without importing it here
        return True
    if not isinstance(error, OSError):
        return _SPACE_WORDS in str(error)
    if error.errno is None:  # s3fs: what a store answers beyond the known is an OSError that bears no number
        return type(error) is OSError
    return error.errno in _PASSING


def told(error: BaseException) -> str:
    """Give what happened in words for the owner of a job."""
    # strerror alone: the whole text of an OSError has paths of this machine.
    cause = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    if _SPACE_WORDS in cause or (isinstance(error, OSError) and error.errno in _SPACE):
        return f"there is no space left on a disk of the service ({cause})"
    if isinstance(error, OSError) and error.errno is not None:
        return f"the machine or its object store failed ({cause})"
    return f"the object store or another part of the service does not answer ({cause})"
