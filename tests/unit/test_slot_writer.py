"""Blocks into a slot: what is erased, what is programmed, what is read back."""

from agent import protocol
from agent.fetch.slot_writer import SlotWriter
from bootloader_verify.errors import FlashError
from bootloader_verify.flash import Region
from bootloader_verify.trailer import Layout
from tests.power.flash_model import ERASE, PROGRAM, RamNor
from tests.unit.artifacts import noise
from tests.unit.expect import raises

BLOCK = 1024
UNITS = (1, 4, 8, 16, 32)


class Slot:
    """A writer on a RAM flash."""

    def __init__(self, sector=1024, unit=8, size=16384, image=4 * BLOCK, block=BLOCK, erased=0xFF):
        self.flash = RamNor(size, sector, unit, erased)
        self.image = noise(image)
        self.block = block
        layout = Layout(size, unit, sector, erased)
        region = Region(self.flash, 0, size)
        self.writer = SlotWriter(region, layout, memoryview(bytearray(block)))
        self.writer.start(image, block)

    @property
    def count(self):
        return (len(self.image) + self.block - 1) // self.block

    def data(self, n):
        return memoryview(self.image[n * self.block : (n + 1) * self.block])

    def write(self, n):
        self.writer.write(n, self.data(n))

    def write_all(self):
        for n in list(range(1, self.count)) + [0]:
            self.write(n)

    def stands(self, n):
        return self.writer.stands(n, protocol.sha16(self.data(n)))

    def fill(self, value=0x5A):
        """Something else is all over the slot."""
        self.flash.program(0, bytes([value]) * self.flash.size_bytes)
        self.flash.trace.clear()

    def did(self, kind):
        """(offset, size) of each operation of that kind so far."""
        return [(offset, size) for what, offset, size in self.flash.trace if what == kind]


def test_block_sizes_and_the_short_last_one():
    writer = Slot(image=3 * BLOCK + 5).writer
    assert [writer.block_bytes(n) for n in range(4)] == [BLOCK, BLOCK, BLOCK, 5]
    assert Slot(image=4 * BLOCK).writer.block_bytes(3) == BLOCK
    assert Slot(image=1).writer.block_bytes(0) == 1


def test_blocks_that_share_a_sector():
    for sector, block, want in ((1024, 1024, 1), (256, 1024, 1), (4096, 1024, 4), (4096, 4096, 1)):
        assert Slot(sector, block=block).writer.per_sector == want


def test_what_is_written_stands_for_every_unit_and_sector():
    for sector in (256, 1024, 4096):
        for unit in UNITS:
            for image in (1, BLOCK - 1, BLOCK, BLOCK + unit, 3 * BLOCK + 5, 4 * BLOCK):
                for erased in (0xFF, 0x00):
                    slot = Slot(sector, unit, image=image, erased=erased)
                    slot.write_all()
                    where = (sector, unit, image, erased)
                    assert all(slot.stands(n) for n in range(slot.count)), where
                    got = slot.flash.image()
                    rest = bytes([erased]) * (slot.flash.size_bytes - image)
                    assert got == slot.image + rest, where


