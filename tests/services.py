"""A real service in a process of its own, and a base model that trains in seconds, for tests of what clients see."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import boto3
import botocore.config
import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from gyropilot.cli import service as noted
from gyropilot.sdk.access import Access
from gyropilot.sdk.client import Client

SCRIPTS = Path(sys.executable).parent
GYROPILOT = (SCRIPTS / "gyropilot",)
TINY = "Tiny"

_DOORLESS = {"worker": b"takes jobs", "serve": b"keeps replicas"}
"""Commands that answer no calls, and what they say once they work."""

_HIDDEN, _LAYERS, _HEADS, _INNER = 32, 2, 2, 64
_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<s>' + message['role'] + ' ' + message['content'] + '</s>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s>assistant ' }}{% endif %}"
)


class Process:
    """A process of the service on a home: `gyropilot <command>`; started again after a kill it is the same one.

    `settings` reach it by the environment; `program` is what is run in the place of the script `gyropilot`.
    """

    def __init__(self, home, command="up", *, number=0, program=GYROPILOT, **settings):
        self.home = Path(home)
        self.command = command
        self.log = self.home.with_name(f"{self.home.name}.log" if command == "up" else f"{command}-{number}.log")
        self.process = None
        self.variables = {}
        self._program = program
        self._settings = {f"GYROPILOT_{name.upper()}": str(value) for name, value in settings.items()}

    def start(self, *options):
        self.begin(*options)
        self.wait_until_up()

    def begin(self, *options):
        """Start it without waiting until it is up."""
        port = () if self.command in _DOORLESS else ("--port", "0")
        self._log_starts_at = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._program, self.command, "--home", self.home, *port, *options],
                stdout=log,
                stderr=log,
                env=clean_environment() | self._settings,
            )

    def wait_until_up(self):
        wait_until(self._is_up, seconds=60, what=lambda: f"{self.command} to start: {self.log.read_text()}")
        if self.command not in _DOORLESS:
            self.variables = json.loads(self.gyropilot("env", "--json").stdout)
            self.variables["AWS_ENDPOINT_URL"] = self._note()["url"]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def boto3(self, name, *, retries=None):
        given = self.variables
        return boto3.client(
            name,
            endpoint_url=given["AWS_ENDPOINT_URL"],
            aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
            region_name=given["AWS_REGION"],
            config=botocore.config.Config(retries=retries or {"total_max_attempts": 2}),
        )

    def gyropilot(self, *arguments, **options):
        """Run a command on the home, with the settings of this process."""
        environment = clean_environment() | self._settings | {"GYROPILOT_HOME": str(self.home)}
        return run([GYROPILOT[0], *map(str, arguments)], env=environment, **options)

    def aws(self, *arguments):
        return run([SCRIPTS / "aws", *map(str, arguments)], env=clean_environment() | self.variables)

    def sdk(self):
        given = self.variables
        return Client(
            url=given["AWS_ENDPOINT_URL"],
            access_key=given["AWS_ACCESS_KEY_ID"],
            secret=given["AWS_SECRET_ACCESS_KEY"],
            region=given["AWS_REGION"],
        )

    def access(self, key=None):
        """Keys and roles as the first admin sees them, or the key that CreateCallerKey gave."""
        given = self.variables
        return Access(
            url=given["AWS_ENDPOINT_URL"],
            access_key=key["AccessKeyId"] if key else given["AWS_ACCESS_KEY_ID"],
            secret=key["SecretAccessKey"] if key else given["AWS_SECRET_ACCESS_KEY"],
            region=given["AWS_REGION"],
        )

    def _is_up(self):
        assert self.process.poll() is None, self.log.read_text()
        if self.command in _DOORLESS:
            return _DOORLESS[self.command] in self.log.read_bytes()[self._log_starts_at :]
        note = self._note()
        return note is not None and noted.answers(note["url"])

    def _note(self):
        """Give what this process noted of its address in the home."""
        found = [json.loads(path.read_text()) for path in (self.home / "services").glob("*.json")]
        return next((note for note in found if note["pid"] == self.process.pid), None)


Service = Process


class Apart:
    """Several processes on one home and one PostgreSQL database."""

    def __init__(self, apis, workers, servers):
        self.apis, self.workers, self.servers = apis, workers, servers

    @property
    def all(self):
        return [*self.apis, *self.workers, *self.servers]

    @property
    def first(self):
        """The first api, to be used like a service of one process."""
        return self.apis[0]


@contextmanager
def running(home, **settings):
    """One process that is everything: `gyropilot up`; on PostgreSQL where `database_url` is given."""
    service = Process(home, **settings)
    service.start()
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.stop()


@contextmanager
def running_apart(home, *, database_url, apis=1, workers=1, servers=0, program=GYROPILOT, **settings):
    """Several processes: `gyropilot api`, `gyropilot worker` and `gyropilot serve`, all started at once."""
    chosen = {"database_url": database_url, "program": program, **settings}
    service = Apart(
        [Process(home, "api", number=number, **chosen) for number in range(apis)],
        [Process(home, "worker", number=number, **chosen) for number in range(workers)],
        [Process(home, "serve", number=number, **chosen) for number in range(servers)],
    )
    try:
        for process in service.all:
            process.begin()
        for process in service.all:
            process.wait_until_up()
        yield service
    finally:
        for process in service.all:
            if process.process is not None and process.process.poll() is None:
                process.process.send_signal(signal.SIGTERM)
        for process in service.all:
            if process.process is not None:
                process.process.wait(30)


def run(command, *, timeout=120, **options):
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout, **options)


def clean_environment():
    """The environment without what would lead a client elsewhere; one thread, since tests share the machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "GYROPILOT_"))}
    return kept | {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


def wait_until(condition, *, seconds, what):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what() if callable(what) else what}"
        threading.Event().wait(0.05)
    return found


