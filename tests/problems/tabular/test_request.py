from __future__ import annotations

import json
from dataclasses import asdict

import botocore.session
import pytest

from gyropilot.errors import InvalidRequest
from gyropilot.metrics.standard_metrics import OBJECTIVES, REPORTED, STANDARD_METRICS
from gyropilot.problems.contract import RequestContext
from gyropilot.problems.tabular import request

CONFIG = "AutoMLProblemTypeConfig.TabularJobConfig"
HEADER = ("age", "Plan name", "weight", "Churn")


def channel(**changes):
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/train/"}}
    return {"DataSource": source, **changes}


def kind(s3_data_type, **changes):
    source = {"S3DataSource": {"S3DataType": s3_data_type, "S3Uri": "s3://data/train/"}}
    return {"DataSource": source, **changes}


def read(*channels, config=None, headers=None, **fields):
    given = headers if headers is not None else [HEADER, HEADER]
    wire = {
        "AutoMLJobInputDataConfig": list(channels) or [channel()],
        "AutoMLProblemTypeConfig": {"TabularJobConfig": {"TargetAttributeName": "Churn", **(config or {})}},
        **fields,
    }
    return request.read(wire, RequestContext(base_models=None, columns=lambda number: given[number]))


def faults_of(*channels, config=None, headers=None, **fields):
    with pytest.raises(InvalidRequest) as caught:
        read(*channels, config=config, headers=headers, **fields)
    return caught.value.faults


def fault_of(*channels, config=None, headers=None, **fields):
    (fault,) = faults_of(*channels, config=config, headers=headers, **fields)
    return fault


def algorithms(*names):
    return {"CandidateGenerationConfig": {"AlgorithmsConfig": [{"AutoMLAlgorithms": list(names)}]}}


def objective(name):
    return {"AutoMLJobObjective": {"MetricName": name}}


def test_a_bare_request_gets_every_default():
    spec = read()
    assert asdict(spec) == {
        "target": "Churn",
        "mode": "AUTO",
        "problem_type": None,
        "objective": None,
        "algorithms": (),
        "definitions_only": False,
        "feature_specification_uri": None,
        "weight_column": None,
        "validation_fraction": 0.2,
        "seed": request.SEED,
        "limits": {"max_candidates": 100, "seconds_per_candidate": None, "seconds_per_job": None},
        "defaulted": ("Mode", "ProblemType", "AutoMLJobObjective", "MaxCandidates", "ValidationFraction"),
    }


def test_a_full_request_is_read_whole_and_back():
    spec = read(
        channel(ContentType="text/csv; header=present", CompressionType="Gzip"),
        channel(ChannelType="validation"),
        config={
            "Mode": "ENSEMBLING",
            "ProblemType": "BinaryClassification",
            "SampleWeightAttributeName": "weight",
            "FeatureSpecificationS3Uri": "s3://data/features.json",
            "CompletionCriteria": {
                "MaxCandidates": 3,
                "MaxAutoMLJobRuntimeInSeconds": 60,
                "MaxRuntimePerTrainingJobInSeconds": 30,
            },
            "CandidateGenerationConfig": {
                "AlgorithmsConfig": [{"AutoMLAlgorithms": ["xgboost", "lightgbm", "xgboost"]}]
            },
        },
        **objective("AUC"),
    )
    assert (spec.mode, spec.problem_type, spec.objective) == ("ENSEMBLING", "BinaryClassification", "AUC")
    assert spec.algorithms == ("xgboost", "lightgbm")
    assert (spec.weight_column, spec.extra_inputs) == ("weight", ("s3://data/features.json",))
    assert (spec.validation_fraction, spec.defaulted) == (None, ())
    assert request.max_candidates(spec, "ENSEMBLING") == 3
    assert request.read_spec(json.loads(json.dumps(spec.to_json()))) == spec


def test_the_number_of_candidates_is_that_of_the_mode_once_it_is_known():
    auto = read()
    assert request.max_candidates(auto, "ENSEMBLING") == 10
    assert request.max_candidates(auto, "HYPERPARAMETER_TUNING") == 100
    assert read(config={"Mode": "ENSEMBLING"}).limits.max_candidates == 10
    given = read(config={"CompletionCriteria": {"MaxCandidates": 7}})
    assert request.max_candidates(given, "HYPERPARAMETER_TUNING") == 7


