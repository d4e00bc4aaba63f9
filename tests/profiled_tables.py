"""A tabular job as far as its profile, in this process: files are staged, the profile function is called."""

from __future__ import annotations

import json

import table_jobs
from gyropilot.data.frames import CSV
from gyropilot.problems import tasks
from gyropilot.problems.contract import LocalChannel, LocalFile, ProfileTask
from gyropilot.problems.tabular import data, tables
from gyropilot.problems.tabular.columns import read_schema
from tuning_jobs import Listener

SPECIFICATION = "s3://data/features.json"


class ProfiledTable:
    """Folders of one job; each `profile` begins anew."""

    def __init__(self, root):
        self.root = root
        self.listener = Listener()
        self._staged = 0

    def channel(self, *contents, kind="training", content_type=CSV, compression="None"):
        files = [self.file(content, f"s3://data/{kind}-{number}") for number, content in enumerate(contents)]
        return LocalChannel(channel_type=kind, content_type=content_type, compression=compression, files=tuple(files))

    def file(self, content, uri):
        self._staged += 1
        path = self.root / f"staged-{self._staged}"
        path.write_bytes(content)
        return LocalFile(path=path, uri=uri, size_bytes=len(content), etag="e")

    def profile(self, *channels, memory_bytes=0, features=None, **spec):
        extra = () if features is None else (self.file(json.dumps(features).encode(), SPECIFICATION),)
        said = {"target": "y", "problem_type": None, "objective": None, "algorithms": ()}
        said |= {"feature_specification_uri": SPECIFICATION} if extra else {}
        said |= {"validation_fraction": None} if len(channels) == 2 else {}
        task = ProfileTask(
            job_name="table",
            spec=table_jobs.spec(**said | spec).to_json(),
            channels=channels,
            base_models=self.root,
            prepared=self.root / "prepared",
            output=self.root / "output",
            output_uri="s3://out/table",
            cores=1,
            memory_bytes=memory_bytes,
            extra_files=extra,
        )
        found = data.profile(json.loads(json.dumps(tasks.to_json(task))), self.listener)
        return json.loads(json.dumps(found, allow_nan=False))

    def read(self, found, name="training"):
        return tables.read_prepared(self.root / "prepared" / f"{name}.parquet", read_schema(found["schema"]))


def findings(found):
    return {one["kind"]: one for one in found["findings"]}


def kinds(found):
    return {one["name"]: one["kind"] for one in found["schema"]["features"]}
