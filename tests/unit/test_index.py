"""Index pages: which one to ask for, which one to believe, which one to let go."""

import binascii

from agent import protocol
from agent.fetch.blocks import Blocks
from agent.fetch.index import Index
from tests.unit.artifacts import Made, noise

PAGE = protocol.PAGE_ENTRIES


class Bench:
    """An index of `count` blocks, with `done` of them found by a scan of the first `looked`."""

    def __init__(self, count, looked=0, done=(), per_sector=1):
        self.made = Made(noise(count * 16), 16)
        self.pages = self.made.pages()
        self.index = Index()
        self.blocks = Blocks(count)
        self.per_sector = per_sector
        self.start()
        self.look(looked, done)

    def start(self):
        self.index.start(self.made.described())
        self.blocks.start(len(self.made.blocks), self.per_sector)

    def look(self, until, done=()):
        while self.blocks.scan_next < until:
            self.blocks.note_scan(self.blocks.scan_next in done)

    def next(self):
        return self.index.next_page(self.blocks)

    def take(self, number, payload=None, crc=None):
        payload = self.pages[number] if payload is None else payload
        crc = binascii.crc32(payload) if crc is None else crc
        return self.index.take(number, crc & 0xFFFFFFFF, memoryview(payload))

    def fetch(self):
        number = self.next()
        assert self.take(number) == ""
        return number


def test_the_first_page_is_asked_for_once():
    bench = Bench(10)
    assert not bench.index.waiting and not bench.index.has(0) and bench.index.entry(0) is None
    assert bench.next() == 0
    assert bench.index.waiting and bench.index.awaits(0) and not bench.index.has(0)
    assert bench.next() is None
    assert bench.take(0) == ""
    assert not bench.index.waiting and not bench.index.awaits(0) and bench.index.has(9)
    assert bench.next() is None


def test_entries_are_those_of_the_page():
    bench = Bench(PAGE + 3)
    bench.fetch()
    bench.fetch()
    for block in range(PAGE + 3):
        want = protocol.parse_entry(bench.made.entry(block), 0)
        assert bench.index.entry(block) == want, block


def test_the_page_behind_the_scan_is_fetched_ahead_and_no_third():
    bench = Bench(PAGE * 3)
    assert bench.next() == 0 and bench.next() == 1 and bench.next() is None
    bench.take(0)
    bench.take(1)
    assert bench.next() is None


def test_no_page_is_asked_for_behind_the_last_one():
    """At the very end of a page too: nobody could send it, and the download would wait for ever."""
    for count in (1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE):
        bench = Bench(count)
        for number in range(protocol.page_count(count)):
            assert bench.fetch() == number
        assert bench.next() is None, count
        bench.look(count)
        assert bench.next() is None, count


def test_a_page_that_is_spent_makes_room():
    bench = Bench(PAGE * 3)
    bench.fetch()
    bench.fetch()
    bench.look(PAGE, range(1, PAGE))
    assert bench.next() == 2  # nothing of page 0 is missing, block 0 aside
    assert not bench.index.has(1) or bench.index.has(PAGE)
    assert bench.index.has(PAGE) and not bench.index.has(1)


def test_the_entry_of_block_0_outlives_its_page():
    bench = Bench(PAGE * 3)
    want = protocol.parse_entry(bench.made.entry(0), 0)
    bench.fetch()
    bench.fetch()
    bench.look(PAGE, range(1, PAGE))
    assert bench.fetch() == 2
    assert bench.index.has(0) and bench.index.entry(0) == want
    assert not bench.index.has(1) and bench.index.entry(1) is None


def test_a_page_with_a_block_in_flight_stays():
    bench = Bench(PAGE * 4)
    bench.fetch()
    bench.fetch()
    bench.look(2 * PAGE)
    bench.blocks.ask(1)
    bench.blocks.ask(PAGE)
    for n in range(2, 2 * PAGE):
        if n != PAGE:
            bench.blocks.mark_done(n)
    assert bench.next() is None
    bench.blocks.mark_done(1)
    assert bench.next() == 2


