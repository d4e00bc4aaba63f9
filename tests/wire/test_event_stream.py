"""Event streams as botocore reads them."""

import json

import pytest
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer

from gyropilot.wire import event_stream


def read(data):
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return list(buffer)


def test_events_are_read_back_by_botocore():
    parts = [b"", b"a", bytes(range(256)) * 300, "Grüße\n".encode()]
    messages = read(b"".join(event_stream.event("PayloadPart", part) for part in parts))
    assert [one.payload for one in messages] == parts
    for one in messages:
        assert one.headers == {
            ":event-type": "PayloadPart",
            ":content-type": "application/octet-stream",
            ":message-type": "event",
        }


def test_an_exception_is_read_back_by_botocore():
    members = {"Message": "the model broke off", "ErrorCode": "StreamBroken"}
    (message,) = read(event_stream.exception("ModelStreamError", members))
    assert json.loads(message.payload) == members
    assert message.headers[":exception-type"] == "ModelStreamError"
    assert message.headers[":message-type"] == "exception"
    assert message.to_response_dict()["status_code"] == 400


@pytest.mark.parametrize("at", [0, 5, 9, 14, 60, -1])
def test_a_changed_byte_is_noticed(at):
    data = bytearray(event_stream.event("PayloadPart", b"x" * 40))
    data[at] ^= 1
    with pytest.raises(ChecksumMismatch):
        read(bytes(data))
