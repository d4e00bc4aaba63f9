"""What a supervisor makes of a start on what another one left, and of a database that goes away."""

from __future__ import annotations

import houses
import mean_endpoints
import mean_problem
from gyropilot.store import endpoints, replicas
from mean_endpoints import answer_of, create, in_service, kill, put_model, ready, status, variant
from replica_houses import wait_until


def test_endpoints_come_back_with_the_supervisor_and_are_finished_by_it(tmp_path):
    house = mean_endpoints.house(tmp_path / "h")
    model = put_model(house, "two.tar.gz", 2.0)
    with mean_endpoints.supervised(house):
        endpoint = create(house, "back", variant(model))
        (before,) = in_service(house, endpoint)
    assert status(house, endpoint) == "InService"
    assert replicas.of_endpoint(house.db, endpoint) == []
    replicas.put(house.db, before)  # as a service that was killed would have left it
    left = [house.settings.replicas / "0badcafe" / "s", house.settings.model_files / ".0badcafe" / "fetched"]
    unused = house.settings.model_files / ("0" * 64) / "model"
    old_log = house.settings.logs / "endpoints" / "gone" / "log"
    for one in [*left, unused, old_log]:
        one.parent.mkdir()
        one.touch()
    house.objects.delete("data", "two.tar.gz")  # its files are at hand
    while_away = create(house, "while-away", variant(model))
    doomed = create(house, "doomed", variant(model))
    endpoints.request_delete(house.db, doomed)
    with mean_endpoints.supervised(house):
        (after,) = wait_until(lambda: [one for one in ready(house, endpoint) if one.id != before.id], "it to be back")
        assert [answer_of(one).body for one in (after, *in_service(house, while_away))] == [b"2.0\n", b"2.0\n"]
        wait_until(lambda: status(house, doomed) is None, "the deleted one to be gone")
        wait_until(lambda: not any(one.parent.exists() for one in [*left, unused, old_log]), "what was left to be gone")


def test_a_database_that_goes_away_ends_no_replica_and_delays_no_restart(tmp_path, own_postgresql):
    url = own_postgresql.create_migrated_database()
    house = houses.build(tmp_path / "h", (mean_problem.MEAN,), database_url=url)
    with mean_endpoints.supervised(house):
        endpoint = create(house, "patient", variant(put_model(house, "two.tar.gz", 2.0), instances=2))
        first, second = in_service(house, endpoint)
        own_postgresql.stop("immediate")
        kill(first)
        assert answer_of(second).body == b"2.0\n"
        own_postgresql.start()
        wait_until(lambda: sorted(one.restarts for one in ready(house, endpoint)) == [0, 1], "both to be told of")
        assert all(answer_of(one).status == 200 for one in ready(house, endpoint))
    house.db.close()


def test_twenty_endpoints_that_share_a_base_come_up_in_one_process(tmp_path):
    house = mean_endpoints.house(tmp_path / "h")
    with mean_endpoints.supervised(house):
        models = [put_model(house, f"{n}.tar.gz", float(n), shares="base") for n in range(20)]
        made = [create(house, f"endpoint-{n}", variant(model)) for n, model in enumerate(models)]
        found = [in_service(house, one)[0] for one in made]
        assert len({mean_endpoints.process_of(one) for one in found}) == 1
        assert [answer_of(one).body for one in found] == [b"%.1f\n" % n for n in range(20)]
