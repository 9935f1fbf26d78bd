"""Power cuts and single-bit errors in the epoch: old or new, never lower, never a third value."""

from __future__ import annotations

import pytest

from bootloader_verify.counter import EpochCounter
from bootloader_verify.flash import Region
from tests.power.flash_model import PowerCut, RamNor, cuts, sweep

GEOMETRIES = [(256, 1), (256, 4), (256, 8), (256, 16), (256, 32), (128, 32)]


def counter(flash: RamNor) -> EpochCounter:
    return EpochCounter(Region(flash, 0, flash.size_bytes))


@pytest.mark.parametrize(("sector", "unit"), GEOMETRIES)
@pytest.mark.parametrize("erased", [0xFF, 0x00])
def test_t23_a_cut_raise_leaves_old_or_new(sector: int, unit: int, erased: int) -> None:
    flash = RamNor(2 * sector, sector, unit, erased)
    old = 0
    for new in (1, 2, 3, 16, 17, 33, 34, 35, 50):

        def judge(after: RamNor, cut: str, old: int = old, new: int = new) -> None:
            for _ in range(3 if cut.endswith("unstable") else 1):
                assert counter(after).read() in ((new,) if cut == "whole" else (old, new)), cut
            counter(after).raise_to(new)
            assert counter(after).read() == new, cut

        sweep(flash, lambda one, new=new: counter(one).raise_to(new), judge)
        counter(flash).raise_to(new)
        old = new


@pytest.mark.parametrize("old", [0, 5])
def test_t23_two_cuts_in_a_row(old: int) -> None:
    flash = RamNor(512, 256, 8)
    for epoch in range(1, old + 1):
        counter(flash).raise_to(epoch)
    seen: list[int] = []

    def judge_first(after: RamNor, cut: str) -> None:
        seen.append(1)
        if len(seen) % 7:
            return
        now = counter(after).read()
        assert now in (old, old + 1)

        def judge(last: RamNor, cut_2: str) -> None:
            assert counter(last).read() in (now, old + 2), (cut, cut_2)

        sweep(after, lambda one: counter(one).raise_to(old + 2), judge, unstable=False)

    sweep(flash, lambda one: counter(one).raise_to(old + 1), judge_first, unstable=False)


@pytest.mark.parametrize("unit", [1, 8, 32])
def test_no_single_bit_lowers_a_stored_epoch(unit: int) -> None:
    flash = RamNor(512, 256, unit)
    for epoch in range(1, 8):
        counter(flash).raise_to(epoch)
        for at in range(512):
            for bit in range(8):
                aged = flash.clone()
                aged.flip(at, 1 << bit)
                assert counter(aged).read() == epoch, (epoch, at, bit)


def test_t24_both_copies_bad_is_said_and_not_taken_for_new() -> None:
    flash = RamNor(512, 256, 8)
    for epoch in range(1, 4):
        counter(flash).raise_to(epoch)
    for at in range(0, 512, 8):
        flash.flip(at, 0x10)
    assert counter(flash).read() is None
    counter(flash).raise_to(40)
    assert counter(flash).read() == 40


def test_a_steady_state_writes_nothing() -> None:
    flash = RamNor(512, 256, 8)
    counter(flash).raise_to(3)
    steady = flash.clone()
    for epoch in (3, 2, 0, 3):
        counter(steady).raise_to(epoch)
        assert counter(steady).read() == 3
    assert steady.operations == 0


def test_a_cut_between_the_copies_is_mended_once() -> None:
    """The next raise to the same epoch writes the missing copy, then nothing more."""
    flash = RamNor(512, 256, 8)
    counter(flash).raise_to(1)
    whole = flash.clone()
    counter(whole).raise_to(2)
    for number, torn in cuts(whole.trace, unstable=False):
        one = flash.clone()
        one.cut_at(number, torn)
        with pytest.raises(PowerCut):
            counter(one).raise_to(2)
        after = one.clone()
        counter(after).raise_to(2)
        steady = after.clone()
        counter(steady).raise_to(2)
        assert steady.operations == 0, (number, torn)
        for at in range(512):
            aged = steady.clone()
            aged.flip(at, 0x08)
            assert counter(aged).read() == 2, (number, torn, at)
