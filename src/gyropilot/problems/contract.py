"""What a problem type is to the rest of the house: the fields of `Problem`, and the values that pass between.

A problem reads its part of a request into a frozen spec, proposes candidates, and names three functions that run in
child processes. It knows no queue, database, HTTP or Ray.

    control --request--> read_request -> Spec
    worker  --ProfileTask--> [child] profile -> JSON findings        (reads and checks the data, once a job)
    worker  <--ask-- Search --tell--> worker
    worker  --TrainTask--> [child] train -> TrainResult              (once a candidate, several side by side)
    worker  --ReportTask--> [child] each of reports -> ReportResult  (once a job, of its best candidate)
    serve   --ServeTask--> [replica] open_server -> ModelServer      (one process, the models loaded into it)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from gyropilot.errors import Fault

Json = Any
Split = Literal["Train", "Validation", "Test"]
Direction = Literal["Maximize", "Minimize"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of a job, from CompletionCriteria; None is no bound."""

    max_candidates: int
    seconds_per_candidate: int | None
    seconds_per_job: int | None


class Spec(Protocol):
    """A request with every default filled in; frozen, and JSON in between."""

    @property
    def limits(self) -> Limits:
        """Bounds of the job."""

    def to_json(self) -> dict[str, Json]:
        """Give the spec as JSON values; the problem's read_spec reads them back."""


class BaseModelRecord(Protocol):
    """What reading a request may know of an installed base model."""

    @property
    def name(self) -> str:
        """The name of its weights; another than the one asked for where it only stands in for that."""

    @property
    def architecture(self) -> str:
        """The class of transformers that loads it."""

    @property
    def kind(self) -> str:
        """Whether it answers after a text or beside it: causal or seq2seq."""

    @property
    def context_tokens(self) -> int:
        """Tokens that an input may have."""

    @property
    def path(self) -> Path:
        """The folder that it lies in."""


class BaseModels(Protocol):
    """What reading a request may ask of the base-model store; raises InvalidRequest with field and mend."""

    def find(self, name: str) -> BaseModelRecord | None:
        """Give what is installed under a name."""

    def check_available(self, name: str, *, accept_eula: bool) -> None:
        """Raise InvalidRequest unless the model is known, installed and its licence accepted where it must be."""


ReadObject = Callable[[str, str, int], bytes | None]
"""Takes the field that names an object, its s3 URI and the most bytes; gives its bytes, or None where the request has
a fault that keeps it from being read, and raises InvalidRequest where the object cannot be read."""


def _no_columns(_channel: int) -> None:
    """Know of no column names."""


def _no_count() -> None:
    """Know of no devices."""


@dataclass(frozen=True, kw_only=True)
class RequestContext:
    """What reading a request may look at beside the request itself."""

    base_models: BaseModels
    columns: Callable[[int], tuple[str, ...] | None] = _no_columns
    """Gives the column names of that channel's first object; None where they cannot be read before the job runs."""
    read_object: ReadObject | None = None
    """Reads a small object as the request's role."""
    cuda_devices: Callable[[], int | None] = _no_count
    """Counts the GPUs of the machine on which the job will run; None: it is not known which that is."""
    source_prompts: Path | None = None
    """Folder of the source prompts; None: there are none."""


@dataclass(frozen=True, kw_only=True)
class LocalFile:
    """One object of a channel, staged for a child."""

    path: Path
    uri: str
    size_bytes: int
    etag: str


@dataclass(frozen=True, kw_only=True)
class LocalChannel:
    """One channel, staged: its files in key order."""

    channel_type: Literal["training", "validation"]
    content_type: str
    compression: Literal["None", "Gzip"]
    files: tuple[LocalFile, ...]


