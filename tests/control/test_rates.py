import pytest

from gyropilot.control.rates import Rates
from gyropilot.errors import Throttled


def test_a_burst_is_four_seconds_of_calls_and_refills_steadily():
    seconds = [0.0]
    rates = Rates(lambda: seconds[0], calls_per_second=10)
    for _ in range(40):
        rates.check("a")
    with pytest.raises(Throttled, match="Rate exceeded"):
        rates.check("a")
    rates.check("b")
    seconds[0] = 0.5
    for _ in range(5):
        rates.check("a")
    with pytest.raises(Throttled):
        rates.check("a")


def test_even_a_small_rate_lets_a_call_through():
    rates = Rates(lambda: 0.0, calls_per_second=0.1)
    rates.check("a")
    with pytest.raises(Throttled):
        rates.check("a")
