"""Two slots in any state: how they were made, their bytes, and what THREATS and FORMATS let boot.

Nothing of decision.py and of trailer.py's parser is used, only offsets and codes of the format.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from bootloader_verify import container, keyset, trailer
from bootloader_verify.counter import EpochCounter
from bootloader_verify.errors import READ_FAILED, FlashError
from bootloader_verify.keyset import Key, Keyset
from bootloader_verify.slot import region
from bootloader_verify.trailer import MAX_BOOTS, Layout
from hil.virtual.device.virtual_cut import mix
from host_tools import container as containers
from tests.power import rig
from tests.power.flash_model import PROGRAM, RamNor

SLOT, SECTOR = 2048, 1024
PAYLOAD_BYTES = 300
# write unit, erased value
GEOMETRIES = [(8, 0xFF), (32, 0xFF), (8, 0x00)]
LOW, EQUAL, HIGH = 4, 5, 6  # install counters
POWER, WATCHDOG = trailer.POWER, trailer.WATCHDOG
EPOCH, FAR_EPOCH, OLD_EPOCH = 3, 20, 2
EPOCH_STEP = 16
STORES = {"empty": 0, "stored": EPOCH, "damaged": None}  # what an epoch region says
_NOTES = {POWER: 0xA0, WATCHDOG: 0x57}
_U32 = 0xFFFFFFFF
_REVOKED = rig.TestSigner("release_2")


@dataclass(frozen=True)
class Made:
    """How a slot was made.

    history: (mark, note) of each trial boot; a mark is "set", "torn" or "erased" (a gap), a note "",
    "power", "watchdog" or "torn". record: what stands in place of a whole install record, when
    counter is None. stuck: the next mark reads erased and cannot be programmed. image: see IMAGES.
    """

    magic: str = "set"
    image_ok: str = "erased"
    copy_done: str = "erased"
    counter: int | None = EQUAL
    attempts: int = 3
    history: tuple[tuple[str, str], ...] = ()
    image: str = "good"
    record: str = "erased"
    stuck: bool = False

    @property
    def armed(self) -> bool:
        return self.magic == "set" and self.counter is not None and self.image_ok == "erased"

    @property
    def confirmed(self) -> bool:
        return self.magic == "set" and self.counter is not None and self.image_ok == "set"

    @property
    def open(self) -> bool:
        """A trial whose last boot has no note yet, and which can be read."""
        unnoted = bool(self.history) and self.history[-1][1] == ""
        return self.armed and unnoted and self.image != "unreadable"

    @property
    def used(self) -> int:
        """A mark that is not erased is an attempt, unless power alone ended it."""
        return sum(mark != "erased" and note != POWER for mark, note in self.history)

    @property
    def exhausted(self) -> bool:
        return self.used >= self.attempts or len(self.history) >= MAX_BOOTS

    def noted(self, cause: str) -> Made:
        """After the boot stage said how the last trial boot ended."""
        if not self.open:
            return self
        return replace(self, history=(*self.history[:-1], (self.history[-1][0], cause)))

    def tried(self) -> Made:
        """After one more trial boot."""
        done = "set" if self.copy_done == "erased" else self.copy_done
        return replace(self, history=(*self.history, ("set", "")), copy_done=done)


# --- what may boot ------------------------------------------------------------------------------------
def _valid(made: Made, stored: int | None) -> bool:
    """Signed, for this hardware, and its epoch neither below the stored one nor too far above it."""
    if stored is None:
        return made.image in ("good", "old", "far")
    if made.image == "old":
        return stored <= OLD_EPOCH
    if made.image == "far":
        # Where no epoch was ever stored, all but a trial may tell it: a factory's first image.
        first = not stored and not made.armed
        return made.confirmed or first or stored + EPOCH_STEP >= FAR_EPOCH
    return made.image == "good"


def _only_aged(made: Made, stored: int | None) -> bool:
    """Confirmed once, and nothing but a later epoch or revocation is against it."""
    return made.confirmed and made.image in ("old", "revoked") and not _valid(made, stored)


def acceptable(made: Made, stored: int | None) -> bool:
    """THREATS I2: an image that verifies, unless its trial failed; or the last one, grown old."""
    if made.armed and (made.exhausted or made.stuck):
        return False
    return _valid(made, stored) or _only_aged(made, stored)


def must_boot(slots: Iterable[Made], stored: int | None) -> tuple[str, int | None]:
    """(mode, index of the slot) in FORMATS' boot order; ("recovery", None) if nothing may boot."""
    ranked = []
    for index, made in enumerate(slots):
        if acceptable(made, stored):
            counter = -1 if made.counter is None else made.counter
            ranked.append((_rank(made, stored), counter, -index))
    if not ranked:
        return "recovery", None
    rank, _, index = max(ranked)
    return {4: "trial", 3: "confirmed", 2: "last_resort", 1: "last_confirmed"}[rank], -index


