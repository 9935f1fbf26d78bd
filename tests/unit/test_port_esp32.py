"""The ESP32 port against the model of the chip: the flash contract, every refusal, and a boot."""

from bootloader_verify import boot, decision, trailer
from bootloader_verify.counter import EpochCounter
from bootloader_verify.errors import (
    FLASH_ALIGN,
    FLASH_FAILED,
    FLASH_RANGE,
    FLASH_REWRITE,
    FLASH_UNSUPPORTED,
    FlashError,
)
from bootloader_verify.flash import Region, program_checked
from bootloader_verify.ports import esp32
from bootloader_verify.slot import Slot, region
from tests.unit import containers
from tests.unit.esp32_chip import Abort, Chip
from tests.unit.esp32_image import app_image
from tests.unit.expect import raises

SECTOR, UNIT = 4096, 8
SIZE = 14 * SECTOR


class Board:
    """What the generated module of a small ESP32 board says."""

    VID, CID, REVISION = containers.VID, containers.CID, containers.REVISION
    FLASH_SIZE, ERASE, WRITE, ERASED = SIZE, SECTOR, UNIT, 0xFF
    ESP32 = {"chip_id": 0, "romfs": "romfs"}
    REGIONS = {
        "slot_a": (0, 4 * SECTOR),
        "slot_b": (4 * SECTOR, 4 * SECTOR),
        "epoch": (8 * SECTOR, 2 * SECTOR),
        "keyset": (10 * SECTOR, 2 * SECTOR),
        "journal": (12 * SECTOR, 2 * SECTOR),
    }


def board(**changes):
    made = Board()
    for name in changes:
        setattr(made, name, changes[name])
    return made


def content(flash, offset=0, size=SIZE):
    buf = bytearray(size)
    flash.read(offset, buf)
    return bytes(buf)


# --- the contract, as for the flash in a file ---------------------------------------------------------
def test_a_new_one_is_erased_and_keeps_what_is_programmed():
    with Chip() as chip:
        flash = esp32.open_flash(Board)
        assert (flash.size_bytes, flash.erase_bytes, flash.write_bytes) == (SIZE, SECTOR, UNIT)
        assert flash.erased == 0xFF
        assert content(flash) == b"\xff" * SIZE
        flash.program(16, b"abcdefgh")
        flash.program(SIZE - 8, memoryview(b"ijklmnop"))
        assert content(flash, 8, 24) == b"\xff" * 8 + b"abcdefgh" + b"\xff" * 8
        again = esp32.open_flash(Board)
        assert content(again, SIZE - 12, 12) == b"\xff" * 4 + b"ijklmnop"
        assert chip.trace == [("program", "romfs", 16, 8), ("program", "romfs", SIZE - 8, 8)]


def test_a_second_write_to_a_unit_is_refused():
    with Chip() as chip:
        flash = esp32.open_flash(Board)
        flash.program(8, bytes(16))
        flash.program(1016, b"\xff" * 7 + b"\x7f")
        before = chip.operations
        for offset, size in ((8, 8), (16, 8), (0, 16), (16, 16), (0, SIZE), (512, 512), (768, 256)):
            raises(FlashError, FLASH_REWRITE, flash.program, offset, b"\xff" * size)
        assert chip.operations == before
        flash.program(0, bytes(8))
        flash.erase(0, SECTOR)
        flash.program(8, bytes(16))


def test_the_chip_itself_would_have_said_nothing():
    """The trap behind the rule: a second program ANDs the bits."""
    with Chip():
        raw = esp32.partitions(data=True, label="romfs")[0]
        raw.writeblocks(0, b"\x0f\xff", 0)
        raw.writeblocks(0, b"\xf5\x3c", 0)
        buf = bytearray(2)
        raw.readblocks(0, buf, 0)
        assert buf == b"\x05\x3c"


def test_an_erase_takes_its_sectors_and_no_more():
    with Chip() as chip:
        for erase in (SECTOR, 2 * SECTOR):
            flash = esp32.open_flash(board(ERASE=erase))
            flash.erase(0, SIZE)
            flash.program(0, bytes(SIZE))
            del chip.trace[:]
            flash.erase(2 * SECTOR, 2 * SECTOR)
            want = bytes(2 * SECTOR) + b"\xff" * 2 * SECTOR + bytes(SIZE - 4 * SECTOR)
            assert content(flash) == want
            assert [entry[2] for entry in chip.trace] == [2 * SECTOR, 3 * SECTOR]


