"""The partition table of an ESP32: its rules, and the file that ESP-IDF reads.

The rules are those of ESP-IDF's gen_esp32part.py, and what MicroPython and the esp32 port look for.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from host_tools.board.facts import Board, Esp32, Partition
from host_tools.board.problem import Problem

# ESP-IDF's names of the subtypes.
SUBTYPES = {
    "app": {"factory": 0x00, "test": 0x20} | {f"ota_{i}": 0x10 + i for i in range(16)},
    "data": {
        "ota": 0x00,
        "phy": 0x01,
        "nvs": 0x02,
        "coredump": 0x03,
        "nvs_keys": 0x04,
        "efuse": 0x05,
        "undefined": 0x06,
        "fat": 0x81,
        "spiffs": 0x82,
        "littlefs": 0x83,
    },
}
ROMFS = "romfs"  # the label and the subtype that MicroPython looks for
_ROMFS_SUBTYPE = "0x8f"
FIRST_BYTE = 0x9000  # below: the chip's boot stage and, at 0x8000, the table itself
_NAME_BYTES_MAX = 15  # 16 with the zero behind it
_SECTOR = 0x1000
_APP_ALIGN = 0x10000  # a page of the chip's memory map
_OTADATA_BYTES = 0x2000  # two sectors, written in turn
_NVS_LEAST = 0x3000
_VFS_LEAST = 0x10000  # device.json and the TLS files
# (type, subtype, name or "" for any, what it is for)
_NEEDED = (
    ("data", "nvs", "", "ESP-IDF keeps its settings there"),
    ("data", "ota", "", "it says which base firmware boots"),
    ("data", _ROMFS_SUBTYPE, ROMFS, "the slots and all records stand there"),
    ("data", "fat", "vfs", "device.json stands there"),
)


def csv(board: Board) -> str:
    """partitions.csv for ESP-IDF; the table of `board` must fit (fit.problems)."""
    assert board.esp32 is not None
    lines = [
        f"# Partition table of {board.name}. Generated from its board file: change that one.",
        "# Name, Type, SubType, Offset, Size, Flags",
    ]
    lines += [
        f"{one.name}, {one.kind}, {one.subtype}, 0x{one.offset:x}, 0x{one.size:x},"
        for one in in_order(board.esp32)
    ]
    return "\n".join(lines) + "\n"


def in_order(esp32: Esp32) -> list[Partition]:
    return sorted(esp32.partitions, key=lambda one: one.offset)


def romfs(esp32: Esp32) -> Partition | None:
    """The partition in which the regions stand, if there is exactly one."""
    found = _of(esp32, "data", _ROMFS_SUBTYPE, ROMFS)
    return found[0] if len(found) == 1 else None


def rules(board: Board) -> Iterator[Problem]:
    """All that is wrong with the table."""
    esp32 = board.esp32
    assert esp32 is not None
    for rule in (_needed, _names, _places, _overlaps, _aligned, _sizes, _apps):
        yield from rule(esp32)
    yield from _romfs_is_the_flash(board, esp32)


def _of(esp32: Esp32, kind: str, subtype: str, name: str = "") -> list[Partition]:
    return [
        one
        for one in esp32.partitions
        if (one.kind, one.subtype) == (kind, subtype) and name in ("", one.name)
    ]


def _needed(esp32: Esp32) -> Iterator[Problem]:
    for kind, subtype, name, why in _NEEDED:
        what = f"{name} ({kind}, {subtype})" if name else f"({kind}, {subtype})"
        count = len(_of(esp32, kind, subtype, name))
        if not count:
            yield Problem("PART_MISSING", f"there is no partition {what}: {why}")
        elif count > 1:
            yield Problem("PART_TWICE", f"there are {count} partitions {what}: leave one")


def _names(esp32: Esp32) -> Iterator[Problem]:
    names = [one.name for one in esp32.partitions]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Problem("PART_TWICE", f"{names.count(name)} partitions are named {name}: rename one")
    for name in names:
        if len(name) > _NAME_BYTES_MAX:
            text = f"{name} has more than {_NAME_BYTES_MAX} letters: shorten it"
            yield Problem("PART_NAME", text)


def _places(esp32: Esp32) -> Iterator[Problem]:
    for one in in_order(esp32):
        if one.offset < FIRST_BYTE:
            text = f"{one.name} begins at 0x{one.offset:x}, in the boot stage or the table itself"
            yield Problem("PART_EARLY", f"{text}: 0x{FIRST_BYTE:x} is the first place")
        if one.end > esp32.flash_size:
            text = f"{one.name} ends at 0x{one.end:x}, the chip has 0x{esp32.flash_size:x} bytes"
            yield Problem("PART_OUTSIDE", f"{text}: make it smaller")


def _overlaps(esp32: Esp32) -> Iterator[Problem]:
    for one, behind in pairwise(in_order(esp32)):
        if behind.offset < one.end:
            text = f"{behind.name} at 0x{behind.offset:x} overlaps {one.name}"
            yield Problem("PART_OVERLAP", f"{text}: move it to 0x{one.end:x} or behind")


def _aligned(esp32: Esp32) -> Iterator[Problem]:
    for one in in_order(esp32):
        step = _APP_ALIGN if one.kind == "app" else _SECTOR
        if one.offset % step:
            text = f"{one.name} begins at 0x{one.offset:x}, which is no multiple of 0x{step:x}"
            yield Problem("PART_ALIGN", f"{text}: move it")
        if one.size % _SECTOR:
            text = f"{one.name} has 0x{one.size:x} bytes, no whole sectors of 0x{_SECTOR:x}"
            yield Problem("PART_ALIGN", f"{text}: change its size")


def _sizes(esp32: Esp32) -> Iterator[Problem]:
    for one in _of(esp32, "data", "ota"):
        if one.size != _OTADATA_BYTES:
            text = f"{one.name} has 0x{one.size:x} bytes: it needs 0x{_OTADATA_BYTES:x} exactly"
            yield Problem("PART_SIZE", text)
    for subtype, name, least in (("nvs", "", _NVS_LEAST), ("fat", "vfs", _VFS_LEAST)):
        for one in _of(esp32, "data", subtype, name):
            if one.size < least:
                text = f"{one.name} has 0x{one.size:x} bytes: it needs 0x{least:x} at least"
                yield Problem("PART_SIZE", text)


def _apps(esp32: Esp32) -> Iterator[Problem]:
    """The base firmware is updated in turn: two places for it, as large as each other."""
    apps = [one for one in in_order(esp32) if one.subtype.startswith("ota_")]
    numbers = sorted(SUBTYPES["app"][one.subtype] - 0x10 for one in apps)
    if len(apps) < 2 or numbers != list(range(len(apps))):
        text = "a base firmware needs two places at least: app partitions ota_0 and ota_1"
        yield Problem("OTA_SLOTS", text)
    if len({one.size for one in apps}) > 1:
        text = "the app partitions differ in size: what fits one must fit the other"
        yield Problem("OTA_SLOTS", text)


def _romfs_is_the_flash(board: Board, esp32: Esp32) -> Iterator[Problem]:
    found = romfs(esp32)
    if found is not None and found.size != board.flash_size:
        text = f"flash.size is 0x{board.flash_size:x}, the partition {ROMFS} has 0x{found.size:x}"
        yield Problem("ROMFS_SIZE", f"{text} bytes: make them alike")
    if board.erase_bytes != _SECTOR:
        text = f"flash.erase is {board.erase_bytes}: esp32.Partition erases {_SECTOR} bytes at once"
        yield Problem("FLASH_UNITS", text)
    if board.erased != 0xFF:
        yield Problem("FLASH_UNITS", "flash.erased is 0x00: a NOR flash erases to 0xFF")
