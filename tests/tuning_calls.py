"""Rows and arguments of `tune`, for the tests of the Python call and of the command."""

from __future__ import annotations

COLOURS = ("red", "green")
ROWS = [{"input": f"What colour has stone {n}?", "output": f"It is {COLOURS[n % 2]}."} for n in range(24)]
QUESTION = "What colour has stone 3?"
PROMPT = {"num_virtual_tokens": 4, "prompt_tuning_init_method": "SAMPLE_VOCAB"}
QUICK = {"num_epochs": 4, "learning_rate": 0.05, "learning_rate_warmup_steps": 0}

WRONG = (
    # a parameter's place, a value that it does not take; each refused by its name, all others being right
    ("num_epochs", 0),
    ("num_epochs", True),
    ("learning_rate", -1.0),
    ("learning_rate", float("nan")),
    ("accumulate_steps", 0),
    ("batch_size", 2.5),
    ("max_source_length", 0),
    ("max_target_length", "8"),
    ("verbalizer", "no placeholder"),
    ("verbalizer", "{{input}} {{output}}"),
    ("device", "gpu"),
    ("torch_dtype", "int8"),
    ("silence_progress_bars", "yes"),
    ("seed", -1),
    ("tuning_type", "PROMPT"),
    ("tuning_config.num_virtual_tokens", 0),
    ("tuning_config.num_virtual_tokens", 256),
    ("tuning_config.prompt_tuning_init_method", "AVERAGE_SOURCE"),
    ("tuning_config.output_model_types", ["ENCODER"]),
    ("tuning_config.lora_rank", 8),
)
