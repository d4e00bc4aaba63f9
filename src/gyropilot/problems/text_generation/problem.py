"""Text generation as the catalog sees it: fine-tune a language model on prompt and answer pairs."""

from __future__ import annotations

from gyropilot.problems.contract import Problem
from gyropilot.problems.text_generation import request, search
from gyropilot.problems.text_generation.tuning import config_object

TEXT_GENERATION = Problem(
    wire_name="TextGenerationJobConfig",
    config_name="TextGeneration",
    extra="llm",
    modules=("torch", "transformers", "peft", "safetensors"),
    read_request=request.read,
    read_spec=request.read_spec,
    resolved_attributes=request.resolved_attributes,
    open_search=search.open_search,
    profile="gyropilot.problems.text_generation.data:profile",
    train="gyropilot.problems.text_generation.train:train",
    open_server="gyropilot.problems.text_generation.inference:open_server",
    image="gyropilot/text-generation",
    styles=("invoke", "chat", "completion"),
    reads_tags=(config_object.TAG,),
    # An answer is no payload, so no second container could read that of the first.
    most_containers=1,
    takes=("application/json", "application/jsonlines"),
)
