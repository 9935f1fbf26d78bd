"""Regions, checked programming, and the RAM flash of the tests."""

from bootloader_verify.errors import FLASH_ALIGN, FLASH_RANGE, FLASH_READBACK, FlashError
from bootloader_verify.flash import Region, align_up, program_checked
from tests.power.flash_model import RamNor
from tests.unit.expect import raises


def bench():
    return RamNor(4096, 256, 8)


def test_a_region_is_a_window():
    flash = bench()
    region = Region(flash, 512, 1024)
    assert (region.size_bytes, region.erase_bytes, region.write_bytes) == (1024, 256, 8)
    assert region.erased == 0xFF
    region.program(8, b"abcdefgh")
    assert flash.image()[520:528] == b"abcdefgh"
    buf = bytearray(4)
    region.read(10, buf)
    assert buf == b"cdef"
    region.erase(0, 256)
    assert flash.image() == b"\xff" * 4096
    assert flash.wear == [0, 0, 1] + [0] * 13


def test_a_region_of_the_whole_flash_and_in_a_region():
    inner = Region(Region(bench(), 1024, 2048), 256, 256)
    inner.program(248, b"abcdefgh")
    assert inner.flash.flash.image()[1528:1536] == b"abcdefgh"
    Region(bench(), 0, 4096)


def test_regions_that_split_a_sector_or_lie_outside():
    for offset, size in (
        (1, 256),
        (0, 255),
        (128, 256),
        (0, 0),
        (0, -256),
        (-256, 256),
        (4096, 256),
        (3840, 512),
        (0, 8192),
    ):
        raises(FlashError, FLASH_RANGE, Region, bench(), offset, size)


def test_no_way_out_of_a_region():
    region = Region(bench(), 512, 512)
    for offset, size in ((-1, 1), (-8, 16), (512, 8), (508, 8), (0, 513), (4096, 1)):
        raises(FlashError, FLASH_RANGE, region.read, offset, bytearray(size))
        raises(FlashError, FLASH_RANGE, region.program, offset, bytes(size))
    for offset, size in ((-256, 256), (512, 256), (256, 512), (0, 768)):
        raises(FlashError, FLASH_RANGE, region.erase, offset, size)
    assert region.flash.operations == 0


def test_alignment_is_the_chips_matter():
    region = Region(bench(), 512, 512)
    raises(FlashError, FLASH_ALIGN, region.program, 4, bytes(8))
    raises(FlashError, FLASH_ALIGN, region.program, 0, bytes(4))
    raises(FlashError, FLASH_ALIGN, region.erase, 128, 256)


def test_program_checked_reads_back_all_of_it():
    for data in (b"", bytes(8), bytes(range(256)), bytes(264), bytes(1024)):
        flash = bench()
        program_checked(flash, 256, data)
        assert flash.image()[256 : 256 + len(data)] == data
        program_checked(Region(bench(), 256, 1024), 0, memoryview(data))


def test_program_checked_sees_a_bit_that_did_not_stick():
    for at in (0, 255, 256, 511, 512, 599):
        flash = bench()
        plain = flash.program

        def forgetful(offset, data, flash=flash, plain=plain, at=at):
            plain(offset, data)
            flash.flip(offset + at, 0x20)

        flash.program = forgetful
        raises(FlashError, FLASH_READBACK, program_checked, flash, 256, bytes(600))


def test_align_up():
    for value, step, want in ((0, 8, 0), (1, 8, 8), (8, 8, 8), (9, 8, 16), (5, 1, 5), (33, 32, 64)):
        assert align_up(value, step) == want


def test_a_region_asks_its_flash_for_nothing_outside():
    """Though the flash itself may have no bounds of its own."""
    asked = []

    class Careless:
        size_bytes, erase_bytes, write_bytes, erased = 4096, 256, 8, 0xFF

        def read(self, offset, buf):
            asked.append(offset)

        def erase(self, offset, size):
            asked.append(offset)

        def program(self, offset, data):
            asked.append(offset)

    region = Region(Careless(), 512, 512)
    for offset, size in ((-256, 256), (512, 256), (0, 768), (256, -256), (512, -256)):
        raises(FlashError, FLASH_RANGE, region.erase, offset, size)
    for offset, size in ((-1, 1), (512, 1), (0, 513)):
        raises(FlashError, FLASH_RANGE, region.read, offset, bytearray(size))
        raises(FlashError, FLASH_RANGE, region.program, offset, bytes(size))
    assert asked == []
