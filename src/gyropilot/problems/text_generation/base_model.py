"""What a job needs to know of its base model, from the store's record and the model's own config."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from gyropilot.base_models import stand_ins
from gyropilot.base_models.records import InstalledModel
from gyropilot.base_models.store import BaseModelStore
from gyropilot.errors import NotFound, TrainingFailed
from gyropilot.problems.contract import Json
from gyropilot.problems.text_generation.positions import model_tokens
from gyropilot.problems.text_generation.templates import Style


@dataclass(frozen=True, kw_only=True)
class BaseModelFacts:
    """One installed base model."""

    name: str
    folder: Path
    digest: str
    revision: str
    licence: str
    context_tokens: int
    """Tokens that an input may have, and that an output may have."""
    model_tokens: int
    """Tokens that prompt and answer may have together: the positions the model knows, and for one that has an encoder,
    which counts distances alone, what both sides may have."""
    max_rows: int
    template_style: Style
    stands_in_for: str = ""
    """The model that the request named, where this one only stands in for it."""

    @property
    def title(self) -> str:
        """The name as people read it, with the one that it stands in for."""
        return f"{self.name}, a stand-in for {self.stands_in_for}" if self.stands_in_for else self.name

    def to_json(self) -> dict[str, Json]:
        """Give the facts as JSON values, without the folder, which is this machine's own."""
        return {name: value for name, value in asdict(self).items() if name != "folder"}


def read_base_model(store: Path, name: str, *, requested: str) -> BaseModelFacts:
    """Give the facts of an installed base model, as it serves a request that named `requested`.

    Raises:
        TrainingFailed: it is not installed any more.
    """
    installed = BaseModelStore(store, allow_downloads=False).find(name)
    if installed is None:
        raise _gone(name)
    return _facts(installed, requested)


def verified_base_model(store: Path, name: str, *, requested: str) -> BaseModelFacts:
    """Give what `read_base_model` does after every byte of the model was compared with its digests.

    Raises:
        TrainingFailed: it is not installed any more.
        InvalidData: a file is not as it was installed.
    """
    try:
        return _facts(BaseModelStore(store, allow_downloads=False).verify(name), requested)
    except NotFound as error:
        raise _gone(name) from error


def _gone(name: str) -> TrainingFailed:
    return TrainingFailed(
        f"base model {name} is not in the store any more; install it (gyropilot models pull {name}, or add)"
        " and create the job again"
    )


def _facts(installed: InstalledModel, requested: str) -> BaseModelFacts:
    installed = installed if installed.name == requested else stand_ins.fitted(installed, requested)
    has_encoder, together = installed.kind == "seq2seq", model_tokens(installed)
    return BaseModelFacts(
        name=installed.name,
        folder=installed.path,
        digest=installed.digest,
        revision=installed.revision,
        licence=installed.licence,
        context_tokens=min(installed.context_tokens, together),
        model_tokens=together,
        max_rows=installed.max_rows,
        template_style="bare" if has_encoder else "chat" if installed.has_chat_template else "plain",
        stands_in_for=installed.stands_in_for,
    )
