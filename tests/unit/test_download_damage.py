"""What Download drops, asks for again and gives up: damage, liars, bombs, and the device's own troubles.

Names with tNN: rows of the threats and scenarios.
"""

from agent import protocol
from agent.fetch.blocks import FAILS_MAX, Fails
from bootloader_verify.errors import FLASH_READBACK, FlashError
from tests.unit.artifacts import (
    BLOCK,
    BOMB,
    NONCE,
    SLOT,
    TEN,
    TEXT_DEFLATED,
    Bench,
    Made,
    broken_crc,
    flipped,
    noise,
    numbers,
    ready,
    writes,
)


# --- 38: damaged ---------------------------------------------------------------------------------
def damage(bench, number=3):
    """Four ways to be wrong."""
    return (
        broken_crc(bench.block(number)),
        bench.block(number, flipped(bench.made.blocks[number])),  # the CRC is right
        bench.block(number, bench.made.blocks[number + 1]),  # another block under this number
        bench.block(number, bench.made.blocks[number][:-1]),
    )


def test_t38_a_damaged_block_is_dropped_and_asked_for_again():
    for way in range(4):
        bench = ready()
        assert writes(bench, damage(bench)[way]) == 0, way
        assert bench.download.damaged == 1 and bench.download.error is None
        assert numbers(bench.gets()) == [3]
        assert writes(bench, bench.block(3)) > 0
        bench.download.forget_in_flight()
        assert bench.serve().is_exact()


def test_t38_after_five_failures_the_artifact_ends():
    for way, code in enumerate(("BAD_CRC", "BAD_HASH", "BAD_HASH", "BAD_HASH")):
        bench = ready()
        before = bench.slot
        for _ in range(FAILS_MAX - 1):
            bench.hears(damage(bench)[way])
            bench.gets()
        assert bench.download.error is None
        bench.hears(damage(bench)[way])
        assert bench.download.error[0] == code and FAILS_MAX == 5
        assert bench.slot == before
        assert bench.gets() == [] and writes(bench, bench.block(3)) == 0


def test_t38_a_length_that_is_not_the_payloads_is_no_message():
    bench = ready()
    message = bench.block(3)
    for wrong in (message[:-1], message + b"\0", message[:15], b"", b"\0" * 16):
        assert writes(bench, wrong) == 0
    assert bench.download.dropped == 5 and bench.download.damaged == 0


def test_t38_a_damaged_page_is_asked_for_again_and_five_end_the_artifact():
    for wrong, code in ((broken_crc, "BAD_CRC"), (None, "BAD_HASH"), ("short", "BAD_HASH")):
        bench = Bench(Made(TEN))
        for n in range(FAILS_MAX):
            assert bench.download.error is None
            assert numbers(bench.gets()) == [0], n
            page = bench.pages[0]
            other = page[:-36] if wrong == "short" else flipped(page)
            bench.hears(wrong(bench.page(0)) if code == "BAD_CRC" else bench.page(0, other))
        assert bench.download.error[0] == code
        assert bench.flash.operations == 0


def test_failures_of_different_blocks_do_not_add_up_before_64():
    fails = Fails()
    for n in range(63):
        assert not fails.add(n), n
    assert fails.add(63)
    fails.reset()
    for key in (5, 5, 5, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14):  # rare ones do not push out a bad one
        assert not fails.add(key)
    assert fails.add(5)


# --- 40, T09: what does not belong ----------------------------------------------------------------
def test_t40_blocks_behind_the_end_are_dropped():
    bench = ready()
    for number in (10, 11, 1000, 0xFFFFFFFF):
        assert (
            writes(bench, protocol.pack_data(NONCE, protocol.KIND_BLOCK, number, TEN[:BLOCK])) == 0
        )
        assert writes(bench, protocol.pack_data(NONCE, protocol.KIND_PAGE, number, TEN[:36])) == 0
    assert bench.download.dropped == 8 and bench.download.error is None


def test_t40_a_block_longer_than_its_entry_is_refused():
    bench = ready()
    assert writes(bench, bench.block(9, TEN[9 * BLOCK :] + b"more")) == 0
    assert bench.download.damaged == 1
    big = bench.block(3, TEN)
    assert writes(bench, big) == 0 and bench.download.damaged == 2


