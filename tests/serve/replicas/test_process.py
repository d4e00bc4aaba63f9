"""A replica process: what it answers, and what becomes of it when calls go wrong."""

from __future__ import annotations

import json
import os
import select
import signal
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPException, IncompleteRead

import pytest

import houses
import mean_problem
import replica_houses
from gyropilot.errors import InvalidRequest, NotAllowed
from gyropilot.serve.replica import app as replica_app
from gyropilot.serve.replica import hosted_models
from gyropilot.serve.replica import main as replica
from gyropilot.serve.replicas import calls as replica_calls
from gyropilot.serve.replicas import process as replica_process
from gyropilot.serve.replicas.calls import Refusal
from replica_houses import Connection, ask, invoke, wait_until, write_model


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    return houses.build(tmp_path_factory.mktemp("h") / "h", (mean_problem.MEAN,))


@contextmanager
def opened(house, tmp_path, *, printed=None, **chosen):
    """A process of its own with the model `m`, to be ended."""
    process = replica_houses.room(house, **chosen).open("Tabular", (printed if printed is not None else []).append)
    try:
        assert process.wait_until_up(seconds=60), process.ending
        replica_calls.load(process.socket, "m", [(write_model(tmp_path / "m"), {})], seconds=60)
        yield process
    finally:
        process.kill("the test is over")
        assert process.wait_until_ended(seconds=30)


@pytest.fixture(scope="module")
def shared(house, tmp_path_factory):
    """One process with the model `m` (mean 2) and the chain `chain` of means 3 and 4, and what it printed."""
    folder, printed = tmp_path_factory.mktemp("models"), []
    with opened(house, folder, printed=printed) as process:
        process.printed = printed
        three, four = (write_model(folder / str(mean), mean) for mean in (3.0, 4.0))
        replica_calls.load(process.socket, "chain", [(three, {}), (four, {})], seconds=60)
        yield process


