"""Packs what a training leaves into a model.tar.gz, and unpacks what was packed so; called in children."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from gyropilot.errors import TrainingFailed


def write_archive(folder: Path, archive: Path, *, within: Mapping[str, Path]) -> None:
    """Pack a folder's files; the same files give the same bytes, since no time, owner or mode of theirs goes in.

    Compression is the lightest: weights hardly shrink, and time is what it costs.

    Args:
        folder: its files lie at the archive's top.
        archive: the file to write.
        within: more folders, by the name under which their files lie in the archive.
    """
    partial = archive.with_suffix(".partial")
    files = _files(folder, "") | {name: path for top, one in within.items() for name, path in _files(one, top).items()}
    with (
        partial.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for name, path in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = path.stat().st_size, 0o644
            with path.open("rb") as file:
                tar.addfile(entry, file)
    partial.replace(archive)


def unpack_archive(archive: Path, into: Path) -> None:
    """Unpack what `write_archive` packed, beside what lies in the folder already.

    Raises:
        TrainingFailed: the archive is not there, or not whole.
    """
    into.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive, "r:gz") as packed:
            packed.extractall(into, filter="data")
    except (OSError, tarfile.TarError, EOFError) as error:
        raise TrainingFailed(f"{archive.name} cannot be unpacked: {error}") from error


def _files(folder: Path, top: str) -> dict[str, Path]:
    """Give the regular files of a folder by their names below `top`."""
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {(PurePosixPath(top) / path.relative_to(folder).as_posix()).as_posix(): path for path in paths}
