import math

import pytest

from gyropilot.metrics.generation import METRICS, cross_entropy, perplexity


def test_every_metric_is_a_name_of_the_service_model_with_a_direction():
    import botocore.session

    shape = botocore.session.get_session().get_service_model("sagemaker").shape_for("AutoMLMetricExtendedEnum")
    assert {metric.name for metric in METRICS} <= set(shape.enum)
    assert {metric.name for metric in METRICS if metric.direction == "Maximize"} == {
        "Rouge1",
        "Rouge2",
        "RougeL",
        "RougeLSum",
    }


def test_perplexity_is_the_exponential_of_the_loss():
    assert perplexity(0.0) == 1.0
    assert perplexity(math.log(50)) == pytest.approx(50)
    assert perplexity(1e6) == math.inf


def test_cross_entropy_divides_by_labels_and_refuses_none():
    assert cross_entropy(6.0, 4) == 1.5
    with pytest.raises(ValueError, match="no labelled token"):
        cross_entropy(0.0, 0)