@dataclass(frozen=True, kw_only=True)
class ProfileTask:
    """What `profile` receives."""

    job_name: str
    spec: Mapping[str, Json]
    channels: tuple[LocalChannel, ...]
    base_models: Path
    prepared: Path
    """Folder, kept for the whole job, where profile leaves what train will read; an attempt that was killed may have
    left files here: profile replaces them, or takes over what it can prove to be whole and of the same inputs."""
    output: Path
    """Empty folder; every file left here is uploaded below <S3OutputPath>/<job>/ under the same relative name."""
    output_uri: str
    """Where `output` will lie: s3://bucket/prefix/<job>."""
    cores: int
    memory_bytes: int
    extra_files: tuple[LocalFile, ...] = ()
    """The objects that Problem.extra_inputs named, in its order."""
    source_prompts: Path | None = None
    """Folder of the source prompts, only to be read; None: there are none."""


@dataclass(frozen=True, kw_only=True)
class TrainTask:
    """What `train` receives."""

    job_name: str
    spec: Mapping[str, Json]
    candidate: Mapping[str, Json]
    """What search.ask proposed, its `name` among it."""
    profile: Mapping[str, Json]
    """What profile returned."""
    base_models: Path
    prepared: Path
    checkpoints: Path
    """Folder, kept over attempts of this candidate; train goes on from what lies here."""
    output: Path
    """Empty folder; every file left here is uploaded below <S3OutputPath>/<job>/ under the same relative name."""
    output_uri: str
    """Where `output` will lie: s3://bucket/prefix/<job>."""
    cores: int
    memory_bytes: int
    seconds_left: float | None
    """Time this candidate may take from now; training ends early enough to evaluate and save. None: no bound."""
    checkpoint_seconds: float
    evaluation_seconds: float
    source_prompts: Path | None = None
    """Folder of the source prompts, only to be read; None: there are none."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One measured number; `name` is a StandardMetricName of the service model."""

    name: str
    split: Split
    value: float


@dataclass(frozen=True, kw_only=True)
class Container:
    """One inference container; `model_path` is relative to the output folder."""

    image: str
    model_path: str
    environment: Mapping[str, str]
    shares: str = ""
    """Models with the same text, not empty, may be loaded into one process, where they share memory: a base model."""


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What `train` returns for one candidate."""

    score: float
    """The value search and ranking compare, in `direction`."""
    score_name: str
    direction: Direction
    metrics: tuple[Metric, ...]
    containers: tuple[Container, ...]
    artifacts: Mapping[str, str] = field(default_factory=dict)
    """Named locations relative to the output folder: `Explainability`, `ModelInsights`, `report`..."""
    chosen: Mapping[str, Json] = field(default_factory=dict)
    """Settings that training chose by itself, as far as they are single values: what DescribeTrainingJob shows."""
    ended_by: Literal["finished", "time limit", "stop"] = "finished"

    def to_json(self) -> dict[str, Json]:
        """Give the result as JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class ReportTask:
    """What the function of a Report receives."""

    job_name: str
    spec: Mapping[str, Json]
    profile: Mapping[str, Json]
    candidate: str
    """Name of the best candidate."""
    result: Mapping[str, Json]
    """Its TrainResult."""
    model: Path
    """The best candidate's output folder, as `train` left it."""
    prepared: Path
    output: Path
    """Empty folder; every file left here is uploaded below <S3OutputPath>/<job>/ under the same relative name."""
    output_uri: str
    cores: int
    memory_bytes: int
    seconds_left: float | None
    """None: no bound. The child is killed soon after."""
    candidates: tuple[Mapping[str, Json], ...] = ()
    """The job's candidates as far as they have a score, the best first: `name`, `score`, `seconds`; of the first ten
    also `chosen`, as their TrainResult has it."""


@dataclass(frozen=True, kw_only=True)
class ReportResult:
    """What a Report's function returns."""

    artifacts: Mapping[str, str]
    """As TrainResult.artifacts; added to those of the best candidate."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Something that is made of the best candidate once it is chosen; the model stands though it fails."""

    name: str
    """As events and reasons name it: `explainability report`."""
    function: str
    status: str
    """AutoMLJobSecondaryStatus meanwhile."""
    failed_status: str
    """AutoMLJobSecondaryStatus of a job that ends without it."""


