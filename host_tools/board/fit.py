"""Does a flash map fit its flash? Every reason why not, as one Problem each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from agent import protocol
from bootloader_verify.errors import FlashError
from bootloader_verify.flash import align_up
from bootloader_verify.keyset_store import CONTAINER_BYTES_MAX
from bootloader_verify.records import HEAD_BYTES
from host_tools.board import partitions
from host_tools.board.facts import ESP32, LOGS, SLOTS, STM32, Board
from host_tools.board.problem import Problem

WRITE_MOST = 32  # the largest unit that MCUboot's trailer and imgtool know
_SECTORS_LEAST = 2 * len(SLOTS) + 2 * len(LOGS)  # image and trailer; two halves
# What vfs.rom_ioctl(3) of MicroPython's stm32 port answers: the step in which the flash is written.
_STEP_EXTERNAL, _STEP_INTERNAL = 4, 16
# Their own flash has ECC: a word that a power cut tore faults when it is read, and no boot gets past it.
_WITH_ECC = ("stm32h7", "stm32h5", "stm32l4", "stm32l5", "stm32u5", "stm32g0", "stm32g4", "stm32wb")

Rule = Callable[[Board], Iterator[Problem]]


@dataclass(frozen=True)
class Log:
    """What a record log has to hold: payloads up to `payload_max` bytes, `copies` a save."""

    payload_max: int
    copies: int

    def record_bytes(self, board: Board) -> int:
        return align_up(HEAD_BYTES + self.payload_max, board.write_bytes)

    def per_half(self, board: Board, size: int) -> int:
        """Records of the largest payload in each half of a region of `size` bytes."""
        return size // 2 // self.record_bytes(board)


# The host may not import the agent: a test keeps these numbers equal to those of the device's code.
RECORDS = {
    "epoch": Log(4, 2),  # bootloader_verify/counter.py
    "keyset": Log(CONTAINER_BYTES_MAX, 2),
    "journal": Log(2 + 1024 + 5120, 2),  # agent/update/journal.py: length, JSON, manifest container
    "events": Log(protocol.EVENT_BYTES_MAX, 1),
    "app_data": Log(256, 1),  # agent/app_host.py
}


def problems(board: Board) -> list[Problem]:
    """All that is wrong with the map of `board`; empty if it fits."""
    return [problem for rule in _RULES + _OF_PORT.get(board.port, ()) for problem in rule(board)]


def _units(board: Board) -> Iterator[Problem]:
    erase, write = board.erase_bytes, board.write_bytes
    if write > erase:
        text = f"flash.write {write} is larger than flash.erase {erase}"
        yield Problem("FLASH_UNITS", f"{text}: look both up in the chip's data sheet")
    if write > WRITE_MOST:
        text = f"flash.write {write}: a slot trailer has units of {WRITE_MOST} bytes at most"
        yield Problem("FLASH_UNITS", f"{text}: such a flash cannot hold slots")
    if board.flash_size % erase:
        text = f"flash.size 0x{board.flash_size:x} splits an erase sector of {erase}"
        yield Problem("FLASH_UNITS", f"{text}: take whole sectors")


def _aligned(board: Board) -> Iterator[Problem]:
    for name, region in board.regions.items():
        if region.offset % board.erase_bytes or region.size % board.erase_bytes:
            text = f"regions.{name} splits an erase sector of {board.erase_bytes}"
            yield Problem("MAP_ALIGN", f"{text}: offset and size are multiples of it")


def _overlaps(board: Board) -> Iterator[Problem]:
    end, before = 0, ""
    for name, region in sorted(board.regions.items(), key=lambda item: item[1].offset):
        if region.offset < end:
            text = f"regions.{name} overlaps {before}"
            yield Problem("MAP_OVERLAP", f"{text}: 0x{end:x} is the first free place")
        if region.end > end:
            end, before = region.end, name


def _outside(board: Board) -> Iterator[Problem]:
    for name, region in board.regions.items():
        if region.end > board.flash_size:
            text = f"regions.{name} ends behind the flash, at 0x{region.end:x}"
            yield Problem("MAP_OUTSIDE", f"{text} of 0x{board.flash_size:x}: make the map smaller")


def _coarse(board: Board) -> Iterator[Problem]:
    """No arrangement helps then, so it is said in so many words."""
    count = board.flash_size // board.erase_bytes
    if count < _SECTORS_LEAST:
        text = (
            f"no map fits {count} erase sectors of {board.erase_bytes} bytes: "
            f"{len(SLOTS)} slots take 2 each at least, {len(LOGS)} logs 2 each, "
            f"which makes {_SECTORS_LEAST}"
        )
        yield Problem("MAP_COARSE", f"{text}: take a flash with smaller sectors, as a serial NOR")


def _slots(board: Board) -> Iterator[Problem]:
    a, b = (board.regions[name] for name in SLOTS)
    if a.size != b.size:
        text = f"regions.slot_b is not as large as regions.slot_a (0x{b.size:x}, 0x{a.size:x})"
        yield Problem("SLOTS_DIFFER", f"{text}: an image must fit both")
    for name in SLOTS:
        try:
            board.layout(name.removeprefix("slot_"))
        except FlashError as error:
            text = f"regions.{name} has no room for an image in front of its trailer"
            yield Problem("SLOT_SMALL", f"{text}: {error.detail}")


def _logs(board: Board) -> Iterator[Problem]:
    for name in LOGS:
        size = board.regions[name].size
        if size % (2 * board.erase_bytes):
            text = f"regions.{name} is not made of two halves of whole erase sectors"
            yield Problem("LOG_HALVES", f"{text}: a multiple of {2 * board.erase_bytes} is")
        log = RECORDS[name]
        if not log.per_half(board, size):
            text = f"half of regions.{name} has {size // 2} bytes, its largest record"
            yield Problem("LOG_SMALL", f"{text} {log.record_bytes(board)}: make it larger")


# --- stm32 --------------------------------------------------------------------------------------
def _sectors(board: Board) -> Iterator[Problem]:
    """The chip erases whole sectors of its own, whatever flash.erase says."""
    stm32 = board.stm32
    assert stm32 is not None
    if stm32.size != board.flash_size:
        text = f"stm32.sectors make 0x{stm32.size:x} bytes, flash.size is 0x{board.flash_size:x}"
        yield Problem("SECTORS_SUM", f"{text}: make them alike")
    if board.erase_bytes % stm32.largest:
        text = f"flash.erase {board.erase_bytes} is no multiple of the largest sector"
        yield Problem("SECTOR_ERASE", f"{text}, {stm32.largest}: an erase would take more with it")
    for name, region in board.regions.items():
        for where in (region.offset, region.end):
            if where <= stm32.size and not stm32.is_border(where):
                text = f"regions.{name} has a border at 0x{where:x}, inside of a sector"
                yield Problem("SECTOR_BORDER", f"{text}: move it to where a sector begins")


def _step(board: Board) -> Iterator[Problem]:
    assert board.stm32 is not None
    step = _STEP_EXTERNAL if board.stm32.external else _STEP_INTERNAL
    if board.write_bytes % step:
        text = f"flash.write {board.write_bytes}: this flash is written in steps of {step} bytes"
        yield Problem("WRITE_STEP", f"{text}: what is over would be dropped silently")


def _no_ecc(board: Board) -> Iterator[Problem]:
    assert board.stm32 is not None
    if not board.stm32.external and board.family.startswith(_WITH_ECC):
        text = (
            f"the flash of a {board.family} has ECC: a word that a power cut tore faults when read"
        )
        yield Problem("INTERNAL_ECC", f"{text}, at every boot: take an external NOR")


_RULES: tuple[Rule, ...] = (_units, _aligned, _overlaps, _outside, _coarse, _slots, _logs)
_OF_PORT: dict[str, tuple[Rule, ...]] = {
    ESP32: (partitions.rules,),
    STM32: (_sectors, _step, _no_ecc),
}