def test_t40_an_index_that_promises_too_much_ends_the_artifact():
    for size in (0, BLOCK + 1, 65535):
        made = Made(TEN)
        made.encoded_lens = [len(block) for block in made.blocks]
        made.encoded_lens[2] = size
        bench = Bench(made)
        bench.until_blocks()
        assert bench.download.error[0] == "BAD_MANIFEST", size
        assert bench.flash.operations == 0


def test_encodings_of_later_agents_are_unsupported():
    for encoding in (protocol.DELTA, protocol.DELTA_DEFLATE, protocol.COPY, 9):
        bench = Bench(Made(TEN).replace(2, encoding, b"xyz"))
        bench.until_blocks()
        assert bench.download.error[0] == "UNSUPPORTED"


def test_t09_html_on_the_topic_writes_nothing():
    bench = ready()
    html = b"<html><body>502 Bad Gateway</body></html>"
    assert writes(bench, html) == 0
    assert bench.download.dropped == 1
    assert writes(bench, bench.block(3, html)) == 0
    assert bench.download.damaged == 1
    assert bench.slot == b"\xff" * SLOT
    bench.download.forget_in_flight()
    assert bench.serve().is_exact()


# --- 44: bombs and liars of the publisher ----------------------------------------------------------
def test_t44_a_bomb_with_a_right_hash_stops_at_the_blocks_size():
    for number in (0, 2, 9):
        bench = Bench(Made(TEN).replace(number, protocol.DEFLATE, BOMB)).serve()
        assert bench.download.error[0] == "BAD_HASH", number
        assert bench.slot[number * BLOCK : (number + 1) * BLOCK] == b"\xff" * BLOCK


def test_t44_a_stream_that_begins_with_the_block_and_goes_on():
    image = TEN[: 2 * BLOCK] + bytes(BLOCK) + TEN[3 * BLOCK :]
    bench = Bench(Made(image).replace(2, protocol.DEFLATE, BOMB)).serve()
    assert bench.download.error[0] == "BAD_HASH"
    assert bench.slot[2 * BLOCK : 3 * BLOCK] == b"\xff" * BLOCK


def test_t44_a_bomb_without_its_hash_is_never_decoded():
    bench = Bench(Made(TEN).replace(2, protocol.DEFLATE, TEXT_DEFLATED))
    bench.until_blocks()

    def decode(_encoding, _encoded, _size):
        raise AssertionError("decoded before it was proved")

    bench.download._decoder.decode = decode
    assert writes(bench, bench.block(2, BOMB)) == 0
    assert bench.download.damaged == 1 and bench.download.error is None


def test_t44_streams_that_end_early_or_decode_to_something_else():
    for encoded in (TEXT_DEFLATED, TEXT_DEFLATED[:-4], b"\xff" * 20, b"\x03\x00", b"\0"):
        bench = Bench(Made(TEN).replace(2, protocol.DEFLATE, encoded)).serve()
        assert bench.download.error[0] == "BAD_HASH", encoded
        assert bench.slot[2 * BLOCK : 3 * BLOCK] == b"\xff" * BLOCK


def test_t44_raw_bytes_that_are_not_the_block():
    made = Made(TEN).replace(2, protocol.RAW, noise(BLOCK, 8))
    assert Bench(made).serve().download.error[0] == "BAD_HASH"
    made = Made(TEN).replace(2, protocol.RAW, TEN[:100])
    assert Bench(made).serve().download.error[0] == "BAD_HASH"


# --- T05: the line flips bits ----------------------------------------------------------------------
def test_t05_one_flipped_bit_costs_one_block():
    bench = Bench(Made(TEN))
    hurt = []
    for get in bench.until_blocks():
        for message in bench.answers(get):
            number = protocol.parse_data_header(message)[3]
            hurt.append(number)
            bench.hears(broken_crc(message) if hurt.count(number) == 1 == number else message)
    assert bench.download.damaged == 1
    bench.serve()
    assert bench.is_exact() and bench.sent.count(1) == 2
    assert bench.download.error is None


def test_t05_crc_failures_are_named_so():
    bench = ready()
    for _ in range(FAILS_MAX):
        bench.hears(broken_crc(bench.block(4)))
    assert protocol.reason_of(bench.download.error[0]) == "CrcMismatch"


