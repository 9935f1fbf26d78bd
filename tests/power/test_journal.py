"""Power cuts and single-bit errors in the journal: the old or the new job, never a third, seq never falls."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agent.update.journal import Journal, record_bytes
from bootloader_verify.flash import Region
from bootloader_verify.records import Records
from tests.power.flash_model import PowerCut, RamNor, cuts, sweep

MOST = 100
ONE, TWO, THREE = b"one" * 30, b"two" * 20, b"three"
GEOMETRIES = [(2048, 1, 0xFF), (2048, 8, 0xFF), (2048, 32, 0xFF), (2048, 8, 0x00)]
Step = Callable[[Journal], None]
# A life with every kind of change, long enough to use each half again.
LIFE: list[Step] = [
    lambda j: j.open(ONE, 1, 10),
    lambda j: j.arming(),
    lambda j: j.note("relay stuck"),
    lambda j: j.close("InstallationFailed", "TrialBootFailed", "relay stuck", b"\x01" * 32),
    lambda j: j.open(TWO, 2, 11),
    lambda j: j.open(THREE, 3, 12),
    lambda j: j.arming(),
    lambda j: j.reopen(),
    lambda j: j.arming(),
    lambda j: j.close("Installed", "", ""),
]


def after_reset(flash: RamNor) -> tuple[Journal, tuple[object, ...]]:
    """(journal, all that it says)."""
    records = Records(Region(flash, 0, flash.size_bytes), record_bytes(MOST), True)
    one = Journal(records, memoryview(bytearray(record_bytes(MOST))))
    kept = one.load()
    said = (one.state, one.request_id, one.seq, one.offer, one.outcome, one.reason, one.detail)
    return one, (*said, tuple(one.denied), None if kept is None else bytes(kept))


def does(step: Step) -> Callable[[RamNor], None]:
    return lambda flash: step(after_reset(flash)[0])


def lived(flash: RamNor, steps: int) -> RamNor:
    for step in LIFE[:steps]:
        does(step)(flash)
    return flash


@pytest.mark.parametrize(("sector", "unit", "erased"), GEOMETRIES)
def test_a_cut_change_leaves_the_old_or_the_new_job(sector: int, unit: int, erased: int) -> None:
    flash = RamNor(2 * sector, sector, unit, erased)
    old = after_reset(flash)[1]
    for step in LIFE:
        whole = flash.clone()
        does(step)(whole)
        new = after_reset(whole)[1]
        assert new != old

        def judge(
            after: RamNor, cut: str, old: tuple[object, ...] = old, new: tuple[object, ...] = new
        ) -> None:
            for _ in range(3 if cut.endswith("unstable") else 1):
                one, found = after_reset(after)
                assert found in ((new,) if cut == "whole" else (old, new)), cut
            one.close("Idle", "Canceled", "next")
            assert after_reset(after)[0].detail == "next", cut

        assert sweep(flash, does(step), judge) > 20
        does(step)(flash)
        old = new
    assert all(flash.wear)


def test_a_cut_of_the_load_that_mends_changes_nothing() -> None:
    flash = lived(RamNor(4096, 2048, 8), 4)
    whole = flash.clone()
    does(LIFE[4])(whole)
    new, mends = after_reset(whole.clone())[1], 0
    for number, torn in cuts(whole.trace, unstable=False):
        one = flash.clone()
        one.cut_at(number, torn)
        with pytest.raises(PowerCut):
            does(LIFE[4])(one)
        probe = one.clone()
        after_reset(probe)
        if not probe.operations:
            continue
        mends += 1
        if mends % 5 == 1:
            sweep(one.clone(), after_reset, _says(new), unstable=False)
    assert mends > 5


def _says(want: tuple[object, ...]) -> Callable[[RamNor, str], None]:
    def judge(after: RamNor, cut: str) -> None:
        assert after_reset(after)[1] == want, cut
        steady = after.clone()
        assert after_reset(steady)[1] == want and steady.operations == 0, cut

    return judge


@pytest.mark.parametrize("steps", [1, 4, 8])
def test_no_single_bit_changes_what_is_said(steps: int) -> None:
    """Every third byte and another bit each time; what the flash then shows is steady again."""
    flash = lived(RamNor(4096, 2048, 8), steps)
    want = after_reset(flash)[1]
    for at in range(0, 4096, 3):
        aged = flash.clone()
        aged.flip(at, 1 << at // 3 % 8)
        assert after_reset(aged)[1] == want, at
        steady = aged.clone()
        assert after_reset(steady)[1] == want and steady.operations == 0, at


def test_after_a_bad_bit_the_next_change_stands_twice_again() -> None:
    flash = lived(RamNor(4096, 2048, 8), 5)
    for at in range(0, 4096, 97):
        aged = flash.clone()
        aged.flip(at, 0x10)
        does(LIFE[5])(aged)
        want = after_reset(aged)[1]
        for half in (0, 1):
            lost = aged.clone()
            lost.erase(half * 2048, 2048)
            assert after_reset(lost)[1] == want, (at, half)


def test_a_steady_state_writes_nothing() -> None:
    for steps in range(len(LIFE) + 1):
        flash = lived(RamNor(4096, 2048, 8), steps).clone()
        after_reset(flash)
        assert flash.operations == 0
