from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from gyropilot.errors import Fault, InvalidRequest
from gyropilot.problems.contract import RequestContext
from gyropilot.problems.text_generation import request, search
from gyropilot.problems.text_generation.tuning.parameters import PARAMETERS

HYPERPARAMETERS = "AutoMLProblemTypeConfig.TextGenerationJobConfig.TextGenerationHyperParameters"


class Models:
    """Knows every model but Unknown; Gated wants its EULA accepted."""

    def check_available(self, name, *, accept_eula):
        if name in {"Unknown", "Falcon40B"} or (name == "Gated" and not accept_eula):
            raise InvalidRequest.of([Fault(where="BaseModelName", problem="cannot be used")])

    def find(self, name):
        if name in {"Unknown", "Falcon40B"}:
            return None
        return installed(name)


def installed(name):
    architecture, kind = ("T5ForConditionalGeneration", "seq2seq") if name == "T5" else ("LlamaForCausalLM", "causal")
    return SimpleNamespace(name=name, architecture=architecture, kind=kind, context_tokens=1024, path=Path("/nowhere"))


def channel(**changes):
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/train/"}}
    return {"DataSource": source, **changes}


def wire(*channels, config=None, **fields):
    return {
        "AutoMLJobInputDataConfig": list(channels) or [channel()],
        "AutoMLProblemTypeConfig": {"TextGenerationJobConfig": config or {}},
        **fields,
    }


def read(*channels, config=None, **fields):
    return request.read(wire(*channels, config=config, **fields), RequestContext(base_models=Models()))


def hyperparameters(**values):
    return {"TextGenerationHyperParameters": values}


def fault_of(*channels, config=None, **fields):
    with pytest.raises(InvalidRequest) as caught:
        read(*channels, config=config, **fields)
    (fault,) = caught.value.faults
    return fault


def test_an_empty_configuration_gets_every_default():
    spec = read()
    assert spec.base_model == "Falcon7BInstruct"
    assert (spec.epochs, spec.batch_size, spec.warmup_steps) == (3, 8, 10)
    assert spec.validation_fraction == 0.2
    assert spec.limits.seconds_per_candidate == 259_200
    assert spec.limits.seconds_per_job is None
    assert spec.tuning == "LORA"
    assert spec.defaulted == tuple(one.shown_as for one in PARAMETERS if one.means_something_for("LORA"))


def test_the_default_model_says_that_it_is_the_default(monkeypatch):
    monkeypatch.setattr(request, "DEFAULT_BASE_MODEL", "Falcon40B")
    assert fault_of().problem == "cannot be used; Falcon40B is the default, since BaseModelName is not given"


def test_given_values_hold_and_are_not_called_defaults():
    spec = read(config=hyperparameters(epochCount="10", learningRate="1e-5"))
    assert (spec.epochs, spec.learning_rate) == (10, 1e-5)
    assert {"batchSize", "learningRateWarmupSteps", "tuningType"} <= set(spec.defaulted)
    assert not {"epochCount", "learningRate"} & set(spec.defaulted)


def test_full_tuning_has_a_learning_rate_of_its_own():
    spec, lora = read(config=hyperparameters(tuningType="FULL")), read()
    assert (spec.tuning, "tuningType" in spec.defaulted) == ("FULL", False)
    assert spec.learning_rate < lora.learning_rate
    assert read(config=hyperparameters(tuningType="FULL", learningRate="0.001")).learning_rate == 1e-3
    assert request.hyperparameters_of(spec) == {
        "tuningType": "FULL",
        "epochCount": 3,
        "batchSize": 8,
        "learningRate": spec.learning_rate,
        "learningRateWarmupSteps": 10,
        "accumulateSteps": 1,
        "seed": 42,
    }


@pytest.mark.parametrize("text", ["full", "QLORA", ""])
def test_another_way_of_tuning_is_refused_with_those_there_are(text):
    fault = fault_of(config=hyperparameters(tuningType=text))
    assert (fault.where, fault.found) == (f"{HYPERPARAMETERS}.tuningType", text)
    assert "LORA, FULL" in fault.fix


def test_a_spec_stored_before_there_was_a_choice_is_lora():
    values = read().to_json()
    del values["method"]
    assert request.read_spec(values).tuning == "LORA"


