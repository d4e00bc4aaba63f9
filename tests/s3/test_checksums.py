from __future__ import annotations

import os
import sys
import zlib

import pytest

from gyropilot.s3 import checksums


def computed(algorithm, data, cut=7):
    one = checksums.start(algorithm)
    for part in (data[:cut], data[cut:]):
        one.update(part)
    return one.digest()


@pytest.mark.parametrize(
    ("algorithm", "check"), [("crc32", "cbf43926"), ("crc32c", "e3069283"), ("crc64nvme", "ae8b14860a799888")]
)
def test_a_crc_gives_its_published_check_value(algorithm, check):
    assert computed(algorithm, b"123456789").hex() == check


@pytest.mark.parametrize("size_bytes", [0, 1, 1023, 16 * 1024, 16 * 1024 + 5, 300_001])
def test_all_ways_of_computing_agree(monkeypatch, size_bytes):
    data = os.urandom(size_bytes)
    fast = [computed(algorithm, data) for algorithm in ("crc32c", "crc64nvme")]
    assert zlib.crc32(data) == checksums._advanced("crc32", 0xFFFFFFFF, data) ^ 0xFFFFFFFF
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert [computed(algorithm, data) for algorithm in ("crc32c", "crc64nvme")] == fast


@pytest.mark.parametrize("algorithm", ["crc32", "crc32c", "crc64nvme"])
def test_the_crc_of_parts_is_the_crc_of_the_whole(algorithm):
    parts = [os.urandom(size_bytes) for size_bytes in (1, 70_000, 0, 12_345)]
    described = [(checksums.encoded(computed(algorithm, part)), len(part)) for part in parts]
    assert checksums.full_object(algorithm, described) == checksums.encoded(computed(algorithm, b"".join(parts)))
