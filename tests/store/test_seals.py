from __future__ import annotations

import os
import stat

import pytest

from gyropilot.errors import InvalidRequest, SealBroken
from gyropilot.store.seals import Seal
from new_jobs import in_threads


def test_a_sealed_secret_opens_under_the_same_key_and_row(tmp_path):
    sealed = Seal.open(tmp_path / "home" / "seal.key").seal("s3cret ü", row="principals/A")
    assert "s3cret" not in sealed
    assert Seal.open(tmp_path / "home" / "seal.key").unseal(sealed, row="principals/A") == "s3cret ü"


def test_equal_secrets_seal_differently(tmp_path):
    seal = Seal.open(tmp_path / "seal.key")
    assert seal.seal("same", row="r") != seal.seal("same", row="r")


@pytest.mark.parametrize("spoil", ["row", "key", "byte", "cut", "empty", "text"])
def test_a_sealed_secret_opens_nowhere_else(tmp_path, spoil):
    seal = Seal.open(tmp_path / "seal.key")
    sealed = seal.seal("secret", row="principals/A")
    row = "principals/B" if spoil == "row" else "principals/A"
    opener = Seal.open(tmp_path / "other.key") if spoil == "key" else seal
    flipped = sealed[:-6] + ("A" if sealed[-6] != "A" else "B") + sealed[-5:]
    given = {"byte": flipped, "cut": sealed[:20], "empty": "", "text": "v1:no base64!"}.get(spoil, sealed)
    with pytest.raises(SealBroken, match=r"seal\.key") as caught:
        opener.unseal(given, row=row)
    assert "secret" not in str(caught.value).replace("the secret of", "")


def test_the_key_is_made_once_for_its_owner_alone(tmp_path):
    path = tmp_path / "home" / "seal.key"
    old = os.umask(0)
    try:
        seals = in_threads(8, lambda _: Seal.open(path))
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    sealed = seals[0].seal("secret", row="r")
    assert {one.unseal(sealed, row="r") for one in seals} == {"secret"}
    assert [one.name for one in path.parent.iterdir()] == ["seal.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_may_reach_is_refused(tmp_path, mode):
    Seal.open(tmp_path / "seal.key")
    (tmp_path / "seal.key").chmod(mode)
    with pytest.raises(InvalidRequest, match="chmod 600"):
        Seal.open(tmp_path / "seal.key")


@pytest.mark.parametrize("text", ["", "short", "%%%"])
def test_a_damaged_key_is_told_with_its_mend(tmp_path, text):
    (tmp_path / "seal.key").write_text(text)
    (tmp_path / "seal.key").chmod(0o600)
    with pytest.raises(InvalidRequest, match="restore the file"):
        Seal.open(tmp_path / "seal.key")