def test_alignment_and_range():
    with Chip() as chip:
        flash = esp32.open_flash(board(ERASE=2 * SECTOR))
        for offset, size in ((4, 8), (0, 4), (1, 1), (SIZE - 4, 4)):
            raises(FlashError, FLASH_ALIGN, flash.program, offset, bytes(size))
        for offset, size in ((8, SECTOR), (0, SECTOR), (SECTOR, 2 * SECTOR), (0, 1)):
            raises(FlashError, FLASH_ALIGN, flash.erase, offset, size)
        for offset, size in ((-8, 8), (SIZE, 8), (SIZE - 8, 16), (-SIZE, SIZE)):
            raises(FlashError, FLASH_RANGE, flash.program, offset, bytes(size))
            raises(FlashError, FLASH_RANGE, flash.read, offset, bytearray(size))
            raises(FlashError, FLASH_RANGE, flash.map, offset, size)
        raises(FlashError, FLASH_RANGE, flash.map, 8, -8)
        raises(FlashError, FLASH_RANGE, flash.erase, SIZE, 2 * SECTOR)
        raises(FlashError, FLASH_RANGE, flash.erase, -2 * SECTOR, 2 * SECTOR)
        flash.program(0, b"")
        flash.erase(0, 0)
        assert not [one for one in chip.trace if one[3]]


def test_regions_and_checked_programs_stand_on_it():
    with Chip() as chip:
        window = Region(esp32.open_flash(Board), SECTOR, SECTOR)
        program_checked(window, 8, bytes(range(248)))
        assert bytes(chip.place("romfs").bytes[SECTOR + 8 : SECTOR + 256]) == bytes(range(248))


def test_the_map_is_the_flash_itself():
    with Chip():
        flash = esp32.open_flash(Board)
        view = flash.map(8, 16)
        flash.program(8, b"abcdefgh")
        assert bytes(view) == b"abcdefgh" + b"\xff" * 8
        flash.erase(0, SECTOR)
        assert bytes(view) == b"\xff" * 16


# --- what the chip refuses ------------------------------------------------------------------------------
def refused(word, chip=None, asked=Board):
    with chip or Chip():
        err = raises(FlashError, FLASH_UNSUPPORTED, esp32.open_flash, asked)
    assert word in err.detail, err.detail
    assert chip is None or chip.operations == 0


def with_romfs(**changes):
    chip = Chip()
    for name in changes:
        setattr(chip.place("romfs"), name, changes[name])
    return chip


def test_without_a_place_for_it_the_board_says_what_to_flash():
    refused("partition table", with_romfs(label="vfs"))
    refused("partition table", with_romfs(kind=0))
    refused("of 57344 bytes", Chip(romfs_bytes=13 * SECTOR))
    refused("encrypted", with_romfs(encrypted=True))


def test_a_map_that_names_another_partition_than_the_firmware_maps():
    chip = Chip()
    chip.places.append(type(chip.places[0])("slots", 1, 0x40, 0x200000, 32 * SECTOR))
    refused("name it romfs", chip, board(ESP32={"romfs": "slots"}))
    chip.place("romfs").label = "other"
    refused("labelled romfs", chip, board(ESP32={"romfs": "slots"}))


def test_a_board_file_that_is_not_of_an_esp32():
    refused("4096", asked=board(ERASE=2048))
    refused("4096", asked=board(ERASED=0x00))


def test_a_partition_just_as_large_as_the_map():
    with Chip(romfs_bytes=SIZE):
        assert esp32.open_flash(Board).size_bytes == SIZE


def test_another_firmware():
    raises(FlashError, FLASH_UNSUPPORTED, esp32.open_flash, Board)  # no chip in place at all
    with Chip():
        import vfs

        del vfs.rom_ioctl
        err = raises(FlashError, FLASH_UNSUPPORTED, esp32.open_flash, Board)
        assert "1.25" in err.detail


def test_a_partition_that_the_chip_cannot_map():
    def full(_part):
        raise OSError(-0x101, "ESP_ERR_NO_MEM")

    with Chip():
        esp32.memoryview = full
        try:
            err = raises(FlashError, FLASH_UNSUPPORTED, esp32.open_flash, Board)
        finally:
            del esp32.memoryview
        assert "smaller" in err.detail


def test_what_the_chip_raises_or_answers_is_a_flash_error():
    with Chip() as chip:
        flash = esp32.open_flash(Board)

        def broken(*_args):
            raise OSError(-0x6007, "ESP_ERR_FLASH_OP_FAIL")

        chip._do = broken
        raises(FlashError, FLASH_FAILED, flash.program, 0, bytes(8))
        raises(FlashError, FLASH_FAILED, flash.erase, 0, SECTOR)
        chip._ready = broken
        raises(FlashError, FLASH_FAILED, flash.read, 0, bytearray(8))


