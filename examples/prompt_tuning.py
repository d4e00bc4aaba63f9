"""Tune a prompt on a CSV of texts and labels, from Python and without a service: the base model stays as it is.

    gyropilot models pull SmolLM2-135M-Instruct
    python examples/prompt_tuning.py data.csv "My invoice is wrong." --output billing

The CSV has a header and two columns, `input` and `output`, or `text` and `labels`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gyropilot.tuning import TuningConfig, load, tune


def main() -> int:
    """Tune, ask, save, load again and ask once more."""
    arguments = _arguments()
    config = TuningConfig(
        num_virtual_tokens=arguments.virtual_tokens,
        prompt_tuning_init_method="TEXT" if arguments.begin_with else "SAMPLE_VOCAB",
        prompt_tuning_init_text=arguments.begin_with,
    )
    with tune(
        base_model=arguments.base_model,
        train_stream=arguments.data,
        tuning_type="PROMPT_TUNING",
        num_epochs=arguments.epochs,
        verbalizer=arguments.verbalizer,
        silence_progress_bars=False,
        tuning_config=config,
        output=arguments.output,
    ) as model:
        loss, before = model.metrics["ValidationLoss"], model.base_metrics.get("ValidationLoss")
        print(f"loss:     {loss:.3f}" + ("" if before is None else f" (untouched base: {before:.3f})"))
        answer = model.run(arguments.question, max_new_tokens=arguments.length)
        print(f"answer:   {answer.generated_text}")
        print("streamed: ", end="")
        for piece in model.run_stream(arguments.question, max_new_tokens=arguments.length):
            print(piece.generated_text, end="", flush=True)
        print(f"\nended by: {piece.finish_reason}")
    with load(arguments.output, base_model=arguments.base_model) as again:
        same = again.run(arguments.question, max_new_tokens=arguments.length).generated_text == answer.generated_text
    print(f"loaded:   {'the same answer' if same else 'another answer'}")
    return 0 if same else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("question")
    parser.add_argument("--output", type=Path, default=Path("tuned"), help="folder that the model is written to")
    parser.add_argument("--base-model", default="SmolLM2-135M-Instruct", help="name, or folder of a model")
    parser.add_argument("--virtual-tokens", type=int, default=16)
    parser.add_argument("--begin-with", help="text that the rows before the input begin with")
    parser.add_argument("--verbalizer", default="{{input}}")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--length", type=int, default=32, help="most tokens of an answer")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
