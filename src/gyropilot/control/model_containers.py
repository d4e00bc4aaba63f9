"""What a container of a model must satisfy: an image of ours, over a file that a job of the same account wrote.

Model data is known by place and size, or, where it was copied elsewhere, by size and SHA-256. A file that is at its
recorded place with its recorded size is not read here: its digest is checked whenever it is fetched to be loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gyropilot.control import images
from gyropilot.control.house import House
from gyropilot.control.places import Places, store_fault, uri_faults
from gyropilot.control.refusals import Refusal, faults_of
from gyropilot.errors import Fault, InvalidData, NotAllowed, NotFound
from gyropilot.names import split_s3_uri
from gyropilot.problems.contract import Problem
from gyropilot.store import model_data
from gyropilot.store.model_data import ModelDataRecord
from gyropilot.store.object_info import ObjectInfo
from gyropilot.store.principals import Principal

Json = Any

_REFUSALS = (
    Refusal(path="ModelDataSource", problem="is not read here", fix="name the file by ModelDataUrl"),
    Refusal(path="AdditionalModelDataSources", problem="a container has one model file here"),
    Refusal(path="ModelPackageName", problem="there are no model packages here", fix="give Image and ModelDataUrl"),
    Refusal(path="InferenceSpecificationName", problem="there are no model packages here"),
    Refusal(
        path="Mode",
        problem="a container has one model here; endpoints whose models share a base share its memory anyway",
        fix="make a model for each file, and an endpoint for each model",
        harmless=("SingleModel",),
    ),
    Refusal(path="MultiModelConfig", problem="a container has one model here"),
    Refusal(path="ContainerMetricsConfig", problem="containers give no metrics here"),
    Refusal(
        path="ImageConfig.RepositoryAccessMode",
        problem="images are part of this service, in no repository",
        harmless=("Platform",),
    ),
    Refusal(path="ImageConfig.RepositoryAuthConfig", problem="images are part of this service, in no repository"),
)


def admit(
    house: House, principal: Principal, places: Places | None, where: str, container: Mapping[str, Json]
) -> tuple[dict[str, Json] | None, list[Fault]]:
    """Give a container as it is kept with its model, and what is wrong with it; None where anything is.

    Args:
        house: the parts.
        principal: the caller.
        places: what the model's role reaches; None where it may not be passed, so that no object is looked at.
        where: what stands before the names of the container's members, with its dot.
        container: ContainerDefinition.
    """
    faults = list(faults_of(_REFUSALS, container, where))
    problem, image_faults = _problem_of(house, where, container)
    faults += image_faults
    record, data_faults = _data_of(house, principal, places, f"{where}ModelDataUrl", container)
    faults += data_faults
    if problem is not None and record is not None and record.problem != problem.config_name:
        faults.append(
            Fault(
                where=f"{where}Image",
                found=container["Image"],
                problem=f"is not the image of the model data, which is for {record.image}",
                fix="take Image and ModelDataUrl from one container of a candidate",
            )
        )
    if faults or problem is None or record is None:
        return None, faults
    kept = {
        "uri": container["ModelDataUrl"],
        "sha256": record.sha256,
        "size_bytes": record.size_bytes,
        "image": container["Image"],
        "environment": dict(container.get("Environment", {})),
        "problem": record.problem,
        "shares": record.shares,
        "job_id": record.job_id,
        "candidate": record.candidate,
    }
    return kept, []


def _problem_of(house: House, where: str, container: Mapping[str, Json]) -> tuple[Problem | None, list[Fault]]:
    image = container.get("Image")
    if image is None:
        fix = "take the container as a candidate of a job names it, in InferenceContainers"
        return None, [Fault(where=f"{where}Image", problem="is missing", fix=fix)]
    problem = images.find(image, house.problems)
    return problem, [] if problem else [images.fault_of(f"{where}Image", image, house.problems)]


def _data_of(
    house: House, principal: Principal, places: Places | None, where: str, container: Mapping[str, Json]
) -> tuple[ModelDataRecord | None, list[Fault]]:
    uri = container.get("ModelDataUrl")
    if uri is None:
        fix = "take the container as a candidate of a job names it, in InferenceContainers"
        return None, [Fault(where=where, problem="is missing", fix=fix)]
    faults = list(uri_faults(places, where, uri, "read"))
    if faults or places is None:
        return None, faults
    try:
        info = places.objects.head(*split_s3_uri(uri))
        record = None if info is None else _recorded(house, principal, places, info)
    except (NotAllowed, InvalidData, NotFound, OSError) as error:
        return None, [store_fault(where, uri, error)]
    return record, [] if record else [_data_fault(where, uri, info)]


def _data_fault(where: str, uri: str, info: ObjectInfo | None) -> Fault:
    if info is None:
        fix = "name the file as a candidate's container does, in ModelDataUrl"
        return Fault(where=where, found=uri, problem="there is no such object", fix=fix)
    return Fault(
        where=where,
        found=f"{uri}, {info.size_bytes} bytes",
        problem="is no model data that a job of this account wrote, by size and SHA-256; nothing else is loaded here",
        fix="name the file as a candidate's container does, or an unchanged copy of it",
    )


def _recorded(house: House, principal: Principal, places: Places, info: ObjectInfo) -> ModelDataRecord | None:
    """Give the record that an object is known by."""
    at_place = model_data.find(house.db, principal.account_id, info.uri)
    if at_place is not None and at_place.size_bytes == info.size_bytes:
        return at_place
    # Only what has the size of model data is read, so no caller has us read more than a job of his wrote.
    by_digest = {one.sha256: one for one in model_data.of_size(house.db, principal.account_id, info.size_bytes)}
    if not by_digest:
        return None
    return by_digest.get(house.model_digests.of(principal.account_id, places.role, places.objects, info))


def hostname_faults(containers: list[tuple[str, Mapping[str, Json]]]) -> Iterator[Fault]:
    """Give the faults of ContainerHostname over the containers of a model, each with its `where`."""
    seen: set[str] = set()
    for where, container in containers:
        hostname = container.get("ContainerHostname")
        if hostname in seen:
            problem = "another container of the model has this name"
            yield Fault(where=f"{where}ContainerHostname", found=hostname, problem=problem, fix="choose another")
        if hostname is not None:
            seen.add(hostname)
