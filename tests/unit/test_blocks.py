"""Bookkeeping of blocks: what is proved, what is asked for, what comes next."""

from agent.fetch import blocks
from agent.fetch.blocks import Bits, Blocks, Fails


def scanned(done, per_sector=1, capacity=64):
    """All blocks looked at; `done` is a string of 1 and 0."""
    one = Blocks(capacity)
    one.start(len(done), per_sector)
    for bit in done:
        one.note_scan(bit == "1")
    return one


def shown(one):
    return "".join(["1" if one.is_done(n) else "0" for n in range(one.count)])


def everything(_):
    return True


def collected(one, limit=100, ranges_max=8, allowed=everything):
    return one.collect(limit, ranges_max, allowed)


def finish(one):
    """Get every block as it is asked for; the order."""
    order = []
    while not one.complete:
        block = one.next_missing()
        one.ask(block)
        one.mark_done(block)
        order.append(block)
    return order


# --- bits -------------------------------------------------------------------------------------------
def test_bits():
    bits = Bits(17)
    for n in (0, 7, 8, 16):
        assert not bits.get(n)
        bits.set(n)
        assert bits.get(n)
    assert [n for n in range(17) if bits.get(n)] == [0, 7, 8, 16]
    bits.clear(8)
    bits.clear(8)
    assert [n for n in range(17) if bits.get(n)] == [0, 7, 16]
    for n in range(8, 16):
        assert not bits.full(n)
        bits.set(n)
    assert bits.full(8) and bits.full(15) and not bits.full(7)
    bits.reset()
    assert not any(bits.get(n) for n in range(17))


# --- scan -------------------------------------------------------------------------------------------
def test_a_scan_of_single_blocks():
    one = scanned("01101")
    assert one.scanned and (shown(one), one.done_count) == ("01101", 3)
    assert [one.is_open(n) for n in range(5)] == [True, False, False, True, False]
    assert not one.complete and not one.only_first_left


def test_complete_and_only_first_left():
    assert scanned("111").complete and not scanned("111").only_first_left
    assert scanned("011").only_first_left and not scanned("011").complete
    assert scanned("0").only_first_left and scanned("1").complete
    half = Blocks(8)
    half.start(3, 1)
    half.note_scan(False)
    half.note_scan(True)
    assert not half.scanned and not half.only_first_left and not half.complete


def test_a_sector_with_a_wrong_block_is_missing_as_a_whole():
    assert shown(scanned("1111" + "1101" + "1111", 4)) == "1111" + "0000" + "1111"


def test_in_sector_0_the_first_block_alone_is_no_fault():
    one = scanned("0111" + "1111", 4)
    assert shown(one) == "01111111" and one.only_first_left
    assert shown(scanned("1110" + "1111", 4)) == "00001111"


def test_the_last_sector_may_be_short():
    assert shown(scanned("1111" + "11", 4)) == "111111"
    assert shown(scanned("1111" + "10", 4)) == "111100"
    assert scanned("1111" + "10", 4).sector_range(5) == (4, 6)


def test_a_block_is_open_once_its_whole_sector_was_looked_at():
    one = Blocks(16)
    one.start(6, 4)
    for n in range(4):
        assert one.next_missing() is None and not one.is_open(1), n
        one.note_scan(n != 1)
    assert one.is_open(1) and one.is_open(3) and one.next_missing() == 1
    one.note_scan(False)
    assert not one.is_open(4)
    one.note_scan(True)
    assert one.is_open(4) and one.is_open(5) and one.scanned


def test_start_forgets_everything():
    one = scanned("0110", 2)
    one.ask(1)
    one.hold_first()
    one.start(4, 1)
    assert (one.scan_next, one.done_count, one.in_flight) == (0, 0, 0)
    for _ in range(4):
        one.note_scan(False)
    assert finish(one) == [1, 2, 3, 0]


