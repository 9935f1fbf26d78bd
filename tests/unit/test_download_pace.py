"""When a download asks, waits and begins anew; and the first sector when blocks share sectors."""

from agent import protocol
from agent.fetch.blocks import FAILS_MAX
from agent.fetch.download import STALL_MS
from tests.power.flash_model import ERASE
from tests.unit.artifacts import BLOCK, NONCE, Bench, Made, noise, numbers

TEN = noise(9 * BLOCK + 100)
SHARED = 4 * BLOCK  # an erase sector of four blocks


def asked(image=TEN, **how):
    """A bench whose blocks are asked for and not answered yet."""
    bench = Bench(Made(image), **how)
    bench.until_blocks()
    return bench


def broken(bench, number):
    message = bench.block(number)
    return message[:-1] + bytes([message[-1] ^ 1])


# --- one step, one request ------------------------------------------------------------------------
def test_no_block_is_asked_for_before_the_slot_is_cleared_for_it():
    """All is scanned first, so that one request asks for many; then trailer and first block go."""
    bench = Bench(Made(TEN))
    bench.flash.program(0, b"\x5a" * bench.flash.size_bytes)
    bench.download.next_get(0)
    bench.hears(bench.page(0))
    for _ in range(10 + 2):  # looks, then two erases
        assert bench.download.next_get(0) is None and not bench.download.writing
        assert bench.download.step()
    bench.download.step()
    assert bench.download.writing
    assert numbers([protocol.parse_get(bench.download.next_get(0))]) == list(range(1, 9))


def test_after_an_error_nothing_is_done_any_more():
    bench = Bench(Made(TEN).replace(5, protocol.DELTA, b"x"))
    bench.flash.program(0, b"\x5a" * bench.flash.size_bytes)
    bench.until_blocks()
    before = bench.flash.operations
    assert bench.download.error[0] == "UNSUPPORTED"
    for _ in range(20):
        assert not bench.download.step() and bench.gets() == []
        bench.hears(bench.block(1))
    assert bench.flash.operations == before and not bench.download.writing


def test_a_new_job_has_all_its_tries_again():
    bench = asked()
    for _ in range(3):
        for _ in range(FAILS_MAX - 1):
            bench.hears(broken(bench, 3))
        assert bench.download.error is None and bench.download.damaged == FAILS_MAX - 1
        bench.download.new_job()
        got = bench.download
        assert (got.bytes_fetched, got.dropped, got.damaged, got.stalls) == (0, 0, 0, 0)
        bench.start(bench.made)
        bench.until_blocks()
    assert bench.hears(broken(bench, 3)).download.error is None


def test_another_artifact_of_the_same_job_has_not():
    bench = asked()
    for _ in range(FAILS_MAX - 1):
        bench.hears(broken(bench, 3))
    bench.start(bench.made)
    bench.until_blocks()
    assert bench.hears(broken(bench, 3)).download.error[0] == "BAD_CRC"


# --- time -----------------------------------------------------------------------------------------
def test_a_slow_line_is_no_stall():
    """Each block that stands begins the wait anew, and so does each page."""
    bench = Bench(Made(noise(40 * BLOCK)), slot=65536)
    waiting = []
    for _ in range(200):
        for get in bench.gets():
            waiting += bench.answers(get)
        if bench.download.complete:
            break
        bench.now_ms += STALL_MS - 1
        bench.hears(waiting.pop(0))
    assert bench.download.complete and bench.download.stalls == 0 and len(bench.sent) == 40


def test_pages_that_come_slowly_are_no_stall():
    flash = Bench(Made(noise(90 * BLOCK)), slot=98304).serve().flash
    bench = Bench(Made(noise(90 * BLOCK)), flash)
    waiting = []
    while not bench.download.complete:
        for get in bench.gets():
            waiting += bench.answers(get)
        bench.now_ms += STALL_MS - 1
        bench.hears(waiting.pop(0)).work()
    assert bench.download.stalls == 0


