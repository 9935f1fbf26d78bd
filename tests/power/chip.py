"""The RAM flash of the campaign: it shows each operation before it is done, and it can be ill.

look        called with (kind, offset, wanted bytes) before each operation
fault       called with the same; may raise FlashError (the chip says no) or answer other bytes
            (the chip says yes and keeps something else)
once        write-once units with ECC: what a torn write touched counts as programmed, even if it
            still looks erased
unstable-N  one tear more: cells that are undecided for some reads and then stay as they are read
            (`unstable` stays undecided for ever)
rewrites    writes into a unit that the device could know to be programmed (I6)
"""

from __future__ import annotations

import binascii
import functools
import re
from collections.abc import Callable
from typing import Any

from bootloader_verify.errors import FLASH_REWRITE, FlashError
from hil.virtual.device.virtual_cut import mix
from tests.power.flash_model import RamNor

_SETTLING_READS = 40
Look = Callable[[str, int, bytes], None]
Fault = Callable[[str, int, bytes], bytes]
_NOT = {0xFF: re.compile(rb"[^\xff]+"), 0x00: re.compile(rb"[^\x00]+")}


class Chip(RamNor):
    """See above. `stuck`: (offset, mask, value) of bits that never change."""

    def __init__(self, size: int, erase: int, write: int, erased: int, once: bool = False) -> None:
        super().__init__(size, erase, write, erased)
        self.once = once
        self.look: Look | None = None
        self.fault: Fault | None = None
        self.stuck: tuple[int, int, int] | None = None
        self.rewrites = 0
        self._settles_in = 0  # reads of undecided cells until they decide, 0 = never
        self._torn_units: set[int] = set()  # touched by a cut: nobody can know what they are

    def clone(self, name: str = "") -> Chip:
        """The same content with power on and nothing armed. Undecided cells read by `name`: alike
        for the same name. Wear goes on."""
        new = Chip(self.size_bytes, self.erase_bytes, self.write_bytes, self.erased, self.once)
        new._bytes[:] = self._bytes
        new._programmed[:] = self._programmed
        new._unstable = dict(self._unstable)
        new._torn_units = set(self._torn_units)
        new._noise = binascii.crc32(name.encode()) if name else self._noise
        new._settles_in = self._settles_in
        new.wear = list(self.wear)
        new.stuck = self.stuck
        return new

    def content(self, offset: int, size: int) -> bytes:
        """What stands there, without a reading of it."""
        return bytes(self._bytes[offset : offset + size])

    def undecided(self, offset: int, size: int) -> bool:
        if size < len(self._unstable):
            return any(at in self._unstable for at in range(offset, offset + size))
        return any(offset <= at < offset + size for at in self._unstable)

    def mark_of(self, offset: int, size: int) -> Any:
        """Equal for two flashes that differ only outside of this range, if at all."""
        first, end = self._units(offset, size)
        cells = tuple((at, mask) for at, mask in self._unstable.items())
        return self.content(offset, size), bytes(self._programmed[first:end]), cells

    def hides(self, offset: int, size: int) -> bool:
        """A unit there looks erased and takes no write."""
        first, end = self._units(offset, size)
        for unit in range(first, end):
            start = unit * self.write_bytes
            blank = self.content(start, self.write_bytes) == bytes([self.erased]) * self.write_bytes
            if self._programmed[unit] and blank and unit in self._torn_units:
                return True
        return False

    def tear(self, offset: int, wanted: bytes, torn: str) -> None:
        """Leave what a cut in this operation leaves."""
        self._tear(offset, wanted, torn)

    # --- inside -----------------------------------------------------------------------------------
    def program(self, offset: int, data: Any) -> None:
        try:
            super().program(offset, data)
        except FlashError as err:
            first, end = self._units(offset, len(data))
            if err.code == FLASH_REWRITE and not self._torn_units.intersection(range(first, end)):
                self.rewrites += 1
            raise

    def _do(self, kind: str, offset: int, wanted: bytes) -> None:
        if self.look is not None:
            self.look(kind, offset, wanted)
        if self.fault is not None:
            wanted = self.fault(kind, offset, wanted)
        super()._do(kind, offset, wanted)

    def _put(self, offset: int, new: bytes) -> None:
        super()._put(offset, new)
        first, end = self._units(offset, len(new))
        self._torn_units.difference_update(range(first, end))
        if self.stuck is not None:
            at, mask, value = self.stuck
            if offset <= at < offset + len(new):
                self._bytes[at] = self._bytes[at] & ~mask & 0xFF | value & mask

    def _tear(self, offset: int, wanted: bytes, torn: str) -> None:
        """As in RamNor, without a loop over every byte of a large sector."""
        size = len(wanted)
        old = self.content(offset, size)
        if torn.startswith("unstable"):
            both = zip(old, wanted, strict=True)
            cells = {offset + i: a ^ b for i, (a, b) in enumerate(both) if a != b}
            self._unstable |= cells
            self._settles_in = 0 if torn == "unstable" else 1 + self._random() % _SETTLING_READS
        elif torn.startswith("mask-"):
            self._put(offset, _masked(old, wanted, int(torn[5:])))
        else:
            self._put(offset, mix(old, wanted, torn))
        self._take_stock(offset, size)
        if torn in ("before", "after"):
            return
        first, end = self._units(offset, size)
        self._torn_units.update(range(first, end))
        is_program = wanted != bytes([self.erased]) * size
        if is_program and self.once:
            if torn.startswith("prefix-"):  # units are programmed one after the other
                end = -(-(offset + int(torn[7:])) // self.write_bytes)
            self._programmed[first:end] = b"\1" * (end - first)

    def _take_stock(self, offset: int, size: int) -> None:
        """Which units are programmed shows only in what stands there."""
        first, end = self._units(offset, size)
        self._programmed[first:end] = bytes(end - first)
        for span in _NOT[self.erased].finditer(self._bytes, offset, offset + size):
            one, other = span.start() // self.write_bytes, -(-span.end() // self.write_bytes)
            self._programmed[one:other] = b"\1" * (other - one)

    def read(self, offset: int, buf: Any) -> None:
        size = len(buf)
        if self._off or offset < 0 or offset + size > self.size_bytes:
            self._ready(offset, size)
        buf[:] = self._bytes[offset : offset + size]
        if not self._unstable:
            return
        inside = range(offset, offset + size)
        some = inside if size < len(self._unstable) else sorted(self._unstable)
        for at in [at for at in some if at in inside and at in self._unstable]:
            buf[at - offset] ^= self._random() & self._unstable[at]
            if self._settles_in and self._settles_in <= 1:
                self._bytes[at] = buf[at - offset]
                del self._unstable[at]
                if not self.once:
                    unit = at - at % self.write_bytes
                    self._take_stock(unit, self.write_bytes)
        self._settles_in = max(self._settles_in - 1, min(self._settles_in, 1))


@functools.lru_cache(maxsize=512)
def _mask(seed: int, size: int) -> int:
    return int.from_bytes(mix(bytes(size), b"\xff" * size, f"mask-{seed}"), "big")


def _masked(old: bytes, wanted: bytes, seed: int) -> bytes:
    """What mix() says for a mask."""
    mask = _mask(seed, len(old))
    before, after = int.from_bytes(old, "big"), int.from_bytes(wanted, "big")
    return (before ^ (before ^ after) & mask).to_bytes(len(old), "big")
