"""One reason why a flash map does not fit."""

from __future__ import annotations

from dataclasses import dataclass

# What a map can be blamed for. A code is stable: scripts match it.
CODES = {
    "FLASH_UNITS": "erase and write units that the verifier or the chip cannot work with",
    "MAP_ALIGN": "a region splits an erase sector",
    "MAP_OVERLAP": "two regions share bytes",
    "MAP_OUTSIDE": "a region ends behind the flash",
    "MAP_COARSE": "the flash has fewer erase sectors than the smallest map needs",
    "SLOTS_DIFFER": "an image must fit both slots",
    "SLOT_SMALL": "a slot without room for its trailer and an image",
    "LOG_HALVES": "a log is two halves of whole erase sectors",
    "LOG_SMALL": "a half does not hold one record of the largest payload",
    "PART_MISSING": "a partition that the firmware needs",
    "PART_TWICE": "partitions that nobody can tell apart",
    "PART_NAME": "a label that the table cuts off",
    "PART_EARLY": "a partition over the boot stage or the table",
    "PART_OUTSIDE": "a partition ends behind the chip",
    "PART_OVERLAP": "two partitions share bytes",
    "PART_ALIGN": "a partition off its border",
    "PART_SIZE": "a partition of the wrong size",
    "OTA_SLOTS": "no two like places for the base firmware",
    "ROMFS_SIZE": "flash.size is not that of the romfs partition",
    "SECTORS_SUM": "the sectors are not as large as flash.size",
    "SECTOR_ERASE": "flash.erase is no whole number of the largest sector",
    "SECTOR_BORDER": "a region splits a real sector",
    "WRITE_STEP": "flash.write is no multiple of what the chip programs at once",
    "INTERNAL_ECC": "a flash that can stop the boot after a power cut",
}


@dataclass(frozen=True)
class Problem:
    """`code`: one of CODES; `text` names the field or partition and says what to do."""

    code: str
    text: str

    def __post_init__(self) -> None:
        assert self.code in CODES, self.code