def test_damage_does_not_put_off_a_stall():
    bench = asked()
    for number in (1, 2, 3, 4):
        bench.now_ms += STALL_MS // 4
        bench.hears(broken(bench, number))
    bench.gets()
    assert bench.download.stalls == 1


def test_the_last_block_may_get_lost_too():
    bench = asked()
    for number in range(1, 10):
        bench.hears(bench.block(number))
    assert bench.gets() == [] and bench.download.blocks.in_flight == 1
    bench.now_ms += STALL_MS
    assert numbers(bench.gets()) == [0] and bench.download.stalls == 1
    assert bench.hears(bench.block(0)).work().download.complete


def test_a_new_connection_waits_as_long_as_the_first_one():
    bench = asked()
    for doubled in (1, 2, 4):
        bench.now_ms += STALL_MS * doubled
        bench.gets()
    assert bench.download.stalls == 3
    bench.download.link_up()
    bench.gets()
    bench.now_ms += STALL_MS - 1
    assert bench.gets() == [] and bench.download.stalls == 3
    bench.now_ms += 1
    assert bench.gets() != [] and bench.download.stalls == 4


def test_t04_every_message_is_counted_once():
    bench = asked()
    foreign = bench.block(3, None, NONCE + 1)
    for message, dropped, damaged in (
        (bench.block(3), 0, 0),
        (bench.block(3), 1, 0),
        (broken(bench, 4), 1, 1),
        (bench.block(4), 1, 1),
        (foreign, 2, 1),
        (bench.block(10, b"x"), 3, 1),
        (bench.page(0), 4, 1),
        (b"<html>", 5, 1),
        (bench.block(0), 6, 1),
    ):
        bench.hears(message)
        assert (bench.download.dropped, bench.download.damaged) == (dropped, damaged)
    heard = len(bench.pages[0]) * 2 + 5 * BLOCK + 1
    assert bench.download.bytes_fetched == heard


# --- sectors of many blocks -----------------------------------------------------------------------
def test_a_block_whose_page_is_not_here_is_dropped():
    """A sector of 64 blocks opens with three pages, two of which are held."""
    bench = asked(noise(100 * BLOCK), slot=196_608, erase=65_536)
    before = bench.flash.operations
    for number in range(30, 64):
        bench.hears(bench.block(number))
    dropped = bench.download.dropped
    assert dropped and bench.download.error is None
    assert bench.flash.operations == before + 1 + 34 - dropped  # one erase, and each block
    bench.download.forget_in_flight()
    assert bench.serve().is_exact()


def resumed(lost, sector=SHARED):
    """A slot of whose ten blocks those of `lost` are not there, with shared sectors; and what is done."""
    bench = Bench(Made(TEN), erase=sector, slot=32768)
    for number in range(10):
        if number not in lost:
            data = bench.made.decoded[number]
            bench.flash.program(number * BLOCK, data + b"\xff" * (-len(data) % 8))
    bench.flash.trace.clear()
    bench.serve()
    assert bench.download.complete and bench.is_exact() and bench.download._fails.total == 0
    return bench.sent, [at for kind, at, _ in bench.flash.trace if kind == ERASE]


def test_a_first_sector_that_lacks_block_0_alone_is_gone_on_with():
    """So is a cut download found: not one block of it is fetched again."""
    assert resumed((0, 5)) == ([4, 5, 6, 7, 0], [SHARED])
    assert resumed((0, 9)) == ([8, 9, 0], [2 * SHARED])


def test_if_nothing_but_block_0_is_missing_its_write_may_have_been_cut():
    assert resumed((0,)) == ([1, 2, 3, 0], [0])


def test_a_first_sector_that_lacks_more_is_erased():
    for number in (1, 2, 3):
        assert resumed((0, number)) == ([1, 2, 3, 0], [0])
    assert resumed((0, 1), 2 * BLOCK) == ([1, 0], [0])
    assert resumed((5,)) == ([1, 2, 3, 4, 5, 6, 7, 0], [0, SHARED])
