"""The epoch: THREATS 22 to 24. Power cuts and bad bits are in tests/power/test_counter.py."""

import struct

from bootloader_verify.counter import EpochCounter
from bootloader_verify.errors import EPOCH_JUMP, READ_FAILED, FlashError, VerifyError
from bootloader_verify.flash import Region
from bootloader_verify.records import Records
from tests.power.flash_model import RamNor
from tests.unit.expect import raises


def bench(unit=8):
    return RamNor(512, 256, unit)


def counter(flash):
    return EpochCounter(Region(flash, 0, flash.size_bytes))


def test_a_device_that_never_stored_one():
    assert counter(bench()).read() == 0


def test_it_rises_and_never_falls():
    for unit in (1, 4, 8, 16, 32):
        flash = bench(unit)
        highest = 0
        for epoch in (1, 1, 3, 2, 0, 19, 19, 20, 5, 36, 37, 38, 39, 40, 41):
            counter(flash).raise_to(epoch)
            highest = max(highest, epoch)
            assert counter(flash).read() == highest


def test_one_object_serves_all_its_life():
    one = counter(bench())
    for epoch in range(1, 60):
        one.raise_to(epoch)
        assert one.read() == epoch


def test_t22_a_jump_of_more_than_16_is_refused():
    flash = bench()
    one = counter(flash)
    raises(VerifyError, EPOCH_JUMP, one.raise_to, 17)
    assert (one.read(), flash.operations) == (0, 0)
    one.raise_to(16)
    raises(VerifyError, EPOCH_JUMP, one.raise_to, 33)
    raises(VerifyError, EPOCH_JUMP, one.raise_to, 0xFFFFFFFF)
    assert one.read() == 16
    one.raise_to(32)
    assert one.read() == 32


def test_an_epoch_stands_in_both_sectors():
    flash = bench()
    counter(flash).raise_to(7)
    image = flash.image()
    assert struct.unpack_from("<I", image, 16) == (7,)
    assert struct.unpack_from("<I", image, 256 + 16) == (7,)


def test_a_copy_that_a_later_cut_destroyed_is_written_again():
    flash = bench()
    counter(flash).raise_to(7)
    region = Region(flash, 0, 512)
    region.erase(0, 256)  # what a raise begins with when that half is full
    counter(flash).raise_to(7)
    assert struct.unpack_from("<I", flash.image(), 16) == (7,)
    region.erase(256, 256)
    assert counter(flash).read() == 7


def test_steady_state_writes_nothing():
    flash = bench()
    counter(flash).raise_to(7)
    done = flash.operations
    for epoch in (7, 6, 0):
        counter(flash).raise_to(epoch)
    assert flash.operations == done


def test_t24_only_damage_is_none_and_the_confirmed_epoch_mends_it():
    flash = bench()
    for epoch in range(1, 5):
        counter(flash).raise_to(epoch)
    for at in range(0, 512, 8):
        flash.flip(at, 1)
    assert counter(flash).read() is None
    counter(flash).raise_to(100)
    assert counter(flash).read() == 100


def test_a_flash_that_cannot_hold_still_is_damage():
    flash = bench()
    one = counter(flash)
    one.raise_to(3)
    honest = flash.read
    turn = [0]

    def noisy(offset, buf):
        honest(offset, buf)
        turn[0] += 1
        buf[0] ^= turn[0] & 0xFF

    flash.read = noisy
    assert one.read() is None


def test_t24_what_cannot_be_read_is_damage_and_not_0():
    flash = bench()
    one = counter(flash)
    one.raise_to(7)

    def dead(offset, buf):
        raise FlashError(READ_FAILED)

    flash.read = dead
    assert one.read() is None


def test_a_record_that_is_no_epoch_is_damage():
    flash = bench()
    log = Records(Region(flash, 0, flash.size_bytes), 4, True)
    log.save(b"ab")
    log.save(b"ab")
    assert counter(flash).read() is None


def test_the_factorys_epoch_is_adopted_whatever_its_distance():
    flash = bench()
    counter(flash).raise_to(1)
    counter(flash).raise_to(100, True)
    assert counter(flash).read() == 100
    counter(flash).raise_to(50, True)
    assert counter(flash).read() == 100