def _rank(made: Made, stored: int | None) -> int:
    if not _valid(made, stored):
        return 1
    return 4 if made.armed else 3 if made.confirmed else 2


# --- bytes of a trailer -------------------------------------------------------------------------------
def torn_byte(erased: int, value: int) -> int:
    """A byte on its way from `erased` to `value`: only one of the bits that change has changed."""
    changes = erased ^ value
    one = erased ^ (changes & -changes)
    return one if one != value else 0x02  # a single bit does not tear: something else that is bad


def _first_byte(form: str, erased: int) -> int:
    if form in ("erased", ""):
        return erased
    whole = {"set": 0x01, "bad": 0x81, **_NOTES}
    if form in whole:
        return whole[form]
    return torn_byte(erased, _NOTES[POWER] if form == "torn note" else whole["set"])


def _record(made: Made, erased: int) -> bytes:
    counter = EQUAL if made.counter is None else made.counter
    whole = struct.pack("<IIII", counter, counter ^ _U32, made.attempts, made.attempts ^ _U32)
    if made.counter is not None:
        return whole
    blank = bytes([erased]) * 16
    forms = {"erased": blank, "torn": mix(blank, whole, "prefix-7"), "bad": whole[:12] + bytes(4)}
    return forms[made.record]


def _magic(form: str, layout: Layout) -> bytes:
    whole, blank = layout.magic_value(), bytes([layout.erased]) * 16
    bad = whole[:7] + bytes([whole[7] ^ 4]) + whole[8:]
    return {"set": whole, "erased": blank, "bad": bad, "torn": mix(blank, whole, "prefix-9")}[form]


@functools.lru_cache(maxsize=4096)
def trailer_bytes(made: Made, layout: Layout) -> bytes:
    """The slot's last sector as `made` says."""
    base = layout.image_limit
    raw = bytearray(bytes([layout.erased]) * (layout.slot_size - base))
    raw[layout.magic - base :] = _magic(made.magic, layout)
    raw[layout.image_ok - base] = _first_byte(made.image_ok, layout.erased)
    raw[layout.copy_done - base] = _first_byte(made.copy_done, layout.erased)
    raw[layout.install - base : layout.install - base + 16] = _record(made, layout.erased)
    for i, (mark, note) in enumerate(made.history):
        note = "torn note" if note == "torn" else note
        raw[layout.mark(i) - base] = _first_byte(mark, layout.erased)
        raw[layout.note(i) - base] = _first_byte(note, layout.erased)
    return bytes(raw)


# --- a whole flash ------------------------------------------------------------------------------------
def keys() -> Keyset:
    """One release key that counts and one that is revoked."""
    signers = (rig.RELEASE, _REVOKED)
    trusted = {
        one.key_id: Key(one.key_id, one.alg, keyset.RELEASE, keyset.ALL_CLASSES, one.public_raw)
        for one in signers
    }
    return Keyset(1, trusted, dict.fromkeys(keyset.ROLES, 1), (_REVOKED.key_id,))


@functools.lru_cache
def image(name: str, slot: int) -> bytes:
    """The container for slot 0 or 1; the two slots never hold the same version."""
    version = f"1.{slot}.0"
    epoch = {"far": FAR_EPOCH, "old": OLD_EPOCH}.get(name, EPOCH)
    signer = {"revoked": _REVOKED, "stranger": rig.STRANGER}.get(name, rig.RELEASE)
    whole = rig.image(version, epoch, PAYLOAD_BYTES, signer)
    if name == "other hardware":
        stuff = b"x" * PAYLOAD_BYTES
        other = containers.build(stuff, container.KIND_IMAGE, version, epoch, rig.VID, rig.VID)
        return containers.add_signature(other, rig.RELEASE)
    broken = {"broken": whole[:200] + bytes([whole[200] ^ 1]) + whole[201:], "none": b""}
    return broken.get(name, whole)


