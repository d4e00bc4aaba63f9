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
from gyropilot.sdk.client import Client

SCRIPTS = Path(sys.executable).parent
TINY = "Tiny"

_HIDDEN, _LAYERS, _HEADS, _INNER = 32, 2, 2, 64
_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<s>' + message['role'] + ' ' + message['content'] + '</s>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s>assistant ' }}{% endif %}"
)


class Service:
    """`gyropilot up` on a home; started again after a kill it is the same service."""

    def __init__(self, home, **settings):
        self.home = Path(home)
        self.log = self.home.with_name(f"{self.home.name}.log")
        self._settings = {f"GYROPILOT_{name.upper()}": str(value) for name, value in settings.items()}
        self.process = None
        self.variables = {}

    def start(self, *options):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [SCRIPTS / "gyropilot", "up", "--home", self.home, "--port", "0", *options],
                stdout=log,
                stderr=log,
                env=clean_environment() | self._settings,
            )
        wait_until(self._is_up, seconds=60, what=lambda: f"the service to start: {self.log.read_text()}")
        self.variables = json.loads(self.gyropilot("env", "--json").stdout)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def boto3(self, name):
        given = self.variables
        return boto3.client(
            name,
            endpoint_url=given["AWS_ENDPOINT_URL"],
            aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
            region_name=given["AWS_REGION"],
            config=botocore.config.Config(retries={"total_max_attempts": 2}),
        )

    def gyropilot(self, *arguments, **options):
        command = [SCRIPTS / "gyropilot", *map(str, arguments)]
        return run(command, env=clean_environment() | {"GYROPILOT_HOME": str(self.home)}, **options)

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

    def _is_up(self):
        assert self.process.poll() is None, self.log.read_text()
        address = self.home / "service.json"
        if not address.exists():
            return False
        note = json.loads(address.read_text())
        return note["pid"] == self.process.pid and noted.answers(note["url"])


@contextmanager
def running(home, **settings):
    service = Service(home, **settings)
    service.start()
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.stop()


def run(command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)


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


def rows(count):
    return [(f"What is {number} and {number}?", f"It is {2 * number}.") for number in range(count)]


def make_tiny_model(folder):
    """Write a random Llama-type model of some 70,000 parameters with a byte-level tokenizer of its own."""
    folder.mkdir(parents=True)
    tokenizer = _make_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    vocabulary = tokenizer.get_vocab_size()
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    described = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": _CHAT_TEMPLATE, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    ids = {f"{name}_id": tokenizer.token_to_id(token) for name, token in special.items()}
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
