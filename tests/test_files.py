import errno
import os

import pytest

from gyropilot import files


def test_what_is_written_whole_is_the_owners_alone_and_leaves_nothing_beside_it(tmp_path):
    files.write_whole(tmp_path / "one.json", "old")
    files.write_whole(tmp_path / "one.json", "new")
    assert [one.name for one in tmp_path.iterdir()] == ["one.json"]
    assert (tmp_path / "one.json").read_text() == "new"
    assert (tmp_path / "one.json").stat().st_mode & 0o777 == 0o600


def test_a_disk_that_does_not_take_it_leaves_the_old_one(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    files.write_whole(tmp_path / "one.json", "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_whole(tmp_path / "one.json", "new")
    assert (tmp_path / "one.json").read_text() == "old"
