from __future__ import annotations

import contextlib
import hashlib
import hmac
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyropilot.errors import NotAuthentic
from gyropilot.s3.chunks import ChunkedDecoder
from gyropilot.s3.errors import S3Error
from gyropilot.wire.signature import ChunkVerifier

EMPTY = hashlib.sha256().hexdigest()
TRAILER = "x-amz-checksum-crc32"


def sign(text):
    return hmac.new(b"key", text.encode(), hashlib.sha256).hexdigest()


def verifier():
    return ChunkVerifier(sign, timestamp="T", scope="S", seed="seed")


def signed(chunks, trailer=""):
    """Write a body as a client does that signs each chunk."""
    previous, body = "seed", b""
    for chunk in (*chunks, b""):
        text = f"AWS4-HMAC-SHA256-PAYLOAD\nT\nS\n{previous}\n{EMPTY}\n{hashlib.sha256(chunk).hexdigest()}"
        previous = sign(text)
        body += f"{len(chunk):x};chunk-signature={previous}\r\n".encode() + chunk + (b"\r\n" if chunk else b"")
    if trailer:
        digest = hashlib.sha256(f"{TRAILER}:{trailer}\n".encode()).hexdigest()
        signature = sign(f"AWS4-HMAC-SHA256-TRAILER\nT\nS\n{previous}\n{digest}")
        body += f"{TRAILER}:{trailer}\r\nx-amz-trailer-signature:{signature}\r\n".encode()
    return body + b"\r\n"


def unsigned(chunks, trailer="AAAAAA=="):
    body = b"".join(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in chunks)
    return body + f"0\r\n{TRAILER}:{trailer}\r\n\r\n".encode()


def decode(decoder, body, cuts=()):
    marks = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    decoded = b"".join(b"".join(decoder.feed(body[a:b])) for a, b in itertools.pairwise(marks))
    decoder.end()
    return decoded


CHUNKS = st.lists(st.binary(min_size=1, max_size=50), max_size=5)
CUTS = st.lists(st.integers(0, 10_000), max_size=10)


@given(CHUNKS, CUTS)
def test_a_body_decodes_however_it_is_cut(chunks, cuts):
    decoder = ChunkedDecoder(verifier(), announced_trailer=TRAILER)
    assert decode(decoder, signed(chunks, "AAAAAA=="), cuts) == b"".join(chunks)
    assert decoder.trailers == {TRAILER: "AAAAAA=="}
    decoder = ChunkedDecoder(verifier(), announced_trailer="")
    assert decode(decoder, signed(chunks), cuts) == b"".join(chunks)
    decoder = ChunkedDecoder(None, announced_trailer=TRAILER)
    assert decode(decoder, unsigned(chunks), cuts) == b"".join(chunks)


@given(st.data())
def test_no_changed_byte_of_a_signed_body_passes(data):
    body = bytearray(signed([b"first chunk", b"second"], "AAAAAA=="))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= data.draw(st.integers(1, 255))
    decoder = ChunkedDecoder(verifier(), announced_trailer=TRAILER)
    try:
        decoded = decode(decoder, bytes(body))
    except (S3Error, NotAuthentic):
        return
    # What may differ without harm: letter case of a size or a header name, which signatures do not cover.
    assert decoded == b"first chunksecond"
    assert decoder.trailers == {TRAILER: "AAAAAA=="}


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_decoded(body):
    decoder = ChunkedDecoder(None, announced_trailer=TRAILER)
    with contextlib.suppress(S3Error):
        decode(decoder, body)


@pytest.mark.parametrize("cut", [1, 2, 40, 90])
def test_a_body_that_ends_early_is_refused(cut):
    decoder = ChunkedDecoder(verifier(), announced_trailer="")
    with pytest.raises(S3Error, match="IncompleteBody"):
        decode(decoder, signed([b"data"])[:-cut])


def test_swapped_chunks_are_refused():
    chunk = 5 + len("1;chunk-signature=") + 64
    body = signed([b"a", b"b"])
    swapped = body[chunk : 2 * chunk] + body[:chunk] + body[2 * chunk :]
    with pytest.raises((NotAuthentic, S3Error)):
        decode(ChunkedDecoder(verifier(), announced_trailer=""), swapped)
