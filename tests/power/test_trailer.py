"""Power cuts in the slot trailer: each step is done, not done, or seen to be bad; never another."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bootloader_verify import trailer
from bootloader_verify.flash import Region
from bootloader_verify.trailer import BAD, ERASED, SET, Layout, TrailerState
from tests.power.flash_model import RamNor, sweep

# slot, sector, write unit, erased value
GEOMETRIES = [
    (4096, 256, 1, 0xFF),
    (4096, 512, 4, 0xFF),
    (4096, 1024, 8, 0xFF),
    (8192, 1024, 16, 0xFF),
    (8192, 256, 32, 0xFF),
    (8192, 4096, 32, 0xFF),
    (4096, 1024, 8, 0x00),
]
Geometry = tuple[int, int, int, int]
Act = Callable[[RamNor], None]


class Bench:
    """One slot of a geometry; `flash` moves on with `do`."""

    def __init__(self, geometry: Geometry) -> None:
        slot, sector, unit, erased = geometry
        self.layout = Layout(slot, unit, sector, erased)
        self.flash = RamNor(slot, sector, unit, erased)
        self.flash.program(0, bytes(range(64)) * (self.layout.image_limit // 64))

    def region(self, flash: RamNor) -> Region:
        return Region(flash, 0, flash.size_bytes)

    def state(self, flash: RamNor) -> TrailerState:
        return trailer.parse(self.region(flash).read, self.layout)

    def do(self, act: Act, judge: Callable[[TrailerState, str], None]) -> None:
        """Sweep `act`, then do it. The image below the trailer is never touched."""
        image = self.flash.image()[: self.layout.image_limit]

        def look(after: RamNor, cut: str) -> None:
            assert after.image()[: self.layout.image_limit] == image, cut
            judge(self.state(after), cut)
            self.reinstall(after, cut)

        sweep(self.flash, act, look)
        act(self.flash)

    def reinstall(self, after: RamNor, cut: str) -> None:
        """Whatever a cut left, erasing and arming again works."""
        trailer.erase(self.region(after), self.layout)
        assert self.state(after).blank, cut
        trailer.arm(self.region(after), self.layout, 77)
        assert self.state(after).armed and self.state(after).counter == 77, cut

    # --- the steps --------------------------------------------------------------------------------
    def arm(self, flash: RamNor) -> None:
        trailer.arm(self.region(flash), self.layout, 5, 2)

    def mark(self, flash: RamNor) -> None:
        trailer.mark_attempt(self.region(flash), self.layout, self.state(flash))

    def note(self, cause: str) -> Act:
        return lambda flash: trailer.note_reset(
            self.region(flash), self.layout, self.state(flash), cause
        )

    def confirm(self, flash: RamNor) -> None:
        trailer.confirm(self.region(flash), self.layout, self.state(flash))

    def erase(self, flash: RamNor) -> None:
        trailer.erase(self.region(flash), self.layout)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_arming(geometry: Geometry) -> None:
    bench = Bench(geometry)

    def judge(state: TrailerState, cut: str) -> None:
        assert not state.confirmed and state.boots == 0, cut
        if state.magic == SET:
            assert (state.counter, state.attempts) == (5, 2), cut
            assert state.armed and not state.exhausted, cut
        else:
            assert not state.armed, cut
        assert state.armed or cut != "whole"

    bench.do(bench.arm, judge)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_a_trial_from_mark_to_mark(geometry: Geometry) -> None:
    """Marks count up by at most one, power alone excuses an attempt, and nothing confirms."""
    bench = Bench(geometry)
    bench.arm(bench.flash)
    causes = [trailer.POWER, trailer.WATCHDOG, trailer.HARD, trailer.POWER, trailer.SOFT]
    for cause in [*causes, trailer.UNKNOWN]:
        before = bench.state(bench.flash)

        def marked(state: TrailerState, cut: str, before: TrailerState = before) -> None:
            assert state.magic == SET and state.counter == 5 and not state.confirmed, cut
            assert state.boots - before.boots in ((1,) if cut == "whole" else (0, 1)), cut
            assert state.attempts_used - before.attempts_used == state.boots - before.boots, cut
            # A copy_done that was torn ends the trial (THREATS 48); that is no attempt too many.
            assert state.armed or state.copy_done == BAD, cut

        bench.do(bench.mark, marked)
        now = bench.state(bench.flash)

        def noted(state: TrailerState, cut: str, now: TrailerState = now, c: str = cause) -> None:
            excused = now.attempts_used - state.attempts_used
            assert state.boots == now.boots and state.armed, cut
            if c == trailer.POWER:
                assert excused in ((1,) if cut == "whole" else (0, 1)), cut
            else:
                assert excused == 0, cut

        bench.do(bench.note(cause), noted)
    assert bench.state(bench.flash).exhausted


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_confirming(geometry: Geometry) -> None:
    bench = Bench(geometry)
    bench.arm(bench.flash)
    bench.mark(bench.flash)

    def judge(state: TrailerState, cut: str) -> None:
        assert state.magic == SET and state.counter == 5 and state.boots == 1, cut
        assert state.confirmed == (state.image_ok == SET), cut
        assert state.armed == (state.image_ok == ERASED), cut
        assert state.confirmed or cut != "whole"

    bench.do(bench.confirm, judge)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("confirmed", [False, True])
def test_disarming(geometry: Geometry, confirmed: bool) -> None:
    """A torn erase never makes a trial with attempts left of what had none, or a confirmed slot."""
    bench = Bench(geometry)
    bench.arm(bench.flash)
    for _ in range(2):
        bench.mark(bench.flash)
        bench.note(trailer.WATCHDOG)(bench.flash)
    if confirmed:
        bench.confirm(bench.flash)

    def judge(state: TrailerState, cut: str) -> None:
        assert state.confirmed <= confirmed, cut
        assert not state.armed or state.exhausted, cut
        if cut == "whole":
            assert state.blank

    bench.do(bench.erase, judge)


def test_every_single_bit_of_a_trailer() -> None:
    """A flipped bit never confirms and never gives an exhausted trial an attempt back."""
    bench = Bench((4096, 1024, 8, 0xFF))
    bench.arm(bench.flash)
    for _ in range(2):
        bench.mark(bench.flash)
        bench.note(trailer.WATCHDOG)(bench.flash)
    assert bench.state(bench.flash).exhausted
    for at in range(bench.layout.image_limit, 4096):
        for bit in range(8):
            aged = bench.flash.clone()
            aged.flip(at, 1 << bit)
            state = bench.state(aged)
            assert not state.confirmed
            assert not state.armed or state.exhausted, (at, bit)
