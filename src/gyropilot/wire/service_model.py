"""The service model: operations and shapes as botocore ships them, the only schema of the wire.

    botocore's service-2.json (sagemaker, sts, iam, logs) and our gyropilot-service-2.json, in the same format
        --load--> ServiceModel --operations--> Operation --input, output--> Shape --members--> Shape ...

Only the operations asked for are kept, without their documentation: the whole model is 2,000,000 characters.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from botocore import xform_name
from botocore.loaders import JSONFileLoader, Loader

Kind = Literal[
    "structure",
    "list",
    "map",
    "string",
    "integer",
    "long",
    "float",
    "double",
    "boolean",
    "timestamp",
    "document",
    "blob",
]
ServiceName = Literal["sagemaker", "gyropilot", "sts", "iam", "logs"]
RestServiceName = Literal["sagemaker-runtime"]
"""Services whose operations are told by method and path; `rest.py` reads and writes their messages."""
Protocol = Literal["json", "query", "rest-json"]

_OUR_MODEL = Path(__file__).with_name("gyropilot-service-2.json")


@dataclass(frozen=True, kw_only=True, eq=False)
class Shape:
    """One shape; `members` of a structure, `parts` of a list (`member`) or a map (`key`, `value`).

    A shape may hold itself, so the two mappings are filled after it was made.
    """

    name: str
    kind: Kind
    members: Mapping[str, Shape] = field(repr=False)
    parts: Mapping[str, Shape] = field(repr=False)
    required: frozenset[str]
    minimum: float | None
    maximum: float | None
    pattern: str | None
    enum: tuple[str, ...]
    is_union: bool
    is_sensitive: bool
    places: Mapping[str, Place] = field(default_factory=dict, repr=False)
    """Where REST messages carry the members that are not in their body."""
    payload: str = ""
    """The member that is the whole body of a REST message; empty: the body is JSON."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a REST message carries a member, and under which name."""

    kind: Literal["uri", "header"]
    name: str


@dataclass(frozen=True, kw_only=True)
class Http:
    """How a REST operation is asked for and answered."""

    method: str
    path: str
    """As in the model, with labels in braces: /endpoints/{EndpointName}/invocations."""
    status: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Operation:
    """One operation; `errors` are the codes that its model names."""

    name: str
    service: ServiceName | RestServiceName
    signing_name: str
    protocol: Protocol
    input: Shape | None
    output: Shape | None
    errors: frozenset[str]
    result_wrapper: str
    """The element that the query protocol puts around an output; empty in other protocols."""
    access: str = ""
    """What our own model says a caller needs, as `admin`; empty: what the operation's verb says."""
    http: Http | None = None
    """Of REST operations."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ServiceModel:
    """One service: the operations kept, and the names of all that its model has."""

    name: ServiceName | RestServiceName
    target_prefix: str
    """What stands before an operation's name in a target; of a query service, which has none, its signing name."""
    signing_name: str
    protocol: Protocol
    api_version: str
    xml_namespace: str
    operations: Mapping[str, Operation]
    known_names: frozenset[str]


def function_name(operation: str) -> str:
    """Give the Python name of an operation as botocore makes it: CreateAutoMLJobV2 -> create_auto_ml_job_v2."""
    name: str = xform_name(operation)
    return name


def load(service: ServiceName | RestServiceName, keep: Callable[[str], bool]) -> ServiceModel:
    """Give the model of a service with the operations whose names `keep` accepts."""
    raw = _read(service)
    metadata = raw["metadata"]
    signing_name = metadata.get("signingName", metadata["endpointPrefix"])
    shapes = _Shapes(raw["shapes"])
    operations = {
        name: Operation(
            name=name,
            service=service,
            signing_name=signing_name,
            protocol=metadata["protocol"],
            input=shapes.find(operation.get("input")),
            output=shapes.find(operation.get("output")),
            errors=frozenset(error["shape"] for error in operation.get("errors", ())),
            access=operation.get("access", ""),
            result_wrapper=(operation.get("output") or {}).get("resultWrapper", ""),
            http=_http(operation) if metadata["protocol"] == "rest-json" else None,
        )
        for name, operation in raw["operations"].items()
        if keep(name)
    }
    return ServiceModel(
        name=service,
        target_prefix=metadata.get("targetPrefix", signing_name),
        signing_name=signing_name,
        protocol=metadata["protocol"],
        api_version=metadata["apiVersion"],
        xml_namespace=metadata.get("xmlNamespace", ""),
        operations=operations,
        known_names=frozenset(raw["operations"]),
    )


