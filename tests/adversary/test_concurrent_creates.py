"""A thousand creates of one name at once, in every mix of letter case: one is taken, each other is told so."""

import asyncio
import itertools
import json
from collections import Counter

import pytest

import raw_requests
import services

CREATES = 1000
CONNECTIONS = 250
NAME = "the-one-name"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def addresses(request, tmp_path_factory, tiny_model_folder):
    """Give the keys for each address of one service: one process on SQLite, two APIs on PostgreSQL."""
    home = tmp_path_factory.mktemp("creates") / "home"
    if request.param == "sqlite":
        form = services.running(home)
    else:
        postgresql = request.getfixturevalue("postgresql")
        form = services.running_apart(home, database_url=postgresql.create_migrated_database(), apis=2, workers=0)
    with form as running:
        apis = [running] if request.param == "sqlite" else running.apis
        added = apis[0].gyropilot("models", "add", services.TINY, tiny_model_folder)
        assert added.returncode == 0, added.stderr
        services.put_rows(apis[0], services.rows(10))
        yield apis


def test_one_of_a_thousand_concurrent_creates_is_taken(addresses):
    keys = [raw_requests.key_of(api) for api in addresses]
    wanted = services.request(addresses[0], NAME)
    names = itertools.islice(spellings(NAME), CREATES)
    creates = [
        (key, raw_requests.call(key, "CreateAutoMLJobV2", wanted | {"AutoMLJobName": name}, amz_sdk_invocation_id=call))
        for key, name, call in zip(itertools.cycle(keys), names, invocation_ids(), strict=False)
    ]
    assert len({json.loads(create.body)["AutoMLJobName"] for _, create in creates}) > CREATES // 2
    answers = asyncio.run(asked_at_once(creates))
    assert Counter((status, json.loads(body).get("__type")) for status, body in answers) == {
        (200, None): 1,
        (400, "ResourceInUse"): CREATES - 1,
    }
    for api in addresses:
        listed = api.boto3("sagemaker").list_auto_ml_jobs(NameContains=NAME[:5])["AutoMLJobSummaries"]
        assert [one["AutoMLJobName"].lower() for one in listed] == [NAME]
        api.boto3("sagemaker").stop_auto_ml_job(AutoMLJobName=NAME)


def test_a_retried_create_is_one_job_however_often_it_comes(addresses):
    key = raw_requests.key_of(addresses[0])
    create = raw_requests.call(
        key,
        "CreateAutoMLJobV2",
        services.request(addresses[0], "retried"),
        amz_sdk_invocation_id="one-call-of-a-client",
    )
    answers = asyncio.run(
        asked_at_once([(raw_requests.key_of(api), create) for api in addresses for _ in range(50)][:50])
    )
    assert {status for status, _ in answers} == {200}
    assert len({body for _, body in answers}) == 1
    addresses[0].boto3("sagemaker").stop_auto_ml_job(AutoMLJobName="retried")


def spellings(name):
    """Give the name in every mix of letter case, over and over."""
    letters = [{one.lower(), one.upper()} for one in name]
    return itertools.cycle("".join(one) for one in itertools.product(*map(sorted, letters)))


def invocation_ids():
    return (f"call-{number:08}" for number in itertools.count())


async def asked_at_once(requests):
    """Send all over many connections that are open before the first request goes out; give (status, body) of each."""
    lanes = [requests[lane::CONNECTIONS] for lane in range(min(CONNECTIONS, len(requests)))]
    lines = [await asyncio.open_connection(*lane[0][0].host.split(":")) for lane in lanes]
    answered = await asyncio.gather(*(_ask(line, lane) for line, lane in zip(lines, lanes, strict=True)))
    return list(itertools.chain.from_iterable(answered))


async def _ask(line, requests):
    reader, writer = line
    answers = []
    async with asyncio.timeout(60):
        for _, request in requests:
            writer.write(request.written())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            answers.append((int(head.split(b" ", 2)[1]), await reader.readexactly(length)))
    writer.close()
    return answers