@dataclass(frozen=True, kw_only=True)
class ServeTask:
    """What `open_server` receives: what one replica process may use."""

    base_models: Path
    cores: int
    memory_bytes: int


Style = Literal["invoke", "chat", "completion"]
"""How a call is written: as the problem type's own payload, or as OpenAI's chat or text completion."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request to a loaded model."""

    body: bytes
    content_type: str
    """Without parameters, in lower case; empty where the caller named none."""
    accept: str
    """As the caller wrote it; empty or */* where anything will do."""
    style: Style = "invoke"
    model_name: str = ""
    """What the caller calls the model: the endpoint's name, for answers that repeat it."""
    cancelled: threading.Event = field(default_factory=threading.Event)
    """Set when nobody waits for the answer any more; work for it should end."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One whole answer."""

    body: bytes
    content_type: str


@dataclass(frozen=True, kw_only=True)
class StreamedReply:
    """An answer part by part; `parts` may raise after the first, which breaks the stream off."""

    content_type: str
    parts: Iterator[bytes]


class ModelServer(Protocol):
    """The models that one replica process has loaded; its functions are called from many threads at once."""

    @property
    def calls_at_once(self) -> int:
        """Give how many calls may be inside `answer` and `stream` together; more wait outside."""

    @property
    def is_sound(self) -> bool:
        """Say whether it can still answer, at once; once it is False the process is ended and another one started."""

    def load(self, name: str, folder: Path, environment: Mapping[str, str]) -> None:
        """Load the model that lies unpacked in `folder`; a process gets several only where they share.

        Raises:
            TrainingFailed: the folder is not whole, or does not fit this version.
            InvalidRequest: the environment holds what cannot be honoured.
            LimitExceeded: there is no room for it.
        """

    def unload(self, name: str) -> None:
        """Let go of a model; calls on it have ended."""

    def answer(self, name: str, call: Call) -> Reply:
        """Answer a call.

        Raises:
            InvalidRequest: the payload does not fit: the caller's fault.
            LimitExceeded: more than can be taken now.
        """

    def stream(self, name: str, call: Call) -> StreamedReply:
        """Answer a call part by part; raises as `answer` does, before the first part."""

    def close(self) -> None:
        """End what works in the background."""


def _no_faults(_request: Mapping[str, Json]) -> tuple[Fault, ...]:
    """Know of no names that are chosen among."""
    return ()


def _no_chain_faults(_environments: Sequence[Mapping[str, str]]) -> tuple[tuple[int, Fault], ...]:
    return ()


def _no_inputs(_spec: Spec) -> tuple[str, ...]:
    """Need nothing beside the channels."""
    return ()


class HandBack(Exception):
    """Raised by `train` once it saved what a later run goes on from, since the service goes down; no failure."""


class Reporter(Protocol):
    """A child's way to speak; every call is cheap and may be made from any thread."""

    def progress(
        self, phase: str, *, done: float, total: float, unit: str, values: Mapping[str, float] | None = None
    ) -> None:
        """Say how far `phase` (as "training") is.

        `values` may carry loss, tokens_per_second, seconds_left, and `saved`: what of `done` a checkpoint keeps.
        """

    def event(self, kind: str, message: str, *, detail: Mapping[str, Json] | None = None) -> None:
        """Record something worth keeping: a finding, a checkpoint, a changed plan."""

    def stop_requested(self) -> bool:
        """Say whether the job is to end gracefully: keep and evaluate what there is."""

    def hand_back_requested(self) -> bool:
        """Say whether the service goes down: save what a later run goes on from, within seconds, and raise HandBack."""


