"""What one container hands to the next: the same numbers come out, and foreign bytes are refused."""

from __future__ import annotations

import random

import numpy as np
import pytest
import scipy.sparse

from gyropilot.errors import InvalidRequest
from gyropilot.problems.tabular.serving import matrices

DENSE = np.array([[1.5, np.nan], [-0.0, 3e38]], dtype=np.float32)
SPARSE = scipy.sparse.csr_matrix(np.array([[0, 0, 2.5], [0, 0, 0], [1, 0, 0]], dtype=np.float32))
BODY = matrices.write(DENSE, reply="text/csv") + matrices.write(SPARSE, reply="application/json")


def test_blocks_come_out_as_they_went_in():
    dense, sparse = matrices.read(BODY)
    assert dense.matrix.tobytes() == DENSE.tobytes()
    assert (dense.reply, sparse.reply) == ("text/csv", "application/json")
    assert scipy.sparse.issparse(sparse.matrix)
    assert (sparse.matrix.toarray() == SPARSE.toarray()).all()


def test_rows_without_columns_are_kept():
    (block,) = matrices.read(matrices.write(np.zeros((3, 0), dtype=np.float32), reply="text/csv"))
    assert block.matrix.shape == (3, 0)


def test_changed_bytes_are_refused_or_read_but_never_break():
    draw = random.Random(3)
    refused = 0
    for _ in range(500):
        body = bytearray(BODY)
        for _ in range(draw.randrange(1, 5)):
            place = draw.randrange(len(body))
            body[place : place + draw.randrange(3)] = draw.choice((b"", b"\xff", b"9", b"-", b"\x00\x00\x00"))
        try:
            for block in matrices.read(bytes(body)):
                assert len(block.matrix.shape) == 2
        except InvalidRequest:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("body", [b"", b"1,2\n", b"{}\n", b"x" * 5000])
def test_what_is_no_matrix_is_refused(body):
    with pytest.raises(InvalidRequest, match="send rows to the whole chain"):
        list(matrices.read(body))
