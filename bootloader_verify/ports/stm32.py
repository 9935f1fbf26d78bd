"""The flash of an STM32 board: one ROMFS part, through `vfs.rom_ioctl` of MicroPython 1.29 or later.

The calls, in the order of a life; a negative answer is an errno:
    1                        number of parts
    2, part                  the part as the memory map shows it (a memoryview)
    6, part                  smallest erase; negative before 1.29
    3, part, offset, length  erase; answers the write step: 16 internal flash, 4 external
    4, part, offset, buf     program; drops without a word what does not fill a flash word
Before 1.29 call 3 takes `offset` for the length and erases from the start of the part. So 6 comes
before 3, and 3 never goes without its fourth argument. Call 5 (complete) is not there on STM32.

Internal flash only where the board says so (`board.STM32["internal"]`): with ECC (H7, H5, L4, G4) a
word that a power cut tore faults when it is read, and a boot that reads it never ends.
"""

from bootloader_verify.errors import (
    FLASH_ALIGN,
    FLASH_FAILED,
    FLASH_RANGE,
    FLASH_READBACK,
    FLASH_REWRITE,
    FLASH_UNSUPPORTED,
    FlashError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    Buffer = bytes | bytearray | memoryview

_COUNT, _MAP, _ERASE, _PROGRAM, _SMALLEST = 1, 2, 3, 4, 6
_INTERNAL_STEP = 16  # call 3 answers it for internal flash of every family
_STEP_BYTES = 256  # most that one call programs: a page of a NOR; the CPU may stand still meanwhile
_LINE_BYTES = 32  # of the Cortex-M7's data cache
_DCCIMVAC = 0xE000EF70  # clean and invalidate the cache line of the address written here


def open_flash(board: "Any") -> "RomPart":
    """The flash of `board`, the generated module: `board.STM32["rom_part"]` says which part.

    FlashError FLASH_UNSUPPORTED, with what to do, if firmware or chip cannot carry the map.
    """
    try:
        from machine import mem32
        from uctypes import addressof
        from vfs import rom_ioctl
    except ImportError:
        raise FlashError(FLASH_UNSUPPORTED, "no vfs.rom_ioctl: build MicroPython with a ROMFS part")
    return RomPart(board, rom_ioctl, addressof, mem32)


class RomPart:
    """A flash object (see flash.py) over a ROMFS part, with `map` for what is mounted in place.

    rom_ioctl: `vfs.rom_ioctl`. address_of: `uctypes.addressof`. mem32: `machine.mem32`.
    """

    def __init__(
        self,
        board: "Any",
        rom_ioctl: "Callable[..., Any]",
        address_of: "Callable[[memoryview], int]",
        mem32: "Any",
    ) -> None:
        self.size_bytes: int = board.FLASH_SIZE
        self.erase_bytes: int = board.ERASE
        self.write_bytes: int = board.WRITE
        self.erased: int = board.ERASED
        self._part: int = board.STM32["rom_part"]
        self._rom_ioctl = rom_ioctl
        self._mem32 = mem32
        self._step = memoryview(bytearray(_STEP_BYTES))
        self._blank = memoryview(bytes([board.ERASED]) * _STEP_BYTES)
        self._map = self._open_map()
        self._base = address_of(self._map)
        self._check_erase()
        self._internal = self._check_program(board.STM32.get("internal", False))

    # --- what the firmware must be able to do -----------------------------------------------------
    def _open_map(self) -> memoryview:
        parts = self._ask(_COUNT)
        if not 0 <= self._part < parts:
            self._refuse("{} ROMFS parts: add one to the board's firmware".format(parts))
        view: memoryview = self._ask(_MAP, self._part)
        if len(view) < self.size_bytes:
            self._refuse("{} bytes, the map needs {}".format(len(view), self.size_bytes))
        return view

    def _check_erase(self) -> None:
        """Before any erase: an older firmware would erase the wrong end of the part."""
        smallest = self._call(_SMALLEST, self._part)
        if smallest <= 0:
            self._refuse("no ranged erase: needs MicroPython 1.29 or later")
        if self.erase_bytes % smallest:
            self._refuse("erases {} at least: set the board's erase size".format(smallest))
        if self._base % self.erase_bytes:
            self._refuse("begins inside of a sector: move it, or set the board's erase size")

    def _check_program(self, internal_allowed: bool) -> bool:
        """An erase of nothing tells the write step. True if the part is internal flash."""
        step = self._ask(_ERASE, self._part, 0, 0)
        if not step or self.write_bytes % step or _STEP_BYTES % self.write_bytes:
            self._refuse("programs {} at least: set the board's write size".format(step))
        internal = bool(step == _INTERNAL_STEP)
        if internal and not internal_allowed:
            self._refuse("is internal flash: torn words can fault; use a part on external flash")
        return internal

    def _refuse(self, why: str) -> None:
        raise FlashError(FLASH_UNSUPPORTED, "part {}: {}".format(self._part, why))

    # --- the contract -----------------------------------------------------------------------------
    def read(self, offset: int, buf: "bytearray | memoryview") -> None:
        self._bounds(offset, len(buf))
        buf[:] = self._map[offset : offset + len(buf)]

    def erase(self, offset: int, size: int) -> None:
        self._bounds(offset, size)
        if offset % self.erase_bytes or size % self.erase_bytes:
            raise FlashError(FLASH_ALIGN, "erase {}+{}".format(offset, size))
        for start in range(offset, offset + size, self.erase_bytes):
            self._ask(_ERASE, self._part, start, self.erase_bytes)
            self._forget(start, self.erase_bytes)
            if not self._is_blank(start, self.erase_bytes):
                raise FlashError(FLASH_READBACK, "erase at {}".format(start))

    def program(self, offset: int, data: "Buffer") -> None:
        self._bounds(offset, len(data))
        if offset % self.write_bytes or len(data) % self.write_bytes:
            raise FlashError(FLASH_ALIGN, "program {}+{}".format(offset, len(data)))
        if not self._is_blank(offset, len(data)):
            raise FlashError(FLASH_REWRITE, "program {}+{}".format(offset, len(data)))
        view = memoryview(data)
        for at in range(0, len(view), _STEP_BYTES):
            self._program_step(offset + at, view[at : at + _STEP_BYTES])

    def map(self, offset: int, size: int) -> memoryview:
        """The bytes in place, no copy: they change with the flash."""
        self._bounds(offset, size)
        return self._map[offset : offset + size]

    # --- inside -----------------------------------------------------------------------------------
    def _program_step(self, offset: int, part: memoryview) -> None:
        """By way of aligned RAM: a driver that programs external flash has its map switched off."""
        step = self._step[: len(part)]
        step[:] = part
        self._ask(_PROGRAM, self._part, offset, step)
        self._forget(offset, len(step))
        if self._map[offset : offset + len(step)] != step:
            raise FlashError(FLASH_READBACK, "at {}".format(offset))

    def _forget(self, offset: int, size: int) -> None:
        """Drop the lines from the data cache; for external flash the firmware's driver does it."""
        if not self._internal:
            return
        start = self._base + offset
        for line in range(start - start % _LINE_BYTES, start + size, _LINE_BYTES):
            self._mem32[_DCCIMVAC] = line

    def _is_blank(self, offset: int, size: int) -> bool:
        for start in range(offset, offset + size, _STEP_BYTES):
            part = self._map[start : min(start + _STEP_BYTES, offset + size)]
            if part != self._blank[: len(part)]:
                return False
        return True

    def _ask(self, *args: "Any") -> "Any":
        """A call that must not fail."""
        answer = self._call(*args)
        if isinstance(answer, int) and answer < 0:
            raise FlashError(FLASH_FAILED, "call {}: errno {}".format(args[0], -answer))
        return answer

    def _call(self, *args: "Any") -> "Any":
        try:
            return self._rom_ioctl(*args)
        except OSError as err:
            raise FlashError(FLASH_FAILED, "call {}: errno {}".format(args[0], err.args[0]))

    def _bounds(self, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > self.size_bytes:
            raise FlashError(FLASH_RANGE, "{}+{} of {}".format(offset, size, self.size_bytes))
