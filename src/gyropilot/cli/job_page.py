"""A job as the terminal shows it: status, what it works by, where its data lies, metrics; called by `jobs.py`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click

from gyropilot import clock
from gyropilot.cli import texts
from gyropilot.log import printable
from gyropilot.sdk.values import Progress

Json = Any

_HYPERPARAMETERS = {
    "tuning_type": "tuningType",
    "epochs": "epochCount",
    "batch_size": "batchSize",
    "learning_rate": "learningRate",
    "warmup_steps": "learningRateWarmupSteps",
    "accumulate_steps": "accumulateSteps",
    "num_virtual_tokens": "numVirtualTokens",
    "prompt_tuning_init_method": "initMethod",
    "prompt_tuning_init_text": "prompt_tuning_init_text",
    "prompt_tuning_init_source_model": "initSourceModel",
    "output_model_types": "outputModelTypes",
    "prompt_ranks": "promptRanks",
    "task_column": "task_column",
    "verbalizer": "verbalizer",
    "max_source_length": "maxSourceLength",
    "max_target_length": "maxTargetLength",
    "lora_rank": "loraRank",
    "lora_alpha": "loraAlpha",
    "lora_dropout": "loraDropout",
    "lora_targets": "lora_targets",
    "lora_variant": "loraVariant",
    "lora_init": "loraInit",
    "peft_type": "peftType",
    "peft_settings": "peft_settings",
    "device": "device",
    "torch_dtype": "torchDtype",
    "seed": "seed",
}
"""What a job's resolved document calls the hyperparameters, in itself or in its `method`, and what a request does."""


def print_job(job: Mapping[str, Json], progress: Progress) -> None:
    """Print what is known of a job."""
    phase = "waiting for its turn" if progress.is_queued else job["AutoMLJobSecondaryStatus"]
    pairs = [
        ("Name", job["AutoMLJobName"]),
        ("ARN", job["AutoMLJobArn"]),
        ("Status", f"{job['AutoMLJobStatus']} ({phase})"),
        ("Problem", job.get("AutoMLProblemTypeConfigName", "")),
        ("Created", texts.moment(job["CreationTime"]) + (f", took {time}" if (time := took(job, progress)) else "")),
        *((("Reason", job["FailureReason"]),) if "FailureReason" in job else ()),
        *(("In part", one["PartialFailureMessage"]) for one in job.get("PartialFailureReasons", ())),
        *(("Resolved", text) for text in _flattened(job.get("ResolvedAttributes", {}))),
        *_stand_in(progress.used),
        *(("Used", text) for text in _used(progress.used)),
        *(("Input", _place(channel)) for channel in job["AutoMLJobInputDataConfig"]),
        ("Output", f"{job['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{job['AutoMLJobName']}/"),
    ]
    best = job.get("BestCandidate", {})
    pairs += [("Model", one["ModelDataUrl"]) for one in best.get("InferenceContainers", ())]
    if endpoint := job.get("ModelDeployResult", {}).get("EndpointName"):
        pairs.append(("Endpoint", endpoint))
    click.echo(texts.facts(pairs))
    metrics = best.get("CandidateProperties", {}).get("CandidateMetrics", ())
    if metrics:
        rows = [(one["StandardMetricName"], one["Set"], texts.number(one["Value"])) for one in metrics]
        click.echo("\n" + texts.columns(rows, headings=("METRIC", "SET", "VALUE")))


def what_next(job: Mapping[str, Json]) -> str:
    """Give what can be done with a job that is Completed."""
    name, endpoint = job["AutoMLJobName"], job.get("ModelDeployResult", {}).get("EndpointName")
    use = f"Talk to it: gyropilot try {endpoint}" if endpoint else f"Serve it: gyropilot deploy {name}"
    if endpoint and job.get("AutoMLProblemTypeConfigName") != "TextGeneration":
        use = f"Call it: gyropilot invoke {endpoint} --file rows.csv"
    return printable(f"{use}  Fetch it: gyropilot jobs download {name}")


def phase(job: Mapping[str, Json]) -> str:
    """Give what a job of a listing does; a listing does not tell that it waits, but that nothing came of it yet."""
    return "waiting" if _is_untouched(job) else str(job["AutoMLJobSecondaryStatus"])


def took(job: Mapping[str, Json], progress: Progress) -> str:
    """Give how long a job took, or takes by now, from when a worker began with it; empty where none did."""
    if progress.started_at is None:
        return ""
    ended_at: datetime = job.get("EndTime") or clock.now()
    return texts.duration(max(0.0, (ended_at - progress.started_at).total_seconds()))


def _is_untouched(job: Mapping[str, Json]) -> bool:
    return bool(job["AutoMLJobStatus"] == "InProgress" and job["LastModifiedTime"] == job["CreationTime"])


def _stand_in(spec: Mapping[str, Json]) -> list[tuple[str, str]]:
    loaded, requested = spec.get("loaded_model"), spec.get("base_model")
    return [] if loaded in (None, requested) else [("Stand-in", f"{loaded} is trained, it stands in for {requested}")]


def _used(spec: Mapping[str, Json]) -> list[str]:
    """Give the hyperparameters, one a line, and which of them the request left to the service."""
    defaulted = spec.get("defaulted", ())
    values = {"tuning_type": spec.get("tuning"), **spec, **spec.get("method", {})}
    if "learning_rate" in values and values["learning_rate"] is None:
        values["learning_rate"] = "found by a probe"
    return [
        f"{key} = {_said(values[name])}{' (default)' if key in defaulted else ''}"
        for name, key in _HYPERPARAMETERS.items()
        if values.get(name) not in (None, [], {})
    ]


def _said(value: Json) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return printable(text).replace("\n", "\\n")


def _place(channel: Mapping[str, Json]) -> str:
    return f"{channel.get('ChannelType', 'training')}: {channel['DataSource']['S3DataSource']['S3Uri']}"


def _flattened(value: Mapping[str, Json], path: str = "") -> list[str]:
    """Give nested attributes one a line, each by the innermost name."""
    lines = []
    for name, one in value.items():
        lines.extend(_flattened(one, name) if isinstance(one, Mapping) else [f"{name} = {one}"])
    return lines