def test_start_looks_at_blocks_again_that_an_earlier_artifact_had_passed():
    one = scanned("0" * 40)
    for n in range(1, 30):
        one.mark_done(n)
    assert one.next_missing() == 30
    one.hold_first()
    one.start(6, 1)
    for _ in range(6):
        one.note_scan(False)
    assert collected(one) == [(1, 5), (0, 1)]


# --- what to ask for --------------------------------------------------------------------------------
def test_block_0_comes_last():
    assert finish(scanned("00000")) == [1, 2, 3, 4, 0]
    assert finish(scanned("0")) == [0]
    assert finish(scanned("10101")) == [1, 3]


def test_nothing_is_asked_for_twice_until_it_is_unasked():
    one = scanned("0000")
    for want in (1, 2, 3, 0):
        assert one.next_missing() == want
        one.ask(want)
        one.ask(want)
    assert one.next_missing() is None and one.in_flight == 4
    one.unask(2)
    one.unask(2)
    assert one.next_missing() == 2 and one.in_flight == 3
    one.unask_all()
    assert one.next_missing() == 1 and one.in_flight == 0


def test_block_0_that_came_too_early_waits_until_it_alone_is_missing():
    one = scanned("0001")
    for n in (1, 2, 0):
        one.ask(n)
    one.hold_first()
    assert one.in_flight == 2 and one.next_missing() is None
    one.mark_done(1)
    one.mark_done(2)
    assert one.next_missing() == 0


def test_marking_done_twice_counts_once():
    one = scanned("0000")
    one.ask(1)
    one.mark_done(1)
    one.mark_done(1)
    assert (one.done_count, one.in_flight) == (1, 0)


def test_a_lost_sector_is_asked_for_again():
    one = scanned("1" * 12, 4)
    one.lose_sector(6)
    assert (shown(one), one.done_count) == ("111100001111", 8)
    assert finish(one) == [4, 5, 6, 7]
    one.lose_sector(0)
    assert finish(one) == [1, 2, 3, 0]


def test_losing_a_sector_takes_back_what_was_asked():
    one = scanned("0" * 8, 4)
    collected(one)
    one.mark_done(5)
    one.lose_sector(4)
    assert one.in_flight == 4 and one.done_count == 0
    assert collected(one) == [(4, 4)]


def test_long_rows_of_done_blocks_are_passed_over():
    for gap in (1, 7, 8, 9, 30, 31, 32, 63):
        one = scanned("1" * gap + "0" + "1" * (63 - gap))
        assert one.next_missing() == gap, gap
        one.ask(gap)
        assert one.next_missing() is None
        one.unask(gap)
        assert one.next_missing() == gap
        one.mark_done(gap)
        assert one.next_missing() is None and one.complete
        one.lose_sector(2)
        assert one.next_missing() == 2


# --- collect ----------------------------------------------------------------------------------------
def test_neighbours_make_one_range():
    one = scanned("1001000110")
    assert collected(one) == [(1, 2), (4, 3), (9, 1)]
    assert one.in_flight == 6 and collected(one) == []


def test_limits_of_a_request():
    one = scanned("1" + "0" * 20)
    assert collected(one, limit=3) == [(1, 3)]
    assert collected(one, limit=0) == []
    assert collected(one, limit=5) == [(4, 5)] and one.in_flight == 8
    one = scanned("10" * 10)
    assert collected(one, ranges_max=3) == [(1, 1), (3, 1), (5, 1)] and one.in_flight == 3


def test_collect_ends_where_the_index_does():
    one = scanned("1" + "0" * 10)
    assert collected(one, allowed=lambda n: n < 4) == [(1, 3)]
    assert collected(one, allowed=lambda n: n < 4) == []


def test_collect_takes_block_0_behind_all_others():
    one = scanned("0000")
    assert collected(one) == [(1, 3), (0, 1)]


def test_wanted_and_in_flight_ranges():
    one = scanned("01101111")
    assert not one.any_wanted(0, 3) and one.any_wanted(0, 4) and one.any_wanted(3, 99)
    assert not one.any_wanted(4, 99)
    assert scanned("10").any_wanted(1, 2) and not scanned("01").any_wanted(0, 2)
    one.ask(3)
    assert one.any_in_flight(3, 99) and one.any_in_flight(0, 4) and not one.any_in_flight(0, 3)
    assert not one.any_in_flight(4, 99)
    one.ask(0)
    assert one.any_in_flight(0, 1)


