import hashlib
import json

import pytest

from gyropilot.sdk import downloads
from gyropilot.sdk.downloads import Download
from gyropilot.sdk.errors import NotDownloaded, ServiceError

URI = "s3://out/job"


class Store:
    """Objects in memory; counts the bytes that it gave, and breaks after `breaks_after` of them."""

    def __init__(self, files, *, breaks_after=None):
        self.files = {f"{URI}/{name}": data for name, data in files.items()}
        self.given = 0
        self.breaks_after = breaks_after

    def blocks(self, uri, *, start=0):
        data = self.files[uri][start:]
        for place in range(0, len(data), 10):
            if self.breaks_after is not None and self.given >= self.breaks_after:
                raise ServiceError("the connection broke")
            block = data[place : place + 10]
            self.given += len(block)
            yield block

    def artifacts(self, files=None, **changes):
        files = files or {
            uri.removeprefix(f"{URI}/"): {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
            for uri, data in self.files.items()
        }
        manifest = json.dumps({"files": files}).encode()
        self.files[f"{URI}/manifest.json"] = manifest
        digest = hashlib.sha256(manifest).hexdigest()
        return downloads.read_manifest(self, {"manifest": f"{URI}/manifest.json", "manifest_sha256": digest} | changes)


def fetch(store, artifact, folder):
    heard = []
    place = Download(store, URI, folder).fetch(artifact, lambda *told: heard.append(told))
    return place, heard


def test_a_file_comes_whole_and_its_growth_is_told(tmp_path):
    store = Store({"model/weights": b"w" * 25})
    artifact = next(one for one in store.artifacts() if one.name == "model/weights")
    place, heard = fetch(store, artifact, tmp_path)
    assert place == tmp_path / "model" / "weights"
    assert place.read_bytes() == b"w" * 25
    assert heard == [("model/weights", done, 25) for done in (10, 20, 25)]
    assert [path.name for path in place.parent.iterdir()] == ["weights"]


def test_an_interrupted_file_goes_on_where_it_ended(tmp_path):
    data = bytes(range(100))
    (artifact,) = (one for one in Store({"a": data}).artifacts() if one.name == "a")
    with pytest.raises(ServiceError):
        fetch(Store({"a": data}, breaks_after=40), artifact, tmp_path)
    assert not (tmp_path / "a").exists()
    store = Store({"a": data})
    fetch(store, artifact, tmp_path)
    assert store.given == 60
    assert (tmp_path / "a").read_bytes() == data


@pytest.mark.parametrize("left", [b"x" * 30, b"y" * 200])
def test_a_partial_file_of_other_content_is_not_taken_for_the_artifact(tmp_path, left):
    data = b"z" * 100
    store = Store({"a": data})
    (artifact,) = (one for one in store.artifacts() if one.name == "a")
    partial = tmp_path / f".a.{artifact.sha256[:16]}.partial"
    partial.write_bytes(left)
    if len(left) > len(data):
        fetch(store, artifact, tmp_path)
    else:
        with pytest.raises(NotDownloaded, match="is not what the job wrote"):
            fetch(store, artifact, tmp_path)
        assert not partial.exists()
        fetch(store, artifact, tmp_path)
    assert (tmp_path / "a").read_bytes() == data


def test_an_object_without_end_is_given_up_at_its_announced_size(tmp_path):
    store = Store({"a": b"a" * 50})
    (artifact,) = (one for one in store.artifacts() if one.name == "a")
    store.files[f"{URI}/a"] = b"a" * 10**6
    with pytest.raises(NotDownloaded):
        fetch(store, artifact, tmp_path)
    assert store.given < 10**3
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/evil",
        "a/../../evil",
        "a//b",
        "",
        ".",
        "a/",
        "..",
        "a\\..\\b",
        "bell\x07",
        "a\nb",
        "manifest.json",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused_before_anything_is_fetched(name):
    store = Store({"a": b"a"})
    with pytest.raises(NotDownloaded, match="nothing was fetched"):
        store.artifacts({name: {"sha256": "0" * 64, "size_bytes": 1}})


def test_a_digest_that_is_none_is_refused():
    with pytest.raises(NotDownloaded):
        Store({"a": b"a"}).artifacts({"a": {"sha256": "../../../x", "size_bytes": 1}})


def test_a_manifest_that_the_job_did_not_write_is_refused():
    with pytest.raises(NotDownloaded, match="was changed after the job wrote it"):
        Store({"a": b"a"}).artifacts(manifest_sha256="0" * 64)


def test_links_do_not_lead_out_of_the_folder(tmp_path):
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "model").symlink_to(outside)
    (folder / "report").symlink_to(outside / "report")
    store = Store({"model/weights": b"w", "report": b"r"})
    by_name = {one.name: one for one in store.artifacts()}
    with pytest.raises(NotDownloaded, match="leads out of"):
        Download(store, URI, folder).missing([by_name["model/weights"]], overwrite=True)
    with pytest.raises(NotDownloaded, match="something else lies in the place"):
        Download(store, URI, folder).missing([by_name["report"]], overwrite=True)
    (folder / f".report.{by_name['report'].sha256[:16]}.partial").symlink_to(outside / "report")
    with pytest.raises(NotDownloaded, match="is a link"):
        fetch(store, by_name["report"], folder)
    assert not list(outside.iterdir())


def test_patterns_pick_and_one_that_fits_nothing_is_told():
    artifacts = Store({"model/a": b"", "model/b": b"", "report.html": b""}).artifacts()
    assert [one.name for one in downloads.picked(artifacts, ["model/*"])] == ["model/a", "model/b"]
    assert len(downloads.picked(artifacts, [])) == 4
    with pytest.raises(NotDownloaded, match="no artifact fits 'nope'"):
        downloads.picked(artifacts, ["report.html", "nope"])
