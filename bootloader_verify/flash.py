"""What the verifier and the agent ask of a flash: the contract, and a window on a part of it.

A flash object has
    size_bytes    all of it
    erase_bytes   the smallest piece that can be erased (a sector)
    write_bytes   the smallest piece that can be programmed (a write unit)
    erased        the value of an erased byte, 0xFF or 0x00
    read(offset, buf)       fill all of buf (bytearray or memoryview)
    erase(offset, size)     whole sectors to the erased value
    program(offset, data)   whole write units, each erased before; bytes or memoryview

Rules of the chip, which every port keeps and the unix port enforces: a write unit is programmed at
most once between two erases; erase and program are aligned; neither is atomic under a power cut.
Whatever a flash object cannot do it answers with FlashError, never with silence.
"""

from bootloader_verify.errors import FLASH_RANGE, FLASH_READBACK, FlashError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Protocol

    Buffer = bytes | bytearray | memoryview
    Read = Callable[[int, bytearray | memoryview], None]

    class Flash(Protocol):
        size_bytes: int
        erase_bytes: int
        write_bytes: int
        erased: int

        def read(self, offset: int, buf: bytearray | memoryview) -> None: ...
        def erase(self, offset: int, size: int) -> None: ...
        def program(self, offset: int, data: Buffer) -> None: ...


_CHECK_BYTES = 256  # read-back step


class Region:
    """A window of `size_bytes` at `offset` of a flash; itself a flash object, bounds-checked."""

    def __init__(self, flash: "Flash", offset: int, size_bytes: int) -> None:
        if offset % flash.erase_bytes or size_bytes % flash.erase_bytes or size_bytes <= 0:
            raise FlashError(FLASH_RANGE, "region {}+{} splits a sector".format(offset, size_bytes))
        if offset < 0 or offset + size_bytes > flash.size_bytes:
            raise FlashError(FLASH_RANGE, "region {}+{} is outside".format(offset, size_bytes))
        self.flash = flash
        self.offset = offset
        self.size_bytes = size_bytes
        self.erase_bytes = flash.erase_bytes
        self.write_bytes = flash.write_bytes
        self.erased = flash.erased

    def _inside(self, offset: int, size: int) -> int:
        if offset < 0 or size < 0 or offset + size > self.size_bytes:
            raise FlashError(FLASH_RANGE, "{}+{} of {}".format(offset, size, self.size_bytes))
        return self.offset + offset

    def read(self, offset: int, buf: "bytearray | memoryview") -> None:
        self.flash.read(self._inside(offset, len(buf)), buf)

    def erase(self, offset: int, size: int) -> None:
        self.flash.erase(self._inside(offset, size), size)

    def program(self, offset: int, data: "Buffer") -> None:
        self.flash.program(self._inside(offset, len(data)), data)


def program_checked(flash: "Flash", offset: int, data: "Buffer") -> None:
    """Program and read back; FlashError FLASH_READBACK if the flash did not keep it."""
    flash.program(offset, data)
    want = memoryview(data)
    got = memoryview(bytearray(min(len(want), _CHECK_BYTES)))
    for start in range(0, len(want), _CHECK_BYTES):
        part = want[start : start + _CHECK_BYTES]
        back = got[: len(part)]
        flash.read(offset + start, back)
        if back != part:
            raise FlashError(FLASH_READBACK, "at {}".format(offset + start))


def is_blank(read: "Read", start: int, end: int, erased: int) -> bool:
    """True when `read(offset, buf)` shows the erased value in all of [start, end)."""
    buf = memoryview(bytearray(_CHECK_BYTES))
    blank = bytes([erased]) * _CHECK_BYTES
    while start < end:
        part = buf[: min(_CHECK_BYTES, end - start)]
        read(start, part)
        if part != blank[: len(part)]:
            return False
        start += len(part)
    return True


def align_up(value: int, step: int) -> int:
    return (value + step - 1) // step * step
