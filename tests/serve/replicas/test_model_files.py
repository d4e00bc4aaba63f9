"""Model files: only what a job recorded comes to disk, and only while it is used."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from concurrent.futures import ThreadPoolExecutor

import pytest

import houses
import mean_endpoints
import small_disks
from gyropilot.errors import NotAllowed, TrainingFailed, Unavailable
from gyropilot.serve.replicas import model_files
from gyropilot.serve.replicas.model_files import ModelFiles
from gyropilot.store import roles
from gyropilot.store.roles import Role
from mean_endpoints import archive_of, put_model


@pytest.fixture
def house(tmp_path):
    return mean_endpoints.house(tmp_path / "h")


@pytest.fixture
def files(house):
    return ModelFiles(house)


def snapshot(house, content, key="model.tar.gz"):
    """Put bytes into s3://data/ and give a model of them."""
    model = put_model(house, key)
    house.objects.put_bytes("data", key, content)
    (container,) = model["containers"]
    container |= {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    return model


def unpacked(files, model):
    ((folder, _),) = files.fetch(model)
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def members(*infos, content=b""):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for info in infos:
            archive.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return buffer.getvalue()


def member(name, **fields):
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def test_an_archive_is_unpacked_once_under_its_digest_and_for_its_owner_alone(house, files):
    model = snapshot(house, archive_of({"model.json": b"{}", "weights/part.bin": b"1"}))
    assert unpacked(files, model) == {"model.json": b"{}", "weights/part.bin": b"1"}
    house.objects.delete("data", "model.tar.gz")
    ((folder, environment),) = files.fetch(model)
    assert folder == house.settings.model_files / model["containers"][0]["sha256"]
    assert environment == model["containers"][0]["environment"]
    assert all(one.stat().st_mode & 0o077 == 0 for one in (folder.parent, folder))


def test_what_is_no_archive_is_placed_as_it_is(house, files):
    for content in (b'{"mean": 1}', b"", gzip.compress(b"no archive")):
        assert unpacked(files, snapshot(house, content)) == {"model": content}


def test_the_containers_of_a_model_are_fetched_each_under_its_own_digest(house, files):
    one, two = (put_model(house, f"{mean}.tar.gz", mean) for mean in (1.0, 2.0))
    chain = {**one, "containers": [*one["containers"], *two["containers"]]}
    folders = [folder for folder, _ in files.fetch(chain)]
    assert [folder.name for folder in folders] == [one["sha256"] for one in chain["containers"]]


@pytest.mark.parametrize(
    ("infos", "told"),
    [
        ([member("../out")], "'../out' would lie outside the model's folder"),
        ([member("/etc/out")], "'/etc/out' would lie outside the model's folder"),
        ([member("link", type=tarfile.SYMTYPE, linkname="/etc/passwd")], "'link' is neither a file nor a folder"),
        ([member("a"), member("link", type=tarfile.LNKTYPE, linkname="a")], "'link' is neither a file nor a folder"),
        ([member("pipe", type=tarfile.FIFOTYPE)], "'pipe' is neither a file nor a folder"),
        ([member("a", type=tarfile.DIRTYPE), member("a")], "'a' cannot be unpacked"),
    ],
)
def test_what_an_archive_may_not_hold_is_refused_and_leaves_nothing(house, files, infos, told):
    with pytest.raises(TrainingFailed, match=f"model archive that is unpacked here: {told}"):
        files.fetch(snapshot(house, members(*infos)))
    assert list(house.settings.model_files.iterdir()) == []
    assert not (house.settings.home / "out").exists()


def test_an_archive_that_unpacks_to_too_much_is_refused(house, files, monkeypatch):
    huge = members(member("zeros", size=2**20), content=bytes(2**20))
    monkeypatch.setattr(model_files, "LEAST_ROOM", 2**19)
    with pytest.raises(TrainingFailed, match="to too many bytes"):
        files.fetch(snapshot(house, huge))
    monkeypatch.setattr(model_files, "MOST_FILES", 2)
    with pytest.raises(TrainingFailed, match="more than 2 files"):
        files.fetch(snapshot(house, archive_of(dict.fromkeys("abc", b""))))


def test_an_archive_that_ends_too_early_is_refused(house, files):
    whole = archive_of({"a": hashlib.sha256(b"").digest() * 10_000, "b": bytes(range(256)) * 1000})
    with pytest.raises(TrainingFailed, match="it is no whole archive"):
        files.fetch(snapshot(house, whole[: len(whole) * 2 // 3]))


def test_another_size_or_digest_than_was_recorded_is_refused(house, files):
    model = snapshot(house, b"what was recorded")
    for content, told in ((b"longer than what was recorded", "it has 29 bytes"), (b"what was RECORDED", "its SHA-256")):
        house.objects.put_bytes("data", "model.tar.gz", content)
        with pytest.raises(TrainingFailed, match=f"is not the model that its job recorded: {told}"):
            files.fetch(model)
    assert list(house.settings.model_files.iterdir()) == []


def test_an_object_that_is_gone_is_named(house, files):
    model = snapshot(house, b"content")
    house.objects.delete("data", "model.tar.gz")
    with pytest.raises(TrainingFailed, match=r"s3://data/model.tar.gz is not there any more"):
        files.fetch(model)


def test_files_are_read_under_the_role_of_the_model(house, files):
    model = snapshot(house, b"content")
    with pytest.raises(NotAllowed, match="was removed"):
        files.fetch({**model, "role_arn": "arn:aws:iam::123456789012:role/gone"})


def test_a_role_that_was_removed_or_narrowed_reaches_no_files_that_are_at_hand(house, files):
    model = snapshot(house, b"content")
    files.fetch(model)
    roles.add(house.db, Role(arn=houses.ROLE, read_prefixes=("s3://other",), write_prefixes=(), passable_by=("*",)))
    with pytest.raises(NotAllowed, match=r"may not read s3://data/model.tar.gz, only s3://other"):
        files.fetch(model)
    roles.remove(house.db, houses.ROLE)
    with pytest.raises(NotAllowed, match="was removed"):
        files.fetch(model)


def test_a_fetch_ends_when_its_time_is_over_or_nobody_wants_it(house, files):
    model = snapshot(house, b"content")
    with pytest.raises(TrainingFailed, match=r"not fetched within 0 s; give it longer by ModelDataDownloadTimeout"):
        files.fetch(model, seconds=0)

    def unwanted():
        raise Unavailable("it is not wanted any more")

    with pytest.raises(Unavailable, match=r"^it is not wanted any more$"):
        files.fetch(model, check_wanted=unwanted)
    assert list(house.settings.model_files.iterdir()) == []
    assert unpacked(files, model) == {"model": b"content"}


def test_what_was_half_removed_is_no_model(house, files, monkeypatch):
    model = snapshot(house, archive_of({"a": b"1", "b": b"2"}))
    ((folder, _),) = files.fetch(model)
    with monkeypatch.context() as patched:
        patched.setattr(model_files.shutil, "rmtree", lambda path, **_: (path / "a").unlink())  # killed in its midst
        files.sweep([])
    assert not folder.exists()
    again = ModelFiles(house)
    again.clear_partial()
    assert unpacked(again, model) == {"a": b"1", "b": b"2"}


def test_two_that_want_the_same_files_get_them(house, files):
    model = snapshot(house, archive_of({"a": b"1"}))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: unpacked(files, model), range(16)))
    assert found == [{"a": b"1"}] * 16


def test_what_nobody_uses_is_swept_away(house, files):
    kept, held, idle = (snapshot(house, name, f"{name}.bin") for name in (b"kept", b"held", b"idle"))
    folders = [files.fetch(one)[0][0] for one in (kept, held, idle)]
    (house.settings.model_files / ".0badcafe").mkdir()
    with files.held(held):
        files.sweep([kept["containers"][0]["sha256"]])
        assert [one.exists() for one in folders] == [True, True, False]
    files.sweep([kept["containers"][0]["sha256"]])
    assert [one.exists() for one in folders] == [True, False, False]
    files.clear_partial()
    assert [one.name for one in house.settings.model_files.iterdir()] == [folders[0].name]


def test_a_full_disk_is_told_and_passes(house, files):
    model = snapshot(house, b"content" * 10_000)
    with small_disks.mounted(house.settings.model_files, mib=1) as disk:
        disk.fill()
        with pytest.raises(Unavailable, match="there is no space left on a disk of the service") as error:
            files.fetch(model)
        assert str(house.settings.home) not in str(error.value)
        disk.free()
        assert unpacked(files, model) == {"model": b"content" * 10_000}