# --- the device's own troubles -----------------------------------------------------------------------
def test_t21_no_memory_to_inflate_counts_as_a_failure():
    made = Made(TEN).replace(2, protocol.DEFLATE, TEXT_DEFLATED)
    bench = Bench(made)
    bench.until_blocks()

    def decode(_encoding, _encoded, _size):
        raise MemoryError

    bench.download._decoder.decode = decode
    for n in range(FAILS_MAX):
        assert bench.download.error is None, n
        assert writes(bench, bench.block(2)) == 0
        assert numbers(bench.gets()) in ([2], [])
    assert bench.download.error[0] == "OUT_OF_MEMORY"
    assert protocol.reason_of("OUT_OF_MEMORY") == "OutOfMemory"


def test_memory_that_comes_back_goes_on():
    bench = ready()
    decode, left = bench.download._decoder.decode, [FAILS_MAX - 1]

    def sometimes(encoding, encoded, size):
        if left[0]:
            left[0] -= 1
            raise MemoryError
        return decode(encoding, encoded, size)

    bench.download._decoder.decode = sometimes
    bench.download.forget_in_flight()
    assert bench.serve().is_exact() and bench.download.damaged == FAILS_MAX - 1


def failing(bench, name, times, act=None):
    """Let the flash's `name` fail so often: with an error, or as `act` does it."""
    true, left = getattr(bench.flash, name), [times]

    def call(*args):
        if left[0]:
            left[0] -= 1
            if act is None:
                raise FlashError("FLASH_RANGE", name)
            return act(*args)
        return true(*args)

    setattr(bench.flash, name, call)


def test_a_flash_that_fails_now_and_then_is_tried_again():
    for name in ("read", "program", "erase"):
        for erase in (1024, 4096):
            bench = Bench(Made(TEN), erase=erase, slot=32768)
            failing(bench, name, FAILS_MAX - 1)
            for _ in range(FAILS_MAX):
                bench.serve()
            assert bench.download.complete and bench.is_exact(), (name, erase)


def test_a_flash_that_refuses_for_good_ends_the_artifact():
    for name in ("read", "program", "erase"):
        bench = Bench(Made(TEN))
        failing(bench, name, 1_000_000)
        for _ in range(FAILS_MAX):
            bench.serve()
        assert bench.download.error[0] == "FLASH_RANGE", name


def test_a_write_that_did_not_hold_is_seen_and_done_again():
    for erase in (1024, 4096):
        bench = Bench(Made(TEN), erase=erase, slot=32768)

        def nothing(_offset, _data):
            pass

        failing(bench, "program", FAILS_MAX - 1, nothing)
        assert bench.serve().is_exact() and bench.download.complete


def test_a_write_that_held_in_part_costs_its_whole_sector():
    for erase in (1024, 4096):
        bench = Bench(Made(TEN), erase=erase, slot=32768)
        true, left = bench.flash.program, [2]

        def in_part(offset, data, true=true, left=left):
            bad = offset == 6 * BLOCK and left[0]
            left[0] -= bool(bad)
            true(offset, b"\x77" * len(data) if bad else data)

        bench.flash.program = in_part
        assert bench.serve().is_exact() and bench.download.complete
        assert bench.download._fails.total == 2


def test_only_block_0_missing_its_sector_is_erased_once_more():
    """Its write may have begun: what reads blank may be programmed already."""
    bench = Bench(Made(TEN), erase=4096, slot=32768)
    bench.until_blocks()
    for number in range(1, 10):
        bench.hears(bench.block(number))
    assert bench.download.blocks.only_first_left and bench.flash.wear[0] == 1
    again = Bench(Made(TEN), bench.flash).serve()
    assert again.is_exact() and again.sent == [1, 2, 3, 0] and bench.flash.wear[0] == 2


def test_a_worn_sector_ends_the_artifact():
    bench = Bench(Made(TEN))
    program = bench.flash.program

    def worn(offset, data):
        data = bytes(data)
        program(offset, b"\xfe" + data[1:] if offset == 3 * BLOCK else data)

    bench.flash.program = worn
    bench.serve()
    assert bench.download.error[0] == FLASH_READBACK
    assert not bench.download.complete


def test_an_erase_that_failed_behind_the_image_is_tried_again():
    flash = Bench(Made(noise(15 * BLOCK))).serve().flash
    bench = Bench(Made(TEN), flash)
    bench.until_blocks()
    for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 0):
        bench.hears(bench.block(number))
    failing(bench, "erase", 2)
    assert not bench.work().download.complete
    bench.work().work()
    assert bench.download.complete and bench.is_exact()