def shapes_below(roots: Iterable[Shape]) -> dict[str, Shape]:
    """Give all shapes reachable from `roots` by their names, inner ones first."""
    found: dict[str, Shape] = {}
    seen: set[str] = set()

    def visit(shape: Shape) -> None:
        if shape.name in seen:
            return
        seen.add(shape.name)
        for inner in (*shape.members.values(), *shape.parts.values()):
            visit(inner)
        found[shape.name] = shape

    for root in roots:
        visit(root)
    return found


def _http(operation: Mapping[str, Any]) -> Http:
    said = operation["http"]
    return Http(method=said["method"], path=said["requestUri"], status=said.get("responseCode", 200))


class _Shapes:
    """Makes shapes out of a model's raw ones, each once."""

    def __init__(self, raw: Mapping[str, Mapping[str, Any]]) -> None:
        self._raw = raw
        self._made: dict[str, Shape] = {}

    def find(self, reference: Mapping[str, Any] | None) -> Shape | None:
        return None if reference is None else self._make(reference["shape"])

    def _make(self, name: str) -> Shape:
        if name in self._made:
            return self._made[name]
        raw = self._raw[name]
        members: dict[str, Shape] = {}
        parts: dict[str, Shape] = {}
        self._made[name] = shape = Shape(
            name=name,
            kind="document" if raw.get("document") else raw["type"],
            members=members,
            parts=parts,
            required=frozenset(raw.get("required", ())),
            minimum=raw.get("min"),
            maximum=raw.get("max"),
            pattern=raw.get("pattern"),
            enum=tuple(raw.get("enum", ())),
            is_union=bool(raw.get("union")),
            is_sensitive=bool(raw.get("sensitive")),
            places=_places(raw.get("members", {})),
            payload=raw.get("payload", ""),
        )
        members |= {member: self._make(to["shape"]) for member, to in raw.get("members", {}).items()}
        parts |= {part: self._make(raw[part]["shape"]) for part in ("member", "key", "value") if part in raw}
        return shape


def _places(members: Mapping[str, Mapping[str, Any]]) -> dict[str, Place]:
    return {
        name: Place(kind=to["location"], name=to["locationName"])
        for name, to in members.items()
        if to.get("location") in ("uri", "header")
    }


def _read(service: ServiceName | RestServiceName) -> dict[str, Any]:
    if service == "gyropilot":
        model: dict[str, Any] = json.loads(_OUR_MODEL.read_bytes())
        return model
    # Only what botocore ships: its default search path takes in models that lie in the user's ~/.aws.
    loader = Loader(
        extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False, file_loader=_FileLoader()
    )
    # Not load_service_model: it looks into the folders of all services first, which takes longer than reading one.
    version = loader.determine_latest_version(service, "service-2")
    shipped: dict[str, Any] = loader.load_data(f"{service}/{version}/service-2")
    return shipped


class _FileLoader(JSONFileLoader):  # type: ignore[misc]
    """botocore's loader with plain dicts: reads the model three times faster than with ordered ones."""

    def load_file(self, file_path: str) -> Any:  # noqa: ANN401 - botocore's signature
        plain, packed = Path(f"{file_path}.json"), Path(f"{file_path}.json.gz")
        if plain.is_file():
            return json.loads(plain.read_bytes())
        return json.loads(gzip.decompress(packed.read_bytes())) if packed.is_file() else None
