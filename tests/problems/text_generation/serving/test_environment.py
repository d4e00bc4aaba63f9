from __future__ import annotations

import pytest

from gyropilot.errors import InvalidRequest
from gyropilot.problems.text_generation.serving.environment import read

SERVING = {
    "problem": "TextGeneration",
    "base_model": "Tiny",
    "stands_in_for": "",
    "max_new_tokens": 32,
    "model_tokens": 256,
}
WRITTEN = {
    "GYROPILOT_PROBLEM": "TextGeneration",
    "GYROPILOT_BASE_MODEL": "Tiny",
    "GYROPILOT_MAX_NEW_TOKENS": "40",
    "SAGEMAKER_INFERENCE_SUPPORTED": "generated_text,details",
    "SAGEMAKER_INFERENCE_OUTPUT": "generated_text",
}


def test_what_a_job_writes_is_read():
    found = read(WRITTEN, SERVING)
    assert (found.max_new_tokens, found.outputs) == (40, ("generated_text",))


def test_nothing_chosen_is_the_models_own_choice():
    found = read({}, SERVING)
    assert (found.max_new_tokens, found.outputs) == (32, ("generated_text",))


def test_keys_that_clients_add_to_every_model_change_nothing():
    added = {"SAGEMAKER_PROGRAM": "x", "SAGEMAKER_REGION": "us-east-1", "HF_TASK": "text-generation"}
    assert read({**WRITTEN, **added}, SERVING) == read(WRITTEN, SERVING)


def test_outputs_come_with_spaces_and_in_any_order():
    assert read({"SAGEMAKER_INFERENCE_OUTPUT": "details , generated_text"}, SERVING).outputs == (
        "generated_text",
        "details",
    )


def test_all_faults_are_told_at_once_by_key():
    wrong = {
        "GYROPILOT_PROBLEM": "Tabular",
        "GYROPILOT_BASE_MODEL": "Other",
        "GYROPILOT_MAX_NEW_TOKENS": "257",
        "GYROPILOT_TEMPERATURE": "1",
        "SAGEMAKER_INFERENCE_OUTPUT": "details,probabilities",
        "SAGEMAKER_INFERENCE_INPUT": "text",
        "SAGEMAKER_INFERENCE_SUPORTED": "generated_text",
    }
    with pytest.raises(InvalidRequest) as caught:
        read(wrong, SERVING)
    faults = [(one.where.removeprefix("Environment."), str(one)) for one in caught.value.faults]
    assert {name for name, _ in faults} == set(wrong)
    told = dict(faults)
    assert "did you mean SAGEMAKER_INFERENCE_SUPPORTED?" in told["SAGEMAKER_INFERENCE_SUPORTED"]
    assert "from 1 to 256, the tokens that the model takes" in told["GYROPILOT_MAX_NEW_TOKENS"]
    outputs = [text for name, text in faults if name == "SAGEMAKER_INFERENCE_OUTPUT"]
    assert any("'probabilities', which text generation does not give" in text for text in outputs)
    assert any("leaves out the answer itself" in text for text in outputs)


@pytest.mark.parametrize("value", ["", "0", "-1", "1.5", "many", "²", "1" * 5000])
def test_a_length_that_is_none_is_refused(value):
    with pytest.raises(InvalidRequest, match="GYROPILOT_MAX_NEW_TOKENS: must be a whole number"):
        read({"GYROPILOT_MAX_NEW_TOKENS": value}, SERVING)
