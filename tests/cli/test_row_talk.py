"""`gyropilot try` and `gyropilot invoke --row` on an endpoint of tables: a row each, with what is predicted."""

import pytest

import mean_gyropilot
import services

pytestmark = pytest.mark.slow

ENDPOINT = "numbers"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A service whose models answer each row of CSV with 2.0, the mean that they learned."""
    with services.running(tmp_path_factory.mktemp("home"), program=mean_gyropilot.PROGRAM) as running:
        mean_gyropilot.put_numbers(running)
        mean_gyropilot.put_endpoint(running, ENDPOINT)
        yield running


def test_each_line_of_a_pipe_is_a_row_and_its_prediction_alone_is_printed(table):
    done = table.gyropilot("try", ENDPOINT, input="1\n\n7\n/help\n/exit\n9\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "2.0\n2.0\n"
    assert "a row is the features in training order" in done.stderr


def test_a_line_of_json_is_sent_as_such(table):
    done = table.gyropilot("try", ENDPOINT, input='{"y": 1}\n')
    assert done.stdout == '{"mean": 2.0}\n'


def test_a_row_that_is_refused_ends_a_pipe_with_the_reason(table):
    done = table.gyropilot("try", ENDPOINT, input="refuse\n1\n")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "is the fault asked for" in done.stderr


def test_options_of_text_are_refused(table):
    done = table.gyropilot("try", ENDPOINT, "--max-tokens", "3", input="1\n")
    assert done.returncode == 2
    assert "numbers answers rows of a table" in done.stderr


def test_rows_may_be_given_to_invoke(table):
    done = table.gyropilot("invoke", ENDPOINT, "--row", "1", "--row", "7")
    assert done.stdout == "2.0\n2.0\n", done.stderr
    for more in (["--text", "x"], ["--content-type", "text/csv"]):
        assert table.gyropilot("invoke", ENDPOINT, "--row", "1", *more).returncode == 2
