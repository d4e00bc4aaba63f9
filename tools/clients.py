"""Installs programs of other makers, which tests drive or benches compare with: each in a folder below .venv/clients.

    python tools/clients.py [caikit] [flaml] [javascript] [sagemaker-core] [sagemaker-sdk]

prints each one's folder; without a name: all.

What is installed is pinned beside the programs that use it; a folder is made anew when those pins change.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PINS = ROOT / "tests" / "end_to_end"
BENCH_PINS = ROOT / "bench"
CLIENTS = Path(sys.prefix) / "clients"


def javascript(folder: Path) -> None:
    """Install the JavaScript SDK for node."""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PINS / "javascript" / name, folder / name)
    _run("npm", "ci", "--no-audit", "--no-fund", "--no-progress", "--ignore-scripts", folder=folder)


def sagemaker_core(folder: Path) -> None:
    """Install sagemaker-core, whose pins are not ours, into an environment of its own."""
    _environment(folder, PINS / "sagemaker_core" / "requirements.txt")


def sagemaker_sdk(folder: Path) -> None:
    """Install the last SageMaker Python SDK of version 2, the one with AutoMLV2, into an environment of its own."""
    _environment(folder, PINS / "sagemaker_sdk" / "requirements.txt")


def flaml(folder: Path) -> None:
    """Install FLAML, whose pins are not ours, into an environment of its own."""
    _environment(folder, BENCH_PINS / "flaml.txt")


def caikit(folder: Path) -> None:
    """Install caikit-nlp into an environment that finds the torch, transformers and peft of this one behind its own."""
    _environment(folder, BENCH_PINS / "caikit.txt")
    (own,) = folder.glob("lib/python*/site-packages")
    (own / "zz_ours.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")


def _environment(folder: Path, pinned: Path) -> None:
    venv.create(folder, with_pip=True)
    pip = (
        str(folder / "bin" / "python"),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
        "--no-deps",
    )
    _run(*pip, "--requirement", str(pinned), folder=folder)


_CLIENTS: dict[str, tuple[Callable[[Path], None], Path]] = {
    "caikit": (caikit, BENCH_PINS / "caikit.txt"),
    "flaml": (flaml, BENCH_PINS / "flaml.txt"),
    "javascript": (javascript, PINS / "javascript" / "package-lock.json"),
    "sagemaker-core": (sagemaker_core, PINS / "sagemaker_core" / "requirements.txt"),
    "sagemaker-sdk": (sagemaker_sdk, PINS / "sagemaker_sdk" / "requirements.txt"),
}


def installed(name: str) -> Path:
    """Give the folder of a client, installed if it is not there yet."""
    install, pins = _CLIENTS[name]
    folder = CLIENTS / f"{name}-{hashlib.sha256(pins.read_bytes()).hexdigest()[:12]}"
    done = folder / ".installed"
    if not done.exists():
        for old in CLIENTS.glob(f"{name}-*"):
            shutil.rmtree(old)
        folder.mkdir(parents=True)
        install(folder)
        done.touch()
    return folder


def _run(*command: str, folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, stdout=sys.stderr)


if __name__ == "__main__":
    for asked in sys.argv[1:] or _CLIENTS:
        print(installed(asked))
