"""The record log without power cuts: those are in tests/power/test_records.py."""

import binascii
import struct

from bootloader_verify.errors import (
    CHANGED,
    FLASH_FAILED,
    FLASH_RANGE,
    RECORD_TOO_LARGE,
    FlashError,
)
from bootloader_verify.flash import Region
from bootloader_verify.records import Records
from tests.power.flash_model import RamNor
from tests.unit.expect import raises

MOST = 40


def bench(sectors=2, unit=8):
    return RamNor(256 * sectors, 256, unit)


def log_of(flash, alternate=False):
    return Records(Region(flash, 0, flash.size_bytes), MOST, alternate)


def load(log):
    buf = bytearray(MOST)
    return bytes(buf[: log.load(buf)])


def test_an_empty_log():
    log = log_of(bench())
    assert (load(log), log.seq) == (b"", 0)


def test_the_last_save_is_what_is_loaded():
    for unit in (1, 4, 8, 16, 32):
        for sectors in (2, 4):
            flash = bench(sectors, unit)
            for i in range(40):
                value = bytes([i]) * (i % MOST + 1)
                log = log_of(flash)
                before = log.seq
                log.save(value)
                assert load(log) == value
                assert load(log_of(flash)) == value
                assert log_of(flash).seq == log.seq > before


def test_one_object_saves_many_times():
    log = log_of(bench())
    for i in range(100):
        log.save(bytes([i]), b"-", bytes([i]))
        assert load(log) == bytes([i]) + b"-" + bytes([i])


def test_parts_are_joined_and_views_taken():
    log = log_of(bench())
    log.save(b"ab", bytearray(b"cd"), memoryview(b"ef"))
    assert load(log) == b"abcdef"
    log.save()
    assert load(log) == b""
    assert log.seq == 2


def test_sizes():
    log = log_of(bench())
    log.save(bytes(MOST))
    assert load(log) == bytes(MOST)
    raises(FlashError, RECORD_TOO_LARGE, log.save, bytes(MOST + 1))
    raises(FlashError, RECORD_TOO_LARGE, log.save, bytes(MOST), b"x")
    assert load(log) == bytes(MOST)


def test_regions_that_are_no_log():
    raises(FlashError, FLASH_RANGE, Records, Region(bench(3), 0, 768), MOST)
    raises(FlashError, FLASH_RANGE, Records, Region(bench(), 0, 256), MOST)
    raises(FlashError, RECORD_TOO_LARGE, Records, Region(bench(), 0, 512), 256)


def test_a_damaged_record_gives_the_one_before():
    for at in range(16 + 3):
        flash = bench()
        log_of(flash).save(b"old")
        log_of(flash).save(b"new")
        flash.flip(flash.trace[-1][1] + at, 0x01)
        assert load(log_of(flash)) == b"old"
        log_of(flash).save(b"next")
        assert load(log_of(flash)) == b"next"


def test_alternate_halves():
    flash = bench()
    for i in range(20):
        log_of(flash, True).save(bytes([i]))
        assert load(log_of(flash, True)) == bytes([i])
    halves = [offset // 256 for kind, offset, _ in flash.trace if kind == "program"]
    assert halves == [0, 1] * 10


def test_a_flash_that_shows_other_bytes_on_every_read():
    """Every second reading of the payload is wrong: the scan's is right, the load's is not."""
    flash = bench()
    log = log_of(flash)
    log.save(b"value")
    honest = flash.read
    turn = [0]

    def lying(offset, buf):
        honest(offset, buf)
        if len(buf) == 5:
            turn[0] += 1
            buf[0] ^= turn[0] & 1

    flash.read = lying
    raises(FlashError, CHANGED, load, log)
    turn[0] = 1  # one lie less: the second look is right
    assert load(log) == b"value"


def test_units_are_filled_up_with_erased_bytes():
    for erased in (0xFF, 0x00):
        flash = RamNor(512, 256, 32, erased)
        log_of(flash).save(b"abc")
        assert flash.image() == flash.image()[:19] + bytes([erased]) * (512 - 19)


# --- records that no save of this log wrote -----------------------------------------------------------
def record(seq, payload, inverse=None):
    """A record with a good CRC."""
    head = struct.pack(
        "<III", seq, (seq if inverse is None else inverse) ^ 0xFFFFFFFF, len(payload)
    )
    crc = binascii.crc32(payload, binascii.crc32(head))
    return head + struct.pack("<I", crc) + payload


def test_a_seq_without_its_complement_is_none():
    flash = bench(unit=1)
    flash.program(0, record(7, b"good"))
    flash.program(20, record(9, b"evil", inverse=8))
    assert (load(log_of(flash)), log_of(flash).seq) == (b"good", 7)


def test_a_longer_record_than_this_log_takes_is_none():
    """Written by a firmware that took longer ones: it would not fit into what `load` is given."""
    flash = bench(unit=8)
    place = Region(flash, 0, flash.size_bytes)
    Records(place, MOST).save(bytes(MOST - 3))
    Records(place, MOST).save(bytes(MOST))
    buf = bytearray(MOST - 3)
    assert Records(place, MOST - 3).load(buf) == MOST - 3


def test_a_record_ends_in_its_half():
    for half in (0, 1):
        flash = bench(unit=4)
        log = log_of(flash)
        for number in range(4 + 4 * half):
            log.save(bytes([number]) * 36)  # four of 52 bytes fill a half but for 48
        start = half * 256 + 208
        beyond = record(log.seq + 1, bytes(40))
        if half == 0:
            flash.program(start, beyond)
        else:  # the flash ends here
            flash.program(start, beyond[:48])
        assert load(log_of(flash)) == bytes([3 + 4 * half]) * 36


def test_what_stands_there_now_must_be_the_record_that_was_found():
    """Another object wrote on: the place that this one knows holds an older, valid record."""
    flash = bench()
    first = log_of(flash)
    first.save(bytes([99]) * MOST)
    second = log_of(flash)
    while second.seq < 12 or flash.trace[-1][1] == 0:
        second.save(bytes([second.seq]) * MOST)
    assert load(first) == load(second)


# --- a flash that fails -------------------------------------------------------------------------------
def test_nothing_goes_into_a_half_whose_erase_failed():
    flash = bench()
    log = log_of(flash, True)
    for number in range(8):
        log.save(bytes([number]) * MOST)  # four of 56 bytes fill each half but for 32
    honest = flash.erase

    def fails(offset, size):
        honest(offset, size)
        raise FlashError(FLASH_FAILED)

    flash.erase = fails
    raises(FlashError, FLASH_FAILED, log.save, bytes(MOST))
    flash.erase = honest
    log.save(b"small")
    assert load(log) == load(log_of(flash, True)) == b"small"
