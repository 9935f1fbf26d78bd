"""An ESP32 to test against, on both Pythons: flash, partition table, bootloader, MicroPython's calls.

Written after MicroPython's ports/esp32/esp32_partition.c and ESP-IDF's esp_partition, esp_ota_ops.c,
esp_image_format.c and bootloader_utility.c (rollback on, no factory app, no anti-rollback), with
their traps. `with Chip() as chip:` puts the modules `esp32` and `vfs` in place; `chip.boot()` is a
reset, and the code under test then runs as the app that came up.

The erase of each sector and each write is an operation; `cut_at` cuts the power in one of them, with
the words of hil/virtual/cut.py. Not here: time, caches, encryption, what two cores do.
"""

import struct
import sys

from hil.virtual.device.virtual_cut import mix
from tests.power.flash_model import ERASE, PROGRAM, PowerCut
from tests.unit.esp32_image import ESP32_CHIP_ID, image_verify

SECTOR = 4096
APP, DATA = 0, 1
ANY = 0xFF
ENOENT, EINVAL, EOPNOTSUPP = 2, 22, 95
INVALID_ARG, INVALID_SIZE, VALIDATE_FAILED, FAIL = 0x102, 0x104, 0x1503, -1
NEW, PENDING, VALID, INVALID, ABORTED, UNDEFINED = 0, 1, 2, 3, 4, 0xFFFFFFFF
_ERASED = 0xFFFFFFFF
_MISSING = object()


class Abort(BaseException):
    """abort(): ESP-IDF does that when a write would hit the running app."""


class Bytes(bytearray):
    """A partition's bytes. Like the chip's Partition it gives a memoryview and has no index."""

    def __getitem__(self, index):
        raise TypeError("'Partition' object isn't subscriptable")


class Place:
    """A line of the partition table, and the bytes there."""

    def __init__(self, label, kind, subtype, address, size, encrypted=False):
        self.label = label
        self.kind = kind
        self.subtype = subtype
        self.address = address
        self.size = size
        self.encrypted = encrypted
        self.raw = Bytes(b"\xff" * size)
        self.bytes = memoryview(self.raw)

    def put(self, offset, data):
        self.bytes[offset : offset + len(data)] = data


# --- otadata ----------------------------------------------------------------------------------------
def crc_of(seq):
    """crc32_le(UINT32_MAX, seq, 4) bit by bit, as the ROM does: the register starts with 0."""
    register = 0
    for byte in struct.pack("<I", seq):
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0xEDB88320 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def entry(seq, state, label=b"\xff" * 20):
    return struct.pack("<I20sII", seq, label, state, crc_of(seq))


class _Entry:
    def __init__(self, raw):
        self.seq, self.label, self.state, self.crc = struct.unpack("<I20sII", bytes(raw))

    def invalid(self):
        return self.seq == _ERASED or self.state in (INVALID, ABORTED)

    def valid(self):
        return not self.invalid() and self.crc == crc_of(self.seq)

    def initial(self):
        return self.seq == _ERASED or self.crc != crc_of(self.seq)


def _active(two):
    valid = [one.valid() for one in two]
    if valid[0] and valid[1]:
        return 0 if max(two[0].seq, two[1].seq) == two[0].seq else 1
    return 0 if valid[0] else 1 if valid[1] else -1