# --- against plain sets -----------------------------------------------------------------------------
class Plain:
    """The same without bits and short cuts."""

    def __init__(self, count, per_sector):
        self.count, self.per_sector = count, per_sector
        self.done, self.asked, self.passed = set(), set(), 0

    def sector(self, block):
        first = block - block % self.per_sector
        return range(first, min(first + self.per_sector, self.count))

    def scan(self, is_done):
        if is_done:
            self.done.add(self.passed)
        self.passed += 1
        mine = self.sector(self.passed - 1)
        ends = self.per_sector > 1 and self.passed == mine[-1] + 1
        if ends and [n for n in mine if n and n not in self.done]:
            self.lose(mine[0])

    def lose(self, block):
        for n in self.sector(block):
            self.done.discard(n)
            self.asked.discard(n)

    def open(self):
        """Missing, not asked for, its sector scanned; 0 last."""
        found = [n for n in range(1, self.count) if self.sector(n)[-1] < self.passed]
        if self.passed == self.count:
            found.append(0)
        return [n for n in found if n not in self.done and n not in self.asked]


def act(one, plain, dice):
    """One call of both, chosen by `dice`."""
    what, n = dice >> 8 & 7, (dice >> 12) % plain.count
    if what < 4 and not one.scanned:
        one.note_scan(bool(dice >> 11 & 1))
        plain.scan(bool(dice >> 11 & 1))
    elif what == 4 and one.is_open(n):
        one.mark_done(n)
        plain.done.add(n)
        plain.asked.discard(n)
    elif what == 5 and one.is_open(n):
        one.ask(n)
        plain.asked.add(n)
    elif what == 6:
        one.unask(n)
        plain.asked.discard(n)
    elif what == 7 and not dice & 0x18000000:
        one.unask_all()
        plain.asked.clear()
    elif what == 7 and plain.sector(n)[-1] < plain.passed:
        one.lose_sector(n)
        plain.lose(n)


def test_plain_sets_say_the_same():
    for seed in range(10):
        for count, per_sector in ((1, 1), (2, 1), (23, 1), (40, 1), (5, 16), (37, 4), (64, 16)):
            one, plain, dice = Blocks(count), Plain(count, per_sector), seed
            one.start(count, per_sector)
            for _ in range(6 * count):
                dice = (dice * 1103515245 + 12345) & 0x7FFFFFFF
                act(one, plain, dice)
                wanted = plain.open()
                assert one.next_missing() == (wanted[0] if wanted else None)
                assert (one.done_count, one.in_flight) == (len(plain.done), len(plain.asked))
                assert shown(one) == "".join(["01"[n in plain.done] for n in range(count)])
            ranges = collected(one, count, count)
            assert [n for first, some in ranges for n in range(first, first + some)] == wanted


# --- fails ------------------------------------------------------------------------------------------
def test_one_block_may_fail_four_times():
    fails = Fails()
    assert [fails.add(7) for _ in range(6)] == [False] * 4 + [True] * 2


def test_all_together_may_fail_63_times():
    fails = Fails()
    said = [fails.add(n) for n in range(blocks.FAILS_TOTAL_MAX)]
    assert said == [False] * (blocks.FAILS_TOTAL_MAX - 1) + [True]
    assert fails.total == blocks.FAILS_TOTAL_MAX


def test_the_worst_block_is_not_pushed_out_by_others():
    fails = Fails()
    for _ in range(blocks.FAILS_MAX - 1):
        assert not fails.add(3)
    for n in range(100, 120):
        assert not fails.add(n)
    assert fails.add(3)


def test_a_new_job_starts_clean():
    fails = Fails()
    for _ in range(blocks.FAILS_MAX):
        fails.add(1)
    fails.reset()
    assert fails.total == 0 and not fails.add(1)
