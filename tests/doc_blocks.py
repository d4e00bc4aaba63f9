"""Runs the `sh` blocks of a page of the docs, in order, in one shell, as a reader would paste them.

Every block that is fenced as ```sh is run; output, and what a reader is not to paste, stands in blocks of other kinds.
A page whose examples need something first (a file, a job) gets it from the test, in the folder that the test gives.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import services

TOP = Path(__file__).resolve().parents[1]

_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEAD = """\
set -Eeuo pipefail
trap 'echo "the block at line $BLOCK of the page failed" >&2' ERR
"""


def run(page, service, folder, *, replace=None):
    """Run the blocks of docs/`page` in `folder`, the commands meaning `service`; give what the shell did.

    `replace` says what stands in the test for a text of the page, such as a tiny model for a real one.
    """
    script = _script(TOP / "docs" / page)
    for written, meant in (replace or {}).items():
        assert written in script, f"{page} does not say {written!r} in a block"
        script = script.replace(written, meant)
    environment = services.clean_environment() | {
        "GYROPILOT_HOME": str(service.home),
        "PATH": f"{services.SCRIPTS}{os.pathsep}{os.environ['PATH']}",
    }
    ran = services.run(["bash", "-c", _HEAD + script], cwd=folder, env=environment)
    assert ran.returncode == 0, f"{page}: {ran.stderr}\n{ran.stdout}"
    return ran


def _script(path: Path):
    text = path.read_text(encoding="utf-8")
    blocks = [(text.count("\n", 0, found.start()) + 1, found[1]) for found in _BLOCK.finditer(text)]
    assert blocks, f"{path.name} has no block to run"
    return "\n".join(f"BLOCK={line}\n{code}" for line, code in blocks)
