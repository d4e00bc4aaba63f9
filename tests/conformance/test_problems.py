"""What every problem type of the catalog must keep."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

from gyropilot.errors import InvalidRequest
from gyropilot.problems import catalog
from gyropilot.problems.contract import RequestContext

SERVICE_MODEL_MEMBERS = {
    "ImageClassificationJobConfig",
    "TextClassificationJobConfig",
    "TimeSeriesForecastingJobConfig",
    "TabularJobConfig",
    "TextGenerationJobConfig",
}
REQUESTS = {
    "TabularJobConfig": {"TargetAttributeName": "price", "CompletionCriteria": {"MaxCandidates": 5}},
    "TextGenerationJobConfig": {"BaseModelName": "SmolLM2-135M-Instruct"},
}


PROFILES = {
    "TabularJobConfig": {
        "mode": "HYPERPARAMETER_TUNING",
        "objective": "MSE",
        "schema": {
            "features": [{"name": "rooms", "kind": "numeric"}, {"name": "street", "kind": "categorical"}],
            "target": "price",
            "weight": None,
            "problem_type": "Regression",
            "labels": [],
        },
        "rows": {"read": 500, "dropped": 0, "training": 400, "validation": 100, "sampled_from": None},
        "bytes": 9000,
    },
    "TextGenerationJobConfig": {},
}
"""As far as a search looks into them."""


class AllModels:
    def find(self, name):
        return None

    def check_available(self, name, *, accept_eula):
        pass


@pytest.fixture(params=catalog.PROBLEMS, ids=lambda problem: problem.wire_name)
def problem(request):
    return request.param


@pytest.fixture
def spec(problem):
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/train/"}}
    wire = {
        "AutoMLJobInputDataConfig": [{"DataSource": source}],
        "AutoMLProblemTypeConfig": {problem.wire_name: REQUESTS[problem.wire_name]},
    }
    return problem.read_request(wire, RequestContext(base_models=AllModels()))


def test_importing_the_catalog_loads_no_heavy_library():
    code = (
        "import sys, gyropilot.problems.catalog;"
        "print([m for m in ('torch', 'transformers', 'peft', 'numpy', 'pyarrow', 'tokenizers', 'jinja2', 'pandas',"
        " 'sklearn', 'optuna') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_catalog_and_the_unbuilt_names_are_all_that_the_service_model_knows():
    built = {problem.wire_name for problem in catalog.PROBLEMS}
    assert built | set(catalog.NOT_BUILT) == SERVICE_MODEL_MEMBERS
    assert not built & set(catalog.NOT_BUILT)


@pytest.mark.parametrize("wire_name", sorted(catalog.NOT_BUILT))
def test_a_problem_type_that_is_not_built_is_refused_by_name(wire_name):
    with pytest.raises(InvalidRequest, match=f"{wire_name}.*not built"):
        catalog.find({"AutoMLProblemTypeConfig": {wire_name: {}}})


@pytest.mark.parametrize("config", [{}, {"TabularJobConfig": {}, "TextGenerationJobConfig": {}}])
def test_none_or_several_problem_types_are_refused(config):
    with pytest.raises(InvalidRequest, match="exactly one"):
        catalog.find({"AutoMLProblemTypeConfig": config})


def test_a_problem_is_found_by_request_and_by_its_stored_name(problem):
    assert catalog.find({"AutoMLProblemTypeConfig": {problem.wire_name: {}}}) is problem
    assert catalog.named(problem.config_name) is problem


def test_the_functions_that_run_in_children_exist_under_their_names(problem):
    for name in (problem.profile, problem.train, problem.open_server, *(one.function for one in problem.reports)):
        module, _, function = name.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


def test_a_spec_survives_json(problem, spec):
    assert problem.read_spec(json.loads(json.dumps(spec.to_json()))) == spec


def test_resolved_attributes_are_those_of_the_service_model(problem, spec):
    resolved = problem.resolved_attributes(spec)
    assert resolved.keys() <= {"AutoMLJobObjective", "AutoMLProblemTypeResolvedAttributes", "CompletionCriteria"}
    assert json.loads(json.dumps(resolved)) == resolved


def test_search_proposes_named_candidates_as_json_and_ends(problem, spec):
    search = problem.open_search(spec, {**PROFILES[problem.wire_name], "job_name": "a" * 32})
    names = []
    while (candidate := search.ask()) is not None:
        names.append(json.loads(json.dumps(candidate))["name"])
        search.tell(names[-1], None)
        assert len(names) <= spec.limits.max_candidates
    assert names
    assert all(len(name) <= 63 and name.replace("-", "a").isalnum() for name in names)


def test_search_opened_again_proposes_the_same(problem, spec):
    profile = {**PROFILES[problem.wire_name], "job_name": "job"}
    first, second = (problem.open_search(spec, profile).ask() for _ in range(2))
    assert first == second


def test_what_it_needs_is_named_by_top_level_modules(problem):
    assert all(module.isidentifier() for module in problem.modules)
    assert bool(problem.modules) == bool(problem.extra)
