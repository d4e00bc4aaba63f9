from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gyropilot.problems.tabular.hpo.target_scales import TargetScale, scale_of

NUMBERS = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=30).map(np.asarray)


@pytest.mark.parametrize("kind", ["plain", "log"])
@given(target=NUMBERS)
@settings(max_examples=50, deadline=None)
def test_what_is_scaled_is_restored(kind, target):
    scale = scale_of(target, kind)
    assert np.allclose(scale.restored(scale.scaled(target)), target, rtol=1e-6, atol=1e-6 * (1 + np.abs(target).max()))
    assert TargetScale(**scale.to_json()) == scale


def test_an_estimate_does_not_explode():
    scale = scale_of(np.asarray([1.0, 10.0, 1000.0]), "log")
    assert scale.restored(np.asarray([1e6]))[0] < 3000
    assert scale_of(np.asarray([0.0, 1.0]), "plain").restored(np.asarray([1e6]))[0] == 2.0
