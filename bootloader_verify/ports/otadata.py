"""What the ESP32's second-stage bootloader reads to choose an app: ESP-IDF's `otadata`, read only.

Two sectors of 4,096 bytes, one entry of 32 bytes at the start of each:

    off  size  field
      0     4  seq     larger wins; app slot = (seq - 1) mod number of slots; 0xFFFFFFFF: erased
      4    20  label   not used
     24     4  state   see below
     28     4  crc     of the four bytes of seq and of nothing else

The CRC is the ROM's crc32_le(0xFFFFFFFF, seq, 4). The ROM inverts its start value, so the register
begins with 0: in Python `binascii.crc32(seq, 0xFFFFFFFF)`, as ESP-IDF's own otatool.py writes it
(seq 1: 0x4743989A). The state is under no CRC: an erase that a power cut stopped may turn it into
another one. That cannot be mended from here; it is why nothing in esp32_ota.py lets an untried
base be the only one that an entry names.

Rules of components/bootloader_support/src/bootloader_common_loader.c and bootloader_utility.c.
"""

import binascii
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    Buffer = bytes | bytearray | memoryview

ENTRY = "<I20sII"
ENTRY_BYTES = 32
SECTOR_BYTES = 4096
NEW = 0  # set_boot() chose it; it has not run yet
PENDING = 1  # it has its one attempt now
VALID = 2
INVALID = 3
ABORTED = 4  # its attempt ended without a confirmation
UNDEFINED = 0xFFFFFFFF  # written without rollback: as good as VALID
NAMES = {
    NEW: "new",
    PENDING: "pending",
    VALID: "valid",
    INVALID: "invalid",
    ABORTED: "aborted",
    UNDEFINED: "undefined",
}
_ERASED_SEQ = 0xFFFFFFFF


class Entry:
    """One entry. `whole`: seq and CRC fit. `selectable`: the bootloader would go by it."""

    def __init__(self, raw: "Buffer") -> None:
        self.erased = bytes(raw[:ENTRY_BYTES]) == b"\xff" * ENTRY_BYTES
        self.seq, _, self.state, stored = struct.unpack_from(ENTRY, raw, 0)
        self.whole = self.seq != _ERASED_SEQ and stored == crc(self.seq)
        self.selectable = self.whole and self.state not in (INVALID, ABORTED)

    def slot(self, slots: int) -> int:
        """Number of the app slot that it names; seq 0 wraps as the bootloader's u32 does."""
        number: int = ((self.seq - 1) & 0xFFFFFFFF) % slots
        return number


def crc(seq: int) -> int:
    """The CRC that belongs to `seq`."""
    return binascii.crc32(struct.pack("<I", seq), 0xFFFFFFFF)


def name(state: "Optional[int]") -> str:
    """For people: a state, or "none" where otadata says nothing."""
    return "none" if state is None else NAMES.get(state, str(state))


def active(entries: "list[Entry]") -> "Optional[Entry]":
    """The entry of the two that the bootloader goes by; None: it tries the slots from 0 on."""
    first, second = entries
    if first.selectable and second.selectable:
        return second if second.seq > first.seq else first
    if first.selectable:
        return first
    return second if second.selectable else None


def state_of(entries: "list[Entry]", slot: int, slots: int) -> "Optional[int]":
    """What otadata says of an app slot: the state in its newest whole entry; None if it has none."""
    found = None
    for entry in entries:
        if entry.whole and entry.slot(slots) == slot and (found is None or entry.seq > found.seq):
            found = entry
    return found.state if found else None
