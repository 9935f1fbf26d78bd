"""Download when all goes well, and when messages are late, lost, doubled or put off.

Names with tNN: rows of the threats and scenarios. What is wrong is in test_download_damage.py, cuts are
in tests/power, lines that do all of this at random in tests/properties.
"""

from agent import protocol
from agent.fetch.blocks import FAILS_MAX
from agent.fetch.download import STALL_MS, STALL_MS_MAX
from tests.power.flash_model import ERASE, PROGRAM
from tests.unit.artifacts import (
    BLOCK,
    NONCE,
    SLOT,
    TEN,
    TEXT_BLOCK,
    TEXT_DEFLATED,
    Bench,
    Made,
    noise,
    numbers,
    ready,
    writes,
)


# --- the whole way ------------------------------------------------------------------------------
def test_an_image_arrives_byte_exact():
    bench = Bench(Made(TEN)).serve()
    assert bench.download.complete and bench.download.error is None
    assert bench.is_exact()
    assert sorted(bench.sent) == list(range(10))
    sizes = sum([len(part) for part in bench.made.blocks + bench.pages])
    assert bench.download.bytes_fetched == sizes
    assert bench.download.dropped == bench.download.damaged == bench.download.stalls == 0


def test_a_deflated_block_is_inflated():
    made = Made(TEXT_BLOCK + noise(500)).replace(0, protocol.DEFLATE, TEXT_DEFLATED)
    bench = Bench(made).serve()
    assert bench.download.complete and bench.is_exact()
    assert bench.download.bytes_fetched == len(TEXT_DEFLATED) + 500 + 2 * 36


def test_one_block_one_byte_and_a_full_slot():
    for size in (1, BLOCK - 1, BLOCK, BLOCK + 1, SLOT - BLOCK):
        bench = Bench(Made(noise(size))).serve()
        assert bench.download.complete and bench.is_exact(), size


def test_other_units_sectors_and_erased_values():
    for unit, erase, erased in ((1, 1024, 0xFF), (32, 4096, 0xFF), (8, 4096, 0x00), (16, 2048, 0)):
        bench = Bench(Made(TEN), unit=unit, erase=erase, erased=erased, slot=32768).serve()
        assert bench.download.complete and bench.is_exact(), (unit, erase)


def test_more_pages_than_are_held():
    bench = Bench(Made(noise(90 * BLOCK + 7)), slot=98304).serve()
    assert bench.download.complete and bench.is_exact()
    assert len(bench.sent) == 91
    sizes = sum([len(part) for part in bench.made.blocks + bench.pages])
    assert bench.download.bytes_fetched == sizes  # each page once, for block 0 as well


def test_an_image_that_stands_there_is_not_fetched_and_not_touched():
    flash = Bench(Made(TEN)).serve().flash
    before = flash.operations
    bench = Bench(Made(TEN), flash).serve()
    assert bench.download.complete and bench.sent == [] and flash.operations == before
    assert not bench.download.writing


def test_only_what_differs_is_fetched():
    """The first block goes first and comes last, whatever it holds."""
    flash = Bench(Made(TEN)).serve().flash
    other = TEN[: 4 * BLOCK] + noise(BLOCK, 7) + TEN[5 * BLOCK :]
    bench = Bench(Made(other), flash).serve()
    assert bench.is_exact() and bench.sent == [4, 0]


def test_what_an_older_longer_image_left_behind_is_erased():
    flash = Bench(Made(noise(15 * BLOCK))).serve().flash
    bench = Bench(Made(TEN), flash).serve()
    assert bench.download.complete and bench.is_exact()


def test_the_trailer_goes_first_and_block_0_comes_last():
    flash = Bench(Made(noise(15 * BLOCK, 9))).serve().flash
    flash.program(SLOT - 16, b"\x55" * 16)
    del flash.trace[:]
    bench = Bench(Made(TEN), flash).serve()
    assert bench.is_exact()
    assert bench.slot[bench.limit :] == b"\xff" * (SLOT - bench.limit)
    assert flash.trace[:2] == [(ERASE, bench.limit, BLOCK), (ERASE, 0, BLOCK)]
    programs = [at for kind, at, _ in flash.trace if kind == PROGRAM]
    assert programs[-1] == 0 and programs.count(0) == 1


def test_block_0_is_last_in_a_sector_of_many():
    bench = Bench(Made(TEN), erase=4096, slot=32768).serve()
    programs = [at for kind, at, _ in bench.flash.trace if kind == PROGRAM]
    assert bench.is_exact() and programs[-1] == 0
    assert bench.flash.wear[0] == 1


# --- the window ---------------------------------------------------------------------------------
def test_no_more_than_32_blocks_are_in_flight():
    bench = Bench(Made(noise(70 * BLOCK)), slot=73728)
    gets = bench.until_blocks()
    assert len(numbers(gets)) == bench.download.blocks.in_flight == 32
    waiting = [message for get in gets for message in bench.answers(get)]
    while waiting:
        bench.hears(waiting.pop(0))
        for get in bench.gets():
            waiting += bench.answers(get)
        assert bench.download.blocks.in_flight <= 32
    assert bench.download.complete and bench.is_exact()


