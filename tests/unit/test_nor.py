"""The NOR flash in a file: it refuses what the chip refuses, and keeps its content."""

import os

from bootloader_verify.errors import FLASH_ALIGN, FLASH_RANGE, FLASH_REWRITE, FlashError
from bootloader_verify.ports.unix import NorFile
from tests.unit.expect import raises

SIZE, SECTOR, UNIT = 16384, 8192, 8  # a sector larger than the port's own working step


class Folder:
    """A flash file that is gone afterwards."""

    def __enter__(self):
        tmp = os.getenv("TMPDIR") or "/var/tmp"
        self.path = "{}/chargeflash-nor-{}.bin".format(tmp, os.urandom(8).hex())
        return self

    def open(self, erased=0xFF, hook=None, size=SIZE):
        return NorFile(self.path, size, SECTOR, UNIT, erased, hook)

    def __exit__(self, *error):
        _remove(self.path)


def _remove(path):
    try:
        os.remove(path)
    except OSError:
        pass


def content(flash, offset=0, size=SIZE):
    buf = bytearray(size)
    flash.read(offset, buf)
    return bytes(buf)


def test_a_new_one_is_erased_and_keeps_what_is_programmed():
    for erased in (0xFF, 0x00):
        with Folder() as folder:
            flash = folder.open(erased)
            assert content(flash) == bytes([erased]) * SIZE
            flash.program(16, b"abcdefgh")
            flash.close()
            again = folder.open(erased)
            assert content(again, 8, 24) == bytes([erased]) * 8 + b"abcdefgh" + bytes([erased]) * 8
            again.close()


def test_what_is_written_is_in_the_file_at_once():
    with Folder() as folder:
        flash = folder.open()
        flash.program(0, b"abcdefgh")
        with open(folder.path, "rb") as f:
            assert f.read(9) == b"abcdefgh\xff"
        flash.erase(0, SECTOR)
        with open(folder.path, "rb") as f:
            assert f.read(9) == b"\xff" * 9
        flash.close()


def test_a_second_write_to_a_unit_is_refused():
    with Folder() as folder:
        flash = folder.open()
        flash.program(8, bytes(16))
        for offset, size in ((8, 8), (16, 8), (0, 16), (16, 16), (0, SIZE)):
            raises(FlashError, FLASH_REWRITE, flash.program, offset, b"\xff" * size)
        flash.program(0, bytes(8))
        flash.erase(0, SECTOR)
        flash.program(1024, bytes(8))
        raises(FlashError, FLASH_REWRITE, flash.program, 0, bytes(1032))
        flash.program(8, bytes(16))
        flash.close()


def test_an_erase_takes_its_sectors_and_no_more():
    with Folder() as folder:
        flash = folder.open()
        flash.program(0, bytes(SIZE))
        flash.erase(SECTOR, SECTOR)
        assert content(flash) == bytes(SECTOR) + b"\xff" * SECTOR
        flash.erase(0, SIZE)
        assert content(flash) == b"\xff" * SIZE
        flash.close()


def test_alignment_and_range():
    with Folder() as folder:
        flash = folder.open()
        for offset, size in ((4, 8), (0, 4), (1, 1), (SIZE - 4, 4)):
            raises(FlashError, FLASH_ALIGN, flash.program, offset, bytes(size))
        for offset, size in ((8, SECTOR), (0, 4096), (4096, SECTOR)):
            raises(FlashError, FLASH_ALIGN, flash.erase, offset, size)
        for offset, size in ((-8, 8), (SIZE, 8), (SIZE - 8, 16)):
            raises(FlashError, FLASH_RANGE, flash.program, offset, bytes(size))
            raises(FlashError, FLASH_RANGE, flash.read, offset, bytearray(size))
        raises(FlashError, FLASH_RANGE, flash.erase, SIZE, SECTOR)
        raises(FlashError, FLASH_RANGE, flash.erase, -SECTOR, SECTOR)
        assert content(flash) == b"\xff" * SIZE
        flash.close()


def test_a_file_of_another_size_is_not_taken():
    with Folder() as folder:
        folder.open().close()
        raises(FlashError, FLASH_RANGE, folder.open, 0xFF, None, SIZE * 2)


def test_the_hook_is_asked_before_each_operation():
    with Folder() as folder:
        seen = []

        def hook(kind, index, offset, what):
            size = what if isinstance(what, int) else len(what)
            seen.append((kind, index, offset, size))
            if index == 3:
                raise RuntimeError("cut")

        flash = folder.open(0xFF, hook)
        flash.program(8, bytes(16))
        flash.erase(0, SIZE)
        raises(RuntimeError, None, flash.program, 0, bytes(8))
        assert seen == [
            ("program", 0, 8, 16),
            ("erase", 1, 0, SECTOR),
            ("erase", 2, SECTOR, SECTOR),
            ("program", 3, 0, 8),
        ]
        assert content(flash) == b"\xff" * SIZE
        raises(FlashError, FLASH_ALIGN, flash.program, 1, bytes(8))
        assert flash.operations == 4
        flash.close()


def test_map_is_a_copy_of_the_bytes():
    with Folder() as folder:
        flash = folder.open()
        flash.program(0, b"abcdefgh")
        assert bytes(flash.map(2, 8)) == b"cdefgh\xff\xff"
        flash.close()
