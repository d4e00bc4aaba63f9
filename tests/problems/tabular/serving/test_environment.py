"""The environment of tabular containers: what is chosen is kept, what cannot be honoured is refused by its key."""

from __future__ import annotations

import pytest

from gyropilot.errors import InvalidRequest
from gyropilot.problems.tabular.serving import environment

INPUT, OUTPUT = "SAGEMAKER_INFERENCE_INPUT", "SAGEMAKER_INFERENCE_OUTPUT"
SUPPORTED = "SAGEMAKER_INFERENCE_SUPPORTED"


def read(values, role="whole", *, is_regression=False):
    return environment.read(values, role, is_regression=is_regression)


def test_the_predicted_label_is_answered_where_nothing_is_chosen():
    assert read({}).outputs == ("predicted_label",)


def test_outputs_are_given_in_the_order_of_the_caller_with_spaces_between():
    assert read({OUTPUT: "labels, probability ,predicted_label,labels"}).outputs == (
        "labels",
        "probability",
        "predicted_label",
    )


def test_keys_of_others_change_nothing():
    given = {"SAGEMAKER_PROGRAM": "serve", "MODEL_NAME": "WeightedEnsemble_L2", "SAGEMAKER_REGION": "x"}
    assert read(given) == read({})


def test_the_usual_accept_may_be_chosen():
    assert read({environment.USUAL_ACCEPT: "application/json"}).usual_accept == "application/json"
    assert read({environment.USUAL_ACCEPT: "application/x-recordio-protobuf"}, "feature-transform").usual_accept is None


@pytest.mark.parametrize(
    ("values", "role", "words"),
    [
        ({OUTPUT: "probability,score"}, "whole", "names 'score', which this container does not give"),
        ({OUTPUT: "labels"}, "algorithm", "names 'labels', which this container does not give"),
        ({SUPPORTED: "logits"}, "whole", "Environment.SAGEMAKER_INFERENCE_SUPPORTED: names 'logits'"),
        ({INPUT: "probability"}, "whole", "this container takes nothing that could be selected"),
        ({OUTPUT: "probability"}, "inverse-label-transform", "asks for probability, which SAGEMAKER_INFERENCE_INPUT"),
        ({OUTPUT: "probability"}, "feature-transform", "have nothing to select"),
        ({"SAGEMAKER_INFERENCE_OUTPUTS": "x"}, "whole", "did you mean SAGEMAKER_INFERENCE_OUTPUT?"),
        ({"GYROPILOT_TEMPERATURE": "1"}, "whole", "is not known for tabular models"),
        ({environment.USUAL_ACCEPT: "image/png"}, "whole", "is no content type of answers here"),
    ],
)
def test_what_cannot_be_honoured_is_refused(values, role, words):
    with pytest.raises(InvalidRequest) as caught:
        read(values, role)
    assert words in str(caught.value)


def test_a_regression_has_nothing_to_select():
    with pytest.raises(InvalidRequest, match="have nothing to select"):
        read({OUTPUT: "predicted_label"}, is_regression=True)


def test_every_fault_is_told_at_once():
    with pytest.raises(InvalidRequest) as caught:
        read({OUTPUT: "a", SUPPORTED: "b", "GYROPILOT_X": "1"})
    assert len(caught.value.faults) == 3


def test_roles_are_named_as_the_service_names_them():
    assert environment.find_role({}) is None
    assert environment.find_role({environment.TRANSFORM_MODE: "feature-transform"}) == "feature-transform"
    with pytest.raises(InvalidRequest, match="AUTOML_TRANSFORM_MODE"):
        environment.find_role({environment.TRANSFORM_MODE: "feature"})