# --- the chip ---------------------------------------------------------------------------------------
class Chip:
    """Two app slots of `slot_bytes`, otadata, a romfs partition; ota_0 as the factory left it.

    rollback: CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE. places: the partition table, open to tests.
    operations: erases and writes begun. trace: (kind, label, offset, size) of each.
    """

    def __init__(self, romfs_bytes=64 * 1024, slot_bytes=32 * 1024, rollback=True):
        self.chip_id = ESP32_CHIP_ID
        self.rollback = rollback
        self.operations = 0
        self.trace = []
        self.running = None
        self._cut = None
        self._off = False
        self._modules = {}
        at = 0x10000
        self.places = [
            Place("nvs", DATA, 2, 0x9000, SECTOR),
            Place("otadata", DATA, 0, 0xD000, 8192),
        ]
        for label, kind, subtype, size in (
            ("ota_0", APP, 0x10, slot_bytes),
            ("ota_1", APP, 0x11, slot_bytes),
            ("romfs", DATA, 0x8F, romfs_bytes),
        ):
            self.places.append(Place(label, kind, subtype, at, size))
            at += size

    def place(self, label):
        return [one for one in self.places if one.label == label][0]  # noqa: RUF015

    def clone(self):
        """The same content with the power on again, nothing armed, before its boot."""
        new = Chip(0, 0, self.rollback)
        new.places = [
            Place(p.label, p.kind, p.subtype, p.address, p.size, p.encrypted) for p in self.places
        ]
        for mine, its in zip(self.places, new.places):
            its.put(0, mine.bytes)
        return new

    def cut_at(self, operation, torn="before"):
        """Cut the power in operation number `operation`, counted from now on with 0."""
        self._cut = (self.operations + operation, torn)

    # --- modules ----------------------------------------------------------------------------------
    def __enter__(self):
        chip = self

        class ThePartition(Partition):
            pass

        ThePartition.chip = chip
        modules = {"esp32": _Module(), "vfs": _Module()}
        modules["esp32"].Partition = ThePartition
        modules["vfs"].rom_ioctl = self.rom_ioctl
        for name in modules:
            self._modules[name] = sys.modules.get(name, _MISSING)
            sys.modules[name] = modules[name]
        return self

    def __exit__(self, *error):
        for name in self._modules:
            if self._modules[name] is _MISSING:
                del sys.modules[name]
            else:
                sys.modules[name] = self._modules[name]

    def rom_ioctl(self, op, *args):
        """vfs.rom_ioctl: 1 number of parts, 2 a part; the error is an answer, not an exception."""
        places = [one for one in self.places if one.kind == DATA and one.label == "romfs"]
        if op == 1:
            return len(places)
        if op == 2 and places:
            return places[0].raw
        return -EINVAL

    # --- flash ------------------------------------------------------------------------------------
    def read(self, place, offset, buf):
        self._ready(place, offset, len(buf))
        buf[:] = place.bytes[offset : offset + len(buf)]

    def erase(self, place, offset, size):
        """esp_partition_erase_range()."""
        self._ready(place, offset, size)
        if offset % SECTOR or size % SECTOR:
            raise _error(INVALID_SIZE if size % SECTOR else INVALID_ARG)
        self._guard(place)
        for start in range(offset, offset + size, SECTOR):
            self._do(ERASE, place, start, b"\xff" * SECTOR)

    def write(self, place, offset, data):
        """esp_partition_write(): bits go from 1 to 0, and nobody says a word."""
        self._ready(place, offset, len(data))
        self._guard(place)
        new = bytearray(data)
        for i in range(len(new)):
            new[i] &= place.bytes[offset + i]
        self._do(PROGRAM, place, offset, bytes(new))

    def _ready(self, place, offset, size):
        if self._off:
            raise PowerCut()
        if offset < 0 or offset > place.size:
            raise _error(INVALID_ARG)
        if size > place.size - offset:
            raise _error(INVALID_SIZE)

    def _guard(self, place):
        if place.label == self.running:
            raise Abort()

    def _do(self, kind, place, offset, wanted):
        number = self.operations
        self.operations += 1
        self.trace.append((kind, place.label, offset, len(wanted)))
        if self._cut and number == self._cut[0]:
            place.put(
                offset, mix(bytes(place.bytes[offset : offset + len(wanted)]), wanted, self._cut[1])
            )
            self._off = True
            raise PowerCut()
        place.put(offset, wanted)

    # --- otadata and apps ---------------------------------------------------------------------------
    def entries(self):
        """The two otadata entries; .seq, .state."""
        view = self.place("otadata").bytes
        return [_Entry(view[at : at + 32]) for at in (0, SECTOR)]

    def slots(self):
        """App partitions ota_0, ota_1, … as long as there is no gap."""
        found = []
        while True:
            one = [p for p in self.places if p.kind == APP and p.subtype == 0x10 + len(found)]
            if not one:
                return found
            found.append(one[0])

    def put_entry(self, index, seq, state, label=b"\xff" * 20):
        """write_otadata() of the bootloader and rewrite_ota_seq() of the app: erase, then write."""
        place = self.place("otadata")
        self.erase(place, index * SECTOR, SECTOR)
        self.write(place, index * SECTOR, entry(seq, state, label))

    def selected(self):
        """esp_ota_get_boot_partition()."""
        two, slots = self.entries(), self.slots()
        index = _active(two)
        return slots[((two[index].seq - 1) & _ERASED) % len(slots)] if index >= 0 else slots[0]

    def boot(self):
        """A reset: the second-stage bootloader. The label of the app that runs; None for a brick."""
        if self._off:
            raise PowerCut()
        self.running = None
        start, initial = self._choose()
        order = list(range(start, -1, -1)) + list(range(start + 1, len(self.slots())))
        for number in order:
            place = self.slots()[number]
            if image_verify(place.bytes, self.chip_id):
                if initial:
                    self.put_entry(0, number + 1, VALID)
                self.running = place.label
                return self.running
        return None

    def _choose(self):
        """bootloader_utility_get_selected_boot_partition(): (slot number, otadata is untouched)."""
        if self.rollback:
            for index in range(2):
                one = self.entries()[index]
                if one.state == PENDING:
                    self.put_entry(index, one.seq, ABORTED, one.label)
        two = self.entries()
        if two[0].invalid() and two[1].invalid():
            return 0, two[0].initial() and two[1].initial()
        index = _active(two)
        if index < 0:
            return -1, False  # "will try all partitions", from the factory app on
        one = two[index]
        if self.rollback and one.state == NEW:
            self.put_entry(index, one.seq, PENDING, one.label)
        return ((one.seq - 1) & _ERASED) % len(self.slots()), False

    def set_boot(self, place):
        """esp_ota_set_boot_partition()."""
        if not image_verify(place.bytes, self.chip_id):
            raise _error(VALIDATE_FAILED)
        if place.kind != APP:
            raise _error(INVALID_ARG)
        two, slots = self.entries(), len(self.slots())
        number = place.subtype & 0x0F
        index = _active(two)
        if index < 0:
            self.put_entry(0, number + 1, self._new(), two[0].label)
            return
        seq = (number + 1) % slots
        if two[index].seq > seq:
            seq += (two[index].seq - seq + slots - 1) // slots * slots
        other = 1 - index
        self.put_entry(other, seq, self._new(), two[other].label)

    def _new(self):
        return NEW if self.rollback else UNDEFINED

    def mark_valid(self):
        """esp_ota_mark_app_valid_cancel_rollback(): the entry that otadata goes by, whoever runs."""
        two = self.entries()
        index = _active(two)
        if index < 0:
            raise _error(FAIL)
        if two[index].state != VALID:
            self.put_entry(index, two[index].seq, VALID, two[index].label)


