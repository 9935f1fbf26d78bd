"""Slot trailer: MCUboot's direct-XIP trailer with our counter and attempt marks above it. FORMATS 2.

Unit = max(8, write unit). From the slot's end downwards (unit 8):
    -16   magic, 16 bytes, written last: the slot is armed
    -24   image_ok    0x01 = confirmed
    -32   copy_done   0x01 = was selected to boot
    -48   swap_info, swap_size: MCUboot's, left erased
    ...   MAX_BOOTS attempt marks, one unit each, then MAX_BOOTS notes, one unit each
    -256  install record: counter, its complement, attempts allowed, its complement (4 x u32)
The marks stand between the magic and the install record: whichever end a cut erase begins at, the
trial is gone before its marks are, so it never comes back with fresh attempts.
A flag is erased (unset), 0x01 (set) or anything else (bad). No unit is programmed twice. The trailer
has erase sectors of its own, so that arming a slot again never touches the image: `image_limit` is
where they begin, and an image must end at or before it.
"""

import struct

from bootloader_verify.errors import FLASH_RANGE, NOT_ARMED, FlashError
from bootloader_verify.flash import align_up, is_blank, program_checked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from bootloader_verify.container import Read
    from bootloader_verify.flash import Flash

ERASED, SET, BAD = "erased", "set", "bad"
ATTEMPTS_DEFAULT = 3
MAX_BOOTS = 12  # trial boots in all, power losses included
MAGIC_BYTES = 16
_MAGIC_8 = bytes.fromhex("77c295f360d2ef7f3552500f2cb67980")
_MAGIC_TAIL = bytes.fromhex("2de15d29410b8d77679c110f1f8a")
_INSTALL = "<IIII"
_INSTALL_BYTES = 16
_U32 = 0xFFFFFFFF
_FLAG_SET = 0x01
# How an attempt ended -> the note's first byte.
POWER, WATCHDOG, SOFT, HARD, UNKNOWN = "power", "watchdog", "soft", "hard", "unknown"
# 0xA0 has a bit that no other code has, and lacks one of each: no torn note reads as a power loss.
_NOTES = {POWER: 0xA0, WATCHDOG: 0x57, SOFT: 0x53, HARD: 0x48, UNKNOWN: 0x3F}
RESET_CAUSES = tuple(sorted(_NOTES))


class Layout:
    """Offsets of the trailer's fields in a slot of `slot_size` bytes."""

    def __init__(
        self, slot_size: int, write_bytes: int, erase_bytes: int, erased: int = 0xFF
    ) -> None:
        unit = max(8, write_bytes)
        self.slot_size = slot_size
        self.unit = unit
        self.erased = erased
        self.magic = slot_size - MAGIC_BYTES
        self.image_ok = (self.magic - unit) // unit * unit
        self.copy_done = self.image_ok - unit
        swap_size = self.copy_done - 2 * unit
        self.marks = swap_size - MAX_BOOTS * unit
        self.notes = self.marks - MAX_BOOTS * unit
        self.install = self.notes - align_up(_INSTALL_BYTES, unit)
        self.image_limit = slot_size - align_up(slot_size - self.install, erase_bytes)
        if self.image_limit < erase_bytes:
            raise FlashError(FLASH_RANGE, "a slot of {} bytes has no room".format(slot_size))

    def mark(self, index: int) -> int:
        return self.marks + index * self.unit

    def note(self, index: int) -> int:
        return self.notes + index * self.unit

    def magic_value(self) -> bytes:
        """MCUboot's magic: with units above 8 it begins with the unit."""
        if self.unit == 8:
            return _MAGIC_8
        return struct.pack("<H", self.unit) + _MAGIC_TAIL


class TrailerState:
    """What a trailer says. `counter` is None unless the install record is whole.

    boots: trial boots begun. attempts_used: those that did not end in a power loss.
    ended: whether the last one has its note.
    """

    def __init__(self) -> None:
        self.magic = ERASED
        self.image_ok = ERASED
        self.copy_done = ERASED
        self.counter: "Optional[int]" = None
        self.attempts = ATTEMPTS_DEFAULT
        self.boots = 0
        self.attempts_used = 0
        self.ended = True
        self.blank = True

    @property
    def confirmed(self) -> bool:
        return self.magic == SET and self.image_ok == SET and self.counter is not None

    @property
    def armed(self) -> bool:
        """Armed and not confirmed: a trial, whether or not it has attempts left.

        A torn copy_done is no reason against it: it is what a power cut at the first boot of a trial
        leaves, it decides nothing (nor does it in MCUboot), and the attempt marks do the counting.
        """
        return self.magic == SET and self.counter is not None and self.image_ok == ERASED

    @property
    def exhausted(self) -> bool:
        return self.attempts_used >= self.attempts or self.boots >= MAX_BOOTS


