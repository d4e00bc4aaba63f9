"""Training, processing and transform jobs that candidates name as their steps, told from candidate and job.

Nothing of a step is stored but where to find it; how it is, is how its candidate is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

from gyropilot import names
from gyropilot.control import page_tokens
from gyropilot.control.house import House
from gyropilot.errors import NotFound
from gyropilot.store import outputs, progress, steps
from gyropilot.store.candidates import CandidateRecord
from gyropilot.store.job_records import JobRecord
from gyropilot.store.principals import Principal
from gyropilot.store.steps import StepKind, StepQuery, StepRecord, StepSummary

Json = Any
Word = Literal["Training", "Processing", "Transform"]

STEPS_PER_PAGE = 100
INSTANCE = {"InstanceCount": 1, "InstanceType": "local", "VolumeSizeInGB": 1}
"""What runs a step: this machine. The instance type is none of the service's, for it is not one of its machines."""
_VALUE_CHARACTERS = 2500
"""What the service model lets a value of HyperParameters have; a prompt template may be longer."""
_CUT_OFF = "MaxRuntimeExceeded"
"""Secondary status of a training whose time was up, with what it had by then."""
_KIND_BY_WORD: Mapping[Word, StepKind] = {
    "Training": "training-job",
    "Processing": "processing-job",
    "Transform": "transform-job",
}


def describe_training(house: House, principal: Principal, region: str, name: str) -> dict[str, Json]:
    """Give DescribeTrainingJobResponse.

    Raises:
        NotFound: no candidate of the caller names such a step.
    """
    step = _find(house, principal, region, "Training", name)
    job, candidate = step.job, step.candidate
    result = _result_of(house, step)
    most_seconds = job.resolved.get("CompletionCriteria", {}).get("MaxRuntimePerTrainingJobInSeconds")
    described = {
        **_summary_of(step, "Training"),
        "AutoMLJobArn": job.arn,
        "SecondaryStatus": _secondary_status(house, step, result),
        "SecondaryStatusTransitions": _transitions(step, result),
        "FailureReason": candidate.failure_reason,
        "HyperParameters": _hyperparameters(job.spec) | _hyperparameters(result.get("chosen", {})),
        "AlgorithmSpecification": {
            "TrainingImage": _container_of(step).get("Image"),
            "TrainingInputMode": "File",
        },
        "RoleArn": job.request["RoleArn"],
        "InputDataConfig": _input_channels(job),
        "OutputDataConfig": {"S3OutputPath": job.request["OutputDataConfig"]["S3OutputPath"]},
        "ResourceConfig": dict(INSTANCE),
        "StoppingCondition": {"MaxRuntimeInSeconds": most_seconds},
        "ModelArtifacts": {"S3ModelArtifacts": _model_uri(step)},
        "FinalMetricDataList": _final_metrics(candidate) if _is_own(step) else [],
        "TrainingStartTime": candidate.created_at,
        "TrainingTimeInSeconds": _seconds(candidate),
    }
    return _without_nulls(described)


def describe_processing(house: House, principal: Principal, region: str, name: str) -> dict[str, Json]:
    """Give DescribeProcessingJobResponse.

    Raises:
        NotFound: no candidate of the caller names such a step.
    """
    step = _find(house, principal, region, "Processing", name)
    image = next((one["Image"] for one in step.candidate.body.get("InferenceContainers", ())), "")
    described = {
        **_summary_of(step, "Processing"),
        "AutoMLJobArn": step.job.arn,
        "FailureReason": step.candidate.failure_reason,
        "ProcessingResources": {"ClusterConfig": dict(INSTANCE)},
        "AppSpecification": {"ImageUri": image},
        "RoleArn": step.job.request["RoleArn"],
        "ProcessingInputs": [_processing_input(one) for one in _input_channels(step.job)],
        "ProcessingStartTime": step.candidate.created_at,
    }
    return _without_nulls(described)


def describe_transform(house: House, principal: Principal, region: str, name: str) -> dict[str, Json]:
    """Give DescribeTransformJobResponse of a step in which a candidate's data was prepared.

    Raises:
        NotFound: no candidate of the caller names such a step.
    """
    step = _find(house, principal, region, "Transform", name)
    (channel, *_) = _input_channels(step.job)
    described = {
        **_summary_of(step, "Transform"),
        "AutoMLJobArn": step.job.arn,
        "FailureReason": step.candidate.failure_reason,
        "ModelName": step.candidate.name,
        "TransformInput": {name: value for name, value in channel.items() if name != "ChannelName"},
        "TransformResources": {name: INSTANCE[name] for name in ("InstanceType", "InstanceCount")},
        "TransformStartTime": step.candidate.created_at,
    }
    return _without_nulls({name: value for name, value in described.items() if name != "LastModifiedTime"})


