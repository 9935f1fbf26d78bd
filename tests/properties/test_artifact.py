"""Any image comes back, block by block, from what the device's own decoder makes of its artifact."""

from __future__ import annotations

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from agent import protocol
from agent.fetch.decode import Decoder
from agent.manifest import Artifact as Described
from host_tools import artifact

# Runs of one byte, counting and noise: what deflates well, a little and not at all.
_RUN = st.tuples(st.binary(min_size=1, max_size=1), st.integers(1, 9000)).map(lambda t: t[0] * t[1])
_NOISE = st.tuples(st.integers(0, 2**32), st.integers(1, 3000)).map(
    lambda t: hashlib.shake_128(t[0].to_bytes(8, "big")).digest(t[1])
)
IMAGES = st.lists(st.one_of(_RUN, _NOISE, st.binary(max_size=200)), min_size=1, max_size=8).map(
    b"".join
)
SIZES = st.sampled_from([1024, 2048, 4096, 8192, 16384])


def decoded(made: artifact.Artifact, size: int) -> bytes:
    """As a device does it: prove, decode to exactly what the block must have, prove again."""
    scratch = memoryview(bytearray(made.block_size))
    decoder = Decoder(made.block_size, scratch)
    out = b""
    for number, block in enumerate(made.blocks):
        length, encoding, flags, encoded_sha16, decoded_sha16 = protocol.parse_entry(
            made.index, number
        )
        assert flags == 0 and length == len(block) <= made.block_size
        assert protocol.sha16(block) == encoded_sha16
        expected = min(made.block_size, size - len(out))
        found = decoder.decode(encoding, memoryview(block), expected)
        assert protocol.sha16(found) == decoded_sha16
        out += bytes(found)
    return out


@settings(max_examples=60, deadline=None)
@given(image=IMAGES.filter(len), encoding=st.sampled_from(artifact.ENCODINGS), block_size=SIZES)
def test_every_image_comes_back(image: bytes, encoding: str, block_size: int) -> None:
    made = artifact.make(image, encoding, block_size)
    assert decoded(made, len(image)) == image


@settings(max_examples=60, deadline=None)
@given(image=IMAGES.filter(len), encoding=st.sampled_from(artifact.ENCODINGS), block_size=SIZES)
def test_the_manifest_describes_what_the_server_has(
    image: bytes, encoding: str, block_size: int
) -> None:
    made = artifact.make(image, encoding, block_size)
    described = Described(made.entry())
    assert described.id == made.id
    assert described.blocks == len(made.blocks) == -(-len(image) // block_size)
    assert described.bytes == sum(map(len, made.blocks))
    pages = artifact.pages(made.index)
    assert len(pages) == protocol.page_count(described.blocks)
    for number, page in enumerate(pages):
        assert len(page) == protocol.page_bytes(number, described.blocks)
        assert hashlib.sha256(page).digest() == described.page_hash(number)


@settings(max_examples=40, deadline=None)
@given(image=IMAGES.filter(len))
def test_deflate_is_never_larger_than_raw(image: bytes) -> None:
    assert artifact.make(image, "deflate").bytes <= artifact.make(image, "raw").bytes == len(image)
