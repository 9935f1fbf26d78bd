"""A NOR flash in a file, as strict as the chip: the desktop board's flash and that of the tests.

Erase sets whole sectors to the erased value; program needs erased, aligned write units and refuses a
second write (FLASH_REWRITE), as a flash with ECC does. Every byte goes to the file at once, so that
a killed process leaves what a power cut would leave.
"""

import os

from bootloader_verify.errors import (
    FLASH_ALIGN,
    FLASH_RANGE,
    FLASH_REWRITE,
    READ_FAILED,
    FlashError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional

    Buffer = bytes | bytearray | memoryview
    Hook = Callable[[str, int, int, "Buffer | int"], None]

_STEP = 256  # working buffer for checks and erases


def _in_heap(size: int) -> memoryview:
    return memoryview(bytearray(size))


class NorFile:
    """A flash object (see flash.py) over the file at `path`, made erased if it is not there.

    `hook(kind, index, offset, data or size)` is called before each "program" and "erase" with the
    running number of the operation; it may raise or never return: that is how power is cut.
    """

    def __init__(
        self,
        path: str,
        size_bytes: int,
        erase_bytes: int,
        write_bytes: int,
        erased: int = 0xFF,
        hook: "Optional[Hook]" = None,
    ) -> None:
        self.size_bytes = size_bytes
        self.erase_bytes = erase_bytes
        self.write_bytes = write_bytes
        self.erased = erased
        self.hook = hook
        self.allot: "Callable[[int], memoryview]" = _in_heap
        self.operations = 0
        self._blank = memoryview(bytes([erased]) * min(_STEP, erase_bytes))
        self._work = memoryview(bytearray(_STEP))
        self._file = self._open(path)

    def _open(self, path: str):  # type: ignore[no-untyped-def]
        try:
            size = os.stat(path)[6]
        except OSError:
            size = -1
        if size == -1:
            with open(path, "wb") as new:
                for _ in range(self.size_bytes // len(self._blank)):
                    new.write(self._blank)
        elif size != self.size_bytes:
            raise FlashError(FLASH_RANGE, "file of {} bytes, not {}".format(size, self.size_bytes))
        # Unbuffered: CPython needs the 0, MicroPython's files never buffer.
        return open(path, "r+b", 0)

    def close(self) -> None:
        self._file.close()

    def read(self, offset: int, buf: "bytearray | memoryview") -> None:
        self._bounds(offset, len(buf))
        self._file.seek(offset)
        if self._file.readinto(buf) != len(buf):
            raise FlashError(READ_FAILED, "at {}".format(offset))

    def erase(self, offset: int, size: int) -> None:
        self._bounds(offset, size)
        if offset % self.erase_bytes or size % self.erase_bytes:
            raise FlashError(FLASH_ALIGN, "erase {}+{}".format(offset, size))
        for start in range(offset, offset + size, self.erase_bytes):
            self._before("erase", start, self.erase_bytes)
            self._file.seek(start)
            for _ in range(self.erase_bytes // len(self._blank)):
                self._file.write(self._blank)

    def program(self, offset: int, data: "Buffer") -> None:
        self._bounds(offset, len(data))
        if offset % self.write_bytes or len(data) % self.write_bytes:
            raise FlashError(FLASH_ALIGN, "program {}+{}".format(offset, len(data)))
        self._refuse_rewrite(offset, len(data))
        self._before("program", offset, data)
        self._file.seek(offset)
        self._file.write(data)

    def map(self, offset: int, size: int) -> memoryview:
        """The bytes as the chip's memory map would show them: a copy, in what `allot(size)` gives."""
        copy = self.allot(size)
        self.read(offset, copy)
        return copy

    def _refuse_rewrite(self, offset: int, size: int) -> None:
        for start in range(0, size, len(self._blank)):
            part = self._work[: min(len(self._blank), size - start)]
            self.read(offset + start, part)
            if part != self._blank[: len(part)]:
                raise FlashError(FLASH_REWRITE, "program {}+{}".format(offset, size))

    def _before(self, kind: str, offset: int, what: "Buffer | int") -> None:
        index = self.operations
        self.operations += 1
        if self.hook:
            self.hook(kind, index, offset, what)

    def _bounds(self, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > self.size_bytes:
            raise FlashError(FLASH_RANGE, "{}+{} of {}".format(offset, size, self.size_bytes))