@pytest.mark.parametrize(
    ("config", "data_bytes", "mode"),
    [
        ({}, 100_000_000, "ENSEMBLING"),
        ({}, 100_000_001, "HYPERPARAMETER_TUNING"),
        ({}, None, "HYPERPARAMETER_TUNING"),
        ({"Mode": "ENSEMBLING"}, None, "ENSEMBLING"),
        ({"Mode": "HYPERPARAMETER_TUNING"}, 10, "HYPERPARAMETER_TUNING"),
        ({"SampleWeightAttributeName": "weight"}, None, "ENSEMBLING"),
        ({"GenerateCandidateDefinitionsOnly": True}, 10, "HYPERPARAMETER_TUNING"),
    ],
)
def test_auto_goes_by_size_and_by_what_only_one_mode_can_do(config, data_bytes, mode):
    assert request.mode_of(read(config=config), data_bytes) == mode


@pytest.mark.parametrize("problem_type", OBJECTIVES)
def test_each_problem_type_has_its_objectives_and_a_default(problem_type):
    default = {"BinaryClassification": "F1", "MulticlassClassification": "Accuracy", "Regression": "MSE"}[problem_type]
    assert request.objective_of(read(), problem_type) == default
    for name in OBJECTIVES[problem_type]:
        spec = read(config={"ProblemType": problem_type}, **objective(name))
        assert request.objective_of(spec, problem_type) == name
        assert name in REPORTED[problem_type]
        assert request.direction_of(name) == STANDARD_METRICS[name].direction


def test_directions_are_those_of_the_service():
    minimized = {name for name, one in STANDARD_METRICS.items() if one.direction == "Minimize"}
    assert minimized == {"MAE", "MSE", "RMSE", "LogLoss", "InferenceLatency"}


def test_metrics_and_algorithms_are_those_of_the_service_model():
    model = botocore.session.get_session().get_service_model("sagemaker")
    known = {name: set(model.shape_for(name).enum) for name in ("AutoMLMetricExtendedEnum", "AutoMLAlgorithm")}
    assert STANDARD_METRICS.keys() <= known["AutoMLMetricExtendedEnum"]
    named = {name for names in request.ALGORITHMS.values() for name in names}
    assert named == known["AutoMLAlgorithm"] - {"cnn-qr", "deepar", "prophet", "npts", "arima", "ets"}


