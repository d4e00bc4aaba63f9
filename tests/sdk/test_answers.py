import pytest

from gyropilot.sdk.answers import chosen
from gyropilot.sdk.errors import NotDeployed

INPUT, OUTPUT, SUPPORTED = (f"SAGEMAKER_INFERENCE_{name}" for name in ("INPUT", "OUTPUT", "SUPPORTED"))
CHAIN = [
    {"Image": "first", "Environment": {}},
    {"Image": "second", "Environment": {OUTPUT: "predicted_label", SUPPORTED: "predicted_label,probability"}},
    {
        "Image": "third",
        "Environment": {
            INPUT: "predicted_label",
            OUTPUT: "predicted_label",
            SUPPORTED: "predicted_label, probability, labels",
        },
    },
]


def test_each_container_gives_what_it_can_and_takes_what_the_one_before_gives():
    _, second, third = chosen(CHAIN, ["labels", "probability", "predicted_label"])
    assert second["Environment"][OUTPUT] == "probability,predicted_label"
    assert INPUT not in second["Environment"]
    assert third["Environment"][INPUT] == "probability,predicted_label"
    assert third["Environment"][OUTPUT] == "labels,probability,predicted_label"
    assert CHAIN[2]["Environment"][OUTPUT] == "predicted_label"


def test_without_a_choice_containers_stay_as_they_are():
    assert chosen(CHAIN, []) == CHAIN


def test_answers_that_the_model_cannot_give_are_refused():
    with pytest.raises(NotDeployed, match="cannot answer with odds; it gives predicted_label, probability, labels"):
        chosen(CHAIN, ["odds"])
    with pytest.raises(NotDeployed, match="what it answers with cannot be chosen"):
        chosen(CHAIN[:1], ["probability"])