def put_rows(service, rows, *, bucket="data", key="train/rows.csv"):
    s3 = service.boto3("s3")
    s3.create_bucket(Bucket=bucket)
    lines = "\n".join(f'"{given}","{wanted}"' for given, wanted in rows)
    s3.put_object(Bucket=bucket, Key=key, Body=f"input,output\n{lines}\n".encode())


def request(service, name="job", **config):
    """A text-generation request on s3://data/train/ with the tiny model; `config` goes into its job config."""
    return {
        "AutoMLJobName": name,
        "AutoMLJobInputDataConfig": [
            {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/train/"}}}
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://data/out"},
        "AutoMLProblemTypeConfig": {"TextGenerationJobConfig": {"BaseModelName": TINY} | config},
        "RoleArn": service.variables["GYROPILOT_ROLE_ARN"],
    }


def deploy(service, name, *, instances=1, **config):
    """Train a job on s3://data/train/ and serve its model, both under `name`; give that once the endpoint answers."""
    client = service.sdk()
    config.setdefault("TextGenerationHyperParameters", {"epochCount": "1"})
    client.create_job(request(service, name, **config))
    job = client.wait(name, timeout_seconds=120, poll_seconds=0.1)
    assert job["AutoMLJobStatus"] == "Completed", job.get("FailureReason")
    client.endpoints.deploy(name, instances=instances)
    endpoint = client.endpoints.wait(name, timeout_seconds=120, poll_seconds=0.1)
    assert endpoint["EndpointStatus"] == "InService", endpoint.get("FailureReason")
    return name


def rows(count):
    return [(f"What is {number} and {number}?", f"It is {2 * number}.") for number in range(count)]


def make_tiny_model(folder):
    """Write a random Llama-type model of some 70,000 parameters with a byte-level tokenizer of its own."""
    vocabulary, ids = write_tokenizer(folder, chat_template=_CHAT_TEMPLATE)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocabulary,
        "hidden_size": _HIDDEN,
        "intermediate_size": _INNER,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _HEADS,
        "max_position_embeddings": 256,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        **ids,
    }
    (folder / "config.json").write_text(json.dumps(config))
    save_file(_make_weights(vocabulary), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_tokenizer(folder, *, chat_template=None):
    """Write the tokenizer into the new folder; give how many tokens it has, and the numbers of the special ones."""
    folder.mkdir(parents=True)
    tokenizer = _make_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    described = {"tokenizer_class": "PreTrainedTokenizerFast", **special}
    if chat_template:
        described["chat_template"] = chat_template
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    return tokenizer.get_vocab_size(), {f"{name}_id": tokenizer.token_to_id(token) for name, token in special.items()}


def _make_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text for pair in rows(200) for text in pair], trainer)
    return tokenizer


def _make_weights(vocabulary):
    draw = np.random.default_rng(0)

    def matrix(*shape):
        return draw.normal(0, 0.2, shape).astype(np.float32)

    ones = np.ones(_HIDDEN, dtype=np.float32)
    weights = {"model.embed_tokens.weight": matrix(vocabulary, _HIDDEN), "model.norm.weight": ones}
    weights["lm_head.weight"] = matrix(vocabulary, _HIDDEN)
    for layer in range(_LAYERS):
        place = f"model.layers.{layer}"
        for name in "qkvo":
            weights[f"{place}.self_attn.{name}_proj.weight"] = matrix(_HIDDEN, _HIDDEN)
        weights[f"{place}.mlp.gate_proj.weight"] = matrix(_INNER, _HIDDEN)
        weights[f"{place}.mlp.up_proj.weight"] = matrix(_INNER, _HIDDEN)
        weights[f"{place}.mlp.down_proj.weight"] = matrix(_HIDDEN, _INNER)
        weights[f"{place}.input_layernorm.weight"] = ones
        weights[f"{place}.post_attention_layernorm.weight"] = ones
    return weights