class Search(Protocol):
    """Proposes candidates; the worker asks until None."""

    def at_once(self, cores: int) -> int:
        """Give how many candidates may train side by side on so many cores; at least 1."""

    def ask(self) -> Mapping[str, Json] | None:
        """Give the next candidate (JSON with `name`), or None when there is nothing to try.

        The name is one of the job's own: at most 63 letters, digits and hyphens, best led by the job's name and a
        hyphen, for callers name models after it. After a restart the same names come in the same order; those that
        have ended are told at once, before the next is asked for. Asked again after a `tell`, None may be followed by
        a candidate.

        `steps`, where it is given, are those before the candidate's own training job: a list of
        {"kind": "ProcessingJob" | "TrainingJob" | "TransformJob", "name": ...}.
        """

    def tell(self, name: str, result: TrainResult | None) -> None:
        """Hear how a candidate ended; None: it failed."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One problem type."""

    wire_name: str
    """Its member of AutoMLProblemTypeConfig, as TextGenerationJobConfig."""
    config_name: str
    """Its AutoMLProblemTypeConfigName, as TextGeneration."""
    extra: str
    """The name of the optional dependencies it needs: gyropilot[extra]."""
    read_request: Callable[[Mapping[str, Json], RequestContext], Spec]
    """Reads the whole request; raises InvalidRequest with every fault it finds."""
    read_spec: Callable[[Mapping[str, Json]], Spec]
    """Reads back what Spec.to_json gave."""
    resolved_attributes: Callable[[Spec], dict[str, Json]]
    """Its part of ResolvedAttributes, as the service model has them; CompletionCriteria comes of the limits."""
    open_search: Callable[[Spec, Mapping[str, Json]], Search]
    """Takes the spec and what profile returned."""
    profile: str
    """Called in a child with a ProfileTask; gives JSON. `artifacts` in it are locations in its output folder by name,
    `ends_as` a secondary status with which the job completes without training, `trains_as` the one while candidates
    train, where that is another than `train_status`."""
    train: str
    open_server: str
    """Called in a replica with a ServeTask; gives a ModelServer."""
    image: str
    """Name of its inference image, without a tag: gyropilot/text-generation."""
    unknown_names: Callable[[Mapping[str, Json]], Iterable[Fault]] = _no_faults
    """Tells of objectives and algorithms that no problem type knows which ones this one takes; it is given requests of
    any shape, which are refused already."""
    extra_inputs: Callable[[Spec], tuple[str, ...]] = _no_inputs
    """S3 URIs of single objects that profile reads beside the channels."""
    reports: tuple[Report, ...] = ()
    """Made in this order of the best candidate."""
    resolved_by_profile: Callable[[Spec, Mapping[str, Json]], dict[str, Json]] | None = None
    """What ResolvedAttributes says once the data is known, where that is more than before."""
    grace_seconds: float = 300.0
    """How long training may go on without progress after Stop or its time limit, to evaluate and save what it has."""
    longest_grace_seconds: float = 3600.0
    """How long it may go on with progress."""
    profile_status: str = "PreTraining"
    train_status: str = "TrainingModels"
    styles: tuple[Style, ...] = ("invoke",)
    """The ways of writing a call that its models understand."""
    most_containers: int = 1
    """How many containers a model may chain; more than one only where they understand each other's answers."""
    container_role: Callable[[Mapping[str, str], int], str] | None = None
    """Names what a container does, by its environment and the number of containers of its candidate; None where the
    containers of candidates may be chained as anyone likes."""
    chain_faults: Callable[[Sequence[Mapping[str, str]]], Sequence[tuple[int, Fault]]] = _no_chain_faults
    """Gives, of the environments of chained containers in their order, what keeps one from reading what the one before
    it answers: each fault with the number of its container, from 0."""
    reads_tags: tuple[str, ...] = ()
    """Keys of tags of a request that it reads; those of all other problem types are refused."""
    takes: tuple[str, ...] = ()
    """The content types that its models read in batch transform; empty: any."""
    modules: tuple[str, ...] = ()
    """The top-level modules of those dependencies; a job is taken only where all of them are installed."""