class _Module:
    pass


def _error(code):
    return OSError(-code, "ESP_ERR_0x{:x}".format(code & 0xFFFF))


class Partition:
    """esp32.Partition of the chip in `chip`."""

    BOOT, RUNNING, TYPE_APP, TYPE_DATA = 0, 1, APP, DATA
    chip = None

    def __init__(self, which, block_size=SECTOR, place=None):
        if place is None:
            place = self._find(which)
        if place is None:
            raise OSError(ENOENT)
        self._place = place
        self._block = block_size

    def _find(self, which):
        if isinstance(which, int):
            if which not in (self.BOOT, self.RUNNING):
                raise ValueError()
            if which == self.BOOT:
                return self.chip.selected()
            return self.chip.place(self.chip.running)
        named = [one for one in self.chip.places if one.label == which]
        return ([p for p in named if p.kind == APP] + named + [None])[0]

    @classmethod
    def find(cls, type=APP, subtype=ANY, label=None, block_size=SECTOR):
        return [
            cls(None, block_size, one)
            for one in cls.chip.places
            if one.kind == type and subtype in (ANY, one.subtype) and label in (None, one.label)
        ]

    def info(self):
        one = self._place
        return (one.kind, one.subtype, one.address, one.size, one.label, one.encrypted)

    def readblocks(self, block, buf, offset=0):
        self.chip.read(self._place, block * self._block + offset, buf)

    def writeblocks(self, block, buf, offset=None):
        """With three arguments (self counted) it erases the whole range first."""
        start = block * self._block
        if offset is None:
            self.chip.erase(self._place, start, len(buf))
        self.chip.write(self._place, start + (offset or 0), buf)

    def ioctl(self, op, arg):
        if op in (1, 2, 3):
            return 0
        if op == 4:
            return self._place.size // self._block
        if op == 5:
            return self._block
        if op == 6:
            if self._block != SECTOR:
                return -EINVAL
            self.chip.erase(self._place, arg * SECTOR, SECTOR)
            return 0
        return None

    def set_boot(self):
        self.chip.set_boot(self._place)

    def get_next_update(self):
        slots = self.chip.slots()
        number = slots.index(self._place) if self._place in slots else -1
        return type(self)(None, SECTOR, slots[(number + 1) % len(slots)])

    @classmethod
    def mark_app_valid_cancel_rollback(cls):
        cls.chip.mark_valid()