def test_a_request_asks_for_a_quarter_of_the_window():
    assert [len(numbers([get])) for get in ready(window=8).gets()] == []
    gets = Bench(Made(TEN), window=8).until_blocks()
    assert [numbers([get]) for get in gets] == [[1, 2], [3, 4], [5, 6], [7, 8]]


def test_a_window_of_one_goes_block_by_block():
    bench = Bench(Made(TEN), window=1)
    assert len(numbers(bench.until_blocks())) == 1
    bench.download.forget_in_flight()
    assert bench.serve().is_exact()


def test_scattered_blocks_share_a_request_of_at_most_8_ranges():
    flash = Bench(Made(noise(56 * BLOCK)), slot=65536).serve().flash
    image = noise(56 * BLOCK)
    for n in range(1, 56, 3):
        image = image[: n * BLOCK] + noise(BLOCK, n + 2) + image[(n + 1) * BLOCK :]
    bench = Bench(Made(image), flash)
    gets = bench.until_blocks()
    assert len(gets[0].ranges) == 8
    assert bench.download.blocks.in_flight == 19 + 1  # block 0 is asked for behind all others
    bench.download.forget_in_flight()
    assert bench.serve().is_exact()


# --- 39, T04: duplicate, reordered, late, foreign -------------------------------------------------
def test_t39_t04_any_order_and_every_block_twice():
    bench = ready()
    for number in (9, 3, 7, 3, 1, 9, 2, 8, 4, 6, 5, 5, 1, 0, 0):
        bench.hears(bench.block(number))
    bench.work()
    assert bench.download.complete and bench.is_exact()
    assert bench.download.dropped == 5 and bench.download.blocks.done_count == 10
    assert bench.download.damaged == 0


def test_t39_a_second_copy_writes_nothing():
    bench = ready()
    assert writes(bench, bench.block(3)) > 0
    assert writes(bench, bench.block(3)) == 0
    assert writes(bench, bench.block(3, noise(BLOCK, 99))) == 0


def test_t39_another_nonce_is_foreign():
    bench = ready()
    assert writes(bench, bench.block(3, None, NONCE + 1)) == 0
    assert bench.download.dropped == 1 and bench.download.bytes_fetched == len(bench.pages[0])


def test_t39_late_answers_of_an_older_job_or_artifact():
    bench = ready()
    late = bench.block(3)
    bench.start(Made(noise(8 * BLOCK, 5)), NONCE + 1)
    bench.until_blocks()
    assert writes(bench, late) == 0
    assert bench.serve().download.blocks.in_flight == 7 + 1
    bench.download.link_up()
    assert bench.serve().is_exact()


def test_t39_late_answers_to_what_a_stall_gave_up_are_taken():
    bench = ready()
    bench.now_ms += STALL_MS
    bench.gets()
    for number in range(1, 10):
        bench.hears(bench.block(number))
    assert numbers(bench.gets()) == []
    assert bench.hears(bench.block(0)).work().download.complete


def test_block_0_before_its_time_waits_for_all_others():
    """It is asked for as the last of the window, so a lost block can let it come too soon."""
    bench = ready()
    for number in (1, 2, 3, 4, 5, 6, 8, 9):
        bench.hears(bench.block(number))
    assert writes(bench, bench.block(0)) == 0
    assert bench.slot[:BLOCK] == b"\xff" * BLOCK
    assert bench.gets() == []  # block 7 is lost: until it is here, nothing can be done with block 0
    bench.hears(bench.block(7))
    assert numbers(bench.gets()) == [0]
    assert bench.hears(bench.block(0)).work().download.complete and bench.is_exact()


# --- 47, T06: only flash counts --------------------------------------------------------------------
def test_t47_what_is_not_in_flash_is_fetched_again_whatever_was_known():
    """A block goes bad after it was proved: the next scan sees it, and asks for nothing else."""
    bench = Bench(Made(TEN)).serve()
    bench.flash.flip(5 * BLOCK + 9, 0x10)
    del bench.sent[:]
    bench.start(bench.made, NONCE + 1)
    bench.serve()
    assert bench.download.complete and bench.is_exact() and bench.sent == [5, 0]


def test_t47_garbage_behind_the_last_block_is_no_image():
    """The rest of the last block's sector belongs to it."""
    bench = Bench(Made(TEN)).serve()
    bench.flash.flip(len(TEN) + 20, 0x01)
    bench.start(bench.made)
    assert bench.serve().is_exact() and bench.sent[10:] == [9, 0]


def test_t06_a_file_replaced_on_the_server_does_not_fit_the_index():
    bench = ready()
    other = Made(noise(len(TEN), 50))
    for _ in range(FAILS_MAX):
        bench.hears(bench.block(1, other.blocks[1]))
        bench.gets()
    assert bench.download.error[0] == "BAD_HASH" and bench.slot == b"\xff" * SLOT