def test_what_stood_there_is_gone():
    for sector in (256, 1024, 4096):
        slot = Slot(sector, image=3 * BLOCK + 5)
        slot.fill()
        slot.write_all()
        end = max(sector, BLOCK) * -(-len(slot.image) // max(sector, BLOCK))
        assert slot.flash.image()[:end] == slot.image + b"\xff" * (end - len(slot.image))
        assert slot.flash.image()[end:] == b"\x5a" * (slot.flash.size_bytes - end)
        assert all(slot.stands(n) for n in range(slot.count))


def test_a_block_with_sectors_of_its_own_erases_them_each_time():
    slot = Slot(sector=256)
    slot.write(1)
    slot.write(1)
    assert slot.did(ERASE) == [(BLOCK + at, 256) for at in (0, 256, 512, 768)] * 2
    assert slot.did(PROGRAM) == [(BLOCK, BLOCK)] * 2


def test_a_shared_sector_is_erased_once():
    slot = Slot(sector=4096, image=8 * BLOCK)
    for n in (5, 6, 7, 4):
        slot.write(n)
    assert slot.did(ERASE) == [(4096, 4096)]
    for n in (1, 2, 3, 0):
        slot.write(n)
    assert slot.did(ERASE) == [(4096, 4096), (0, 4096)]
    slot.writer.start(8 * BLOCK, BLOCK)  # begun again: blank bytes prove nothing
    slot.write(5)
    assert slot.did(ERASE)[2:] == [(4096, 4096)]


def test_the_tail_is_filled_up_to_the_write_unit():
    for unit, size in ((1, 5), (8, 8), (32, 32)):
        slot = Slot(unit=unit, image=BLOCK + 5)
        slot.write(1)
        assert slot.did(PROGRAM)[-1] == (BLOCK, size)
    slot = Slot(unit=8, image=BLOCK + 13)
    slot.write(1)
    assert slot.did(PROGRAM) == [(BLOCK, 8), (BLOCK + 8, 8)]
    assert slot.flash.image()[BLOCK + 13 : BLOCK + 16] == b"\xff\xff\xff"


def test_stands_is_exact():
    slot = Slot(image=3 * BLOCK + 5)
    slot.write_all()
    for n in range(slot.count):
        assert not slot.writer.stands(n, protocol.sha16(b"other")), n
        for at in (n * BLOCK, min((n + 1) * BLOCK, len(slot.image)) - 1):
            slot.flash.flip(at, 0x01)
            assert not slot.stands(n), (n, at)
            slot.flash.flip(at, 0x01)
        assert slot.stands(n)


def test_the_last_block_owns_the_rest_of_its_sector():
    for sector, image, end in (
        (1024, 3 * BLOCK + 5, 4 * BLOCK),
        (256, 3 * BLOCK + 5, 4 * BLOCK),
        (4096, 4 * BLOCK + 5, 8192),
        (4096, 5 * BLOCK, 8192),
        (4096, 4 * BLOCK, 4096),
    ):
        slot = Slot(sector, image=image)
        slot.write_all()
        last = slot.count - 1
        for at in (image, end - 1):
            if at < end:
                slot.flash.flip(at, 0x80)
                assert not slot.stands(last), (sector, image, at)
                slot.flash.flip(at, 0x80)
        slot.flash.flip(end, 0x80)
        assert slot.stands(last), (sector, image)
        assert slot.writer.tail_start() == end, (sector, image)


def test_an_image_up_to_the_limit_leaves_the_trailer_alone():
    slot = Slot(image=15 * BLOCK)
    assert slot.writer.limit == 15 * BLOCK == slot.writer.tail_start()
    slot.fill()
    slot.write_all()
    assert slot.flash.image() == slot.image + b"\x5a" * BLOCK
    assert slot.stands(14)


def test_a_last_block_that_would_reach_into_the_trailer_ends_before_it():
    """Sectors smaller than a block: the trailer begins in the middle of the last block's place."""
    slot = Slot(sector=256, image=15 * BLOCK + 700)
    assert slot.writer.limit == 15 * BLOCK + 768 == slot.writer.tail_start()
    slot.fill()
    slot.write_all()
    assert slot.flash.image() == slot.image + b"\xff" * 68 + b"\x5a" * 256
    assert slot.stands(15)


def test_is_blank_sees_every_byte():
    slot = Slot()
    assert slot.writer.is_blank(0, 16384) and slot.writer.is_blank(7, 7)
    for at in (100, 611, 612, 1500):
        slot.flash.flip(at, 0x02)
        assert slot.writer.is_blank(100, 1501) is False
        assert slot.writer.is_blank(at + 1, 1600) and slot.writer.is_blank(0, at)
        slot.flash.flip(at, 0x02)


def test_first_and_trailer():
    for sector in (256, 1024, 4096):
        slot = Slot(sector)
        limit = slot.writer.limit
        slot.fill()
        assert not slot.writer.trailer_is_blank() and not slot.writer.first_is_blank()
        slot.writer.erase_trailer()
        assert slot.writer.trailer_is_blank() and not slot.writer.first_is_blank()
        assert slot.flash.image()[:limit] == b"\x5a" * limit
        slot.writer.erase_first()
        assert slot.writer.first_is_blank()
        gone = max(sector, BLOCK)
        assert slot.flash.image()[gone:limit] == b"\x5a" * (limit - gone)


def test_one_programmed_byte_is_enough_for_a_first_block():
    """A cut may leave any part of its write."""
    for at in (0, 1, 511, 512, BLOCK - 1):
        slot = Slot(unit=1)
        slot.flash.program(at, b"\x5a")
        assert not slot.writer.first_is_blank(), at
    slot.flash.erase(0, 1024)
    slot.flash.program(BLOCK, b"\x5a")
    assert slot.writer.first_is_blank()


def test_after_erase_first_the_sector_is_fresh():
    slot = Slot(sector=4096)
    slot.writer.erase_first()
    slot.write(1)
    assert slot.did(ERASE) == [(0, 4096)]


def test_block_0_goes_behind_blocks_that_the_scan_proved():
    slot = Slot(sector=4096)
    slot.flash.program(BLOCK, slot.image[BLOCK:])
    slot.writer.trust_first_sector()
    slot.write(0)
    assert slot.did(ERASE) == [] and slot.flash.image()[: 4 * BLOCK] == slot.image


def deaf(slot):
    """A flash that keeps nothing of what it is told to program."""
    slot.flash.program = lambda offset, data: None


def test_what_the_flash_did_not_keep_is_an_error():
    for sector in (1024, 4096):
        slot = Slot(sector)
        deaf(slot)
        raises(FlashError, "FLASH_READBACK", slot.write, 1)


def test_the_last_byte_is_read_back_too():
    slot = Slot(image=2 * BLOCK + 700)
    honest = slot.flash.program

    def loses_the_last(offset, data):
        honest(offset, data)
        if offset + len(data) > 2 * BLOCK + 699:
            slot.flash.flip(2 * BLOCK + 699, 0x01)

    slot.flash.program = loses_the_last
    slot.write(1)
    raises(FlashError, "FLASH_READBACK", slot.write, 2)


def test_after_an_error_the_sector_is_erased_again():
    slot = Slot(sector=4096)
    slot.write(1)
    honest = slot.flash.program
    deaf(slot)
    raises(FlashError, "FLASH_READBACK", slot.write, 2)
    slot.flash.program = honest
    slot.write(2)
    assert slot.did(ERASE) == [(0, 4096)] * 2


def test_a_sector_that_cannot_be_erased():
    slot = Slot()

    def refuses(offset, _size):
        raise FlashError("FLASH_RANGE", str(offset))

    slot.flash.erase = refuses
    raises(FlashError, "FLASH_RANGE", slot.write, 1)
    assert slot.did(PROGRAM) == []
