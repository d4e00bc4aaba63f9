import json
import struct

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from gyropilot.base_models import safetensors_files
from gyropilot.base_models.safetensors_files import Tensor, read_header
from gyropilot.errors import InvalidData


def forged(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_the_header_of_a_real_file_reads_as_it_was_saved(tmp_path):
    save_file({"b": np.zeros((2, 3), "f4"), "a": np.ones(4, "f2"), "n": np.ones((), "i1")}, tmp_path / "m")
    tensors = {one.name: (one.dtype, one.shape, one.is_weight) for one in read_header(tmp_path / "m", "m")}
    assert tensors == {"a": ("F16", (4,), True), "b": ("F32", (2, 3), True), "n": ("I8", (), False)}


def test_what_we_write_the_library_reads(tmp_path):
    values = {"x": np.arange(6, dtype="<f4").reshape(2, 3), "y": np.array([True, False])}
    tensors = [Tensor(name="x", dtype="F32", shape=(2, 3)), Tensor(name="y", dtype="BOOL", shape=(2,))]
    safetensors_files.write(tmp_path / "m", tensors, lambda one: values[one.name].tobytes(), {"format": "pt"})
    loaded = load_file(tmp_path / "m")
    assert all(np.array_equal(loaded[name], value) for name, value in values.items())
    assert read_header(tmp_path / "m", "m") == tensors


@pytest.mark.parametrize(
    ("header", "data"),
    [
        (b"", b""),
        (b"not json", b""),
        (b"[]", b""),
        (b'{"a":1}', b""),
        (
            b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
            b"0000",
        ),
        ({"a": entry()}, b"0" * 7),
        ({"a": entry()}, b"0" * 9),
        ({"a": entry(offsets=(0, 4))}, b"0" * 4),
        ({"a": entry(offsets=(4, 12))}, b"0" * 12),
        ({"a": entry(), "b": entry(offsets=(4, 12))}, b"0" * 12),
        ({"a": entry(), "b": entry()}, b"0" * 8),
        ({"a": entry(), "b": entry(offsets=(12, 20))}, b"0" * 20),
        ({"a": entry(offsets=(8, 0))}, b"0" * 8),
        ({"a": entry(offsets=(0, 2**60))}, b"0" * 8),
        ({"a": entry(shape=(2**40, 2**40))}, b"0" * 8),
        ({"a": entry(shape=(-2,))}, b"0" * 8),
        ({"a": entry(shape=(2.0,))}, b"0" * 8),
        ({"a": entry(shape=(True, 2))}, b"0" * 8),
        ({"a": entry(shape=(1,) * 9 + (2,))}, b"0" * 8),
        ({"a": entry(dtype="F8_E4M3")}, b"0" * 8),
        ({"a": entry(dtype="PICKLE")}, b"0" * 8),
        ({"a": entry(dtype=["F32"])}, b"0" * 8),
        ({"a": entry() | {"code": "x"}}, b"0" * 8),
        (b"[" * 100_000, b""),
    ],
)
def test_a_lying_header_is_refused_before_anything_is_allocated(tmp_path, header, data):
    with pytest.raises(InvalidData, match=r"^m"):
        read_header(forged(tmp_path / "m", header, data), "m")


@pytest.mark.parametrize("length", [0, 1, 2**63, 2**40, 101 * 10**6, 100])
def test_a_lying_header_length_is_refused(tmp_path, length):
    (tmp_path / "m").write_bytes(struct.pack("<Q", length) + b'{"a":1}')
    with pytest.raises(InvalidData, match="does not fit a file of 15 bytes"):
        read_header(tmp_path / "m", "m")


def test_no_changed_or_missing_byte_gets_further_than_a_refusal(tmp_path):
    save_file({"a": np.zeros((2, 3), "f4"), "b": np.ones(4, "f2")}, tmp_path / "m")
    whole = (tmp_path / "m").read_bytes()
    for at in range(len(whole)):
        for changed in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x11]) + whole[at + 1 :]):
            (tmp_path / "m").write_bytes(changed)
            try:
                tensors = read_header(tmp_path / "m", "m")
            except InvalidData:
                continue
            assert sum(one.size_bytes for one in tensors) == 32