def parse(read: "Read", layout: Layout) -> TrailerState:
    """Read one trailer. Never raises for what stands there, only if it cannot be read."""
    state = TrailerState()
    state.magic = _magic(read, layout)
    state.image_ok = _flag(read, layout, layout.image_ok)
    state.copy_done = _flag(read, layout, layout.copy_done)
    _parse_install(read, layout, state)
    _parse_boots(read, layout, state)
    state.blank = is_blank(read, layout.image_limit, layout.slot_size, layout.erased)
    return state


def arm(region: "Flash", layout: Layout, counter: int, attempts: int = ATTEMPTS_DEFAULT) -> None:
    """Make the slot a trial. The trailer must be erased; the magic comes last."""
    record = struct.pack(_INSTALL, counter, counter ^ _U32, attempts, attempts ^ _U32)
    program_checked(region, layout.install, _padded(layout, record))
    start = layout.magic // layout.unit * layout.unit
    blank = bytes([layout.erased]) * (layout.magic - start)
    program_checked(region, start, blank + layout.magic_value())


def erase(region: "Flash", layout: Layout) -> None:
    """Disarm: the first step of every install."""
    region.erase(layout.image_limit, layout.slot_size - layout.image_limit)


def mark_attempt(region: "Flash", layout: Layout, state: TrailerState) -> None:
    """Mark one more trial boot; FlashError if the mark cannot be read back (then: no trial)."""
    if state.boots >= MAX_BOOTS:
        raise FlashError(FLASH_RANGE, "no attempt mark left")
    if state.copy_done == ERASED:
        program_checked(region, layout.copy_done, _flag_bytes(layout))
    program_checked(region, layout.mark(state.boots), _flag_bytes(layout))


def note_reset(region: "Flash", layout: Layout, state: TrailerState, cause: str) -> None:
    """Note how the last attempt ended; `cause` is one of RESET_CAUSES."""
    code = _NOTES.get(cause, _NOTES[UNKNOWN])
    program_checked(region, layout.note(state.boots - 1), _padded(layout, bytes([code])))


def confirm(region: "Flash", layout: Layout, state: TrailerState) -> None:
    """Make a running trial permanent. Nothing to do if it is; FlashError if it is no trial."""
    if state.confirmed:
        return
    if not state.armed:
        raise FlashError(NOT_ARMED, "magic {}, image_ok {}".format(state.magic, state.image_ok))
    program_checked(region, layout.image_ok, _flag_bytes(layout))


def _flag_bytes(layout: Layout) -> bytes:
    return _padded(layout, bytes([_FLAG_SET]))


def _padded(layout: Layout, data: bytes) -> bytes:
    return data + bytes([layout.erased]) * (align_up(len(data), layout.unit) - len(data))


def _magic(read: "Read", layout: Layout) -> str:
    got = bytearray(MAGIC_BYTES)
    read(layout.magic, got)
    if got == layout.magic_value():
        return SET
    return ERASED if got == bytes([layout.erased]) * MAGIC_BYTES else BAD


def _flag(read: "Read", layout: Layout, offset: int) -> str:
    unit = bytearray(layout.unit)
    read(offset, unit)
    if unit == bytes([layout.erased]) * layout.unit:
        return ERASED
    return SET if unit == _flag_bytes(layout) else BAD


def _parse_install(read: "Read", layout: Layout, state: TrailerState) -> None:
    raw = bytearray(_INSTALL_BYTES)
    read(layout.install, raw)
    counter, inverse, attempts, attempts_inverse = struct.unpack(_INSTALL, raw)
    if counter ^ inverse == _U32 and attempts ^ attempts_inverse == _U32:
        state.counter = counter
        state.attempts = max(1, min(attempts, ATTEMPTS_DEFAULT))


def _parse_boots(read: "Read", layout: Layout, state: TrailerState) -> None:
    """A mark that is not erased is a boot, even a torn one; only a whole power note excuses it."""
    unit = bytearray(layout.unit)
    power_note = _padded(layout, bytes([_NOTES[POWER]]))
    for i in range(MAX_BOOTS):
        if _flag(read, layout, layout.mark(i)) == ERASED:
            continue
        state.boots = i + 1
        read(layout.note(i), unit)
        state.ended = unit != bytes([layout.erased]) * layout.unit
        if unit != power_note:
            state.attempts_used += 1
