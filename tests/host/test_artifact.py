"""Artifacts: the bytes that go into a store, by example. Round trips: tests/properties/test_artifact.py."""

from __future__ import annotations

import hashlib
import random
import zlib

import pytest

from agent import protocol
from host_tools import artifact

TEXT = b"charging " * 1000  # 9,000 bytes: three blocks, the last one short
NOISE = random.Random(7).randbytes(9_000)


def numbers(made: artifact.Artifact) -> list[int]:
    return [protocol.parse_entry(made.index, n)[1] for n in range(len(made.blocks))]


def test_raw_is_the_image_in_steps() -> None:
    made = artifact.make(TEXT, "raw")
    assert [len(block) for block in made.blocks] == [4096, 4096, 808]
    assert b"".join(made.blocks) == TEXT and made.bytes == 9000
    assert numbers(made) == [protocol.RAW] * 3


def test_each_deflated_block_stands_on_its_own() -> None:
    made = artifact.make(TEXT, "deflate")
    assert numbers(made) == [protocol.DEFLATE] * 3
    assert zlib.decompress(made.blocks[1], -12) == TEXT[4096:8192]
    assert made.bytes < 300


def test_a_stream_looks_back_no_further_than_a_small_device_can() -> None:
    far = NOISE[:5000] * 2  # with the usual window the second half would cost a few bytes
    assert numbers(artifact.make(far, "deflate", 16384)) == [protocol.RAW]
    near = NOISE[:3000] * 2
    assert numbers(artifact.make(near, "deflate", 16384)) == [protocol.DEFLATE]


def test_what_does_not_get_smaller_stays_raw() -> None:
    made = artifact.make(NOISE, "deflate")
    assert numbers(made) == [protocol.RAW] * 3
    assert made.blocks == artifact.make(NOISE, "raw").blocks


def test_a_block_that_deflates_to_its_own_length_stays_raw() -> None:
    block = b"ababab"
    stream = zlib.compressobj(9, zlib.DEFLATED, -12)
    assert len(stream.compress(block) + stream.flush()) == len(block)
    assert numbers(artifact.make(block, "deflate")) == [protocol.RAW]
    assert numbers(artifact.make(block * 2, "deflate")) == [protocol.DEFLATE]


def test_an_entry_says_what_the_block_is() -> None:
    made = artifact.make(TEXT, "deflate")
    length, encoding, flags, encoded, decoded = protocol.parse_entry(made.index, 2)
    assert (length, encoding, flags) == (len(made.blocks[2]), protocol.DEFLATE, 0)
    assert encoded == hashlib.sha256(made.blocks[2]).digest()[:16]
    assert decoded == hashlib.sha256(TEXT[8192:]).digest()[:16]


def test_pages_and_id_follow_from_the_index() -> None:
    made = artifact.make(NOISE * 20, "raw")  # 44 blocks
    assert len(made.index) == 44 * 36 and len(made.page_hashes) == 2
    assert made.page_hashes[1] == hashlib.sha256(made.index[28 * 36 :]).digest()
    assert made.id == hashlib.sha256(b"".join(made.page_hashes)).digest()[:16]


def test_the_two_encodings_have_two_ids() -> None:
    assert artifact.make(TEXT, "raw").id != artifact.make(TEXT, "deflate").id


def test_the_same_image_makes_the_same_artifact() -> None:
    assert artifact.make(TEXT + NOISE, "deflate") == artifact.make(TEXT + NOISE, "deflate")


@pytest.mark.parametrize("block_size", [0, 512, 3000, 4095, 32768])
def test_a_block_size_that_no_device_takes_is_refused(block_size: int) -> None:
    with pytest.raises(ValueError, match="block size"):
        artifact.make(TEXT, "raw", block_size)


def test_nothing_is_no_image() -> None:
    with pytest.raises(ValueError, match="needs bytes"):
        artifact.make(b"", "raw")
