"""The record log without power cuts: those are in tests/power/test_records.py."""

from bootloader_verify.errors import CHANGED, FLASH_RANGE, RECORD_TOO_LARGE, FlashError
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
    flash = bench()
    log = log_of(flash)
    log.save(b"value")
    honest = flash.read
    turn = [0]

    def lying(offset, buf):
        honest(offset, buf)
        turn[0] += 1
        if len(buf) == 5 and turn[0] % 2:
            buf[0] ^= 1

    def load_of_a_scanned_log():
        # Every second read of the payload is wrong: the scan is right, the load is not.
        for start in (0, 1):
            turn[0] = start
            try:
                assert load(log) in (b"value", b"")
            except FlashError as err:
                assert err.code == CHANGED
                raise
        raise FlashError(CHANGED, "no lie was met")

    flash.read = lying
    raises(FlashError, CHANGED, load_of_a_scanned_log)