@pytest.mark.parametrize(
    ("key", "text", "field", "value"),
    [
        ("epochCount", "1", "epochs", 1),
        ("batchSize", "64", "batch_size", 64),
        ("learningRate", "0.000001", "learning_rate", 1e-6),
        ("learningRate", ".5", "learning_rate", 0.5),
        ("learningRate", "1", "learning_rate", 1.0),
        ("learningRate", "0", "learning_rate", 0.0),
        ("learningRateWarmupSteps", "0", "warmup_steps", 0),
        ("learningRateWarmupSteps", "250", "warmup_steps", 250),
    ],
)
def test_the_ends_of_each_range_are_taken(key, text, field, value):
    assert getattr(read(config=hyperparameters(**{key: text})), field) == value


@pytest.mark.parametrize(
    ("key", "text", "problem"),
    [
        ("epochCount", "0", "outside 1 to 10"),
        ("epochCount", "11", "outside 1 to 10"),
        ("epochCount", "3.0", "not an integer"),
        ("epochCount", " 3", "not an integer"),
        ("epochCount", "3\n", "not an integer"),
        ("epochCount", "٣", "not an integer"),
        ("epochCount", "", "not an integer"),
        ("batchSize", "65", "outside 1 to 64"),
        ("batchSize", "-1", "outside 1 to 64"),
        ("learningRate", "1.5", "outside 0 to 1"),
        ("learningRate", "nan", "is not a finite number"),
        ("learningRate", "inf", "is not a finite number"),
        ("learningRate", "1e999", "outside 0 to 1"),
        ("learningRate", "0,1", "not a float"),
        ("learningRate", "-0.1", "outside 0 to 1"),
        ("learningRate", "-1", "outside 0 to 1"),
        ("learningRateWarmupSteps", "251", "outside 0 to 250"),
    ],
)
def test_a_value_outside_its_range_is_named_with_the_range(key, text, problem):
    fault = fault_of(config=hyperparameters(**{key: text}))
    assert fault.where == f"{HYPERPARAMETERS}.{key}"
    assert fault.found == text
    assert problem in fault.problem
    assert "from" in fault.fix


def test_an_unknown_hyperparameter_is_refused_with_the_nearest_known_one():
    fault = fault_of(config=hyperparameters(epochcount="3"))
    assert fault.where == f"{HYPERPARAMETERS}.epochcount"
    assert "did you mean epochCount?" in fault.fix


def test_all_faults_come_at_once():
    config = {"BaseModelName": "Unknown", **hyperparameters(epochCount="0", batchSize="x", rank="8")}
    config["CompletionCriteria"] = {"MaxCandidates": 5}
    bad = channel(ContentType="application/json", CompressionType="Gzip")
    with pytest.raises(InvalidRequest) as caught:
        read(bad, config=config, DataSplitConfig={"ValidationFraction": 1.0}, AutoMLJobObjective={"MetricName": "F1"})
    assert [fault.where.rpartition(".")[2] for fault in caught.value.faults] == [
        "BaseModelName",
        "rank",
        "epochCount",
        "batchSize",
        "MaxCandidates",
        "ContentType",
        "CompressionType",
        "ValidationFraction",
        "AutoMLJobObjective",
    ]


def test_the_eula_is_passed_on():
    assert fault_of(config={"BaseModelName": "Gated"}).problem == "cannot be used"
    spec = read(config={"BaseModelName": "Gated", "ModelAccessConfig": {"AcceptEula": True}})
    assert spec.accept_eula


@pytest.mark.parametrize("given", ["text/csv", "text/csv;header=present", "Text/CSV; header=present", None])
def test_csv_is_taken_in_each_of_its_spellings(given):
    assert read(channel(ContentType=given) if given else channel()).validation_fraction == 0.2


@pytest.mark.parametrize("given", ["text/csv;header=absent", "application/x-parquet", "x-application/vnd.amazon"])
def test_other_content_types_are_refused(given):
    assert fault_of(channel(ContentType=given)).where == "AutoMLJobInputDataConfig[0].ContentType"


@pytest.mark.parametrize("kind", ["ManifestFile", "AugmentedManifestFile"])
def test_only_prefixes_are_taken(kind):
    given = copy.deepcopy(channel())
    given["DataSource"]["S3DataSource"]["S3DataType"] = kind
    assert fault_of(given).where.endswith("[0].DataSource.S3DataSource.S3DataType")


def test_two_channels_hold_out_nothing():
    assert read(channel(ChannelType="training"), channel(ChannelType="validation")).validation_fraction is None


def test_a_fraction_beside_a_validation_channel_is_refused():
    two = (channel(), channel(ChannelType="validation"))
    fault = fault_of(*two, DataSplitConfig={"ValidationFraction": 0.2})
    assert fault.where == "DataSplitConfig.ValidationFraction"


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 2])
def test_a_fraction_must_leave_rows_on_both_sides(fraction):
    assert "strictly" in fault_of(DataSplitConfig={"ValidationFraction": fraction}).problem


