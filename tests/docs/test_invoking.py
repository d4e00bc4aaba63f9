"""The programs of the page on invoking, run against the doors of the service over a stand-in replica."""

import re
import sys

import pytest

import doc_blocks
import runtime_servers
import services
from gyropilot.cli import processes
from gyropilot.serve.async_calls.runner import AsyncInvocations
from runtime_servers import put_endpoint, put_replica, variant

PROGRAMS = re.findall(r"```python\n(.*?)```", (doc_blocks.TOP / "docs" / "invoking.md").read_text(), re.DOTALL)
EXPECTED = (
    '{"inputs": "What is in stock?", "parameters": {"max_new_tokens": 20}}\nanswered by the variant all\n',
    "all",
    '{"inputs": "What is in stock?"}\n',
)


@pytest.fixture(scope="module")
def variables(tmp_path_factory):
    """What the shell of a reader holds, for an endpoint `shop` whose model gives back what it gets."""
    folder = tmp_path_factory.mktemp("r")
    with runtime_servers.running(folder, ["a"], make_app=processes._doors) as server:
        async_config = {"OutputConfig": {"S3OutputPath": "s3://data/answers"}}
        endpoint = put_endpoint(server.house, "shop", [variant("all")], **{"async": async_config})
        put_replica(server.house, endpoint, folder / "a", variant="all")
        runner = AsyncInvocations(server.house)
        runner.start()
        yield {
            "AWS_ENDPOINT_URL": server.url,
            "AWS_ACCESS_KEY_ID": server.key,
            "AWS_SECRET_ACCESS_KEY": server.secret,
            "AWS_DEFAULT_REGION": server.house.settings.region,
        }
        runner.stop()


@pytest.mark.parametrize(("program", "expected"), list(zip(PROGRAMS, EXPECTED, strict=True)))
def test_a_program_of_the_page_runs(variables, tmp_path, program, expected):
    ran = services.run([sys.executable, "-c", program], cwd=tmp_path, env=services.clean_environment() | variables)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == expected
