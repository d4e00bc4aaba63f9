from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import permutations

import pytest

import houses
from gyropilot import clock, names
from gyropilot.errors import InvalidRequest
from gyropilot.problems.tabular.problem import TABULAR
from gyropilot.store import candidates, jobs, leases, model_data
from gyropilot.store.jobs import JobChanges
from gyropilot.store.model_data import ModelDataRecord
from gyropilot.worker import outcomes
from new_jobs import new_job
from published_models import create_model

IMAGE = "gyropilot/tabular:1"
FEATURES = {"AUTOML_TRANSFORM_MODE": "feature-transform"}
LABELS = {"AUTOML_TRANSFORM_MODE": "inverse-label-transform", "SAGEMAKER_INFERENCE_INPUT": "predicted_label"}


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    house = houses.build(tmp_path_factory.mktemp("house"), (TABULAR,))
    yield house
    house.db.close()


@pytest.fixture(scope="module")
def chain(house):
    return publish_chain(house, "tuned", ("features", FEATURES), ("algorithm", {}), ("features", LABELS))


def publish_chain(house, name, *parts):
    """Give the containers of the one candidate of an ended job: for each part its file's name and environment."""
    containers = [
        {"Image": IMAGE, "ModelDataUrl": f"s3://data/out/{name}/{file}.tar.gz", "Environment": dict(environment)}
        for file, environment in parts
    ]
    made = jobs.create(
        house.db, new_job(name, account_id=names.ACCOUNT_ID, arn=f"arn:{name}", request=houses.mean_request(name)), {}
    )
    lease, _ = leases.claim(house.db, "test", 600, None)
    for file in {file for file, _ in parts}:
        data, key = f"{name} {file}".encode(), f"out/{name}/{file}.tar.gz"
        house.objects.put_bytes("data", key, data)
        record = ModelDataRecord(
            account_id=names.ACCOUNT_ID,
            uri=f"s3://data/{key}",
            sha256=hashlib.sha256(data).hexdigest(),
            size_bytes=len(data),
            image=IMAGE,
            problem="Tabular",
            shares="",
            job_id=made.id,
            candidate=f"{name}-best",
        )
        model_data.put(house.db, lease, [record])
    candidate = outcomes.in_progress(made, f"{name}-best", clock.now())
    body = candidate.body | {"InferenceContainers": containers}
    candidates.put(house.db, lease, replace(candidate, body=body))
    jobs.update(house.db, lease, JobChanges(status="Completed", best_candidate=f"{name}-best"))
    leases.release(house.db, lease)
    return containers


def refusal(house, *containers):
    with pytest.raises(InvalidRequest) as caught:
        create_model(house, "refused", *containers)
    return str(caught.value)


def test_the_containers_of_a_candidate_are_a_model(house, chain):
    create_model(house, "whole", *chain)
    create_model(house, "other-answers", chain[0], *selecting(chain, "probability", "probability"))


def selecting(chain, output, brought):
    """Give the last two containers with answers of `output`, of which the last one takes `brought`."""
    names = {"SAGEMAKER_INFERENCE_OUTPUT": output}, {"SAGEMAKER_INFERENCE_INPUT": brought}
    return [one | {"Environment": one["Environment"] | more} for one, more in zip(chain[1:], names, strict=True)]


def test_a_container_that_takes_what_the_one_before_does_not_answer_is_refused(house, chain):
    told = refusal(house, chain[0], *selecting(chain, "probability", "predicted_label"))
    assert "Containers[2].Environment.SAGEMAKER_INFERENCE_INPUT: is not what comes" in told
    assert "SAGEMAKER_INFERENCE_OUTPUT of the container before is probability" in told
    create_model(
        house, "spaced", chain[0], *selecting(chain, "predicted_label, probability", "predicted_label,probability")
    )
    told = refusal(house, chain[0], *selecting(chain, "probability,predicted_label", "predicted_label,probability"))
    assert "in the same order" in told


def test_containers_in_another_order_are_refused_by_their_roles(house, chain):
    for given in list(permutations(chain))[1:]:
        told = refusal(house, *given)
        assert "give the containers of tuned-best as its InferenceContainers have them: " in told
        assert "feature-transform, algorithm, inverse-label-transform" in told
    told = refusal(house, *reversed(chain))
    assert "Containers[0]: is the inverse-label-transform, and the feature-transform belongs here" in told
    assert "Containers[1]" not in told


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        ((0,), "PrimaryContainer: the algorithm, inverse-label-transform of tuned-best are missing"),
        ((1,), "PrimaryContainer: is the algorithm, and the feature-transform belongs here"),
        ((1,), "PrimaryContainer: the feature-transform, inverse-label-transform of tuned-best are missing"),
        ((0, 1), "Containers: the inverse-label-transform of tuned-best is missing"),
        ((0, 2), "Containers: the algorithm of tuned-best is missing"),
        ((0, 2), "Containers[1]: is the inverse-label-transform, and the algorithm belongs here"),
        ((1, 2), "Containers[0]: is the algorithm, and the feature-transform belongs here"),
    ],
)
def test_a_chain_that_lacks_a_container_is_refused(house, chain, kept, told):
    assert told in refusal(house, *(chain[at] for at in kept))


def test_a_role_is_not_played_by_the_file_of_another(house, chain):
    played = chain[0] | {"ModelDataUrl": chain[1]["ModelDataUrl"]}
    assert "Containers[0]" in refusal(house, played, *chain[1:])
    assert "Containers[2]: is the feature-transform, and the inverse-label-transform belongs here" in refusal(
        house, *chain[:2], chain[0]
    )


def test_containers_of_two_candidates_are_refused(house, chain):
    other = publish_chain(house, "other", ("features", FEATURES), ("algorithm", {}), ("features", LABELS))
    told = refusal(house, chain[0], other[1], chain[2])
    assert "Containers[1]: is the algorithm of other-best, and those beside it are of tuned-best" in told


def test_a_whole_model_stands_alone(house, chain):
    (whole,) = publish_chain(house, "ensemble", ("model", {}))
    create_model(house, "alone", whole)
    assert "is one more container than the 1 of ensemble-best" in refusal(house, whole, whole)
    assert "Containers" in refusal(house, chain[0], whole)


def test_copies_of_a_candidate_s_files_are_as_good(house, chain):
    copies = []
    for number, one in enumerate(chain):
        data = house.objects.read("data", one["ModelDataUrl"].removeprefix("s3://data/"))
        house.objects.put_bytes("data", f"copies/{number}", data)
        copies.append(one | {"ModelDataUrl": f"s3://data/copies/{number}"})
    create_model(house, "copied", *copies)
    assert "Containers[0]" in refusal(house, *reversed(copies))