def test_an_erase_that_answers_with_an_error_is_not_taken_for_done():
    with Chip():
        part = esp32.partition_class()("romfs", 512)
        raises(FlashError, FLASH_FAILED, esp32.Area(part).erase_sector, 0)


def test_an_area_ends_where_its_partition_ends():
    with Chip():
        area = esp32.Area(esp32.partitions(data=True, label="romfs")[0])
        assert (area.size_bytes, area.label, area.subtype) == (64 * 1024, "romfs", 0x8F)
        for offset, size in ((-1, 1), (64 * 1024, 1), (64 * 1024 - 4, 8), (0, 64 * 1024 + 1)):
            raises(FlashError, FLASH_RANGE, area.read, offset, bytearray(size))
            raises(FlashError, FLASH_RANGE, area.write, offset, bytes(size))
        raises(FlashError, FLASH_RANGE, area.erase_sector, 16)
        raises(FlashError, FLASH_RANGE, area.erase_sector, -1)


# --- the model's own traps ------------------------------------------------------------------------------
def test_the_model_erases_first_only_without_an_offset():
    with Chip():
        part = esp32.partition_class()("romfs")
        part.writeblocks(0, bytes(8), 0)
        part.writeblocks(0, b"\x55" * SECTOR)
        buf = bytearray(8)
        part.readblocks(0, buf)
        assert buf == b"\x55" * 8
        raises(OSError, None, part.writeblocks, 0, bytes(100))  # no whole sector to erase
        raises(OSError, None, part.writeblocks, 16, bytes(8), 0)
        assert (part.ioctl(4, 0), part.ioctl(5, 0)) == (16, SECTOR)


def test_the_model_gives_a_part_that_is_no_memoryview():
    with Chip():
        import vfs

        part = vfs.rom_ioctl(2, 0)
        raises(TypeError, None, lambda: part[0:4])
        assert len(memoryview(part)) == 64 * 1024
        assert vfs.rom_ioctl(1) == 1
        assert vfs.rom_ioctl(3, 0, 0, 4096) < 0


def test_the_model_aborts_where_the_running_app_would_be_hit():
    with Chip() as chip:
        chip.place("ota_0").put(0, app_image(1))
        assert chip.boot() == "ota_0"
        running = esp32.partition_class()(1)
        raises(Abort, None, running.ioctl, 6, 0)
        raises(Abort, None, running.writeblocks, 0, b"\0", 0)


# --- the boot stage on it -------------------------------------------------------------------------------
def installed(flash, name, counter, confirmed):
    data = containers.image()
    slot = Slot(flash, Board, name)
    slot.region.program(0, data + b"\xff" * (-len(data) % UNIT))
    trailer.arm(slot.region, slot.layout, counter)
    if confirmed:
        trailer.confirm(slot.region, slot.layout, slot.state())


def booted(flash):
    return boot.Boot(flash, Board, containers.keyset(), "power").select()


def test_an_image_boots_from_the_chip_in_place():
    with Chip() as chip:
        flash = esp32.open_flash(Board)
        assert booted(flash).mode == decision.RECOVERY
        EpochCounter(region(flash, Board, "epoch")).raise_to(1)
        installed(flash, "a", 1, True)
        found = booted(flash)
        assert (found.mode, found.slot.name, found.epoch) == (decision.CONFIRMED, "a", 1)
        assert bytes(found.payload) == containers.PAYLOAD
        chip.place("romfs").bytes[32] ^= 0xFF  # the payload is the flash, not a copy of it
        assert found.payload[0] == containers.PAYLOAD[0] ^ 0xFF


def test_a_trial_is_marked_on_the_chip_and_ends():
    with Chip():
        flash = esp32.open_flash(Board)
        installed(flash, "a", 1, True)
        installed(flash, "b", 2, False)
        modes = []
        for _ in range(4):
            found = boot.Boot(esp32.open_flash(Board), Board, containers.keyset(), "watchdog")
            one = found.select()
            modes.append((one.mode, one.slot.name, one.attempt))
        assert modes == [
            (decision.TRIAL, "b", 1),
            (decision.TRIAL, "b", 2),
            (decision.TRIAL, "b", 3),
            (decision.CONFIRMED, "a", 0),
        ]
