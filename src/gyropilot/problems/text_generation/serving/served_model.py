"""One loaded model: questions to prompts of tokens within its limits, and from there to answers under way."""

from __future__ import annotations

import secrets
import threading
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gyropilot.errors import Fault, InvalidData, InvalidRequest
from gyropilot.problems.text_generation.decoding.sampling import Sampling
from gyropilot.problems.text_generation.decoding.scheduler import Scheduler
from gyropilot.problems.text_generation.fitting import Encoded, Limits, encode_rows
from gyropilot.problems.text_generation.rendering import InvalidTemplate
from gyropilot.problems.text_generation.serving import conversations
from gyropilot.problems.text_generation.serving.answers import Answer
from gyropilot.problems.text_generation.serving.environment import Environment
from gyropilot.problems.text_generation.serving.fields import raise_faults, shown_name
from gyropilot.problems.text_generation.serving.questions import MAX_TOLD_TOKENS, Bounds, Length, Prompt, Question
from gyropilot.problems.text_generation.templates import Encoder, Values

_SEEDS = 2**63
_NO_LIMIT = 2**31
_SHOWN_TASKS = 20
_COUNTED_CHARACTERS = 2**18
"""Texts up to this long have their tokens counted before they are refused, which for megabytes would take seconds."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A question in tokens, found to fit."""

    question: Question
    prompts: tuple[array[int], ...]
    rendered: tuple[str, ...]
    """What is put before each answer."""
    max_new_tokens: tuple[int, ...]
    """For each prompt."""

    @property
    def answer_count(self) -> int:
        """How many answers it asks for."""
        return len(self.prompts) * self.question.copies