def test_it_answers_on_a_socket_of_its_owner_alone(shared):
    answer = invoke(shared.socket, "m", b"1\n2\n", content_type='Text/CSV; charset="UTF-8"')
    assert (answer.status, answer.content_type, answer.body) == (200, "text/csv", b"2.0\n2.0\n")
    assert stat.S_IMODE(shared.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(shared.socket.parent.stat().st_mode) == 0o700


def test_the_next_container_of_a_chain_gets_the_answer_of_the_one_before(shared):
    assert invoke(shared.socket, "chain", b"echo 1\n").body == b"4.0\n"
    assert invoke(shared.socket, "m", b"echo 1\n").body == b"2.0,echo 1\n"


def test_a_refusal_within_a_chain_names_its_container(shared):
    answer = invoke(shared.socket, "chain", b"", x_gyropilot_stream="1")
    assert (answer.status, answer.error[:17]) == (400, "container 2: Body")


def test_a_chain_streams_what_its_last_container_says(shared):
    assert invoke(shared.socket, "chain", b"1\n2\n", x_gyropilot_stream="1").body == b"4.0\n4.0\n"


@pytest.mark.parametrize(
    ("name", "body", "headers", "status", "told"),
    [
        ("m", b"refuse", {}, 400, "row: is the fault asked for (found 'refuse'); ask for none"),
        ("m", b"1", {"content_type": "text/html"}, 400, "ContentType: is none (found 'text/html'); send text/csv"),
        (
            "m",
            b"1",
            {"content_type": "text/csv; header=no; CharSet=latin-1"},
            400,
            "ContentType: names a charset not read here (found 'text/csv; header=no; CharSet=latin-1')",
        ),
        ("m", b"1", {"x_gyropilot_style": "sonnet"}, 400, "x-gyropilot-style: is no style (found 'sonnet')"),
        ("m", b"full", {}, 503, "more than can be taken now"),
        ("none", b"1", {}, 503, "The model is not loaded in this replica."),
        ("m", b"break", {}, 500, "The model broke on this call; its log has the whole of it."),
        ("m", b"leave", {}, 500, "The model broke on this call; its log has the whole of it."),
        ("m", b"", {"x_gyropilot_stream": "1"}, 400, "Body: has no row (found 0); send one at least"),
        ("m", b"break", {"x_gyropilot_stream": "1"}, 500, "The model broke on this call"),
    ],
)
def test_a_call_that_fails_says_why_and_leaves_the_process_well(shared, name, body, headers, status, told):
    answer = invoke(shared.socket, name, body, **({"content_type": "text/csv"} | headers))
    assert (answer.status, answer.content_type) == (status, "application/json")
    assert answer.error.startswith(told)
    assert invoke(shared.socket, "m", b"1").body == b"2.0\n"


def test_the_log_has_what_the_caller_is_not_told(shared):
    assert b"secret" not in invoke(shared.socket, "m", b"break").body
    wait_until(lambda: b"ZeroDivisionError: secret of the house" in b"".join(shared.printed), "the traceback")
    assert invoke(shared.socket, "m", b"refuse").status == 400
    line = b"a call (text/csv) was refused with 400: row: is the fault asked for"
    wait_until(lambda: line in b"".join(shared.printed), "the line of a refused call")


def test_a_stream_comes_part_by_part(shared):
    connection = Connection(shared.socket)
    headers = {"content-type": "text/csv", "x-gyropilot-stream": "1"}
    connection.request("POST", "/models/m/invocations", b"1\nsleep 30\n", headers)
    answer = connection.getresponse()
    assert answer.headers["content-type"] == "text/csv"
    assert answer.readline() == b"2.0\n"  # while the second one sleeps
    connection.close()


def test_a_stream_that_breaks_is_cut_off(shared):
    connection = Connection(shared.socket)
    connection.request("POST", "/models/m/invocations", b"1\nbreak\n", {"x-gyropilot-stream": "1"})
    with pytest.raises(IncompleteRead) as error:
        connection.getresponse().read()
    assert error.value.partial == b"2.0\n"
    connection.close()


def test_work_for_a_caller_that_went_is_given_up(shared):
    """Otherwise these calls would hold every thread for an hour."""
    for stream in "01":
        gone = [Connection(shared.socket) for _ in range(2 * mean_problem.MeanServer.calls_at_once)]
        for connection in gone:
            headers = {"content-type": "text/csv", "x-gyropilot-stream": stream}
            connection.request("POST", "/models/m/invocations", b"sleep 3600", headers)
        for connection in gone:
            connection.close()
        assert invoke(shared.socket, "m", b"1").body == b"2.0\n"


def test_calls_beyond_the_queue_are_refused_and_the_others_answered(shared):
    headers = {"content-type": "text/csv", "x-gyropilot-stream": "1"}
    holders = [Connection(shared.socket) for _ in range(mean_problem.MeanServer.calls_at_once)]
    for connection in holders:
        connection.request("POST", "/models/m/invocations", b"1\nsleep 3600\n", headers)
        assert connection.getresponse().readline() == b"2.0\n"
    waiting = [Connection(shared.socket) for _ in range(hosted_models.MOST_WAITING + 20)]
    for connection in waiting:
        connection.request("POST", "/models/m/invocations", b"1", {"content-type": "text/csv"})
    sockets = [connection.sock for connection in waiting]
    wait_until(lambda: len(select.select(sockets, [], [], 0)[0]) == 20, "those beyond the queue to be refused")
    for connection in holders:
        connection.close()
    statuses = [connection.getresponse().status for connection in waiting]
    for connection in waiting:
        connection.close()
    assert (statuses.count(503), statuses.count(200)) == (20, hosted_models.MOST_WAITING)


def test_a_model_is_unloaded_when_its_calls_have_ended(shared, tmp_path):
    folder = write_model(tmp_path / "more", 5.0)
    replica_calls.load(shared.socket, "more", [(folder, {})], seconds=60)
    with ThreadPoolExecutor(2) as pool:
        running = Connection(shared.socket)
        headers = {"content-type": "text/csv", "x-gyropilot-stream": "1"}
        running.request("POST", "/models/more/invocations", b"1\nsleep 0.3\n", headers)
        answer = running.getresponse()
        assert answer.readline() == b"5.0\n"
        unloading = pool.submit(replica_calls.unload, shared.socket, "more", seconds=60)
        wait_until(lambda: invoke(shared.socket, "more", b"1").status == 503, "new calls to be refused")
        assert answer.read() == b"5.0\n"
        unloading.result()
        running.close()
    assert invoke(shared.socket, "more", b"1").error == "The model is not loaded in this replica."
    with pytest.raises(Refusal, match="No model named more is loaded"):
        replica_calls.unload(shared.socket, "more", seconds=60)


@pytest.mark.parametrize(
    ("fault", "status", "told"),
    [
        ("bad environment", 400, "Environment.fault: is not to be had (found 'bad environment'); leave it out"),
        ("not whole", 422, "the folder is not whole"),
        ("break at load", 500, "An unexpected KeyError ended the loading of the model"),
    ],
)
def test_a_model_that_does_not_load_says_why(shared, tmp_path, fault, status, told):
    with pytest.raises(Refusal) as error:
        replica_calls.load(shared.socket, "bad", [(write_model(tmp_path / "m"), {"fault": fault})], seconds=60)
    assert (error.value.status, str(error.value)[: len(told)]) == (status, told)


def test_a_name_is_loaded_once(shared, tmp_path):
    with pytest.raises(Refusal, match="A model named m is loaded already"):
        replica_calls.load(shared.socket, "m", [(write_model(tmp_path / "m"), {})], seconds=60)


def test_what_it_does_not_know_it_says(shared):
    assert ask(shared.socket, "GET", "/nothing").error == "There is nothing at GET /nothing."
    assert ask(shared.socket, "GET", "/ping").status == 200


def test_a_payload_that_is_too_large_is_refused(shared):
    connection = Connection(shared.socket)
    connection.putrequest("POST", "/models/m/invocations")
    connection.putheader("content-length", str(replica_app.LARGEST_BODY + 1))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
    connection = Connection(shared.socket)
    parts = (bytes(2**20) for _ in range(replica_app.LARGEST_BODY // 2**20 + 1))
    connection.request("POST", "/models/m/invocations", parts, {"transfer-encoding": "chunked"}, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_a_process_that_is_asked_to_end_lets_calls_end(house, tmp_path):
    with opened(house, tmp_path) as process:
        running = Connection(process.socket)
        headers = {"content-type": "text/csv", "x-gyropilot-stream": "1"}
        running.request("POST", "/models/m/invocations", b"1\nsleep 0.5\n", headers)
        answer = running.getresponse()
        assert answer.readline() == b"2.0\n"
        process.close()
        assert answer.read() == b"2.0\n"
        running.close()
        assert process.wait_until_ended(seconds=30)
        assert process.ending.outcome == "result"
        assert not process.socket.parent.exists()


def test_a_process_without_memory_says_so(house, tmp_path):
    with opened(house, tmp_path, memory_bytes=300 * 2**20) as process:
        with pytest.raises((ConnectionError, HTTPException)):
            invoke(process.socket, "m", b"grow")
        assert process.wait_until_ended(seconds=60)
        assert process.described_end(300 * 2**20) == (
            "out of memory: it needed more than the 300 MiB that a replica is granted; serve a smaller model, or raise "
            "the setting replica_memory_gib"
        )


def test_a_process_that_hangs_is_ended(house, tmp_path):
    with opened(house, tmp_path, stall_seconds=3.0) as process:
        os.kill(process.process_id, signal.SIGSTOP)
        assert process.wait_until_ended(seconds=60)
        assert process.described_end(0).startswith("it gave no sign of life for ")


def test_a_death_names_its_signal(house, tmp_path):
    with opened(house, tmp_path) as process:
        with pytest.raises((ConnectionError, HTTPException)):
            invoke(process.socket, "m", b"die")
        assert process.wait_until_ended(seconds=60)
        assert "SIGKILL" in process.described_end(0)


def test_a_process_whose_server_can_answer_no_more_says_so_when_asked(house, tmp_path):
    with opened(house, tmp_path) as process:
        assert ask(process.socket, "GET", "/ping").status == 200
        invoke(process.socket, "m", b"unsound")
        found = ask(process.socket, "GET", "/ping")
        assert (found.status, found.error[:30]) == (503, "What computes the answers has ")
        assert not replica_calls.answers(process.socket)


def test_only_functions_of_problems_open_servers(tmp_path):
    with pytest.raises(NotAllowed):
        replica.run(
            {
                "open_server": "os:system",
                "allowed_prefixes": ["gyropilot.problems."],
                "socket": str(tmp_path / "s"),
                "base_models": str(tmp_path),
                "cores": 1,
                "memory_bytes": 1,
            },
            reporter=None,
        )


def test_a_home_that_lies_too_deep_is_told(tmp_path):
    longest = replica_process.LONGEST_SOCKET
    folder = tmp_path / "r" / ("a" * (longest - len(str(tmp_path / "r" / "s")) - 1))
    replica_process.check_socket_length(folder)
    with pytest.raises(InvalidRequest, match=r"lies too deep for the sockets .* 5 bytes shorter"):
        replica_process.check_socket_length(folder.with_name(f"{folder.name}12345"))


def test_a_problem_type_that_the_service_has_not_is_named(house):
    with pytest.raises(InvalidRequest, match="found 'Poems'"):
        replica_houses.room(house).open("Poems", print)


def test_json_goes_both_ways(shared):
    assert json.loads(invoke(shared.socket, "m", b"{}", "application/json").body) == {"mean": 2.0}
