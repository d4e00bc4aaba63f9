import errno
import os

import pytest

from gyropilot.engine import trouble
from gyropilot.errors import InvalidData, Unavailable

PASSING = [
    *(OSError(number, os.strerror(number)) for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE)),
    OSError("An error occurred (SlowDown) when calling the PutObject operation"),
    ConnectionResetError(errno.ECONNRESET, "reset"),
    TimeoutError("timed out"),
    Unavailable("The database does not answer at the moment; try again."),
    RuntimeError("I/O error: No space left on device (os error 28)"),
]
LASTING = [
    FileNotFoundError(errno.ENOENT, "No such file or directory"),
    PermissionError(errno.EACCES, "Permission denied"),
    IsADirectoryError(errno.EISDIR, "Is a directory"),
    OSError(errno.EINVAL, "Invalid argument"),
    InvalidData(where="row 3", problem="is ragged"),
    KeyError("x"),
    RuntimeError("shape mismatch"),
]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_may_pass_is_tried_again(error):
    assert trouble.may_pass(error)


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_what_would_come_again_is_not(error):
    assert not trouble.may_pass(error)


def test_want_of_space_is_named():
    assert "no space left" in trouble.told(PASSING[0])
    assert "no space left" in trouble.told(PASSING[-1])
    assert "does not answer" in trouble.told(PASSING[-2])


def test_no_path_of_the_machine_is_told():
    told = trouble.told(OSError(errno.ENOSPC, "No space left on device", "/home/of/the/service/models/x"))
    assert told == "there is no space left on a disk of the service (No space left on device)"
    assert "/home" not in trouble.told(OSError(errno.EIO, "Input/output error", "/home/of/the/service"))