@pytest.mark.parametrize(
    ("config", "fields", "where", "told"),
    [
        ({"ProblemType": "Regression"}, {}, "AutoMLJobObjective", "one of MSE, MAE, R2, RMSE"),
        ({}, objective("F1"), f"{CONFIG}.ProblemType", "BinaryClassification"),
        ({"ProblemType": "Regression"}, objective("AUC"), "AutoMLJobObjective.MetricName", "no objective of Regress"),
        ({"ProblemType": "BinaryClassification"}, objective("F1macro"), "AutoMLJobObjective.MetricName", "F1"),
        (algorithms("mlp"), {}, f"{CONFIG}.CandidateGenerationConfig.AlgorithmsConfig", "HYPERPARAMETER_TUNING, or"),
        (
            {"Mode": "AUTO", **algorithms()},
            {},
            f"{CONFIG}.CandidateGenerationConfig.AlgorithmsConfig",
            "ENSEMBLING or HYPERPARAMETER_TUNING",
        ),
        (
            {"Mode": "ENSEMBLING", **algorithms("mlp", "xgboost", "prophet")},
            {},
            f"{CONFIG}.CandidateGenerationConfig.AlgorithmsConfig[0].AutoMLAlgorithms",
            "are not of the mode ENSEMBLING (found ['mlp', 'prophet'])",
        ),
        (
            {"Mode": "HYPERPARAMETER_TUNING", "SampleWeightAttributeName": "weight"},
            {},
            f"{CONFIG}.SampleWeightAttributeName",
            "ENSEMBLING only",
        ),
        ({"SampleWeightAttributeName": "Churn"}, {}, f"{CONFIG}.SampleWeightAttributeName", "the target too"),
        (
            {"Mode": "ENSEMBLING", "GenerateCandidateDefinitionsOnly": True},
            {},
            f"{CONFIG}.GenerateCandidateDefinitionsOnly",
            "HYPERPARAMETER_TUNING only",
        ),
        (
            {"SampleWeightAttributeName": "weight", "GenerateCandidateDefinitionsOnly": True},
            {},
            f"{CONFIG}.GenerateCandidateDefinitionsOnly",
            "without sample weights",
        ),
        (
            {"CompletionCriteria": {"MaxAutoMLJobRuntimeInSeconds": 2_592_001}},
            {},
            f"{CONFIG}.CompletionCriteria.MaxAutoMLJobRuntimeInSeconds",
            "30 days",
        ),
        (
            {},
            {"DataSplitConfig": {"ValidationFraction": 1.0}},
            "DataSplitConfig.ValidationFraction",
            "strictly between",
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_its_mend(config, fields, where, told):
    fault = fault_of(config=config, **fields)
    assert fault.where == where
    assert told in str(fault)


def test_an_empty_list_of_algorithms_is_all_of_the_mode():
    assert read(config={"Mode": "ENSEMBLING", **algorithms()}).algorithms == ()


@pytest.mark.parametrize(
    ("channels", "where"),
    [
        ([kind("AugmentedManifestFile")], "AutoMLJobInputDataConfig[0].DataSource.S3DataSource.S3DataType"),
        ([kind("ManifestFile", CompressionType="Gzip")], "AutoMLJobInputDataConfig[0].CompressionType"),
        (
            [channel(ContentType="x-application/vnd.amazon+parquet", CompressionType="Gzip")],
            "AutoMLJobInputDataConfig[0].CompressionType",
        ),
        ([channel(ContentType="image/png")], "AutoMLJobInputDataConfig[0].ContentType"),
        ([channel(ChannelType="validation")], "AutoMLJobInputDataConfig[0].ChannelType"),
        ([channel(), channel()], "AutoMLJobInputDataConfig"),
        (
            [channel(), channel(ChannelType="validation", ContentType="x-application/vnd.amazon+parquet")],
            "AutoMLJobInputDataConfig",
        ),
    ],
)
def test_channels_that_are_not_taken_are_named(channels, where):
    assert fault_of(*channels).where == where


def test_a_manifest_is_taken():
    assert read(kind("ManifestFile")).target == "Churn"


def test_a_target_that_is_no_column_is_told_in_the_words_that_clients_know():
    fault = fault_of(config={"TargetAttributeName": "churn"})
    assert str(fault).startswith("Target attribute name churn does not exist in header.")
    assert "did you mean 'Churn'? its columns are 'age', 'Plan name', 'weight', 'Churn'" in str(fault)
    assert (fault.where, fault.found) == (f"{CONFIG}.TargetAttributeName", "churn")


def test_every_channel_must_have_target_and_weight():
    wanted = {"SampleWeightAttributeName": "weight"}
    channels = [channel(), channel(ChannelType="validation")]
    headers = [HEADER, ("age", "Plan name")]
    target, weight, unlike = faults_of(*channels, config=wanted, headers=headers)
    assert "the validation channel" in str(target)
    assert (weight.where, weight.found) == (f"{CONFIG}.SampleWeightAttributeName", "weight")
    assert "'Churn', 'weight' only in the training channel" in str(unlike)


def test_columns_in_another_order_are_the_same_columns():
    assert read(channel(), channel(ChannelType="validation"), headers=[HEADER, HEADER[::-1]]).target == "Churn"


def test_unreadable_headers_are_left_to_the_job():
    assert read(config={"TargetAttributeName": "anything"}, headers=[None]).target == "anything"


def test_every_fault_is_told_at_once():
    faults = faults_of(
        channel(ContentType="text/plain"),
        config={"Mode": "AUTO", "TargetAttributeName": "x", **algorithms("mlp")},
        **objective("MAPE"),
    )
    assert len(faults) == 5


def test_what_is_resolved_grows_with_what_is_known():
    spec = read()
    assert request.resolved_attributes(spec) == {"CompletionCriteria": {}}
    profile = {"mode": "ENSEMBLING", "schema": {"problem_type": "Regression"}}
    assert request.resolved_by_profile(spec, profile) == {
        "AutoMLJobObjective": {"MetricName": "MSE"},
        "CompletionCriteria": {"MaxCandidates": 10},
        "AutoMLProblemTypeResolvedAttributes": {"TabularResolvedAttributes": {"ProblemType": "Regression"}},
    }
    known = read(
        config={"Mode": "ENSEMBLING", "ProblemType": "Regression", "CompletionCriteria": {"MaxCandidates": 5}},
        **objective("R2"),
    )
    resolved = request.resolved_attributes(known)
    assert resolved == request.resolved_by_profile(known, profile)
    assert resolved["AutoMLJobObjective"] == {"MetricName": "R2"}


def test_no_endpoint_is_promised_of_a_job_that_trains_no_model():
    deploy = {"ModelDeployConfig": {"AutoGenerateEndpointName": True}}
    only = {"GenerateCandidateDefinitionsOnly": True, "Mode": "HYPERPARAMETER_TUNING"}
    assert fault_of(config=only, **deploy).where == "ModelDeployConfig"
    assert not read(config={**only, "GenerateCandidateDefinitionsOnly": False}, **deploy).definitions_only
    assert read(config=only).definitions_only


def test_spaces_round_a_column_s_name_do_not_count_as_in_the_header():
    config = {"TargetAttributeName": " Churn", "SampleWeightAttributeName": "weight "}
    spec = read(config=config)
    assert (spec.target, spec.weight_column) == ("Churn", "weight")
