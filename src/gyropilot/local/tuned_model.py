"""A tuned model in a Python program: it answers, is saved, and tells what was measured; `tune` and `load` give it.

Answers are computed in this process, by the same code that answers for endpoints.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from gyropilot.base_models.store import BaseModelStore
from gyropilot.errors import Fault, InvalidData, InvalidRequest
from gyropilot.local import generated, machine, model_folders
from gyropilot.local.generated import GeneratedPiece, GeneratedText
from gyropilot.problems.contract import Call, ServeTask
from gyropilot.problems.text_generation.request import TextGenerationSpec, read_spec
from gyropilot.settings import Settings

if TYPE_CHECKING:  # torch is imported when the model is first asked
    from gyropilot.problems.text_generation.serving.model_server import TextGenerationServer

Json = Any
_NAME = "model"
_JSON = "application/json"
_MANY = "a list of texts is asked for one by one: [model.run(text) for text in texts]"


class TunedModel:
    """A tuned model. It may be asked from several threads; a `with` block, or `close`, lets go of its memory."""

    def __init__(self, files: Path, bases: Path, settings: Settings, held: ExitStack) -> None:
        """Take the model in the folder `files`, on a base of the store `bases`; `held` is closed with the model."""
        self._files, self._bases, self._settings, self._held = files, bases, settings, held
        self._opening = threading.Lock()
        self._server: TextGenerationServer | None = None
        self._is_closed = False
        self._evaluation = model_folders.read_json(files, "evaluation.json")
        self._tuning = model_folders.read_json(files, model_folders.TUNING)

    @property
    def metrics(self) -> Mapping[str, float]:
        """Give what was measured on the validation rows by its name, as ValidationLoss; nothing where it is unknown."""
        return {one["name"]: one["tuned"] for one in self._evaluation.get("metrics", ())}

    @property
    def base_metrics(self) -> Mapping[str, float]:
        """Give the same of the untouched base model, as far as that was measured."""
        found = {one["name"]: one["base"] for one in self._evaluation.get("metrics", ())}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def training_log(self) -> Sequence[Mapping[str, Json]]:
        """Give each step of training, with its loss; nothing where it is unknown."""
        return model_folders.read_lines(self._files, "training.jsonl")

    @property
    def epochs(self) -> Sequence[Mapping[str, Json]]:
        """Give each epoch's validation loss."""
        return list(self._evaluation.get("epochs", ()))

    @property
    def spec(self) -> TextGenerationSpec | None:
        """Give what was trained and how, defaults filled in; None where it is unknown."""
        return read_spec(self._tuning["spec"]) if "spec" in self._tuning else None

    @property
    def ended_by(self) -> str:
        """Give what ended training: finished, stop (Ctrl-C) or time limit; empty where it is unknown."""
        return str(self._evaluation.get("ended_by", ""))

    @property
    def base_model(self) -> str:
        """Give the name of the base model."""
        return str(model_folders.read_json(self._files, model_folders.SERVING).get("base_model", ""))

    def run(self, text: str, **parameters: Json) -> GeneratedText:
        """Give the answer to a text; the model's template, or its verbalizer, is put around it.

        Args:
            text: An input as in the rows.
            parameters: Those of an endpoint's payload, as max_new_tokens, decoding_method, temperature, top_k, top_p,
                seed, stop_sequences, min_new_tokens, truncate_input_tokens, preserve_input_text.

        Raises:
            InvalidRequest: the text does not fit, or a parameter is wrong; each by its name.
            TrainingFailed: the model cannot be loaded.
        """
        body = {"inputs": _checked(text), "parameters": {**parameters, "details": True}}
        with _plain_names():
            return generated.whole(self._opened().answer(_NAME, _call(body)).body)

    def run_stream(self, text: str, **parameters: Json) -> Iterator[GeneratedPiece]:
        """Give the answer to a text piece by piece; all pieces' texts joined are what `run` gives.

        What ended it comes with the last piece. Whoever stops taking pieces ends the work. Takes and raises what `run`
        does, at once.
        """
        body = {"inputs": _checked(text), "parameters": parameters, "stream": True}
        with _plain_names():
            streamed = self._opened().stream(_NAME, _call(body))
        begin = self._rendered(text) if parameters.get("preserve_input_text") else ""
        begin = text if parameters.get("return_full_text") else begin
        return _begun_by(begin, generated.pieces(streamed.parts))

    def save(self, folder: str | PathLike[str], with_base: bool = False) -> Path:  # noqa: FBT001, FBT002 - the peer's
        """Write the model into a folder that `load` reads, and give it.

        Args:
            folder: Empty, or not there.
            with_base: Write the base model too, so that the folder needs nothing else; without it the base must be
                installed, or be named, where the model is loaded. A model whose own weights were changed, as by FULL,
                holds all of them, and needs no base.

        Raises:
            InvalidRequest: something lies in the folder; or the base is not here.
        """
        self._check_open()
        to = Path(folder).expanduser().absolute()
        needs_base = with_base and not model_folders.has_weights(self._files)
        model_folders.copy(self._files, to, base=self._base_folder() if needs_base else None)
        return to

    def close(self) -> None:
        """Let go of the model, and of the files that are no one else's; harmless when it is done already."""
        with self._opening:
            self._is_closed = True
            server, self._server = self._server, None
            if server is not None:
                server.close()
            self._held.close()

    def open(self) -> Self:
        """Load the model, which the first question does else; give it.

        Raises:
            TrainingFailed: its files are not whole, or its base is not here.
        """
        self._opened()
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        tuning = model_folders.read_json(self._files, model_folders.SERVING).get("tuning", "") if self._is_there else ""
        return f"<TunedModel {tuning} on {self.base_model}>" if tuning else "<TunedModel, closed>"

    @property
    def _is_there(self) -> bool:
        return not self._is_closed and self._files.is_dir()

    def _check_open(self) -> None:
        if self._is_closed:
            raise InvalidRequest(where="model", problem="is closed", fix="load it again")

    def _opened(self) -> TextGenerationServer:
        with self._opening:
            self._check_open()
            if self._server is None:
                self._server = self._loaded()
            return self._server

    def _loaded(self) -> TextGenerationServer:
        from gyropilot.problems.text_generation.serving.model_server import TextGenerationServer

        settings = self._settings
        server = TextGenerationServer(
            ServeTask(
                base_models=self._bases,
                cores=settings.replica_cores or machine.cores(),
                memory_bytes=machine.job_memory_bytes(settings),
            )
        )
        try:
            server.load(_NAME, self._files, {})
        except BaseException:
            server.close()
            raise
        return server

    def _rendered(self, text: str) -> str:
        """Give the prompt as the model's template renders it."""
        from gyropilot.problems.text_generation.templates import Encoder

        return Encoder.of_tuned_model(self._files).prompt_text(text)

    def _base_folder(self) -> Path:
        found = BaseModelStore(self._bases, allow_downloads=False).find(self.base_model)
        if found is None:
            fix = f"gyropilot models pull {self.base_model}, or save without the base"
            raise InvalidRequest(where="with_base", problem=f"the base {self.base_model} is not here", fix=fix)
        return found.path


class _plain_names:  # noqa: N801 - a context manager, which reads as a statement
    """Names faults as a Python caller wrote the fields: `max_new_tokens`, not `parameters.max_new_tokens`."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, InvalidRequest) and not isinstance(error, InvalidData):
            raise InvalidRequest.of(_renamed(one) for one in error.faults) from error


def _renamed(fault: Fault) -> Fault:
    return replace(fault, where="text" if fault.where == "inputs" else fault.where.removeprefix("parameters."))


def _checked(text: object) -> str:
    if not isinstance(text, str):
        raise InvalidRequest(where="text", found=type(text).__name__, problem="is no text", fix=_MANY)
    return text


def _call(body: Mapping[str, Json]) -> Call:
    try:
        written = json.dumps(body, ensure_ascii=True, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        fix = "give numbers, texts, truths and lists"
        raise InvalidRequest(where="parameters", problem=f"cannot be written as JSON: {error}", fix=fix) from error
    return Call(body=written, content_type=_JSON, accept="")


def _begun_by(text: str, pieces: Iterator[GeneratedPiece]) -> Iterator[GeneratedPiece]:
    if text:
        yield GeneratedPiece(generated_text=text)
    yield from pieces