def test_a_missing_block_s_page_is_the_most_urgent():
    bench = Bench(PAGE * 4)
    bench.look(PAGE * 4, [n for n in range(PAGE * 4) if n != 3 * PAGE + 1])
    assert bench.next() == 3
    assert bench.next() is None and bench.index.awaits(3)


def test_a_lost_block_gets_its_page_back_whatever_the_others_are_good_for():
    bench = Bench(PAGE * 4)
    bench.fetch()
    bench.fetch()
    bench.look(PAGE, range(1, PAGE))
    assert bench.fetch() == 2
    bench.look(3 * PAGE)
    bench.blocks.lose_sector(5)
    assert not bench.index.has(5)
    assert bench.fetch() == 0 and bench.index.has(5)
    assert bench.next() is None


def test_a_sector_of_many_pages_is_scanned_to_its_end():
    """Nothing of it is open before, so the pages behind it wait for no block."""
    bench = Bench(PAGE * 5, per_sector=4 * PAGE)
    bench.fetch()
    bench.fetch()
    for number in (2, 3):
        bench.look(number * PAGE)
        assert bench.fetch() == number
    bench.look(4 * PAGE)
    assert bench.fetch() == 0  # the sector is open now, its first block is missing


def test_not_even_the_most_urgent_page_takes_the_place_of_one_in_flight():
    bench = Bench(PAGE * 4)
    bench.fetch()
    bench.fetch()
    bench.look(PAGE * 4, [n for n in range(PAGE * 4) if n not in (1, PAGE, 3 * PAGE)])
    bench.blocks.ask(1)
    bench.blocks.ask(PAGE)
    assert bench.next() is None and bench.index.has(1) and bench.index.has(PAGE)
    bench.blocks.mark_done(PAGE)
    assert bench.next() == 3 and bench.index.has(1)


def test_after_the_scan_nothing_is_asked_for_ahead():
    bench = Bench(PAGE * 3)
    bench.look(PAGE * 3, range(PAGE * 3))
    assert bench.next() is None


def test_what_was_asked_for_can_be_forgotten_and_what_is_held_not():
    bench = Bench(PAGE * 3)
    bench.fetch()
    assert bench.next() == 1
    bench.index.forget_asked()
    assert not bench.index.waiting and not bench.index.awaits(1) and bench.index.has(1)
    assert bench.next() == 1


def test_a_page_that_is_damaged_is_asked_for_again():
    bench = Bench(PAGE + 2)
    page = bench.pages[1]
    cases = (
        (page[:-1], None, "BAD_HASH"),
        (page + b"\0", None, "BAD_HASH"),
        (b"", None, "BAD_HASH"),
        (bench.pages[0], None, "BAD_HASH"),
        (page, binascii.crc32(page) ^ 1, "BAD_CRC"),
        (page[:-1] + b"\0", None, "BAD_HASH"),
    )
    bench.fetch()
    for payload, crc, code in cases:
        assert bench.next() == 1
        assert bench.take(1, payload, crc) == code, code
        assert not bench.index.has(PAGE) and not bench.index.awaits(1)
    assert bench.fetch() == 1 and bench.index.has(PAGE)


def test_a_page_of_another_size_is_none_even_if_its_hash_is_signed():
    """A publisher's mistake: entries of an older page would stand behind it, or it would not fit."""
    for page in (b"\1" * 36, b"\1" * (protocol.PAGE_BYTES_MAX + 36)):
        bench = Bench(PAGE)
        bench.pages[0] = page
        bench.made.pages = lambda bench=bench: bench.pages
        bench.start()
        assert bench.next() == 0
        assert bench.take(0) == "BAD_HASH" and not bench.index.has(1)


def test_a_page_that_was_not_asked_for_is_not_taken():
    bench = Bench(PAGE * 2)
    assert bench.take(0) == "BAD_HASH" and not bench.index.has(0)
    assert Index().take(0, 0, memoryview(b"")) == "BAD_HASH"


def test_start_forgets_every_page():
    bench = Bench(PAGE * 2)
    bench.fetch()
    bench.start()
    assert not bench.index.has(0) and not bench.index.has(1) and bench.next() == 0
