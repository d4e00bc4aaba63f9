from __future__ import annotations

import sys

import pytest

from gyropilot.errors import MissingExtra
from gyropilot.settings import Settings
from gyropilot.store.objects import FolderObjects, RemoteObjects, open_objects


def test_the_settings_choose_the_store(tmp_path):
    assert isinstance(open_objects(Settings(home=tmp_path)), FolderObjects)
    assert isinstance(open_objects(Settings(home=tmp_path, s3_endpoint="http://127.0.0.1:9")), RemoteObjects)


def test_a_missing_extra_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingExtra, match=r"pip install 'gyropilot\[s3\]'"):
        open_objects(Settings(home=tmp_path, s3_endpoint="http://127.0.0.1:9"))
