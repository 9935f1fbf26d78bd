"""The flashes of the campaign: sectors of 256 B to 128 KiB, write units of 1 to 32, both erased values,
write units that refuse a second write. Names g0, g1, … are part of a cut's id: append only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agent import manifest
from agent.update import journal
from bootloader_verify import keyset_store
from bootloader_verify.flash import align_up
from bootloader_verify.trailer import Layout
from tests.power.chip import Chip
from tests.power.rig import board_of

_RECORD_BYTES = journal.record_bytes(manifest.CONTAINER_BYTES_MAX)
_TRAILER_BYTES_MAX = 1024
_KEYSET_BYTES = keyset_store.CONTAINER_BYTES_MAX + 64
BLOCK_SMALL, BLOCK_LARGE = 1024, 4096


@dataclass(frozen=True)
class Geometry:
    """Sizes in bytes. `once`: as in chip.py."""

    name: str
    erase: int
    write: int
    erased: int = 0xFF
    once: bool = False

    @property
    def text(self) -> str:
        """For people: "4096/32 00 once"."""
        return f"{self.erase}/{self.write} {self.erased:02X}{' once' if self.once else ''}"

    @property
    def kind(self) -> str:
        """The class that reports count by."""
        size = "to 1 KiB" if self.erase <= 1024 else "to 8 KiB" if self.erase <= 8192 else "larger"
        return f"sectors {size}{', write-once' if self.once else ''}"

    @property
    def block_bytes(self) -> int:
        return BLOCK_SMALL if self.erase < BLOCK_LARGE else BLOCK_LARGE

    @property
    def image_bytes(self) -> int:
        """Some blocks, and a last one that is not whole."""
        return 2 * self.block_bytes + 300

    def board(self) -> Any:
        """A map with what boot stage and agent use, and a sector to spare behind the image."""
        image = align_up(self.image_bytes + 600, self.erase) + self.erase
        slot = image + align_up(_TRAILER_BYTES_MAX, self.erase)
        half = align_up(_RECORD_BYTES + 32, self.erase)
        keys = align_up(_KEYSET_BYTES, self.erase)
        sizes = {"slot_a": slot, "slot_b": slot, "epoch": 2 * self.erase}
        sizes |= {"keyset": 2 * keys, "journal": 2 * half}
        return board_of(sizes, self.erase, self.write, self.erased, BLOCK_LARGE)

    def chip(self) -> Chip:
        return Chip(self.board().FLASH_SIZE, self.erase, self.write, self.erased, self.once)

    def layout(self) -> Layout:
        size = self.board().REGIONS["slot_a"][1]
        return Layout(size, self.write, self.erase, self.erased)


_TABLE = (
    (256, 1),
    (256, 4),
    (256, 8),
    (256, 16),
    (256, 32),
    (256, 8, 0x00),
    (512, 1),
    (512, 8),
    (512, 32, 0x00),
    (1024, 1),
    (1024, 4),
    (1024, 8),
    (1024, 16),
    (1024, 32),
    (1024, 8, 0x00),
    (1024, 32, 0xFF, True),
    (2048, 4),
    (2048, 8),
    (2048, 8, 0xFF, True),
    (2048, 16, 0x00),
    (4096, 1),
    (4096, 4),
    (4096, 8),
    (4096, 16),
    (4096, 32),
    (4096, 1, 0x00),
    (4096, 32, 0x00),
    (4096, 8, 0xFF, True),
    (4096, 32, 0xFF, True),
    (8192, 8),
    (8192, 16, 0xFF, True),
    (16384, 4),
    (32768, 8),
    (65536, 16, 0xFF, True),
    (131072, 8),
    (131072, 32, 0xFF, True),
    (1024, 16, 0x00, True),
    (512, 4),
    (512, 16),
    (512, 8, 0xFF, True),
    (2048, 1),
    (2048, 32),
    (4096, 2),
    (8192, 4),
    (8192, 32, 0x00),
)
GEOMETRIES = {f"g{n}": Geometry(f"g{n}", *row) for n, row in enumerate(_TABLE)}
