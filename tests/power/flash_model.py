"""A NOR flash in RAM with a switch for its power: for the power-cut sweeps, on both Pythons.

Keeps the rules of bootloader_verify/flash.py and is stricter than the file port in one thing: a write
unit that was programmed counts as programmed even if all its bytes still look erased, as with ECC.

A cut has an id, "operation:torn", with the words of hil/virtual/cut.py, so that the bench can replay
it: before, after, prefix-BYTES, suffix-BYTES, mask-SEED. One word more: `unstable` leaves every bit
that the operation would change undecided, so that each read may show it differently. The erase of
each sector is an operation of its own, as in the file port.
"""

from bootloader_verify.errors import FLASH_ALIGN, FLASH_RANGE, FLASH_REWRITE, FlashError
from hil.virtual.device.virtual_cut import mix

PROGRAM, ERASE = "program", "erase"
EVERY_PREFIX_BYTES = 64  # writes up to here are torn at every byte, longer ones at 16 lengths
MASKS = 8


class PowerCut(BaseException):
    """The power went. No `except Exception` of the code under test may survive it."""


class RamNor:
    """A flash object (see flash.py) of `size_bytes`.

    operations: programs and erases begun. wear: erases of each sector. trace: (kind, offset, size)
    of every operation.
    """

    def __init__(self, size_bytes, erase_bytes, write_bytes, erased=0xFF):
        self.size_bytes = size_bytes
        self.erase_bytes = erase_bytes
        self.write_bytes = write_bytes
        self.erased = erased
        self.operations = 0
        self.wear = [0] * (size_bytes // erase_bytes)
        self.trace = []
        self._bytes = bytearray(bytes([erased]) * size_bytes)
        self._programmed = bytearray(size_bytes // write_bytes)
        self._unstable = {}  # offset -> mask of undecided bits
        self._noise = 1
        self._cut = None
        self._off = False

    def cut_at(self, operation, torn="before"):
        """Cut power in operation number `operation`, counted from now on with 0."""
        self._cut = (self.operations + operation, torn)

    def clone(self):
        """The same content with the power on again: nothing armed, counters at 0."""
        new = RamNor(self.size_bytes, self.erase_bytes, self.write_bytes, self.erased)
        new._bytes[:] = self._bytes
        new._programmed[:] = self._programmed
        new._unstable = dict(self._unstable)
        new._noise = self._noise + 1
        return new

    def image(self):
        return bytes(self._bytes)

    def flip(self, offset, mask):
        """Age: change bits without asking."""
        self._bytes[offset] ^= mask

    # --- the contract -----------------------------------------------------------------------------
    def read(self, offset, buf):
        self._ready(offset, len(buf))
        buf[:] = self._bytes[offset : offset + len(buf)]
        for at, mask in self._unstable.items():
            if offset <= at < offset + len(buf):
                buf[at - offset] ^= self._random() & mask

    def erase(self, offset, size):
        self._ready(offset, size)
        if offset % self.erase_bytes or size % self.erase_bytes:
            raise FlashError(FLASH_ALIGN, f"erase {offset}+{size}")
        for start in range(offset, offset + size, self.erase_bytes):
            self.wear[start // self.erase_bytes] += 1
            self._do(ERASE, start, bytes([self.erased]) * self.erase_bytes)

    def program(self, offset, data):
        self._ready(offset, len(data))
        if offset % self.write_bytes or len(data) % self.write_bytes:
            raise FlashError(FLASH_ALIGN, f"program {offset}+{len(data)}")
        if not self._is_fresh(offset, len(data)):
            raise FlashError(FLASH_REWRITE, f"program {offset}+{len(data)}")
        self._do(PROGRAM, offset, bytes(data))

    def map(self, offset, size):
        copy = memoryview(bytearray(size))
        self.read(offset, copy)
        return copy

    # --- inside -----------------------------------------------------------------------------------
    def _ready(self, offset, size):
        if self._off:
            raise PowerCut()
        if offset < 0 or size < 0 or offset + size > self.size_bytes:
            raise FlashError(FLASH_RANGE, f"{offset}+{size} of {self.size_bytes}")

    def _units(self, offset, size):
        return offset // self.write_bytes, (offset + size) // self.write_bytes

    def _is_fresh(self, offset, size):
        first, end = self._units(offset, size)
        blank = self._bytes[offset : offset + size] == bytes([self.erased]) * size
        return blank and not any(self._programmed[first:end])

    def _do(self, kind, offset, wanted):
        number = self.operations
        self.operations += 1
        self.trace.append((kind, offset, len(wanted)))
        if self._cut and self._cut[0] == number:
            self._tear(offset, wanted, self._cut[1])
            self._off = True
            raise PowerCut()
        self._put(offset, wanted)
        first, end = self._units(offset, len(wanted))
        self._programmed[first:end] = bytes([kind == PROGRAM]) * (end - first)

    def _put(self, offset, new):
        self._bytes[offset : offset + len(new)] = new
        for at in [at for at in self._unstable if offset <= at < offset + len(new)]:
            del self._unstable[at]

    def _tear(self, offset, wanted, torn):
        old = bytes(self._bytes[offset : offset + len(wanted)])
        if torn == "unstable":
            for i in range(len(old)):
                if old[i] != wanted[i]:
                    self._unstable[offset + i] = old[i] ^ wanted[i]
        else:
            self._put(offset, mix(old, wanted, torn))
        first, end = self._units(offset, len(wanted))
        for unit in range(first, end):  # what it now is, shows only in what stands there
            start = unit * self.write_bytes
            content = self._bytes[start : start + self.write_bytes]
            self._programmed[unit] = content != bytes([self.erased]) * self.write_bytes

    def _random(self):
        self._noise = (self._noise * 1103515245 + 12345) & 0x7FFFFFFF
        return self._noise >> 16


def cuts(trace, unstable=True):
    """Every cut of these operations: pairs (operation, torn) for cut_at."""
    for number in range(len(trace)):
        kind, _, size = trace[number]
        yield number, "before"
        for part in _lengths(kind, size):
            yield number, f"prefix-{part}"
        if kind == ERASE:
            for part in _lengths(kind, size):
                yield number, f"suffix-{part}"
        for seed in range(MASKS):
            yield number, f"mask-{seed}"
        if unstable:
            yield number, "unstable"
        yield number, "after"


def _lengths(kind, size):
    if kind == PROGRAM and size <= EVERY_PREFIX_BYTES:
        return range(1, size)
    return sorted({max(1, size * i // 16) for i in range(16)} | {size - 1})


def sweep(flash, act, judge, unstable=True):
    """Run `act(flash)` once whole and once for every cut; `judge(flash, cut id)` after each.

    `flash` itself is not touched. Returns the number of cuts.
    """
    whole = flash.clone()
    act(whole)
    judge(whole.clone(), "whole")
    count = 0
    for number, torn in cuts(whole.trace, unstable):
        one = flash.clone()
        one.cut_at(number, torn)
        try:
            act(one)
            raise AssertionError(f"the cut {number}:{torn} did not happen")
        except PowerCut:
            pass
        judge(one.clone(), f"{number}:{torn}")
        count += 1
    return count
