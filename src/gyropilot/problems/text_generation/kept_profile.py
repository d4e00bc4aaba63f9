"""What an attempt found out and prepared, and under which key a later one takes it over; called by data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from gyropilot.errors import InvalidData
from gyropilot.files import sha256_of, write_whole
from gyropilot.problems.contract import Json, ProfileTask
from gyropilot.problems.text_generation.base_model import BaseModelFacts
from gyropilot.problems.text_generation.batches import TokenCache
from gyropilot.problems.text_generation.request import TextGenerationSpec
from gyropilot.problems.text_generation.templates import Encoder

PROFILE_FILE = "profile.json"
_FORMAT = 4
"""Of what is prepared; another format is prepared again."""


def key_of(
    task: ProfileTask, spec: TextGenerationSpec, base: BaseModelFacts, encoder: Encoder, files: list[dict[str, Json]]
) -> str:
    """Give the digest of all that the prepared rows depend on."""
    method = spec.method
    parts = {
        "format": _FORMAT,
        "job_name": task.job_name,
        "files": files,
        "content_types": [channel.content_type for channel in task.channels],
        "base_model": base.to_json(),
        "template": encoder.template.digest,
        "learning_rate": spec.learning_rate,
        "split": [spec.validation_fraction, spec.seed],
        "task_column": method.task_column,
        "lengths": [method.max_source_length, method.max_target_length],
        "virtual_tokens": [method.num_virtual_tokens, len(method.output_model_types)],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def find(prepared: Path, key: str, *, rows_file: Path) -> dict[str, Json] | None:
    """Give the profile that an earlier attempt left of the same things, if its rows and caches are whole."""
    file = prepared / PROFILE_FILE
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["key"] != key or kept["rows"] != sha256_of(rows_file):
            return None
        found = {name: TokenCache.open(prepared / name).digest for name in ("training", "validation")}
        return dict(kept["profile"]) if found == kept["profile"]["cache"] else None
    except (OSError, ValueError, KeyError, TypeError, InvalidData):
        return None


def keep(prepared: Path, key: str, profile: Mapping[str, Json], *, rows_file: Path) -> None:
    """Leave a profile; its rows and caches are written before."""
    content = {"key": key, "rows": sha256_of(rows_file), "profile": profile}
    write_whole(prepared / PROFILE_FILE, json.dumps(content))