def test_t06_what_fits_the_new_index_stays():
    bench = ready()
    for number in (1, 2, 3, 4):
        bench.hears(bench.block(number))
    new = Made(TEN[: 3 * BLOCK] + noise(5000, 60))
    bench.start(new, NONCE + 1)
    assert bench.serve().is_exact()
    assert sorted(bench.sent) == [0, 3, 4, 5, 6, 7]


# --- T19: busy, gone ---------------------------------------------------------------------------------
def busy(wait_ms):
    return protocol.pack_data(NONCE, protocol.KIND_BUSY, wait_ms)


def test_t19_busy_is_honoured_and_costs_no_attempt():
    bench = ready()
    bench.hears(busy(3000))
    for waited_ms in (0, 1, 2999):
        bench.now_ms = 1000 + waited_ms
        assert bench.gets() == []
    bench.now_ms = 4000
    assert numbers(bench.gets()) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    assert bench.download.damaged == bench.download.stalls == 0
    bench.download.forget_in_flight()
    assert bench.serve().is_exact()


def test_t19_busy_for_a_page():
    bench = Bench(Made(TEN))
    assert numbers(bench.gets()) == [0]
    bench.hears(busy(200))
    assert bench.gets() == []
    bench.now_ms += 200
    assert bench.serve().is_exact()


def test_t19_nobody_can_ask_for_silence_for_ever():
    bench = ready()
    bench.hears(busy(0xFFFFFFFF))
    bench.now_ms += protocol.WAIT_MS_MAX - 1
    assert bench.gets() == []
    bench.now_ms += 1
    assert bench.gets() != []


def test_t19_a_wait_that_is_longer_than_a_stall_is_no_stall():
    bench = ready()
    bench.hears(busy(STALL_MS * 3))
    bench.now_ms += STALL_MS * 3
    assert bench.gets() != [] and bench.download.stalls == 0


def test_t19_a_new_connection_asks_at_once():
    bench = ready()
    bench.hears(busy(60_000))
    bench.download.link_up()
    assert bench.gets() != []


def test_t19_gone_ends_the_artifact_only_under_our_nonce():
    bench = ready()
    bench.hears(protocol.pack_data(NONCE + 1, protocol.KIND_GONE, 0))
    assert bench.download.error is None
    bench.hears(protocol.pack_data(NONCE, protocol.KIND_GONE, 0))
    assert bench.download.error[0] == "GONE"
    assert protocol.reason_of("GONE") == "ArtifactGone"
    assert bench.gets() == []


def test_t19_an_answer_without_payload_has_none():
    """The CRC does not cover the header: one flipped bit makes a page or a block to such an answer."""
    for kind in (protocol.KIND_GONE, protocol.KIND_BUSY):
        bench = ready()
        bench.hears(protocol.pack_data(NONCE, kind, 60_000, TEN[:BLOCK]))
        assert bench.download.error is None and bench.download.dropped == 1
        bench.now_ms += STALL_MS
        assert bench.gets() != []


# --- stalls --------------------------------------------------------------------------------------
def test_a_stall_asks_again_and_waits_twice_as_long_each_time():
    bench = ready()
    wait_ms, stalls = STALL_MS, 0
    while stalls < 6:
        bench.now_ms += wait_ms - 1
        assert bench.gets() == [] and bench.download.stalls == stalls
        bench.now_ms += 1
        stalls += 1
        assert len(numbers(bench.gets())) == 10 and bench.download.stalls == stalls
        wait_ms = min(2 * wait_ms, STALL_MS_MAX)
    assert wait_ms == STALL_MS_MAX


def test_what_comes_ends_the_doubling():
    bench = ready()
    bench.now_ms += STALL_MS
    bench.gets()
    bench.hears(bench.block(1))
    bench.now_ms += STALL_MS - 1
    assert numbers(bench.gets()) == []
    bench.now_ms += 1
    assert len(numbers(bench.gets())) == 9


def test_useless_messages_do_not_put_off_a_stall():
    bench = ready()
    for _ in range(4):
        bench.now_ms += STALL_MS // 4
        bench.hears(bench.block(3, None, NONCE + 1)).hears(busy(0)[:-1]).hears(b"noise")
    assert bench.gets() != [] and bench.download.stalls == 1


def test_a_lost_page_is_asked_for_again():
    bench = Bench(Made(TEN))
    assert numbers(bench.gets()) == [0]
    bench.now_ms += STALL_MS
    assert numbers(bench.gets()) == [0]
    bench.hears(bench.page(0)).hears(bench.page(0))
    assert bench.download.dropped == 1
    assert bench.serve().is_exact()


def test_a_stopped_download_is_silent():
    bench = ready()
    bench.download.stop()
    assert bench.gets() == [] and not bench.download.step()
    assert writes(bench, bench.block(3)) == 0
    bench.start(bench.made)
    assert bench.serve().is_exact()
