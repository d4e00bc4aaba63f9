"""The audit log under kills: whatever was acknowledged has its line."""

from __future__ import annotations

import json
import threading
import time

import pytest

import services
from gyropilot.sdk.errors import ServiceError

THREADS, KILLS = 4, 3
MOST_SECONDS = 60


@pytest.mark.slow
def test_every_acknowledged_create_has_its_line_whenever_the_service_is_killed(tmp_path):
    service = services.Service(tmp_path / "home")
    acknowledged: list[str] = []
    try:
        for _ in range(KILLS):
            service.start()
            before = len(acknowledged)
            threads = [
                threading.Thread(target=_create_until_gone, args=(service, acknowledged)) for _ in range(THREADS)
            ]
            for thread in threads:
                thread.start()
            deadline = time.monotonic() + MOST_SECONDS
            services.wait_until(
                lambda least=before + 40: len(acknowledged) >= least, seconds=MOST_SECONDS, what="creates"
            )
            service.kill()
            for thread in threads:
                thread.join(max(0.0, deadline - time.monotonic()))
                assert not thread.is_alive()
        service.start()
        lines = [json.loads(line) for line in (service.home / "audit.log").read_text().splitlines()]
        noted = {one["resource"] for one in lines if one["result"] == "OK"}
        listed = service.access().list_keys()
    finally:
        if service.process.poll() is None:
            service.stop()
    keys = {one for one in acknowledged if not one.startswith("s3://")}
    assert len(acknowledged) >= 40 * KILLS
    assert set(acknowledged) <= noted, "an acknowledged create has no line"
    assert keys <= {one["AccessKeyId"] for one in listed}, "an acknowledged key is gone"


def _create_until_gone(service, acknowledged):
    keys, s3 = service.access(), service.boto3("s3")
    while True:
        name = f"b{len(acknowledged)}-{threading.get_ident()}"
        try:
            acknowledged.append(keys.create_key(kind="invoker", name=name)["AccessKeyId"])
            s3.create_bucket(Bucket=name)
            acknowledged.append(f"s3://{name}")
        except Exception as error:  # the kill; anything else shows as too few creates
            if (
                isinstance(error, ServiceError)
                or "endpoint" in str(error).lower()
                or "connection" in str(error).lower()
            ):
                return
            raise
