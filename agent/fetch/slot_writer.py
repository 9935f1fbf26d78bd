"""Blocks into the spare slot, for every erase sector and write unit. Flash rules: flash.py.

The slot becomes an image by its first block and bootable by its trailer, so both are taken away
first and given back last. A sector is programmed only after this object erased it: blank bytes left
by a cut prove nothing, a torn erase can read as blank, and no unit may be programmed twice.

Geometry: blocks and sectors are powers of two. Where a sector is no larger than a block, each block
owns its sectors. Where it is larger, the blocks of a sector are erased together (`per_sector`).
"""

import hashlib

from agent import protocol
from agent.fetch.blocks import Bits
from bootloader_verify.errors import FLASH_READBACK, FlashError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bootloader_verify.flash import Region
    from bootloader_verify.trailer import Layout

_CHUNK_BYTES = 512  # read-back and blank checks go in such steps


class SlotWriter:
    """Writes one image into `region`; the trailer's own sectors begin at `layout.image_limit`.

    `scratch` is borrowed while a block is hashed: at least one block long.
    FlashError: the flash refused, or did not keep what was written (FLASH_READBACK).
    """

    def __init__(self, region: "Region", layout: "Layout", scratch: memoryview) -> None:
        self._region = region
        self.limit = layout.image_limit
        self._scratch = scratch
        self._chunk = memoryview(bytearray(_CHUNK_BYTES))
        self._blank = memoryview(bytes([region.erased]) * _CHUNK_BYTES)
        self._unit = memoryview(bytearray(region.write_bytes))
        self._fresh = Bits(self.limit // region.erase_bytes + 1)  # sectors erased since start
        self.image_size = self.block_size = 0
        self.per_sector = 1

    def start(self, image_size: int, block_size: int) -> None:
        """Begin (again) with an image of `image_size` bytes; trusts no sector."""
        self.image_size, self.block_size = image_size, block_size
        self.per_sector = max(1, self._region.erase_bytes // block_size)
        self._fresh.reset()

    # --- looking ------------------------------------------------------------------------------
    def block_bytes(self, block: int) -> int:
        """Size of a block: `block_size`, less for the last one."""
        return min(self.block_size, self.image_size - block * self.block_size)

    def _room_end(self, block: int) -> int:
        """Where the flash of `block` ends: the last one owns the rest of its sector."""
        end = (block + 1) * self.block_size
        if end < self.image_size:
            return end
        sector = self._region.erase_bytes
        return min(max(end, -(-end // sector) * sector), self.limit)

    def stands(self, block: int, decoded_sha16: "bytes | memoryview") -> bool:
        """True when flash holds this block already, and nothing behind it if it is the last."""
        view = self._scratch[: self.block_bytes(block)]
        start = block * self.block_size
        self._region.read(start, view)
        digest = hashlib.sha256(view).digest()
        if digest[: protocol.SHA16_BYTES] != decoded_sha16:
            return False
        return self.is_blank(start + len(view), self._room_end(block))

    def is_blank(self, start: int, end: int) -> bool:
        """True when every byte of [start, end) of the slot reads as erased."""
        while start < end:
            n = min(_CHUNK_BYTES, end - start)
            self._region.read(start, self._chunk[:n])
            if self._chunk[:n] != self._blank[:n]:
                return False
            start += n
        return True

    def first_is_blank(self) -> bool:
        """True when there is nothing where block 0 will stand."""
        return self.is_blank(0, min(self.block_size, self.limit))

    def trailer_is_blank(self) -> bool:
        """True when the trailer's sectors read as erased."""
        return self.is_blank(self.limit, self._region.size_bytes)

    # --- erasing ------------------------------------------------------------------------------
    def erase_trailer(self) -> None:
        """The slot is no longer armed or confirmed: the first of all writes."""
        self._region.erase(self.limit, self._region.size_bytes - self.limit)

    def erase_first(self) -> None:
        """The slot holds no image any more: erases all that is erased together with block 0."""
        self._erase_for(0)

    def trust_first_sector(self) -> None:
        """The scan proved the rest of sector 0 and block 0 was never written: no need to erase."""
        self._fresh.set(0)

    def _erase_for(self, block: int) -> None:
        sector = self._region.erase_bytes
        start = block * self.block_size // sector * sector
        end = max(start + sector, min((block + 1) * self.block_size, self.limit))
        self._region.erase(start, end - start)
        if self.per_sector > 1:
            self._fresh.set(block // self.per_sector)

    def clear_tail(self, offset: int) -> int:
        """Make sure that the sector at `offset`, behind the image, is erased; where to go on.

        Begin with `tail_start`; done when the answer is `limit`.
        """
        end = min(offset + self._region.erase_bytes, self.limit)
        if not self.is_blank(offset, end):
            self._region.erase(offset, end - offset)
        return end

    def tail_start(self) -> int:
        """First byte behind the flash of the last block."""
        return self._room_end((self.image_size - 1) // self.block_size)

    # --- writing ------------------------------------------------------------------------------
    def write(self, block: int, data: memoryview) -> None:
        """Erase if needed, program, read back and compare one decoded, proved block.

        On FlashError the block's sector is no longer trusted: see `Blocks.lose_sector`.
        """
        if self.per_sector == 1 or not self._fresh.get(block // self.per_sector):
            self._erase_for(block)
        try:
            self._program(block * self.block_size, data)
            self._compare(block * self.block_size, data)
        except FlashError:
            self._fresh.clear(block // self.per_sector)
            raise

    def _program(self, start: int, data: memoryview) -> None:
        whole = len(data) - len(data) % len(self._unit)
        if whole:
            self._region.program(start, data[:whole])
        if whole < len(data):  # the last unit of the image, filled up with the erased value
            rest = len(data) - whole
            self._unit[:rest] = data[whole:]
            self._unit[rest:] = self._blank[: len(self._unit) - rest]
            self._region.program(start + whole, self._unit)

    def _compare(self, start: int, data: memoryview) -> None:
        for at in range(0, len(data), _CHUNK_BYTES):
            want = data[at : at + _CHUNK_BYTES]
            got = self._chunk[: len(want)]
            self._region.read(start + at, got)
            if got != want:
                raise FlashError(FLASH_READBACK, "at {}".format(start + at))
