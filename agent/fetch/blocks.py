"""Which blocks are proved in flash, which are asked for, what to ask next. Pure bookkeeping.

RAM: two bits a block and one bit an erase sector, allocated once for the largest image of the slot.
A block is asked for only when the scan has passed its whole erase sector, because a sector that
holds one wrong block has to be erased with all others in it.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

FAILS_MAX = 5  # of one block or page: then the source is wrong, not the line (THREATS 38)
FAILS_TOTAL_MAX = 64  # of all together, since this boot or job
_FAILS_HELD = 8  # bad ones watched at a time


class Bits:
    """A row of bits, allocated once."""

    def __init__(self, capacity: int) -> None:
        self._bytes = bytearray((capacity + 7) // 8)

    def reset(self) -> None:
        """All bits 0."""
        for i in range(len(self._bytes)):
            self._bytes[i] = 0

    def get(self, n: int) -> bool:
        """Bit n."""
        return bool(self._bytes[n >> 3] & (1 << (n & 7)))

    def set(self, n: int) -> None:
        """Bit n = 1."""
        self._bytes[n >> 3] |= 1 << (n & 7)

    def clear(self, n: int) -> None:
        """Bit n = 0."""
        self._bytes[n >> 3] &= ~(1 << (n & 7)) & 0xFF

    def full(self, n: int) -> bool:
        """True when the 8 bits around bit n are all 1: lets a search skip them."""
        return self._bytes[n >> 3] == 0xFF


class Blocks:
    """The blocks of one artifact in one slot.

    `scan_next`: first block that the scan has not looked at; `done_count`; `in_flight`: asked for
    and not yet here. Block 0 is asked for last: an image becomes valid by its first block.
    """

    def __init__(self, capacity: int) -> None:
        self._done = Bits(capacity)
        self._asked = Bits(capacity)
        self.count = 0
        self.per_sector = 1
        self._low = 1
        self._first_held = False
        self.scan_next = self.done_count = self.in_flight = 0

    def start(self, count: int, per_sector: int) -> None:
        """Forget everything; `per_sector`: blocks that share an erase sector, 1 if none do."""
        self._done.reset()
        self._asked.reset()
        self.count, self.per_sector = count, per_sector
        self._low = 1
        self._first_held = False
        self.scan_next = self.done_count = self.in_flight = 0

    # --- scan ---------------------------------------------------------------------------------
    @property
    def scanned(self) -> bool:
        """True when the scan has passed every block."""
        return self.scan_next >= self.count

    def note_scan(self, is_done: bool) -> None:
        """The scan looked at block `scan_next`. Closes its sector when that was the last in it."""
        if is_done:
            self._done.set(self.scan_next)
            self.done_count += 1
        self.scan_next += 1
        if self.per_sector > 1 and (self.scan_next % self.per_sector == 0 or self.scanned):
            self._close_sector((self.scan_next - 1) // self.per_sector)

    def _close_sector(self, sector: int) -> None:
        """A sector with a wrong block has to be erased: all its blocks are missing.

        In sector 0 the missing block 0 alone is no fault, it is written last of all.
        """
        first, end = self.sector_range(sector * self.per_sector)
        if not all(self._done.get(n) for n in range(max(first, 1), end)):
            self.lose_sector(first)

    def sector_range(self, block: int) -> "tuple[int, int]":
        """(first, end) of the blocks that are erased together with `block`."""
        first = block - block % self.per_sector
        return first, min(first + self.per_sector, self.count)

    def lose_sector(self, block: int) -> None:
        """Every block of the sector around `block` is missing (again)."""
        first, end = self.sector_range(block)
        for n in range(first, end):
            if self._done.get(n):
                self._done.clear(n)
                self.done_count -= 1
            self.unask(n)
        self._low = min(self._low, max(first, 1))

    def _closed(self, block: int) -> bool:
        return self.sector_range(block)[1] <= self.scan_next

    # --- download -----------------------------------------------------------------------------
    def is_done(self, block: int) -> bool:
        """True when the block is proved in flash."""
        return self._done.get(block)

    def is_open(self, block: int) -> bool:
        """True when the block is missing and may be written: the scan has passed its sector."""
        return not self._done.get(block) and self._closed(block)

    @property
    def complete(self) -> bool:
        """True when every block is proved in flash."""
        return self.scanned and self.done_count == self.count

    @property
    def only_first_left(self) -> bool:
        """True when block 0 is the one that is missing: the time to write it."""
        return self.scanned and self.done_count == self.count - 1 and not self._done.get(0)

    def mark_done(self, block: int) -> None:
        """The block was written, read back and compared."""
        if not self._done.get(block):
            self._done.set(block)
            self.done_count += 1
        self.unask(block)

    def ask(self, block: int) -> None:
        """The block is asked for."""
        if not self._asked.get(block):
            self._asked.set(block)
            self.in_flight += 1

    def unask(self, block: int) -> None:
        """The block came, or has to be asked for again."""
        if self._asked.get(block):
            self._asked.clear(block)
            self.in_flight -= 1
            self._low = min(self._low, max(block, 1))

    def unask_all(self) -> None:
        """Nothing is in flight any more: what is missing will be asked for again."""
        self._asked.reset()
        self.in_flight = 0
        self._low = 1

    def hold_first(self) -> None:
        """Block 0 came before its time: ask for it again only when it alone is missing."""
        self.unask(0)
        self._first_held = True

    def next_missing(self) -> "int | None":
        """The lowest block that is missing, not asked for and open; 0 behind all others."""
        n = self._next_missing_from(self._low)
        if n is not None or not self.scanned or self._done.get(0) or self._asked.get(0):
            return n
        return None if self._first_held and not self.only_first_left else 0

    def _next_missing_from(self, start: int) -> "int | None":
        n = start
        while n < self.scan_next:
            skip = 8 if not n & 7 and self._done.full(n) else 1
            if skip == 1 and not self._done.get(n):
                if not self._asked.get(n):
                    return n if self._closed(n) else None  # none behind it is closed either
            elif n == self._low:
                self._low += skip  # everything below is done: never looked at again
            n += skip
        return None

    def any_wanted(self, first: int, end: int) -> bool:
        """True when a block of [first, end) is missing or not scanned yet (block 0 aside)."""
        return any(not self._done.get(n) for n in range(max(first, 1), min(end, self.count)))

    def any_in_flight(self, first: int, end: int) -> bool:
        """True when a block of [first, end) is asked for."""
        return any(self._asked.get(n) for n in range(first, min(end, self.count)))

    def collect(
        self, limit: int, ranges_max: int, allowed: "Callable[[int], bool]"
    ) -> "list[tuple[int, int]]":
        """Mark up to `limit` open blocks as asked for; their (first, count) ranges.

        `allowed(block)`: False ends the search (its index page is not here).
        """
        ranges: "list[tuple[int, int]]" = []
        block = self.next_missing()
        while block is not None and limit > 0 and allowed(block):
            if ranges and block == ranges[-1][0] + ranges[-1][1]:
                ranges[-1] = (ranges[-1][0], ranges[-1][1] + 1)
            elif len(ranges) < ranges_max:
                ranges.append((block, 1))
            else:
                break
            self.ask(block)
            limit -= 1
            following = self._next_missing_from(block + 1)
            block = self.next_missing() if following is None else following
        return ranges


class Fails:
    """How often which block or page came damaged: a small table, the rest is forgotten."""

    def __init__(self) -> None:
        self._keys = [-1] * _FAILS_HELD
        self._counts = [0] * _FAILS_HELD
        self.total = 0

    def reset(self) -> None:
        """A new job, a clean sheet."""
        self.total = 0
        for i in range(_FAILS_HELD):
            self._keys[i], self._counts[i] = -1, 0

    def add(self, key: int) -> bool:
        """One more failure of `key`; True when that was one too many."""
        self.total += 1
        if key not in self._keys:
            at = self._counts.index(min(self._counts))
            self._keys[at], self._counts[at] = key, 0
        at = self._keys.index(key)
        self._counts[at] += 1
        return self._counts[at] >= FAILS_MAX or self.total >= FAILS_TOTAL_MAX