class ServedModel:
    """A model of a scheduler under its name there, with the encoder and the limits that are its own."""

    def __init__(
        self,
        names: Sequence[str],
        scheduler: Scheduler,
        encoder: Encoder,
        environment: Environment,
        *,
        model_tokens: int,
        tasks: Sequence[str],
    ) -> None:
        """Join what answers.

        Args:
            names: of the model in the scheduler, or of each of its tasks there.
            scheduler: knows these.
            encoder: of the model's tokenizer and template.
            environment: the container's.
            model_tokens: most tokens of prompt and answer together.
            tasks: the names that callers know its tasks by; none: it was tuned on one.
        """
        self.scheduler, self.environment, self.encoder, self.names = scheduler, environment, encoder, tuple(names)
        self._name_by_task = dict(zip(tasks, names, strict=False))
        known = scheduler.model_tokens
        self._tokens = model_tokens if known is None else min(known, model_tokens)
        self._virtual_tokens = scheduler.virtual_tokens(names[0])
        self._most_characters = max(_COUNTED_CHARACTERS, self._tokens * encoder.most_characters)

    def prepare(self, question: Question) -> Prepared:
        """Encode a question's prompts and say how long each answer may be.

        Raises:
            InvalidRequest: with every prompt that does not fit, by its number of tokens.
            LimitExceeded: one is longer with its answer than memory holds.
        """
        faults: list[Fault] = []
        prompts: list[array[int]] = []
        lengths: list[int] = []
        rendered: list[str] = []
        for prompt in question.prompts:
            try:
                tokens, kept = self._encoded(prompt, question)
                lengths.append(self._room(prompt.where, len(tokens), question))
                prompts.append(array("i", tokens))
                rendered.append(kept)
            except InvalidRequest as error:
                faults += error.faults
        raise_faults([*faults, *self._misfits(question, sum(map(len, prompts)))])
        for one, length in zip(prompts, lengths, strict=True):
            self.scheduler.check_room(self._virtual_tokens + len(one) + length)
        return Prepared(
            question=question, prompts=tuple(prompts), rendered=tuple(rendered), max_new_tokens=tuple(lengths)
        )

    @property
    def most_tokens(self) -> int | None:
        """How many tokens one call may have under way: half of those that memory holds; None: no bound."""
        held = self.scheduler.tokens_at_once
        return None if held is None else held // 2

    def answers(self, prepared: Prepared, cancelled: threading.Event) -> list[list[Answer]]:
        """Give the answers to each prompt, none begun; they end early when `cancelled` is set."""
        return [
            [
                self._answer(prepared.question, tokens, rendered, length, copy, cancelled)
                for copy in range(prepared.question.copies)
            ]
            for tokens, rendered, length in zip(
                prepared.prompts, prepared.rendered, prepared.max_new_tokens, strict=True
            )
        ]

    def _answer(
        self,
        question: Question,
        tokens: Sequence[int],
        rendered: str,
        length: int,
        copy: int,
        cancelled: threading.Event,
    ) -> Answer:
        choosing = question.choosing
        name = self.names[0] if question.task is None else self._name_by_task[question.task]
        seed = None
        if choosing.do_sample:
            seed = ((secrets.randbits(53) if choosing.seed is None else choosing.seed) + copy) % _SEEDS
        template = self.encoder.template
        sampling = Sampling(
            max_new_tokens=length,
            do_sample=choosing.do_sample,
            temperature=choosing.temperature,
            top_k=choosing.top_k,
            top_p=choosing.top_p,
            typical_p=choosing.typical_p,
            repetition_penalty=choosing.repetition_penalty,
            seed=seed,
            stop_ids=template.stop_ids,
            min_new_tokens=question.bounds.least_tokens,
            decay=choosing.decay,
            logprobs=question.top_tokens,
            tells_rank=question.tells_ranks,
            tells_prompt=question.tells_prompt,
            max_seconds=question.bounds.most_seconds,
        )
        return Answer(
            lambda: self.scheduler.submit(name, tuple(tokens), sampling, cancelled=_Either(cancelled)),
            self.encoder.text,
            stops=question.stops,
            prompt_tokens=len(tokens),
            max_new_tokens=length,
            end_id=template.eos_id,
            seed=seed,
            keeps_stop=question.keeps_stop,
            rendered=rendered,
        )

    def _misfits(self, question: Question, prompt_tokens: int) -> Iterator[Fault]:
        """Say what this model cannot be asked; the prompts together have so many tokens."""
        within, has_encoder = question.bounds.within, self.encoder.template.has_encoder
        instead = "and this model answers a text instead of continuing it"
        if question.repeats_rendered and has_encoder:
            problem = f"asks for the prompt before the answer, {instead}"
            yield Fault(where=f"{within}preserve_input_text", found=True, problem=problem, fix="leave it out")
        if question.tells_prompt and has_encoder:
            problem = f"asks how likely the prompt's tokens are, {instead}: it reads them without foretelling any"
            yield Fault(where=f"{within}input_tokens", found=True, problem=problem, fix="leave it out")
        elif question.tells_prompt and prompt_tokens > MAX_TOLD_TOKENS:
            problem = f"asks for {prompt_tokens} tokens of prompts, and one payload is told at most {MAX_TOLD_TOKENS}"
            yield Fault(where=f"{within}input_tokens", found=True, problem=problem, fix="send fewer texts at a time")
        if question.task is not None and question.task not in self._name_by_task:
            known = ", ".join(shown_name(one) for one in list(self._name_by_task)[:_SHOWN_TASKS])
            problem = (
                "is none of the tasks that the model was tuned on"
                if known
                else "means nothing: the model was not tuned on several tasks"
            )
            fix = f"known: {known}" if known else "leave it out"
            yield Fault(where=f"{within}task", found=shown_name(question.task), problem=problem, fix=fix)

    def _encoded(self, prompt: Prompt, question: Question) -> tuple[list[int], str]:
        """Give the tokens of a prompt, and its text where that is put before the answer."""
        texts = [prompt.content] if isinstance(prompt.content, str) else [one.content for one in prompt.content]
        size = sum(map(len, texts))
        if size > self._most_characters:
            problem = f"is longer than any text of the {self._tokens} tokens that the model takes"
            raise InvalidRequest(where=prompt.where, found=f"{size} characters", problem=problem, fix="shorten it")
        if not isinstance(prompt.content, str):
            return conversations.prompt_of(self.encoder, prompt.content), ""
        try:
            tokens = self.encoder.prompts([prompt.content])[0]
            kept: Values | None = prompt.content
            most = question.bounds.prompt_tokens
            if most is not None and len(tokens) > most:
                row = self._truncated(prompt, question.bounds, most)
                tokens, kept = row.prompt_ids, row.kept
            if not question.repeats_rendered:
                return tokens, ""
            return tokens, self.encoder.text(tokens) if kept is None else self.encoder.prompt_text(kept)
        except InvalidTemplate as error:
            raise InvalidRequest(where=prompt.where, problem=str(error), fix="send another text") from error

    def _truncated(self, prompt: Prompt, bounds: Bounds, most: int) -> Encoded:
        """Give the prompt cut as a row of the training is that is too long."""
        limits = Limits(side=_NO_LIMIT, model=_NO_LIMIT, source=most)
        try:
            (row,) = encode_rows(self.encoder, [str(prompt.content)], [""], limits)
        except InvalidData as error:
            problem = "leaves nothing of the input: the model's template alone has more tokens"
            fix = "raise it, or leave it out"
            name = f"{bounds.within}truncate_input_tokens"
            raise InvalidRequest(where=name, found=most, problem=problem, fix=fix) from error
        return row

    def _room(self, where: str, prompt_tokens: int, question: Question) -> int:
        """Give how long the answer to a prompt may be."""
        room = self._tokens - self._virtual_tokens - prompt_tokens
        virtual = f", {self._virtual_tokens} virtual tokens of its tuning among them" if self._virtual_tokens else ""
        if room < 1:
            both = f"prompt and answer may have {self._tokens} tokens together"
            raise InvalidRequest(
                where=where,
                found=f"{prompt_tokens} tokens with the model's template",
                problem=f"leaves no room for an answer: {both}{virtual}",
                fix=f"shorten it by {1 - room} tokens or more",
            )
        least = question.bounds.least_tokens
        if question.length is None:
            most = min(max(least, self.environment.max_new_tokens), room)
        else:
            most = self._asked(where, prompt_tokens, question.length, room)
        if least > most:
            problem = f"is more than the {most} tokens that the answer may have"
            fix = "ask for fewer, for a longer answer, or shorten the prompt"
            name = f"{question.bounds.within}min_new_tokens"
            raise InvalidRequest(where=name, found=least, problem=problem, fix=fix)
        return most

    def _asked(self, where: str, prompt_tokens: int, length: Length, room: int) -> int:
        """Give how long an answer is to be that has `room`."""
        counted = prompt_tokens if length.counts_prompt and not self.encoder.template.has_encoder else 0
        asked = length.tokens - counted
        if asked < 1:
            problem = f"counts the prompt in, and {where} has {prompt_tokens} tokens already"
            raise InvalidRequest(where=length.where, found=length.tokens, problem=problem, fix="raise it")
        if asked > room:
            taken = f"{where} takes {prompt_tokens}"
            taken += f" and virtual tokens of its tuning {self._virtual_tokens}" if self._virtual_tokens else ""
            problem = f"is more than there is room for: of the model's {self._tokens} tokens {taken}"
            fix = f"ask for at most {room + counted}, or shorten the prompt"
            raise InvalidRequest(where=length.where, found=length.tokens, problem=problem, fix=fix)
        return asked


class _Either(threading.Event):
    """Set when the caller has gone, or by itself."""

    def __init__(self, caller: threading.Event) -> None:
        super().__init__()
        self._caller = caller

    def is_set(self) -> bool:
        return super().is_set() or self._caller.is_set()
