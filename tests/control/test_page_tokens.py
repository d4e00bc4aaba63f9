import base64
import json

import pytest

import houses
from gyropilot.control import automl_jobs, page_tokens
from gyropilot.errors import InvalidRequest
from mean_problem import MEAN

LISTING = {"SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": 1}


def encoded(text):
    return base64.urlsafe_b64encode(text.encode()).decode()


def crafted(*cursor):
    """Give a token whose digest is right and whose cursor is not."""
    digest = json.loads(base64.urlsafe_b64decode(page_tokens.write(LISTING, ())))[0]
    return encoded(json.dumps([digest, *cursor]))


@pytest.fixture
def house(tmp_path):
    house = houses.build(tmp_path, (MEAN,))
    for name in ("one", "two"):
        automl_jobs.create(
            house, houses.admin(house), houses.mean_request(name), invocation_id=None, region=houses.REGION
        )
    yield house
    house.db.close()


def listed(house, token):
    return automl_jobs.list_jobs(house, houses.admin(house), houses.REGION, LISTING | token)


def test_a_listing_goes_on_where_it_stopped(house):
    first = listed(house, {})
    second = listed(house, {"NextToken": first["NextToken"]})
    found = [one["AutoMLJobName"] for page in (first, second) for one in page["AutoMLJobSummaries"]]
    assert sorted(found) == ["one", "two"]
    assert "NextToken" not in second


@pytest.mark.parametrize(
    "token",
    [
        "",
        "nothing",
        "é",
        encoded("{}"),
        encoded("[]"),
        encoded("1"),
        encoded("[" * 6000),
        encoded('{"a":' * 1600),
        crafted(),
        crafted(1),
        crafted(1, "a", "b"),
        crafted("a", 1),
        crafted(1, None),
        crafted(1, ["a"]),
        crafted(1.5, "a"),
        crafted(True, "a"),
        crafted(2**63, "a"),
        crafted(float("nan"), "a"),
        crafted(1, "\ud800"),
        crafted(1, "a\0"),
    ],
)
def test_a_crafted_token_is_refused(house, token):
    with pytest.raises(InvalidRequest):
        listed(house, {"NextToken": token})


def test_a_token_of_other_filters_is_refused():
    token = page_tokens.write(LISTING, (1, "a"))
    with pytest.raises(InvalidRequest, match="other filters"):
        page_tokens.read(LISTING | {"SortBy": "Name"}, token)
