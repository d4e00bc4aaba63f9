"""How a row becomes tokens: a model's prompt template, and the one encoder that training, scoring and serving share.

    chat    the model's own chat template over one user message; the answer and the end token follow it
    plain   for base models: the text PLAIN with the input in its place; the answer and the end token follow it
    bare    for encoder-decoder models: the input itself and the end token, to the encoder; the answer and the end token
            are the decoder's
    verbalizer, bare verbalizer
            the caller's own text with {{field}}s in the place of plain's and of bare's

Prompt and answer are encoded apart and joined as token spans: no marker is ever searched for, no label is found by
token identity, the template's text carries the only start token. A chat template that adds a system message of its
own when none is given (SmolLM2's does) adds it here too: that is what the model was made with, and what any other
program gets that renders the same user message with the template beside the model.

Text of a row never becomes a control token: a row that holds one, as `<|im_end|>`, has it encoded as plain text. What
a template says itself may: a verbalizer that writes `<|im_end|>` means the token.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from tokenizers import Tokenizer

from gyropilot.errors import TrainingFailed
from gyropilot.problems.contract import Json
from gyropilot.problems.text_generation import verbalizer as verbalizers
from gyropilot.problems.text_generation.rendering import ChatTemplate, InvalidTemplate

PLAIN = "### Instruction:\n{input}\n\n### Response:\n"
"""What stands before the answer of a base model."""

BARE = "{input}"
"""What an encoder-decoder model reads, its end token after it."""

Style = Literal["chat", "plain", "bare"]
"""What a base model was made to read."""
Kind = Literal["chat", "plain", "bare", "verbalizer", "bare verbalizer"]
Values = str | Mapping[str, str]
"""What a prompt is made of: the input, or the fields of a row, the input among them."""

FILE = "gyropilot-template.json"
"""Lies beside the saved model."""

_PLACE = "\ue000\ue001\ue002"
"""Private-use characters that stand for the input where the template round it is wanted."""
_CHECK = ("What is 2 + 2?\nShow it: «é» ✓", "4, since 2 + 2 = 4.")


@dataclass(frozen=True, kw_only=True)
class PromptTemplate:
    """A model's template; saved with every model tuned by it."""

    kind: Kind
    source: str
    special_tokens: Mapping[str, str]
    """Texts that a chat template may name: bos_token, eos_token..."""
    bos_id: int | None
    """Start token put before a prompt; a chat template writes its own."""
    eos_id: int
    """Ends every answer."""
    stop_ids: tuple[int, ...]
    """Tokens at which generation ends; eos_id among them."""

    def to_json(self) -> dict[str, Json]:
        """Give the template as JSON values."""
        return {**asdict(self), "stop_ids": list(self.stop_ids)}

    @property
    def has_encoder(self) -> bool:
        """Whether the prompt goes to an encoder, its end token after it."""
        return self.kind in {"bare", "bare verbalizer"}

    @property
    def is_verbalizer(self) -> bool:
        """Whether the source is a caller's text with {{field}}s."""
        return self.kind in {"verbalizer", "bare verbalizer"}

    @property
    def digest(self) -> str:
        """The sha256 of the template's JSON form."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()


class Encoder:
    """Turns inputs and outputs into tokens and back, by one model's tokenizer and template."""

    def __init__(self, tokenizer_file: Path, template: PromptTemplate) -> None:
        self.template = template
        self._marked = open_tokenizer(tokenizer_file)
        self._literal = open_tokenizer(tokenizer_file)
        self._literal.encode_special_tokens = True
        added = self._marked.get_added_tokens_decoder().values()
        self._control_texts = tuple(one.content for one in added if one.special)
        self._chat = ChatTemplate(template.source) if template.kind == "chat" else None
        self._around = ("", "") if template.is_verbalizer else self._text_around()

    @classmethod
    def of_base_model(cls, folder: Path, *, style: Style, verbalizer: str | None = None) -> Encoder:
        """Open a base model's encoder; `chat` falls back to plain where the folder has no chat template.

        Args:
            folder: of the model.
            style: what the model was made to read.
            verbalizer: a checked template that stands in the place of the model's own.

        Raises:
            TrainingFailed: the folder's tokenizer or template cannot be used.
        """
        if verbalizer is None:
            return cls._opened(folder, read_template(folder, style=style))
        template = read_template(folder, style="bare" if style == "bare" else "plain")
        kind: Kind = "bare verbalizer" if template.has_encoder else "verbalizer"
        return cls._opened(folder, replace(template, kind=kind, source=verbalizer))

    @classmethod
    def of_tuned_model(cls, folder: Path) -> Encoder:
        """Open the encoder of a model saved by this problem type and prove that it still gives the saved tokens.

        Raises:
            TrainingFailed: template or tokenizer are missing, or are not those the model was trained with.
        """
        saved = json.loads((folder / FILE).read_text(encoding="utf-8"))
        values = {**saved["template"], "stop_ids": tuple(saved["template"]["stop_ids"])}
        encoder = cls._opened(folder, PromptTemplate(**values))
        if encoder.check() != saved["check"]:
            raise TrainingFailed(f"{folder.name}: tokenizer and template give other tokens than in training")
        return encoder

    @classmethod
    def _opened(cls, folder: Path, template: PromptTemplate) -> Encoder:
        try:
            return cls(folder / "tokenizer.json", template)
        except InvalidTemplate as error:
            raise TrainingFailed(f"base model {folder.name}: {error}") from error

    def save(self, folder: Path) -> None:
        """Write the template beside a model, with the tokens of one row as proof."""
        content = {"format": 1, "template": self.template.to_json(), "check": self.check()}
        (folder / FILE).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    def check(self) -> dict[str, Json]:
        """Give the tokens of one fixed row."""
        text, answer = _CHECK
        names = verbalizers.fields(self.template.source) if self.template.is_verbalizer else (verbalizers.INPUT,)
        return {
            "input": text,
            "output": answer,
            "prompt_ids": self.prompts([dict.fromkeys(names, text)])[0],
            "answer_ids": self.answers([answer])[0],
        }

    @property
    def end_text(self) -> str:
        """The end token as text."""
        return str(self._marked.id_to_token(self.template.eos_id))

    @property
    def text_as_verbalizer(self) -> str:
        """The template's text as a verbalizer, whatever kind it is."""
        if self.template.is_verbalizer:
            return self.template.source
        return f"{{{{{verbalizers.INPUT}}}}}".join(self._around)

    def prompt_text(self, values: Values) -> str:
        """Give the prompt for one input, or for the fields of one row, as text.

        Raises:
            InvalidTemplate: the chat template cannot render it.
            InvalidRequest: the verbalizer names a field that has no value.
        """
        if self.template.is_verbalizer:
            return verbalizers.render(self.template.source, _fields(values))
        text = _fields(values)[verbalizers.INPUT]
        if self._chat is None:
            return self.template.source.replace("{input}", text)
        return self._chat.render([{"role": "user", "content": text}], self.template.special_tokens)

    def prompts(self, inputs: Sequence[Values]) -> list[list[int]]:
        """Give the prompt tokens of each input, up to where the answer begins.

        Raises:
            InvalidTemplate: the chat template cannot render an input.
            InvalidRequest: the verbalizer names a field that has no value.
        """
        wholes = [self._whole(values) for values in inputs]
        encoded = self._marked.encode_batch([whole or "" for whole in wholes], add_special_tokens=False)
        end = [self.template.eos_id] if self.template.has_encoder else []
        return [
            self._started(self.joined(self._parts(values)) if whole is None else list(one.ids)) + end
            for values, whole, one in zip(inputs, wholes, encoded, strict=True)
        ]

    def answers(self, outputs: Sequence[str]) -> list[list[int]]:
        """Give the answer tokens of each output, the end token last."""
        encoded = self._literal.encode_batch(list(outputs), add_special_tokens=False)
        return [[*one.ids, self.template.eos_id] for one in encoded]

    def text(self, token_ids: Sequence[int]) -> str:
        """Give the text of generated tokens, control tokens left out."""
        return str(self._marked.decode(list(token_ids), skip_special_tokens=True))

    def holds_control_text(self, text: str) -> bool:
        """Say whether `text` holds the text of a control token."""
        return any(one in text for one in self._control_texts)

    def rendered(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Give the prompt text for a conversation, by the chat template.

        Args:
            messages: each with `role` and `content`.

        Raises:
            InvalidTemplate: it cannot be rendered, or the model has no chat template.
        """
        if self._chat is None:
            raise InvalidTemplate("the model has no chat template")
        return self._chat.render(messages, self.template.special_tokens)

    def joined(self, parts: Sequence[tuple[str, Literal["template", "literal"]]]) -> list[int]:
        """Give the tokens of parts of a prompt, one after the other; only those of templates may be control tokens."""
        encoders = {"template": self._marked, "literal": self._literal}
        return [token for text, by in parts for token in encoders[by].encode(text, add_special_tokens=False).ids]

    def length(self, text: str) -> int:
        """Give how many tokens a text has by itself."""
        return len(self._literal.encode(text, add_special_tokens=False).ids)

    def last_tokens(self, text: str, count: int) -> str:
        """Give the end of `text` that has at most `count` tokens, cut at a character."""
        offsets = self._literal.encode(text, add_special_tokens=False).offsets
        if len(offsets) <= count:
            return text
        return text[offsets[-count][0] :] if count > 0 else ""

    @cached_property
    def most_characters(self) -> int:
        """The most characters that one token of the vocabulary stands for."""
        return max(map(len, self._literal.get_vocab()))

    def _whole(self, values: Values) -> str | None:
        """Give the prompt as text where it can be encoded as one; None where its text must stay literal."""
        if not self.template.is_verbalizer:
            return None if self.holds_control_text(_fields(values)[verbalizers.INPUT]) else self.prompt_text(values)
        text = self.prompt_text(values)
        # Counted in the whole: a template and a row may make a control token of their halves, as `[{{input}}]` of INST.
        return text if self._control_texts_in(text) == self._own_control_texts else None

    def _parts(self, values: Values) -> list[tuple[str, Literal["template", "literal"]]]:
        named = _fields(values)
        if self.template.is_verbalizer:
            pieces = verbalizers.pieces(self.template.source, named)
            return [(named[one], "literal") if is_field else (one, "template") for one, is_field in pieces]
        before, after = self._around
        return [(before, "template"), (named[verbalizers.INPUT], "literal"), (after, "template")]

    def _started(self, tokens: list[int]) -> list[int]:
        bos_id = self.template.bos_id
        return tokens if bos_id is None or self._starts_itself(tokens) else [bos_id, *tokens]

    def _starts_itself(self, tokens: list[int]) -> bool:
        return self.template.is_verbalizer and tokens[:1] == [self.template.bos_id]

    @cached_property
    def _own_control_texts(self) -> int:
        """How many texts of control tokens a verbalizer says itself."""
        source = self.template.source
        pieces = verbalizers.pieces(source, dict.fromkeys(verbalizers.fields(source), ""))
        return sum(self._control_texts_in(one) for one, is_field in pieces if not is_field)

    def _control_texts_in(self, text: str) -> int:
        return sum(text.count(one) for one in self._control_texts)

    def _text_around(self) -> tuple[str, str]:
        before, place, after = self.prompt_text(_PLACE).partition(_PLACE)
        if not place or _PLACE in after:
            raise InvalidTemplate("the chat template does not write the user's message exactly once")
        return before, after


def read_template(folder: Path, *, style: Style) -> PromptTemplate:
    """Give the template of a base model folder; `chat` falls back to plain where the folder has no chat template.

    Raises:
        TrainingFailed: the folder names no end token.
    """
    config = _json(folder / "tokenizer_config.json")
    tokenizer = open_tokenizer(folder / "tokenizer.json")
    texts = _special_texts(folder, config)
    stop_ids = _stop_ids(folder)
    eos_id = tokenizer.token_to_id(texts["eos_token"]) if "eos_token" in texts else None
    if eos_id is None:
        eos_id = stop_ids[0] if stop_ids else None
    if eos_id is None:
        raise TrainingFailed(f"base model {folder.name} names no end token in its tokenizer or generation config")
    source = _chat_source(folder, config) if style == "chat" else None
    kind: Literal["chat", "plain", "bare"] = "bare" if style == "bare" else "plain" if source is None else "chat"
    return PromptTemplate(
        kind=kind,
        source=source or {"bare": BARE, "plain": PLAIN}[kind],
        special_tokens={} if source is None else texts,
        bos_id=_bos_id(tokenizer, texts, config) if kind == "plain" else None,
        eos_id=eos_id,
        stop_ids=tuple(dict.fromkeys((eos_id, *stop_ids))),
    )


def open_tokenizer(file: Path) -> Tokenizer:
    """Open a base model's tokenizer.json; it neither cuts nor pads.

    Raises:
        TrainingFailed: the file is not there.
    """
    if not file.exists():
        raise TrainingFailed(f"base model {file.parent.name} has no tokenizer.json; register it with a fast tokenizer")
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _fields(values: Values) -> Mapping[str, str]:
    return {verbalizers.INPUT: values} if isinstance(values, str) else values


def _special_texts(folder: Path, config: Mapping[str, Json]) -> dict[str, str]:
    merged = {**_json(folder / "special_tokens_map.json"), **config}
    texts = {}
    for name in ("bos_token", "eos_token", "pad_token", "unk_token"):
        value = merged.get(name)
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str):
            texts[name] = text
    return texts


def _stop_ids(folder: Path) -> list[int]:
    for name in ("generation_config.json", "config.json"):
        value = _json(folder / name).get("eos_token_id")
        ids = [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, int)]
        if ids:
            return ids
    return []


def _chat_source(folder: Path, config: Mapping[str, Json]) -> str | None:
    file = folder / "chat_template.jinja"
    if file.exists():
        return file.read_text(encoding="utf-8")
    value = config.get("chat_template")
    if isinstance(value, list):
        value = next((one.get("template") for one in value if one.get("name") == "default"), None)
    return value if isinstance(value, str) else None


def _bos_id(tokenizer: Tokenizer, texts: Mapping[str, str], config: Mapping[str, Json]) -> int | None:
    """Give the start token if the tokenizer puts one before text by itself."""
    bos_id = tokenizer.token_to_id(texts["bos_token"]) if "bos_token" in texts else None
    if bos_id is None:
        return None
    is_added = config.get("add_bos_token")
    if is_added is None:
        is_added = tokenizer.encode("a").ids[:1] == [bos_id]
    return bos_id if is_added else None


def _json(file: Path) -> dict[str, Json]:
    if not file.exists():
        return {}
    content = json.loads(file.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}
