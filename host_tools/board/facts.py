"""The facts of one board, as its TOML file gives them. Sizes and offsets in bytes."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from bootloader_verify.trailer import Layout

UNIX, ESP32, STM32 = "unix", "esp32", "stm32"
PORTS = (UNIX, ESP32, STM32)
SLOTS = ("slot_a", "slot_b")
LOGS = ("epoch", "keyset", "journal", "events", "app_data")
REGIONS = SLOTS + LOGS
BLOCK_BYTES_MAX = 4096


@dataclass(frozen=True)
class Region:
    """Bytes of the flash map."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size


@dataclass(frozen=True)
class Partition:
    """One entry of an ESP32's partition table, at `offset` of the whole chip.

    `kind`: app or data. `subtype`: one of ESP-IDF's names, or a number as 0x8f.
    """

    name: str
    kind: str
    subtype: str
    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size


@dataclass(frozen=True)
class Esp32:
    """What only an ESP32 has. `chip_id`: that of its app images (0 = ESP32, 9 = ESP32-S3)."""

    chip_id: int
    flash_size: int
    partitions: tuple[Partition, ...]


@dataclass(frozen=True)
class Stm32:
    """What only an STM32 has. The regions stand in ROMFS part `rom_part`, made of `sectors`:
    (how many, bytes of each), from its start on. `external`: a chip of its own, not the MCU's flash.
    """

    rom_part: int
    external: bool
    sectors: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        return sum(count * size for count, size in self.sectors)

    @property
    def largest(self) -> int:
        return max(size for _, size in self.sectors)

    def is_border(self, offset: int) -> bool:
        """Does a sector begin at `offset`, or the last one end there?"""
        for count, size in self.sectors:
            if offset <= count * size:
                return offset % size == 0
            offset -= count * size
        return False


@dataclass(frozen=True)
class Board:
    """Facts of one board. `vid`, `cid`: 16 bytes, see FORMATS, TLV 0x74 and 0x75.

    `flash_size` and all regions: of the one linear flash that the port opens, on an ESP32 its romfs
    partition, on an STM32 its ROMFS part.
    """

    name: str
    description: str
    family: str
    port: str
    vendor_domain: str
    device_class: str
    revision: str
    flash_size: int
    erase_bytes: int
    write_bytes: int
    erased: int
    regions: Mapping[str, Region]
    baud: int
    block_bytes_max: int = BLOCK_BYTES_MAX
    esp32: Esp32 | None = None
    stm32: Stm32 | None = None

    @property
    def vid(self) -> bytes:
        return uuid.uuid5(uuid.NAMESPACE_DNS, self.vendor_domain).bytes

    @property
    def cid(self) -> bytes:
        return uuid.uuid5(uuid.UUID(bytes=self.vid), self.device_class).bytes

    def layout(self, slot: str) -> Layout:
        """The trailer's offsets in slot "a" or "b"; `.image_limit`: the largest container."""
        size = self.regions[f"slot_{slot}"].size
        return Layout(size, self.write_bytes, self.erase_bytes, self.erased)

    @property
    def image_limit(self) -> int:
        """Bytes of the largest container that either slot takes."""
        return min(self.layout("a").image_limit, self.layout("b").image_limit)