def payload(name: str, slot: int) -> bytes:
    start = int.from_bytes(image("good", slot)[8:10], "little")
    return image(name, slot)[start : start + PAYLOAD_BYTES]


IMAGES = ("good", "old", "far", "revoked", "broken", "none", "stranger", "other hardware")
PLACES = ("bytes behind", "bytes in front of the trailer", "unreadable")  # good, but for the place


class Bench:
    """A geometry; `flash(slots, store)` makes the chip of a state."""

    def __init__(self, unit: int, erased: int) -> None:
        self.map = rig.board(SECTOR, unit, SLOT)
        self.layout = Layout(SLOT, unit, SECTOR, erased)
        self.unit, self.erased = unit, erased
        self.keys = keys()
        self._slot_bytes = functools.lru_cache(maxsize=8192)(self._make_slot)
        self._stores = {name: self._store(value) for name, value in STORES.items()}

    def flash(self, slots: Iterable[Made], store: str) -> Chip:
        chip = Chip(self.map.FLASH_SIZE, SECTOR, self.unit, self.erased)
        for index, made in enumerate(slots):
            start = self.map.REGIONS["slot_" + "ab"[index]][0]
            chip.place(start, *self._slot_bytes(made, index))
            if made.stuck:
                chip.wear_out(start + self.layout.mark(len(made.history)))
            if made.image == "unreadable":
                chip.deaf = range(start, start + SLOT)
        chip.place(self.map.REGIONS["epoch"][0], *self._stores[store])
        return chip

    def _programmed(self, raw: bytes) -> bytes:
        """For each unit: a unit that does not look erased was programmed."""
        blank = bytes([self.erased]) * self.unit
        return bytes(raw[at : at + self.unit] != blank for at in range(0, len(raw), self.unit))

    def _make_slot(self, made: Made, index: int) -> tuple[bytes, bytes]:
        limit = self.layout.image_limit
        raw = bytearray(bytes([self.erased]) * limit) + trailer_bytes(made, self.layout)
        data = image(made.image, index)
        raw[: len(data)] = data
        if made.image == "bytes behind":
            raw[limit - 1] ^= 1
        if made.image == "bytes in front of the trailer":
            raw[limit] ^= 1
        return bytes(raw), self._programmed(bytes(raw))

    def _store(self, epoch: int | None) -> tuple[bytes, bytes]:
        flash = RamNor(self.map.FLASH_SIZE, SECTOR, self.unit, self.erased)
        place = region(flash, self.map, "epoch")
        if epoch:
            EpochCounter(place).raise_to(epoch)
        start = self.map.REGIONS["epoch"][0]
        raw = bytearray(flash.image()[start : start + place.size_bytes])
        if epoch is None:
            raw[:] = b"\x5a" * len(raw)
        return bytes(raw), self._programmed(bytes(raw))


class Chip(RamNor):
    """A RamNor that can begin in any state. deaf: offsets that cannot be read."""

    def __init__(self, *geometry: int) -> None:
        super().__init__(*geometry)
        self.deaf = range(0)

    def place(self, offset: int, data: bytes, programmed: bytes) -> None:
        first = offset // self.write_bytes
        self._bytes[offset : offset + len(data)] = data
        self._programmed[first : first + len(programmed)] = programmed

    def wear_out(self, offset: int) -> None:
        self._programmed[offset // self.write_bytes] = 1

    def read(self, offset: int, buf: Any) -> None:
        if offset in self.deaf:
            raise FlashError(READ_FAILED, str(offset))
        super().read(offset, buf)


def writes(before: Iterable[Made], mode: str, index: int | None, bench: Bench) -> list[Any]:
    """All that a boot may write: notes of trials that ended, then copy_done and the mark."""
    slots, found = list(before), []
    starts = [bench.map.REGIONS["slot_a"][0], bench.map.REGIONS["slot_b"][0]]
    size = max(8, bench.unit)
    for start, made in zip(starts, slots, strict=True):
        if made.open:
            at = start + bench.layout.note(len(made.history) - 1)
            found.append((PROGRAM, at, size))
    if mode == "trial" and index is not None:
        made, start = slots[index], starts[index]
        if made.copy_done == "erased":
            found.append((PROGRAM, start + bench.layout.copy_done, size))
        found.append((PROGRAM, start + bench.layout.mark(len(made.history)), size))
    return found
