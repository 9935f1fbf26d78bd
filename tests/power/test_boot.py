"""The boot stage alone: what it checks beyond the ladder and the table, right before it hands over."""

from __future__ import annotations

from typing import Any

import pytest

from bootloader_verify import decision, trailer
from bootloader_verify.slot import Slot
from tests.power.flash_model import RamNor
from tests.power.rig import Life, World, armed, board, factory, image

GOOD = image("1.1.0")


def test_t46_bytes_that_change_between_verification_and_mount_are_not_mounted(
    flash: RamNor, world: World
) -> None:
    armed(flash, world, GOOD)
    map_ = flash.map
    start_b = world.map.REGIONS["slot_b"][0]

    def other_bytes(offset: int, size: int) -> memoryview:
        view = map_(offset, size)
        if offset == start_b:
            view[4000] ^= 1
        return view

    flash.map = other_bytes  # type: ignore[method-assign]
    booted = Life(flash, world, "hard").booted
    assert (booted.mode, booted.codes["b"]) == (decision.CONFIRMED, "CHANGED")
    assert booted.slot is not None and booted.slot.name == "a"


def test_t54_bytes_that_hide_in_front_of_the_trailer_are_refused(
    flash: RamNor, world: World
) -> None:
    armed(flash, world, GOOD)
    slot = Slot(flash, world.map, "b")
    flash.flip(slot.region.offset + slot.layout.image_limit + 8, 0x01)
    booted = Life(flash, world, "hard").booted
    assert (booted.mode, booted.codes["b"]) == (decision.CONFIRMED, "NOT_ERASED")


def test_t22_a_trial_whose_epoch_is_too_far_away_does_not_start() -> None:
    world = World(board())
    flash = factory(world.map, image("1.0.0"))
    far = image("1.1.0", epoch=18)
    slot = Slot(flash, world.map, "b")
    slot.region.program(0, far + b"\xff" * (-len(far) % world.map.WRITE))
    trailer.arm(slot.region, slot.layout, 2)
    booted = Life(flash, world, "hard").booted
    assert (booted.mode, booted.codes["b"]) == (decision.CONFIRMED, "EPOCH_JUMP")


@pytest.mark.parametrize("fault", ["silent", "told"])
def test_t49_without_a_mark_that_reads_back_there_is_no_trial(
    flash: RamNor, world: World, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    armed(flash, world, GOOD)
    program = flash.program

    def lame(offset: int, data: Any) -> None:
        if fault == "told":
            program(offset, bytes(len(data)))  # the flash keeps something else

    if fault == "silent":
        monkeypatch.setattr(trailer, "mark_attempt", lambda *_args: None)
    else:
        flash.program = lame  # type: ignore[method-assign]
    booted = Life(flash, world, "hard").booted
    assert booted.mode == decision.CONFIRMED and booted.attempt == 0
