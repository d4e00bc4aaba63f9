"""Has a service tune a model: rows and parameters up, a job, its output down; behind `gyropilot.tuning`.

    s3://gyropilot-<account>/tune/<job>/training.parquet, validation.parquet   the rows
    s3://gyropilot-<account>/tune/<job>/tuning.json                            the parameters, which a tag names
    s3://gyropilot-<account>/output/<job>/                                     what the job leaves

What the service alone can know, as its base models and source prompts, is checked there, before the job exists. What
the job then works by is the specification that it made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from numbers import Integral
from pathlib import Path
from typing import Any

from gyropilot.engine.engine import Message
from gyropilot.errors import Fault, InvalidRequest, TrainingFailed
from gyropilot.local import child_runs, model_folders, wishes
from gyropilot.local.child_runs import Tell
from gyropilot.local.tuned_model import TunedModel
from gyropilot.local.wishes import Streams, Wish
from gyropilot.local.working_folders import working_folder
from gyropilot.names import DEFAULT_ROLE_NAME, role_arn
from gyropilot.problems.contract import LocalChannel
from gyropilot.problems.text_generation import asked_spec
from gyropilot.problems.text_generation.tuning import config_object
from gyropilot.problems.text_generation.tuning.combinations import Surroundings
from gyropilot.problems.text_generation.tuning.reading import Asked
from gyropilot.sdk.client import Client
from gyropilot.settings import Settings

Json = Any


def tuned(wish: Wish, settings: Settings, client: Client, *, tell: Tell) -> TunedModel:
    """Create a job, wait for it, fetch what it made, and give the model; Ctrl-C stops the job, which keeps what it has.

    Raises:
        InvalidRequest: something is wrong with what was asked for, as far as it is known here.
        ServiceError: the service refuses, for one because of what is wrong, or cannot be reached.
        TrainingFailed: the job failed; its reason is told.
    """
    with ExitStack() as held:
        working = working_folder(settings, held)
        faults: list[Fault] = []
        streams = wishes.streams_of(wish, working / "rows", faults)
        around = Surroundings(columns=streams.columns)
        asked = asked_spec.asked_of(wish.values, around, where=wish.where, faults=faults)
        if not isinstance(wish.base_model, str) or not wish.base_model:
            fix = "give the name of a base model that the service has"
            problem = "is missing" if wish.base_model is None else "is no name"
            faults.append(Fault(where=wish.where("base_model"), found=wish.base_model, problem=problem, fix=fix))
        if faults:
            raise InvalidRequest.of(faults)
        name = wishes.new_name()
        client.create_job(_request(wish, streams, asked, client, name, working))
        _waited_for(client, name, tell)
        client.download(name, working / "output")
        files = working / "model"
        told = {"spec": dict(client.progress(name).used), "job_name": name}
        model_folders.lay_out(working / "output", files, shares_base=False, tuning=told)
        if wish.output is not None:
            model_folders.copy(files, wish.output, base=None)
        # Its base may be the service's alone: who only fetches the model needs none.
        return TunedModel(files, settings.base_models, settings, held.pop_all())


def _request(wish: Wish, streams: Streams, asked: Asked, client: Client, name: str, working: Path) -> dict[str, Json]:
    """Give the CreateAutoMLJobV2 request, once what it names is uploaded."""
    account = client.account_id()
    bucket = f"gyropilot-{account}"
    client.make_bucket(bucket)
    folder = f"s3://{bucket}/tune/{name}"
    channels = [one.channel for one in (streams.training, streams.validation) if one is not None]
    parameters = working / "tuning.json"
    parameters.write_text(json.dumps(_parameters(wish.values, asked), default=_plain), encoding="utf-8")
    client.upload(parameters, f"{folder}/{parameters.name}")
    config: dict[str, Json] = {"BaseModelName": wish.base_model}
    if wish.accept_eula:
        config["ModelAccessConfig"] = {"AcceptEula": True}
    return {
        "AutoMLJobName": name,
        "AutoMLJobInputDataConfig": [_uploaded(client, one, folder) for one in channels],
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/output"},
        "AutoMLProblemTypeConfig": {"TextGenerationJobConfig": config},
        "RoleArn": role_arn(account, DEFAULT_ROLE_NAME),
        "Tags": [{"Key": config_object.TAG, "Value": f"{folder}/{parameters.name}"}],
    }


def _parameters(values: Mapping[str, Json], asked: Asked) -> dict[str, Json]:
    """Give the parameters as they were given; with them the defaults that are others in the AWS call."""
    given = {name: value for name, value in values.items() if value is not None}
    given.pop("lr", None)
    ours = {"tuning_type": asked.tuning.tuning_type, "num_epochs": asked.epochs}
    return {**given, **ours, **({"learning_rate": asked.learning_rate} if asked.learning_rate is not None else {})}


def _plain(value: object) -> float:
    """Give a number as JSON has it: those of numpy are checked, and no numbers to JSON."""
    return int(value) if isinstance(value, Integral) else float(value)  # type: ignore[arg-type]


def _uploaded(client: Client, channel: LocalChannel, folder: str) -> dict[str, Json]:
    (file,) = channel.files
    uri = f"{folder}/{channel.channel_type}{file.path.suffix}"
    client.upload(file.path, uri)
    return {
        "ChannelType": channel.channel_type,
        "ContentType": channel.content_type,
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}},
    }


def _waited_for(client: Client, name: str, tell: Tell) -> None:
    """Wait until the job has ended; what it reports is told as a child's would be."""
    is_asked = False
    while True:
        try:
            for progress in client.watch(name):
                if progress.phase:
                    said = {"phase": progress.phase, "done": progress.done, "total": progress.total}
                    tell(Message(kind="progress", body={**said, "unit": progress.unit, "values": progress.values}))
            break
        except KeyboardInterrupt:
            if is_asked:
                raise
            is_asked = True
            child_runs.say("\nstopping the job, which keeps what it has; Ctrl-C again leaves it to itself")
            client.stop(name)
    job = client.describe(name)
    if job["AutoMLJobStatus"] == "Failed":
        raise TrainingFailed(f"job {name}: {job.get('FailureReason', 'failed')}")
