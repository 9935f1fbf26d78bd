"""Power cuts in the record log: old or new value, never a third, and the log goes on."""

from __future__ import annotations

import pytest

from bootloader_verify.errors import FlashError
from bootloader_verify.flash import Region
from bootloader_verify.records import Records
from tests.power.flash_model import RamNor, sweep

# sector, write unit, erased value, largest payload
GEOMETRIES = [
    (128, 1, 0xFF, 20),
    (128, 4, 0xFF, 20),
    (128, 8, 0xFF, 24),
    (256, 16, 0xFF, 40),
    (256, 32, 0xFF, 40),
    (128, 8, 0x00, 24),
]
SAVES = 9  # enough to fill both halves and come back


def payload(number: int, most: int) -> bytes:
    return bytes([number]) * (number * 7 % most + 1)


def open_log(flash: RamNor, most: int) -> Records:
    return Records(Region(flash, 0, flash.size_bytes), most)


def load(log: Records, most: int) -> bytes:
    buf = bytearray(most)
    return bytes(buf[: log.load(buf)])


@pytest.mark.parametrize(("sector", "unit", "erased", "most"), GEOMETRIES)
@pytest.mark.parametrize("sectors", [2, 4])
def test_a_cut_save_leaves_old_or_new(
    sector: int, unit: int, erased: int, most: int, sectors: int
) -> None:
    flash = RamNor(sectors * sector, sector, unit, erased)
    old = b""
    for number in range(SAVES):
        new = payload(number, most)

        def judge(after: RamNor, cut: str, old: bytes = old, new: bytes = new) -> None:
            for _ in range(3 if cut.endswith("unstable") else 1):
                got = load(open_log(after, most), most)
                assert got in ((new,) if cut == "whole" else (old, new)), cut
            log = open_log(after, most)
            log.save(b"next")
            assert load(log, most) == b"next", cut
            assert load(open_log(after, most), most) == b"next", cut

        cuts = sweep(flash, lambda one, new=new: open_log(one, most).save(new), judge)
        assert cuts > len(new)
        open_log(flash, most).save(new)
        old = new


def test_a_second_cut_in_the_save_after_a_cut() -> None:
    """Every fifth first cut, every second cut behind it."""
    flash = RamNor(256, 128, 8)
    for number in range(5):
        open_log(flash, 24).save(payload(number, 24))
    old, first, second = payload(4, 24), b"first", b"second"
    seen: list[int] = []

    def judge_first(after: RamNor, cut: str) -> None:
        seen.append(1)
        if len(seen) % 5:
            return
        now = load(open_log(after, 24), 24)
        assert now in (old, first)

        def judge(last: RamNor, cut_2: str) -> None:
            assert load(open_log(last, 24), 24) in (now, second), (cut, cut_2)

        sweep(after, lambda one: open_log(one, 24).save(second), judge, unstable=False)

    sweep(flash, lambda one: open_log(one, 24).save(first), judge_first, unstable=False)


def test_what_failed_once_does_not_come_back_as_the_newest() -> None:
    """A record that could not be read back when it was written, and can be later."""
    for saves in range(8):
        flash = RamNor(256, 128, 8)
        for number in range(saves):
            open_log(flash, 24).save(payload(number, 24))
        log = open_log(flash, 24)
        _with_a_deaf_read(flash, log)
        log.save(b"after it")
        assert load(open_log(flash, 24), 24) == b"after it", saves


def _with_a_deaf_read(flash: RamNor, log: Records) -> None:
    """`save` a value whose read-back fails, though the flash holds it."""
    honest = flash.read
    flash.read = lambda offset, buf: None  # type: ignore[method-assign]
    with pytest.raises(FlashError):
        log.save(b"it")
    flash.read = honest  # type: ignore[method-assign]


def test_a_record_that_reads_differently_each_time_is_not_given_out() -> None:
    """Valid when the log was opened, changing afterwards: the one before it, or an error."""
    flash = RamNor(256, 128, 8)
    log = open_log(flash, 24)
    log.save(b"old")
    log.save(b"new")
    flash.flip(flash.trace[-1][1] + 16, 0x04)
    assert load(log, 24) == b"old"


def test_wear_is_bounded() -> None:
    """One erase of a half takes as many records as fit."""
    flash = RamNor(8 * 256, 256, 8)
    for _ in range(400):
        open_log(flash, 24).save(bytes(16))
    fit = 4 * 256 // 32
    assert max(flash.wear) <= 400 // (2 * fit) + 1
