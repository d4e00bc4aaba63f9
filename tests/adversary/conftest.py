"""A service of this folder's own: no other test's jobs run in it, so that what is stored can be compared."""

import pytest

import houses
import raw_requests
import services
from gyropilot.problems.catalog import PROBLEMS
from published_models import publish

PUBLISHED = "published-model"


@pytest.fixture(scope="module")
def quiet_service(tmp_path_factory, tiny_model_folder):
    """A service with rows, a tiny model and model data that a job published, in which nothing runs."""
    home = tmp_path_factory.mktemp("quiet") / "home"
    house = houses.build(home, PROBLEMS)
    publish(house, PUBLISHED, image="gyropilot/text-generation:1", problem="TextGeneration")
    house.db.close()
    with services.running(home) as running:
        added = running.gyropilot("models", "add", services.TINY, tiny_model_folder)
        assert added.returncode == 0, added.stderr
        services.put_rows(running, services.rows(10))
        yield running


@pytest.fixture(scope="module")
def key(quiet_service):
    return raw_requests.key_of(quiet_service)
