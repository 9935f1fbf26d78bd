"""The ESP32's flash through stock MicroPython: one data partition holds slots and state regions.

Read and written through esp32.Partition, which takes any offset; mapped through vfs.rom_ioctl,
whose part 0 is the data partition labelled "romfs". Slots begin with a container's magic, so the
firmware's own mount of a ROMFS passes over them.

What Partition does not do, this does: it refuses what is not aligned, and a write unit that is not
erased (the chip would AND the bits and say nothing). Traps of the chip's calls:
- `writeblocks(block, buf)` erases first, whole sectors; only `writeblocks(block, buf, offset)` does not.
- `ioctl` answers an error as a negative number, the other calls raise OSError.
- `rom_ioctl(2, 0)` answers the Partition itself, or a negative number: only a memoryview of it is
  the mapping.
"""

from bootloader_verify.errors import (
    FLASH_ALIGN,
    FLASH_FAILED,
    FLASH_RANGE,
    FLASH_REWRITE,
    FLASH_UNSUPPORTED,
    FlashError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Buffer = bytes | bytearray | memoryview

SECTOR_BYTES = 4096
_IOCTL_ERASE = 6
_ROM_PART = 2  # vfs.rom_ioctl(2, 0): the mapped part 0
_STEP = 256  # working buffer for checks


def open_flash(board: "Any") -> "EspFlash":
    """The flash object of the board's map; FlashError FLASH_UNSUPPORTED says what is missing."""
    label = board.ESP32["romfs"]
    found = partitions(data=True, label=label)
    if not found:
        raise _unsupported("no data partition {}: flash the board's partition table".format(label))
    area = Area(found[0])
    if area.encrypted:
        raise _unsupported("partition {} is encrypted: it never reads as erased".format(label))
    if board.ERASE % SECTOR_BYTES or board.ERASED != 0xFF:
        raise _unsupported("sectors are 4096 bytes, erased to 0xFF: mend the board file")
    if area.size_bytes < board.FLASH_SIZE:
        raise _unsupported("{} of {} bytes in {}".format(area.size_bytes, board.FLASH_SIZE, label))
    view = _mapping()
    if len(view) != area.size_bytes:
        raise _unsupported("the mapped part has {} bytes: name it romfs".format(len(view)))
    return EspFlash(area, view, board)


def partitions(data: bool, label: "Any" = None, subtype: int = 0xFF) -> "list[Any]":
    """The chip's Partition objects: data or app ones, of a label, of a subtype (0xFF: any)."""
    chip = partition_class()
    kind = chip.TYPE_DATA if data else chip.TYPE_APP
    found: "list[Any]" = asked(chip.find, kind, subtype, label)
    return found


def partition_class() -> "Any":
    """esp32.Partition: the one place where the chip's module comes in."""
    try:
        import esp32  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise _unsupported("no module esp32: this firmware is for another chip")
    return esp32.Partition


def asked(call: "Any", *args: "Any") -> "Any":
    """`call(*args)`; what the chip raises comes out as FlashError FLASH_FAILED."""
    try:
        return call(*args)
    except OSError as err:
        raise FlashError(FLASH_FAILED, str(err))


def _mapping() -> memoryview:
    try:
        import vfs  # type: ignore[import-not-found,unused-ignore]

        part = vfs.rom_ioctl(_ROM_PART, 0)  # type: ignore[attr-defined,unused-ignore]
    except (ImportError, AttributeError):
        raise _unsupported("no vfs.rom_ioctl: take MicroPython 1.25 or later, with VFS_ROM")
    if isinstance(part, int):
        raise _unsupported("no partition labelled romfs: flash the board's partition table")
    try:
        return memoryview(part)
    except OSError as err:
        raise _unsupported("the chip cannot map the partition, make it smaller: {}".format(err))


def _unsupported(detail: str) -> FlashError:
    return FlashError(FLASH_UNSUPPORTED, detail)


class Area:
    """One partition as bytes, bounds-checked; what the chip refuses is a FlashError."""

    def __init__(self, partition: "Any") -> None:
        self.partition = partition
        info = partition.info()
        self.subtype = info[1]
        self.size_bytes = info[3]
        self.label = info[4]
        self.encrypted = info[5]

    def read(self, offset: int, buf: "bytearray | memoryview") -> None:
        """Fill all of buf."""
        self.check_inside(offset, len(buf))
        asked(self.partition.readblocks, 0, buf, offset)

    def write(self, offset: int, data: "Buffer") -> None:
        """Program erased bytes."""
        self.check_inside(offset, len(data))
        asked(self.partition.writeblocks, 0, data, offset)

    def erase_sector(self, sector: int) -> None:
        """Erase SECTOR_BYTES at `sector` * SECTOR_BYTES."""
        self.check_inside(sector * SECTOR_BYTES, SECTOR_BYTES)
        answer = asked(self.partition.ioctl, _IOCTL_ERASE, sector)
        if answer:
            raise FlashError(FLASH_FAILED, "erase of sector {}: {}".format(sector, answer))

    def check_inside(self, offset: int, size: int) -> None:
        """FlashError FLASH_RANGE unless [offset, offset + size) is in the partition."""
        if offset < 0 or size < 0 or offset + size > self.size_bytes:
            raise FlashError(FLASH_RANGE, "{}+{} of {}".format(offset, size, self.size_bytes))


class EspFlash:
    """A flash object (see flash.py) over `area`, with `map` over its mapping `view`.

    It is as large as the board's map; what the partition has beyond is left alone.
    """

    def __init__(self, area: Area, view: memoryview, board: "Any") -> None:
        self.size_bytes = board.FLASH_SIZE
        self.erase_bytes = board.ERASE
        self.write_bytes = board.WRITE
        self.erased = 0xFF
        self._area = area
        self._view = view
        self._blank = memoryview(b"\xff" * _STEP)
        self._work = memoryview(bytearray(_STEP))

    def read(self, offset: int, buf: "bytearray | memoryview") -> None:
        self._bounds(offset, len(buf))
        self._area.read(offset, buf)

    def erase(self, offset: int, size: int) -> None:
        self._bounds(offset, size)
        if offset % self.erase_bytes or size % self.erase_bytes:
            raise FlashError(FLASH_ALIGN, "erase {}+{}".format(offset, size))
        for start in range(offset, offset + size, SECTOR_BYTES):
            self._area.erase_sector(start // SECTOR_BYTES)

    def program(self, offset: int, data: "Buffer") -> None:
        self._bounds(offset, len(data))
        if offset % self.write_bytes or len(data) % self.write_bytes:
            raise FlashError(FLASH_ALIGN, "program {}+{}".format(offset, len(data)))
        self._refuse_rewrite(offset, len(data))
        self._area.write(offset, data)

    def map(self, offset: int, size: int) -> memoryview:
        """The bytes as they stand in flash, not a copy."""
        self._bounds(offset, size)
        return self._view[offset : offset + size]

    def _refuse_rewrite(self, offset: int, size: int) -> None:
        for start in range(0, size, _STEP):
            part = self._work[: min(_STEP, size - start)]
            self._area.read(offset + start, part)
            if part != self._blank[: len(part)]:
                raise FlashError(FLASH_REWRITE, "program {}+{}".format(offset, size))

    def _bounds(self, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > self.size_bytes:
            raise FlashError(FLASH_RANGE, "{}+{} of {}".format(offset, size, self.size_bytes))
