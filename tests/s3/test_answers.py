from __future__ import annotations

import asyncio
import re
import threading
from xml.etree import ElementTree

from gyropilot.s3 import answers
from gyropilot.s3.errors import no_key
from gyropilot.s3.xml import element


def answered(work, monkeypatch):
    """Give status and body of an answer whose work lasts longer than clients are left without a byte."""
    monkeypatch.setattr(answers, "_PATIENCE_SECONDS", 0.01)
    sent = []

    async def send(message):
        sent.append(message)
        if message.get("body", b"").isspace():
            go_on.set()

    async def receive():
        await asyncio.Event().wait()

    async def run():
        answer = await answers.slow_xml_answer(lambda: go_on.wait(30) and work())
        await answer({"type": "http", "asgi": {"spec_version": "2.4"}}, receive, send)

    go_on = threading.Event()
    asyncio.run(run())
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


def test_slow_work_is_kept_alive_by_spaces(monkeypatch):
    status, body = answered(lambda: element("Done", "x"), monkeypatch)
    assert status == 200
    assert re.match(rb"<\?xml[^>]*>\n +<Done", body)
    assert ElementTree.fromstring(body).text == "x"


def test_slow_work_that_fails_tells_so_in_the_document(monkeypatch):
    def fail():
        raise no_key("k")

    status, body = answered(fail, monkeypatch)
    assert status == 200
    assert ElementTree.fromstring(body).findtext("Code") == "NoSuchKey"
