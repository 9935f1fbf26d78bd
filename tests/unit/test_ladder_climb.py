"""The ladder a piece at a time: pauses for the application and the line, and comes to the same end."""

from bootloader_verify import ladder
from bootloader_verify.errors import BAD_HASH, VerifyError
from tests.unit import containers
from tests.unit.expect import raises


def test_a_climb_pauses_and_comes_to_the_same_end():
    """One pause behind every 16 KiB of payload and one behind the signatures; bounded work between."""
    payload = bytes(50_000)
    data = containers.image(payload=payload)
    read_since_pause = [0]
    inner = containers.reader(data)

    def read(offset, buf):
        read_since_pause[0] += len(buf)
        assert read_since_pause[0] <= ladder.PIECE_BYTES + 4096
        inner(offset, buf)

    steps = ladder.climb(read, len(data), containers.keyset(), containers.expect())
    pauses = 0
    try:
        while True:
            next(steps)
            pauses += 1
            read_since_pause[0] = 0
    except StopIteration as end:
        found = end.value
    assert pauses == len(payload) // ladder.PIECE_BYTES + 1
    assert found.digest == containers.check(data).digest


def test_a_climb_that_fails_raises_where_check_would():
    data = bytearray(containers.image(payload=bytes(50_000)))
    data[40_000] ^= 1
    steps = ladder.climb(
        containers.reader(data), len(data), containers.keyset(), containers.expect()
    )
    next(steps)  # the first piece is good
    raises(VerifyError, BAD_HASH, ladder.finish, steps)
