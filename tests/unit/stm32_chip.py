"""A model of `vfs.rom_ioctl` on STM32 and of the flash behind it, with a switch for its power.

Answers as MicroPython's vfs_rom_ioctl.c, flash.c and spiflash.c do, traps included, on both Pythons:
    - no call raises, a refusal is a negative errno; call 5 (complete) is refused
    - call 3 erases whole sectors, from the one that holds the first byte, inside of the part or not
    - call 4 drops what does not fill a flash word and answers 0
    - a driver that programs external flash has the memory map switched off: data from there faults
    - external flash programs 1 to 0 and nothing else; what was there stays in it
    - H743 internal: a flash word of 32 bytes with ECC; programmed twice or torn, it is `faulty`
    - the driver of internal flash leaves the data cache alone: the map shows what it showed before,
      until the line is dropped by way of `mem32` (here every line is cached: the worst case)
    - "old" is MicroPython before 1.29: no call 6, and call 3 takes its third argument for the length
"""

from bootloader_verify.ports.stm32 import RomPart
from hil.virtual.device.virtual_cut import mix
from tests.power.flash_model import ERASE, PROGRAM, PowerCut

EIO, EINVAL = 5, 22
KIB = 1024
QSPI_BASE, NOR_SECTOR, NOR_PAGE = 0x90000000, 4 * KIB, 256
DCCIMVAC, LINE = 0xE000EF70, 32
_BLANK, _DARK = b"\xff" * NOR_SECTOR, b"\x5a" * NOR_SECTOR
# kind -> (start of the chip's flash, (sector bytes, how many) …, flash word bytes)
INTERNAL = {
    "h743 internal": (0x08000000, ((128 * KIB, 16),), 32),
    "f767 internal": (0x08000000, ((32 * KIB, 4), (128 * KIB, 1), (256 * KIB, 7)), 4),
}
EXTERNAL = ("f767 qspi", "h743 qspi", "old")


class HardFault(BaseException):
    """The CPU stops here; on the chip MicroPython resets it."""