def page(
    house: House, principal: Principal, region: str, request: Mapping[str, Json], *, word: Word
) -> dict[str, Json]:
    """Give ListTrainingJobsResponse or ListProcessingJobsResponse; newest first, unless the request says otherwise."""
    summaries = f"{word}JobSummaries"
    if _asks_for_what_is_not_here(request):
        return {summaries: []}
    query = StepQuery(
        account_id=principal.account_id,
        region=region,
        kind=_KIND_BY_WORD[word],
        created_after=request.get("CreationTimeAfter"),
        created_before=request.get("CreationTimeBefore"),
        modified_after=request.get("LastModifiedTimeAfter"),
        modified_before=request.get("LastModifiedTimeBefore"),
        name_contains=request.get("NameContains"),
        status=request.get("StatusEquals"),
        sort_by=request.get("SortBy", "CreationTime"),
        sort_order=request.get("SortOrder", "Descending"),
        limit=request.get("MaxResults", STEPS_PER_PAGE),
        after=page_tokens.read(request, request.get("NextToken")),
    )
    found = steps.page(house.db, query)
    listed = [_summary(one, principal, region, word) for one in found.items]
    return {summaries: listed} | page_tokens.next_token(request, found.next_cursor)


def _asks_for_what_is_not_here(request: Mapping[str, Json]) -> bool:
    """Say whether only steps with a warm pool, of a training plan or being deleted are asked for: there are none."""
    absent = ("WarmPoolStatusEquals", "TrainingPlanArnEquals")
    return any(name in request for name in absent) or request.get("StatusEquals") == "Deleting"


def _find(house: House, principal: Principal, region: str, word: Word, name: str) -> StepRecord:
    step = steps.find(house.db, principal.account_id, region, _KIND_BY_WORD[word], name)
    if step is None:
        raise NotFound(
            f"There is no {word.lower()} job named {name!r}; those of AutoML jobs are named by their candidates' steps."
        )
    return step


def _summary(one: StepSummary, principal: Principal, region: str, word: Word) -> dict[str, Json]:
    kind = _KIND_BY_WORD[word]
    described = {
        f"{word}JobName": one.name,
        f"{word}JobArn": names.arn(region=region, account_id=principal.account_id, kind=kind, name=one.name.lower()),
        f"{word}JobStatus": one.status,
        f"{word}EndTime": one.ended_at,
        "CreationTime": one.created_at,
        "LastModifiedTime": one.modified_at,
    }
    if word == "Processing":
        described["FailureReason"] = one.failure_reason
    return _without_nulls(described)


def _summary_of(step: StepRecord, word: Word) -> dict[str, Json]:
    job, candidate = step.job, step.candidate
    kind = _KIND_BY_WORD[word]
    return {
        f"{word}JobName": step.name,
        f"{word}JobArn": names.arn(region=job.region, account_id=job.account_id, kind=kind, name=step.name.lower()),
        f"{word}JobStatus": _status(step),
        f"{word}EndTime": candidate.ended_at,
        "CreationTime": candidate.created_at,
        "LastModifiedTime": candidate.modified_at,
    }


def _status(step: StepRecord) -> str:
    is_stopping = step.candidate.status == "InProgress" and step.job.status == "Stopping"
    return "Stopping" if is_stopping else step.candidate.status


def _secondary_status(house: House, step: StepRecord, result: Mapping[str, Json]) -> str:
    status = _status(step)
    if _is_cut_off(step, result):
        return _CUT_OFF
    if status != "InProgress":
        return status
    told = progress.get(house.db, step.job.id) or {}
    return "Uploading" if told.get("phase") == "uploading" else "Training"


def _is_cut_off(step: StepRecord, result: Mapping[str, Json]) -> bool:
    return step.candidate.status == "Completed" and result.get("ended_by") == "time limit"


