"""From encoded to decoded bytes: exactly the block, or an error."""

import sys

from agent import protocol
from agent.fetch.decode import DecodeError, Decoder
from tests.unit.artifacts import BOMB, TEXT_BLOCK, TEXT_DEFLATED, noise
from tests.unit.expect import raises

RAW, DEFLATE = protocol.RAW, protocol.DEFLATE
STORED = b"\x01\x03\x00\xfc\xffabc"  # a stored block of deflate
EMPTY = b"\x01\x00\x00\xff\xff"


def copied_from(distance, past):
    """A stream of `past`, then 3 bytes copied from `distance` (3073 to 6144) back."""
    code, base, extra = (23, 3073, 10) if distance <= 4096 else (24, 4097, 11)
    bits = "1" + "10" + "0000001"  # last block, fixed codes, length 3
    bits += "{:05b}".format(code)  # codes begin with their highest bit, numbers with their lowest
    bits += "".join(["01"[(distance - base) >> i & 1] for i in range(extra)]) + "0000000"
    packed = [int("".join(reversed(bits[at : at + 8])), 2) for at in range(0, len(bits), 8)]
    size = len(past)
    head = bytes([0, size & 0xFF, size >> 8, ~size & 0xFF, ~size >> 8 & 0xFF])
    return head + past + bytes(packed)


def decode(encoding, encoded, size, most=4096):
    """By a new decoder: nothing is left over from another block."""
    out = memoryview(bytearray(most))
    return bytes(Decoder(most, out).decode(encoding, memoryview(encoded), size))


def refused(encoding, encoded, size, code="BAD_BLOCK"):
    raises(DecodeError, code, decode, encoding, encoded, size)


def test_raw_is_given_back_as_it_came():
    decoder = Decoder(64, memoryview(bytearray(64)))
    encoded = memoryview(b"x" * 64)
    assert decoder.decode(RAW, encoded, 64) == encoded
    assert decoder.decode(RAW, encoded[:3], 3) == b"xxx"


def test_raw_of_another_size_is_bad():
    for size in (0, 3, 5):
        refused(RAW, b"abcd", size)
    refused(RAW, b"", 1)


def test_deflate():
    assert decode(DEFLATE, TEXT_DEFLATED, len(TEXT_BLOCK)) == TEXT_BLOCK
    assert decode(DEFLATE, STORED, 3) == b"abc"


def test_deflate_lands_in_the_caller_s_buffer():
    out = memoryview(bytearray(2048))
    found = Decoder(2048, out).decode(DEFLATE, memoryview(TEXT_DEFLATED), 1024)
    assert found == out[:1024] and out[1024:] == bytes(1024)


def test_t44_output_stops_at_the_block_whatever_the_stream_says():
    out = memoryview(bytearray([0xEE] * 4096))
    decoder = Decoder(4096, out)
    raises(DecodeError, "BAD_BLOCK", decoder.decode, DEFLATE, memoryview(BOMB), 1024)
    assert out[1024:] == bytes([0xEE] * 3072)
    assert decode(DEFLATE, BOMB, 4096) == bytes(4096)


def test_deflate_of_another_size_is_bad():
    for size in (1, len(TEXT_BLOCK) - 1, len(TEXT_BLOCK) + 1, 4096):
        refused(DEFLATE, TEXT_DEFLATED, size)
    refused(DEFLATE, EMPTY, 1)


def test_bytes_behind_the_stream_are_not_looked_at():
    """Harmless: the hash of the encoded bytes covers them, and both Pythons agree."""
    for more in (b"\0", b"trailing", TEXT_DEFLATED, noise(1000)):
        assert decode(DEFLATE, TEXT_DEFLATED + more, len(TEXT_BLOCK)) == TEXT_BLOCK


def test_a_stream_cut_short_is_bad():
    """Up to the last two bytes, which only say that the end is here."""
    for size in range(len(TEXT_DEFLATED) - 2):
        refused(DEFLATE, TEXT_DEFLATED[:size], len(TEXT_BLOCK))


def test_what_is_no_stream():
    # A reserved block type, a stored block with a wrong complement, a distance before the start.
    for bad in (b"", b"\x07", b"\xff" * 50, b"\x01\x03\x00\x00\x00abc", b"\x4b\x04\x12\x00"):
        refused(DEFLATE, bad, 10)


def test_history_ends_at_4_kib():
    """A block that looks farther back was made for a larger window than a device has.

    zlib finds such bytes in its own output all the same: right bytes, so it may.
    """
    past = noise(6000)
    for distance in (3073, 4095, 4096):
        copy = past[6000 - distance :][:3]
        stream = copied_from(distance, past)
        assert decode(DEFLATE, stream, 6003, 8192) == past + copy, distance
    if sys.implementation.name == "micropython":
        for distance in (4097, 5000):
            far = copied_from(distance, past)
            raises(DecodeError, "BAD_BLOCK", decode, DEFLATE, far, 6003, 8192)


def test_noise_never_raises_anything_else():
    for seed in range(200):
        bad = noise(40, seed)
        for size in (1, 7, 1024):
            try:
                assert len(decode(DEFLATE, bad, size, 1024)) == size
            except DecodeError as err:
                assert err.code == "BAD_BLOCK"


def test_one_decoder_takes_many_blocks():
    out = memoryview(bytearray(4096))
    decoder = Decoder(4096, out)
    for _ in range(3):
        assert decoder.decode(DEFLATE, memoryview(TEXT_DEFLATED), 1024) == TEXT_BLOCK
        raises(DecodeError, None, decoder.decode, DEFLATE, memoryview(b"\x07"), 10)
        assert decoder.decode(DEFLATE, memoryview(STORED), 3) == b"abc"
        assert decoder.decode(RAW, memoryview(noise(4096)), 4096) == noise(4096)
        assert decoder.decode(DEFLATE, memoryview(BOMB), 4096) == bytes(4096)


def test_other_encodings_are_named_and_refused():
    for encoding in (protocol.DELTA, protocol.DELTA_DEFLATE, protocol.COPY, 5, 255, -1):
        refused(encoding, STORED, 3, "UNSUPPORTED")