def test_channels_must_be_one_of_each():
    assert "single" in fault_of(channel(ChannelType="validation")).problem
    assert "one training" in fault_of(channel(), channel()).problem


def test_channels_must_share_their_content_type():
    two = (channel(), channel(ChannelType="validation", ContentType="x-application/vnd.amazon+parquet"))
    assert "same ContentType" in fault_of(*two).problem


def test_what_cannot_be_set_is_refused_by_name():
    assert fault_of(AutoMLJobObjective={"MetricName": "Accuracy"}).where == "AutoMLJobObjective"


def test_a_job_may_take_thirty_days_at_most():
    where = fault_of(config={"CompletionCriteria": {"MaxAutoMLJobRuntimeInSeconds": 2_592_001}}).where
    assert where.endswith("CompletionCriteria.MaxAutoMLJobRuntimeInSeconds")


def test_resolved_attributes_name_the_model():
    resolved = request.resolved_attributes(read(config={"BaseModelName": "Dolly3B"}))
    assert resolved == {
        "AutoMLProblemTypeResolvedAttributes": {"TextGenerationResolvedAttributes": {"BaseModelName": "Dolly3B"}}
    }


def test_what_stands_in_is_what_is_loaded_and_what_describe_resolves():
    class StandIns(Models):
        def find(self, name):
            return installed("Small")

    spec = request.read(wire(), RequestContext(base_models=StandIns()))
    assert (spec.base_model, spec.loaded_model) == ("Falcon7BInstruct", "Small")
    resolved = request.resolved_attributes(spec)["AutoMLProblemTypeResolvedAttributes"]
    assert resolved == {"TextGenerationResolvedAttributes": {"BaseModelName": "Small"}}
    assert request.read_spec(spec.to_json()) == spec


def test_a_spec_stored_before_there_were_stand_ins_loads_what_was_asked_for():
    stored = read(config={"BaseModelName": "Llama"}).to_json()
    del stored["loaded_model"]
    assert request.read_spec(stored).loaded_model == "Llama"


def test_a_learning_rate_that_is_to_be_found_is_none_and_shown_as_such():
    spec = read(config=hyperparameters(tuningType="PROMPT_TUNING", numVirtualTokens="4"))
    assert spec.learning_rate is None
    assert request.read_spec(json.loads(json.dumps(spec.to_json()))) == spec
    assert not [name for name in spec.to_json()["method"] if name.startswith(("lora", "peft"))]
    shown = request.hyperparameters_of(spec)
    assert shown["learningRate"] == "found by a probe"
    assert (shown["numVirtualTokens"], shown["outputModelTypes"], shown["verbalizer"]) == (4, "DECODER", "{{input}}")
    assert not [key for key in shown if key.startswith(("lora", "peft"))]
    (candidate,) = iter(search.open_search(spec, {"job_name": "job"}).ask, None)
    assert "learning_rate" not in candidate


def test_the_side_of_the_rows_follows_from_the_base_model():
    prompt = hyperparameters(tuningType="PROMPT_TUNING", numVirtualTokens="4")
    assert read(config={"BaseModelName": "T5", **prompt}).method.output_model_types == ("ENCODER",)
    assert read(config=prompt).method.output_model_types == ("DECODER",)
    both = hyperparameters(tuningType="PROMPT_TUNING", numVirtualTokens="4", outputModelTypes="ENCODER-DECODER")
    assert read(config={"BaseModelName": "T5", **both}).method.output_model_types == ("ENCODER", "DECODER")
    assert fault_of(config=both).where == f"{HYPERPARAMETERS}.outputModelTypes"


def test_of_a_base_model_that_is_not_there_only_that_is_told():
    config = {"BaseModelName": "Unknown", **hyperparameters(tuningType="PROMPT_TUNING", numVirtualTokens="99999")}
    assert fault_of(config=config).where == "BaseModelName"


def test_an_object_that_cannot_be_read_is_not_told_as_missing_parameters_too():
    def read_object(where, uri, most_bytes):
        raise InvalidRequest(where=where, problem="there is no such object")

    given = wire(config=hyperparameters(tuningType="PROMPT_TUNING", seed="-1"))
    given["Tags"] = [{"Key": "gyropilot:TuningConfig", "Value": "s3://data/tuning.json"}]
    with pytest.raises(InvalidRequest) as caught:
        request.read(given, RequestContext(base_models=Models(), read_object=read_object))
    assert [fault.where for fault in caught.value.faults] == [f"{HYPERPARAMETERS}.seed", "Tags[gyropilot:TuningConfig]"]