def _transitions(step: StepRecord, result: Mapping[str, Json]) -> list[Json]:
    candidate = step.candidate
    training: dict[str, Json] = {"Status": "Training", "StartTime": candidate.created_at, "EndTime": candidate.ended_at}
    training["StatusMessage"] = "Training the candidate"
    if candidate.ended_at is None:
        return [_without_nulls(training)]
    ended: dict[str, Json] = {
        "Status": _CUT_OFF if _is_cut_off(step, result) else candidate.status,
        "StartTime": candidate.ended_at,
        "EndTime": candidate.ended_at,
    }
    uploaded = "The candidate's artifacts are uploaded"
    if _is_cut_off(step, result):
        uploaded = f"Its time was up: it has what was trained by then. {uploaded}"
    ended["StatusMessage"] = candidate.failure_reason or uploaded
    return [training, ended]


def _hyperparameters(spec: Mapping[str, Json]) -> dict[str, str]:
    """Give what the job works by, as far as it is single values; those of an inner structure by a dotted name."""
    found: dict[str, str] = {}
    for name, value in spec.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{inner}": text for inner, text in _hyperparameters(value).items()}
        elif isinstance(value, bool):
            found[name] = str(value).lower()
        elif isinstance(value, (str, int, float)):
            found[name] = str(value)[:_VALUE_CHARACTERS]
    return found


def _input_channels(job: JobRecord) -> list[dict[str, Json]]:
    given = job.request["AutoMLJobInputDataConfig"]
    counts: Counter[str] = Counter()
    channels = []
    for channel in given:
        kind = channel.get("ChannelType", "training")
        counts[kind] += 1
        name = kind if counts[kind] == 1 else f"{kind}-{counts[kind]}"
        kept = {key: channel[key] for key in ("DataSource", "ContentType", "CompressionType") if key in channel}
        channels.append({"ChannelName": name} | kept)
    return channels


def _processing_input(channel: Mapping[str, Json]) -> dict[str, Json]:
    source = channel["DataSource"]["S3DataSource"]
    kind = "S3Prefix" if source["S3DataType"] == "S3Prefix" else "ManifestFile"
    return {"InputName": channel["ChannelName"], "S3Input": {"S3Uri": source["S3Uri"], "S3DataType": kind}}


def _is_own(step: StepRecord) -> bool:
    """Say whether it is the candidate's own training, not one that came before it."""
    steps_of = step.candidate.body.get("CandidateSteps", ())
    return not steps_of or str(steps_of[-1]["CandidateStepName"]).lower() == step.name.lower()


def _result_of(house: House, step: StepRecord) -> Mapping[str, Json]:
    """Give what training told of the candidate whose own step this is, once it has ended; empty where there is none."""
    if not _is_own(step):
        return {}
    found = outputs.find(house.db, step.job.id, outputs.of_candidate(step.candidate.name))
    result: Mapping[str, Json] = {} if found is None or found.result is None else found.result
    return result


def _container_of(step: StepRecord) -> Mapping[str, Json]:
    """Give the container of the model that the step made: the one whose place names it, else the first."""
    containers: list[dict[str, Json]] = step.candidate.body.get("InferenceContainers", [])
    named = (one for one in containers if f"/{step.name.lower()}/" in one["ModelDataUrl"].lower())
    return next(named, containers[0] if containers else {})


def _model_uri(step: StepRecord) -> str:
    """Give where the model lies, or the folder in which it will."""
    job = step.job
    folder = f"{job.request['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{job.name}/"
    return str(_container_of(step).get("ModelDataUrl", folder))


def _final_metrics(candidate: CandidateRecord) -> list[Json]:
    metrics = candidate.body.get("CandidateProperties", {}).get("CandidateMetrics", ())
    counts = Counter(one["StandardMetricName"] for one in metrics)
    listed = []
    for one in metrics:
        name = one["StandardMetricName"]
        # One name measured on several splits is told as training logs tell it.
        told = name if counts[name] == 1 else f"{one['Set'].lower()}:{name}"
        listed.append({"MetricName": told, "Value": one["Value"], "Timestamp": candidate.ended_at})
    return listed


def _seconds(candidate: CandidateRecord) -> int | None:
    if candidate.ended_at is None:
        return None
    return max(1, round((candidate.ended_at - candidate.created_at).total_seconds()))


def _without_nulls(described: Mapping[str, Json]) -> dict[str, Json]:
    return {
        name: _without_nulls(value) if isinstance(value, dict) else value
        for name, value in described.items()
        if value is not None
    }
