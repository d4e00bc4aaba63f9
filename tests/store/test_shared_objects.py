"""The embedded object store under several processes at once, each opening it anew again and again."""

from __future__ import annotations

import hashlib
import subprocess
import sys

from gyropilot.store.folder_objects import FolderObjects
from gyropilot.store.folder_uploads import FolderUploads

PROCESSES = 4
PROGRAM = """
import hashlib, random, sys, time
from pathlib import Path
from gyropilot.errors import NotFound
from gyropilot.store.folder_objects import FolderObjects
from gyropilot.store.folder_uploads import FolderUploads
from gyropilot.store.object_info import ObjectDetails

root, number = Path(sys.argv[1]), int(sys.argv[2])
draw = random.Random(number)
give_up_at = time.monotonic() + 2
turn = 0
while time.monotonic() < give_up_at:
    objects = FolderObjects(root)  # as a process that starts: sweeps what the dead left
    uploads = FolderUploads(objects)
    for _ in range(10):
        turn += 1
        data = b"%d-%d " % (number, turn) * draw.randrange(1, 2000)
        key = f"dir/{draw.randrange(3)}/k"
        objects.put_bytes("shared", key, data)
        if draw.random() < 0.4:
            objects.delete("shared", key)
        opened = objects.open("shared", f"dir/{draw.randrange(3)}/k")
        if opened is not None:
            record, file = opened
            with file:
                assert hashlib.md5(file.read()).hexdigest() == record.info.etag
        list(objects.list("shared", "dir/"))
        objects.create_bucket(f"bucket-{draw.randrange(3)}")
        try:
            objects.delete_bucket(f"bucket-{draw.randrange(3)}")
        except NotFound:
            pass
        upload = uploads.create("shared", f"own/{number}", ObjectDetails(content_type="a/b"), checksum_algorithm="",
                                checksum_type="")
        with objects.draft() as draft:
            draft.write(data)
            part = uploads.put_part(upload, 1, draft, {})
        assert part is not None
        if draw.random() < 0.5:
            uploads.complete(upload, [part], checksums={}, check=lambda current: None)
            assert objects.read("shared", f"own/{number}") == data
        else:
            uploads.abort(upload)
        uploads.of_bucket("shared")
"""


def test_several_processes_share_one_store(tmp_path):
    objects = FolderObjects(tmp_path)
    objects.create_bucket("shared")
    started = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, tmp_path, str(number)], stderr=subprocess.PIPE, text=True)
        for number in range(PROCESSES)
    ]
    said = [process.communicate(timeout=60)[1] for process in started]
    assert [process.returncode for process in started] == [0] * PROCESSES, "\n".join(said)
    for info in objects.list("shared", ""):
        data = objects.read("shared", info.key)
        assert len(data) == info.size_bytes
        if "-" not in info.etag:
            assert hashlib.md5(data).hexdigest() == info.etag
    assert FolderUploads(objects).of_bucket("shared") == []
    assert list((tmp_path / ".drafts").iterdir()) == []
    assert list((tmp_path / ".uploads").iterdir()) == []
