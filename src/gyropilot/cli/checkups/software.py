"""Checks of the installed libraries: versions against the ranges that are tested, and whether torch loads."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata

from gyropilot.cli.checkups.finding import Finding, fail, ok, warn
from gyropilot.settings import Settings, passed_on

_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*(?P<ranges>[^;]*)(?:;.*extra == ['\"](?P<extra>[a-z]+)['\"])?"
)
_RANGE = re.compile(r"(>=|<=|==|<|>)\s*([0-9]+(?:\.[0-9]+)*)")
_LOAD_SECONDS = 120
_LOADING = {
    "torch": (
        "import torch; d = torch.cuda.device_count();"
        " print(torch.__version__, 'loads,', f'{d} CUDA devices' if d else 'no CUDA device')"
    ),
    "torchvision": "import torch, torchvision; print(torchvision.__version__, 'loads')",
}


def check(settings: Settings) -> Iterator[Finding]:
    """Give what is wrong with the libraries, or that nothing is."""
    yield ok("python", f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}")
    yield from _extra("", "the service", needed=True)
    yield from _extra("llm", "text generation", needed=False)
    if settings.database_url:
        yield from _extra("postgres", "the setting database_url", needed=True)
    if settings.s3_endpoint:
        yield from _extra("s3", "the setting s3_endpoint", needed=True)
    yield from _torch()


def version_faults(requirement: str, version: str) -> list[str]:
    """Give the bounds of a requirement, as `torch<2.16,>=2.11`, that a version lies outside of."""
    release = _numbers(re.match(r"[0-9.]*", version)[0])  # type: ignore[index]  # it matches always
    return [
        f"{sign}{bound}" for sign, bound in _RANGE.findall(requirement) if not _holds(release, sign, _numbers(bound))
    ]


def _extra(extra: str, who: str, *, needed: bool) -> Iterator[Finding]:
    name = f"libraries {extra}".strip()
    install = f"pip install 'gyropilot[{extra}]'" if extra else "pip install --force-reinstall gyropilot"
    wanted = _requirements(extra)
    missing, odd, right = [], [], []
    for package, ranges in wanted.items():
        version = _version(package)
        if version is None:
            missing.append(package)
        elif version_faults(ranges, version):
            odd.append(f"{package} {version} (tested {ranges})")
        else:
            right.append(f"{package} {version}")
    if missing:
        told = fail if needed else warn
        yield told(name, f"{who} needs {', '.join(missing)}, not installed", install)
    if odd:
        yield warn(name, f"outside what is tested: {', '.join(odd)}", f"{install} with the project's constraints.txt")
    if not missing and not odd:
        yield ok(name, f"within the tested ranges: {', '.join(right)}")


def _requirements(extra: str) -> dict[str, str]:
    found = (_REQUIREMENT.match(one) for one in metadata.requires("gyropilot") or ())
    return {one["name"]: one["ranges"].strip() for one in found if one and (one["extra"] or "") == extra}


def _torch() -> Iterator[Finding]:
    if _version("torch") is None:
        return
    is_there, said = _loads("torch")
    if not is_there:
        yield fail("torch", f"does not load: {said}", "install it again: pip install --force-reinstall torch")
        return
    yield ok("torch", said)
    if _version("torchvision") is None:
        yield ok("torchvision", "not installed, as it should be")
        return
    is_there, said = _loads("torchvision")
    if not is_there:
        said = f"is installed and does not load beside this torch ({said}); imports inside transformers break on it"
        yield fail("torchvision", said, "pip uninstall torchvision; nothing here uses it")
        return
    yield warn("torchvision", f"{said}, and nothing here uses it", "pip uninstall torchvision, if you do not need it")


def _loads(module: str) -> tuple[bool, str]:
    """Say whether a module loads, and what it or its failure said; in a process of its own, since it is large."""
    command = [sys.executable, "-P", "-c", _LOADING[module]]
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, timeout=_LOAD_SECONDS, check=False, env=passed_on()
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    lines = (ran.stdout if ran.returncode == 0 else ran.stderr).strip().splitlines()
    return ran.returncode == 0, lines[-1] if lines else f"exit status {ran.returncode}"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(one) for one in text.split(".") if one)


def _holds(release: tuple[int, ...], sign: str, bound: tuple[int, ...]) -> bool:
    length = max(len(release), len(bound))
    have, want = (one + (0,) * (length - len(one)) for one in (release, bound))
    return {">=": have >= want, "<=": have <= want, "==": have == want, "<": have < want, ">": have > want}[sign]
