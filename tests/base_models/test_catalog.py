import re

import botocore.session

from gyropilot.base_models import architectures, catalog
from gyropilot.base_models.catalog import CATALOG, HubSource, WheelSource

AUTOPILOT = [
    *("Dolly3B", "Dolly7B", "Dolly12B", "Falcon7B", "Falcon7BInstruct", "Falcon40B", "Falcon40BInstruct"),
    *("FlanT5L", "FlanT5XL", "FlanT5XXL", "Llama2-7B", "Llama2-7BChat", "Llama2-13B", "Llama2-13BChat"),
    *("Mistral7B", "Mistral7BInstruct", "MPT7B", "MPT7BInstruct"),
]


def test_the_names_are_those_of_the_service_and_one_that_anyone_can_have():
    assert [model.name for model in CATALOG] == [*AUTOPILOT, "SmolLM2-135M-Instruct"]


def test_every_name_fits_the_pattern_of_the_service_model():
    shape = botocore.session.get_session().get_service_model("sagemaker").shape_for("BaseModelName")
    for model in CATALOG:
        assert re.fullmatch(shape.metadata["pattern"], model.name)
        assert len(model.name) <= shape.metadata["max"]


def test_limits_are_the_documented_ones():
    assert {model.name: model.max_rows for model in CATALOG if model.max_rows != 10_000} == {
        "Falcon7B": 1_000,
        "Falcon7BInstruct": 1_000,
        "Llama2-13B": 7_000,
        "Llama2-13BChat": 7_000,
    }
    long = {model.name for model in CATALOG if model.context_tokens == 2048}
    assert long == {name for name in AUTOPILOT if name.startswith(("Llama2", "Mistral"))} | {"SmolLM2-135M-Instruct"}
    assert {model.context_tokens for model in CATALOG} == {1024, 2048}


def test_only_llama_2_needs_an_eula():
    assert {model.name for model in CATALOG if model.needs_eula} == {n for n in AUTOPILOT if n.startswith("Llama2")}


def test_every_model_can_be_had_and_is_of_a_known_family():
    families = {one.name: one.kind for one in architectures.ARCHITECTURES}
    for model in CATALOG:
        assert families[model.architecture] == model.kind
        assert any(isinstance(source, (HubSource, WheelSource)) for source in model.sources)
    assert catalog.find("FlanT5XXL").kind == "seq2seq"
    assert catalog.find("flant5xxl") is None


def test_ids_are_spelled_as_they_are_elsewhere():
    hub_ids = {model.name: model.hub_id for model in CATALOG}
    assert hub_ids["Dolly12B"] == "databricks/dolly-v2-12b"
    assert hub_ids["Falcon40BInstruct"] == "tiiuae/falcon-40b-instruct"
    assert hub_ids["FlanT5L"] == "google/flan-t5-large"
    assert hub_ids["Llama2-13BChat"] == "meta-llama/Llama-2-13b-chat-hf"
    assert hub_ids["Mistral7BInstruct"] == "mistralai/Mistral-7B-Instruct-v0.1"
    assert hub_ids["MPT7BInstruct"] == "mosaicml/mpt-7b-instruct"
    jumpstart_ids = {model.name: model.jumpstart_id for model in CATALOG}
    assert jumpstart_ids["Llama2-7BChat"] == "meta-textgeneration-llama-2-7b-f"
    assert jumpstart_ids["Falcon7BInstruct"] == "huggingface-llm-falcon-7b-instruct-bf16"
    assert jumpstart_ids["MPT7B"] == "huggingface-textgeneration1-mpt-7b-bf16"
