"""Tunes a model on this machine, without a service; behind `gyropilot.tuning` and `gyropilot tune`.

Everything is checked first; then rows are prepared and the model is trained in one child, as a job's are.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from gyropilot.engine.gpus import cuda_devices
from gyropilot.errors import Fault, InvalidRequest
from gyropilot.local import bases, model_folders, training, wishes
from gyropilot.local.bases import Base
from gyropilot.local.child_runs import Tell
from gyropilot.local.training import Training
from gyropilot.local.tuned_model import TunedModel
from gyropilot.local.wishes import Streams, Wish
from gyropilot.local.working_folders import working_folder
from gyropilot.problems.contract import LocalChannel
from gyropilot.problems.text_generation import asked_spec
from gyropilot.problems.text_generation.source_prompts.store import SourcePrompts
from gyropilot.problems.text_generation.tuning.combinations import Surroundings
from gyropilot.settings import Settings


def tuned(wish: Wish, settings: Settings, *, tell: Tell) -> TunedModel:
    """Train in a child of this process, and give the model.

    Raises:
        InvalidRequest: something is wrong with what was asked for; all of it is told before anything is computed.
        TrainingFailed: nothing usable came out.
    """
    with ExitStack() as held:
        working = working_folder(settings, held)
        asked = _asked(wish, settings, working)
        outcome = training.run(asked, settings, tell=tell)
        files = working / "model"
        shares = bool(outcome.result["containers"][0]["shares"])
        told = {"spec": asked.spec.to_json(), "chosen": outcome.result["chosen"], "rows": outcome.profile["rows"]}
        model_folders.lay_out(outcome.output, files, shares_base=shares, tuning=told)
        shutil.rmtree(asked.working)
        if wish.output is not None:
            model_folders.copy(files, wish.output, base=None)
        return TunedModel(files, asked.base_models, settings, held.pop_all())


def _asked(wish: Wish, settings: Settings, working: Path) -> Training:
    """Give the training, everything about it checked."""
    faults: list[Fault] = []
    streams = wishes.streams_of(wish, working / "rows", faults)
    around = Surroundings(
        columns=streams.columns,
        cuda_devices=cuda_devices(settings),
        source_prompts=SourcePrompts(settings.source_prompts),
    )
    base = _base(wish, settings, working, around, faults)
    spec = asked_spec.spec_of(
        wish.values,
        base_model=base.name,
        accept_eula=wish.accept_eula is True,
        store=base.store,
        around=around,
        where=wish.where,
        validation_fraction=wish.validation_fraction,
        known=faults,
    )
    return Training(
        name=wishes.new_name(),
        spec=spec,
        base_models=base.root,
        channels=_channels(streams),
        working=working / "training",
        evaluation_seconds=settings.evaluation_seconds,
    )


def _base(wish: Wish, settings: Settings, working: Path, around: Surroundings, faults: list[Fault]) -> Base:
    """Give the base model; one that takes a copy or a download is brought here once nothing else is wrong.

    Raises:
        InvalidRequest: with every fault that can be seen without it.
    """
    found = wishes.gathered(faults, lambda: bases.named(wish.base_model, where=wish.where("base_model")))
    if found is None or not found.is_here(settings):
        asked_spec.asked_of(wish.values, around, where=wish.where, faults=faults)
        if found is not None and found.folder is None:
            place, accepted = wish.where("accept_eula"), wish.accept_eula is True
            faults += bases.licence_faults(found, settings, accept_eula=accepted, where=place)
        if found is None or faults:
            raise InvalidRequest.of(faults)
    base = wishes.gathered(faults, partial(bases.brought, found, settings, working))
    if base is None:
        raise InvalidRequest.of(faults)
    return base


def _channels(streams: Streams) -> tuple[LocalChannel, ...]:
    return tuple(one.channel for one in (streams.training, streams.validation) if one is not None)
