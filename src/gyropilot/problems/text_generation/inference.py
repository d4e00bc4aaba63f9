"""Answers with a tuned model: loads the saved folder and generates through the template it was trained with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from gyropilot.errors import InvalidRequest
from gyropilot.problems.contract import Json
from gyropilot.problems.text_generation import artifacts, models
from gyropilot.problems.text_generation.generation import generate
from gyropilot.problems.text_generation.templates import Encoder


class TunedModel:
    """One loaded model; answers one payload at a time."""

    def __init__(self, folder: Path) -> None:
        self._serving = json.loads((folder / artifacts.SERVING).read_text(encoding="utf-8"))
        self._encoder = Encoder.of_tuned_model(folder)
        self._loaded = models.load(folder, dtype=self._serving["dtype"], attention="sdpa")

    def predict(self, payload: Mapping[str, Json]) -> list[dict[str, Json]]:
        """Answer `{"inputs": "...", "parameters": {"max_new_tokens": 64}}` with `[{"generated_text": "..."}]`.

        The answer is the most likely one, token by token.

        Raises:
            InvalidRequest: the payload does not fit, or the prompt leaves no room for an answer.
        """
        text, wanted = self._read(payload)
        prompt = self._encoder.prompts([text])[0]
        room = int(self._serving["model_tokens"]) - len(prompt)
        if room < 1:
            raise InvalidRequest(
                where="inputs",
                found=f"{len(prompt)} tokens",
                problem=f"is longer than the {self._serving['model_tokens']} tokens that the model takes",
                fix="shorten it",
            )
        stop_ids = self._encoder.template.stop_ids
        (answer,) = generate(self._loaded.model, [prompt], stop_ids=stop_ids, max_new_tokens=min(wanted, room))
        return [{"generated_text": self._encoder.text(answer.token_ids)}]

    def _read(self, payload: Mapping[str, Json]) -> tuple[str, int]:
        if not isinstance(payload, Mapping) or not isinstance(payload.get("inputs"), str):
            raise InvalidRequest(where="inputs", problem="must be a string", fix='send {"inputs": "..."}')
        parameters = payload.get("parameters") or {}
        if not isinstance(parameters, Mapping) or set(parameters) - {"max_new_tokens", "do_sample"}:
            raise InvalidRequest(
                where="parameters",
                found=sorted(parameters) if isinstance(parameters, Mapping) else parameters,
                problem="holds what is not known here",
                fix="known: max_new_tokens, and do_sample false",
            )
        if parameters.get("do_sample") not in (None, False):
            raise InvalidRequest(
                where="parameters.do_sample",
                found=parameters["do_sample"],
                problem="answers are greedy",
                fix="leave it out",
            )
        wanted = parameters.get("max_new_tokens", self._serving["max_new_tokens"])
        if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 1:
            raise InvalidRequest(
                where="parameters.max_new_tokens", found=wanted, problem="is not a whole number from 1", fix="lower it"
            )
        return payload["inputs"], wanted


def load(folder: Path) -> TunedModel:
    """Load a model folder that training saved (`model/`, or model.tar.gz unpacked).

    Raises:
        TrainingFailed: the folder is not whole, or its tokenizer and template are not those of the training.
    """
    return TunedModel(folder)
