"""What a shell completes: names of the running service, base models, files; nothing where they cannot be had."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from gyropilot import settings as settings_file
from gyropilot.base_models import catalog
from gyropilot.base_models.store import BaseModelStore
from gyropilot.cli import watch
from gyropilot.errors import GyropilotError
from gyropilot.problems.text_generation.tuning.parameters import PARAMETERS
from gyropilot.sdk.errors import ServiceError

_MOST = 100


def jobs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Give the newest jobs whose names begin so."""
    filters = {"NameContains": incomplete} if incomplete else {}
    try:
        found = watch.connect(_home(context)).jobs(SortBy="CreationTime", SortOrder="Descending", **filters)
        names = [str(one["AutoMLJobName"]) for one in islice(found, _MOST)]
    except (click.ClickException, GyropilotError, ServiceError, OSError):
        return []
    return [name for name in names if name.startswith(incomplete)]


def endpoints(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Give the newest endpoints whose names begin so."""
    filters = {"NameContains": incomplete} if incomplete else {}
    try:
        client = watch.connect(_home(context))
        found = client.endpoints.summaries(SortBy="CreationTime", SortOrder="Descending", **filters)
        names = [str(one["EndpointName"]) for one in islice(found, _MOST)]
    except (click.ClickException, GyropilotError, ServiceError, OSError):
        return []
    return [name for name in names if name.startswith(incomplete)]


def transforms(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Give the newest batch transforms whose names begin so."""
    filters = {"NameContains": incomplete} if incomplete else {}
    try:
        found = watch.connect(_home(context)).transforms.summaries(**filters)
        names = [str(one["TransformJobName"]) for one in islice(found, _MOST)]
    except (click.ClickException, GyropilotError, ServiceError, OSError):
        return []
    return [name for name in names if name.startswith(incomplete)]


def base_models(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Give the names of base models, installed or known, that begin so."""
    known = [one.name for one in catalog.CATALOG]
    try:
        settings = settings_file.read({"home": _home(context)})
        known += [one.name for one in BaseModelStore(settings.base_models, settings.allow_downloads).installed()]
    except (GyropilotError, OSError):
        pass
    return [name for name in dict.fromkeys(known) if name.startswith(incomplete)]


def told_by(names: Callable[[Path | None], Iterable[str]]) -> Callable[..., list[str]]:
    """Give what completes by those of `names`, asked with the home, that begin so."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        try:
            # Two accounts may each have one of a name.
            return [name for name in dict.fromkeys(names(_home(context))) if name.startswith(incomplete)]
        except (click.ClickException, GyropilotError, ServiceError, OSError):
            return []

    return complete


def hyperparameters(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Give the keys of TextGenerationHyperParameters that begin so, each with its `=`."""
    return [f"{one.key}=" for one in PARAMETERS if one.key and one.key.startswith(incomplete)]


def files(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Let the shell complete a file or folder."""
    return [CompletionItem(incomplete, type="file")]


def folders(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Let the shell complete a folder."""
    return [CompletionItem(incomplete, type="dir")]


def _home(context: click.Context) -> Path | None:
    home = context.params.get("home")
    return home if isinstance(home, Path) else None
