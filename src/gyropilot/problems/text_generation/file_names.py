"""Names of the files in a tuned model's folder and its adapter's, ours and those of others; light to import."""

MODEL, ADAPTER, PEER = "model", "adapter", "caikit"
"""Folders in a job's output: what is served, what was trained, its rows as caikit-nlp has them."""
SERVING = "gyropilot-serving.json"
"""Beside a model: what serving must know of it."""

PROMPT, PREFIX = "prompt.safetensors", "prefix.safetensors"
"""In an adapter's folder: virtual tokens as they are served (decoding/virtual_tokens.py)."""
PEFT_CONFIG, PEFT_TENSORS, PEFT_PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
"""An adapter as PEFT has it."""
OWN_CONFIG, OWN_TENSORS = "gyropilot-adapter.json", "gyropilot-adapter.safetensors"
"""The same keys, where rows stand on sides that PEFT has no place for: by its names it would put them elsewhere."""

SOURCE = "source.safetensors"
"""The vectors in a source prompt's folder."""