class Chip:
    """One chip of a kind with one ROMFS part of `size_bytes` at `at` bytes from the flash's start.

    calls: arguments of every call. trace: (kind, offset, size) of every operation begun. faulty:
    offsets of flash words that fault when read. collateral: bytes outside of the part were erased.
    answers: call number -> what it answers instead, or an exception to raise.
    """

    def __init__(self, kind, size_bytes, at=0, parts=1):
        assert (kind in INTERNAL or kind in EXTERNAL) and size_bytes % NOR_SECTOR == 0
        self.kind = kind
        self.internal = kind in INTERNAL
        self.size_bytes = size_bytes
        self.at = at
        self.parts = parts
        self.address = (INTERNAL[kind][0] if self.internal else QSPI_BASE) + at
        self.word_bytes = INTERNAL[kind][2] if self.internal else 1
        self.has_ecc = kind == "h743 internal"
        self.operations = 0
        self.calls = []
        self.trace = []
        self.faulty = set()
        self.collateral = False
        self.answers = {}
        self._programmed = set()  # flash words, with ECC only
        self._cells = bytearray(size_bytes)
        for i in range(0, size_bytes, NOR_SECTOR):
            self._cells[i : i + NOR_SECTOR] = _BLANK
        self._seen = bytearray(self._cells) if self.internal else self._cells
        self._spare = None if self.internal else bytearray(size_bytes)
        self._cut = None
        self._off = False

    # --- for tests --------------------------------------------------------------------------------
    def cut_at(self, operation, torn="before"):
        """Cut power in operation number `operation`, counted from now on with 0."""
        self._cut = (self.operations + operation, torn)

    def clone(self):
        """The same flash after power came back: caches empty, nothing armed, counters at 0."""
        new = Chip(self.kind, self.size_bytes, self.at, self.parts)
        new._cells[:] = self._cells
        new._seen[:] = self._cells
        new._programmed = set(self._programmed)
        new.faulty = set(self.faulty)
        return new

    def image(self):
        return bytes(self._cells)

    def of(self, op):
        """The arguments of every call `op`, without the data of call 4: its length instead."""
        return [args[1:] for args in self.calls if args[0] == op]

    # --- vfs.rom_ioctl, uctypes.addressof, machine.mem32 ------------------------------------------
    def rom_ioctl(self, *args):
        if self._off:
            raise PowerCut()
        op = args[0]
        noted = args if op != 4 or len(args) < 4 else args[:3] + (len(args[3]),)
        self.calls.append(noted)
        if op in self.answers:
            return self._other_answer(self.answers[op])
        if op == 1:
            return self.parts
        if len(args) < 2 or not 0 <= args[1] < self.parts:
            return -EINVAL
        if op == 2:
            return read_only(memoryview(self._seen))
        if op == 3 and len(args) > 2:
            return self._prepare(args[2:])
        if op == 4 and len(args) > 3:
            return self._write(args[2], args[3])
        if op == 6 and self.kind != "old":
            return (
                max([size for size, _ in INTERNAL[self.kind][1]]) if self.internal else NOR_SECTOR
            )
        return -EINVAL

    def address_of(self, _view):
        return self.address

    def __setitem__(self, register, address):
        """`mem32[register] = address`: one line of the cache is dropped."""
        assert register == DCCIMVAC and address % LINE == 0
        at = address - self.address
        if 0 <= at < self.size_bytes:
            self._seen[at : at + LINE] = self._cells[at : at + LINE]

    def _other_answer(self, answer):
        if isinstance(answer, Exception):
            raise answer
        return answer

    # --- erase ------------------------------------------------------------------------------------
    def _prepare(self, args):
        """(length) or (offset, length); an old firmware looks at the first one only."""
        ranged = len(args) > 1 and self.kind != "old"
        start = args[0] if ranged else 0
        end = start + args[1 if ranged else 0]
        if end > self.size_bytes:
            return -EINVAL
        while start < end:
            first, size = self._sector(start)
            self._erase_sector(first, size)
            start += size
        return 16 if self.internal else 4

    def _sector(self, offset):
        """(start, size) of the sector that holds `offset`; the start may lie before the part."""
        if not self.internal:
            return offset - offset % NOR_SECTOR, NOR_SECTOR
        start = -self.at
        for size, count in INTERNAL[self.kind][1]:
            if offset < start + size * count:
                return offset - (offset - start) % size, size
            start += size * count
        raise AssertionError("behind the end of the flash")

    def _erase_sector(self, first, size):
        start, end = max(first, 0), min(first + size, self.size_bytes)
        self.collateral = self.collateral or end - start < size
        if self._begin(ERASE, start, end - start):
            self._tear(start, b"\xff" * (end - start))
        for at in range(start, end, NOR_SECTOR):  # in pieces: MicroPython's heap is small
            self._cells[at : at + NOR_SECTOR] = _BLANK
        for words in (self._programmed, self.faulty):
            for at in [at for at in words if start <= at < end]:
                words.discard(at)

    # --- program ----------------------------------------------------------------------------------
    def _write(self, offset, data):
        if offset + len(data) > self.size_bytes:
            return -EINVAL
        if self.internal:
            return self._write_words(offset, bytes(data))
        data = self._with_the_map_off(data)
        while data:
            rest = NOR_PAGE - offset % NOR_PAGE
            self._program(offset, data[:rest])
            offset, data = offset + rest, data[rest:]
        return 0

    def _write_words(self, offset, data):
        """Whole flash words; what is left over is dropped, and nobody hears of it."""
        if (self.address + offset) % self.word_bytes:
            return -EIO
        for at in range(0, len(data) - self.word_bytes + 1, self.word_bytes):
            self._program(offset + at, data[at : at + self.word_bytes])
        return 0

    def _program(self, offset, data):
        wanted = bytes([data[i] & self._cells[offset + i] for i in range(len(data))])
        if self._begin(PROGRAM, offset, len(data)):
            self._tear(offset, wanted)
        if offset in self._programmed:
            self.faulty.add(offset)
        if self.has_ecc:
            self._programmed.add(offset)
        self._cells[offset : offset + len(data)] = wanted

    def _with_the_map_off(self, data):
        """The bytes of `data`, which must not lie in the part itself."""
        before = bytes(data)
        self._spare[:] = self._cells
        for i in range(0, self.size_bytes, NOR_SECTOR):
            self._cells[i : i + NOR_SECTOR] = _DARK
        shown = bytes(data)
        self._cells[:] = self._spare
        if shown != before:
            raise HardFault()
        return before

    # --- power ------------------------------------------------------------------------------------
    def _begin(self, kind, offset, size):
        """Count an operation; True if it is the one that the cut tears."""
        number = self.operations
        self.operations += 1
        self.trace.append((kind, offset, size))
        return bool(self._cut and self._cut[0] == number)

    def _tear(self, offset, wanted):
        """Leave what the cut leaves. With ECC a word that is neither old nor new is faulty."""
        old = bytes(self._cells[offset : offset + len(wanted)])
        now = mix(old, wanted, self._cut[1])
        self._cells[offset : offset + len(wanted)] = now
        for at in range(0, len(wanted) if self.has_ecc else 0, self.word_bytes):
            end = at + self.word_bytes
            if now[at:end] != old[at:end]:
                self._note_torn(offset + at, now[at:end], wanted[at:end])
        self._off = True
        raise PowerCut()

    def _note_torn(self, offset, now, wanted):
        blank = now == b"\xff" * len(now)
        if now != wanted:
            self.faulty.add(offset)
        elif blank:
            self._programmed.discard(offset)
            self.faulty.discard(offset)
        else:
            self._programmed.add(offset)


def read_only(view):
    """MicroPython has no toreadonly; there the model trusts the port."""
    return view.toreadonly() if hasattr(view, "toreadonly") else view


class FaultingMap:
    """The map of a chip whose torn words fault: what `memoryview` does on the chip, slices only."""

    def __init__(self, chip):
        self._chip = chip
        self._view = memoryview(chip.image())

    def __len__(self):
        return len(self._view)

    def __getitem__(self, part):
        for at in self._chip.faulty:
            if part.start < at + LINE and at < part.stop:
                raise HardFault()
        return self._view[part]


class Board:
    """The facts of a generated board module: the regions stand one behind the other."""

    VID, CID, REVISION = bytes(range(16)), bytes(range(16, 32)), "A"
    ERASED = 0xFF

    def __init__(self, erase, write, sectors, internal=False):
        """sectors: (region, how many erase units) in the order of the map."""
        self.ERASE, self.WRITE = erase, write
        self.STM32 = {"rom_part": 0, "internal": internal}
        self.REGIONS = {}
        self.FLASH_SIZE = 0
        for name, count in sectors:
            self.REGIONS[name] = (self.FLASH_SIZE, count * erase)
            self.FLASH_SIZE += count * erase


def port(chip, board):
    """The port over the model."""
    return RomPart(board, chip.rom_ioctl, chip.address_of, chip)
