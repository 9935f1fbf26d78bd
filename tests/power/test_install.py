"""The installer alone: which image may be armed, with which counter, and when the epoch rises."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agent import states
from agent.update.install import Installer
from bootloader_verify import boot, decision, ladder, trailer
from bootloader_verify.counter import EpochCounter
from bootloader_verify.errors import FLASH_READBACK, READ_FAILED, FlashError, VerifyError
from bootloader_verify.slot import Slot, region
from tests.power.flash_model import RamNor
from tests.power.rig import Life, World, factory, image

NEW = image("1.1.0", epoch=2)


def put(flash: RamNor, world: World, data: bytes) -> Slot:
    """An image in the spare slot that is not armed."""
    slot = Slot(flash, world.map, "b")
    slot.region.program(0, data + b"\xff" * (-len(data) % flash.write_bytes))
    return slot


def installer(flash: RamNor, world: World, **booted: Any) -> Installer:
    """Of a boot of slot a; `booted` bends what is known about it."""
    stage = boot.Boot(flash, world.map, world.keys, "hard")
    found = stage.select()
    for name, value in booted.items():
        setattr(found, name, value)
    counter = EpochCounter(region(flash, world.map, "epoch"))
    return Installer(found, stage.slots, stage.slots[1], world.keys, counter)


def named(data: bytes, **changes: Any) -> Any:
    """What a manifest says of that image."""
    numbers = (1, 1, 0, 0)
    digest = data[data.rindex(b"\x10\x00\x20\x00") + 4 :][:32]
    facts = {"digest": digest, "size": len(data), "version": numbers, "epoch": 2}
    return SimpleNamespace(**(facts | changes))


def code_of(flash: RamNor, world: World, manifest: Any, **booted: Any) -> str:
    try:
        ladder.finish(installer(flash, world, **booted).climb(manifest))
    except VerifyError as err:
        return err.code
    return ""


# --- the named image --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"digest": bytes(32)},
        {"size": len(NEW) + 1},
        {"version": (1, 1, 0, 1)},
        {"epoch": 3},
    ],
)
def test_t30_each_fact_that_the_manifest_names_is_compared(
    flash: RamNor, world: World, change: dict[str, Any]
) -> None:
    put(flash, world, NEW)
    assert code_of(flash, world, named(NEW)) == ""
    assert code_of(flash, world, named(NEW, **change)) == "MISMATCH"


def test_t21_the_least_epoch_is_the_higher_one_of_two(flash: RamNor, world: World) -> None:
    put(flash, world, NEW)
    running = SimpleNamespace(epoch=1)
    for stored, is_running, least in ((1, running, 1), (3, running, 3), (None, running, 1)):
        one = installer(flash, world, epoch=stored, verified=is_running)
        assert one.least_epoch == least
    assert installer(flash, world, epoch=None, verified=None).least_epoch == 0
    assert code_of(flash, world, named(NEW), epoch=3) == "ROLLBACK"
    above = SimpleNamespace(epoch=3)
    assert code_of(flash, world, named(NEW), verified=above) == "ROLLBACK"


def test_t22_an_image_too_far_above_it_is_not_armed(flash: RamNor, world: World) -> None:
    far = image("1.1.0", epoch=18)
    put(flash, world, far)
    assert code_of(flash, world, named(far, epoch=18)) == "EPOCH_JUMP"


# --- install counters -------------------------------------------------------------------------


def armed_over(flash: RamNor, world: World, *counters: int) -> Slot:
    """Slot b, armed anew on a device whose slots had these counters."""
    slot = put(flash, world, NEW)
    for name, counter in zip("ab", counters, strict=True):
        old = Slot(flash, world.map, name)
        trailer.erase(old.region, old.layout)
        trailer.arm(old.region, old.layout, counter)
    one = installer(flash, world)
    one.arm(ladder.finish(one.climb(named(NEW))), 3)
    return slot


@pytest.mark.parametrize(
    ("counters", "then"),
    [((1, 0), 2), ((5, 9), 6), ((9, 5), 10), ((0xFFFFFFFF, 7), 0xFFFFFFFF)],
)
def test_a_new_image_has_the_highest_counter_and_it_does_not_wrap(
    flash: RamNor, world: World, counters: tuple[int, int], then: int
) -> None:
    """The counter of the spare slot itself has left with its trailer."""
    assert armed_over(flash, world, *counters).state().counter == then


def test_a_slot_that_cannot_be_read_does_not_keep_the_other_from_being_armed(
    flash: RamNor, world: World
) -> None:
    slot = put(flash, world, NEW)
    one = installer(flash, world)
    found = ladder.finish(one.climb(named(NEW)))
    start, read = slot.region.offset, flash.read

    def broken(offset: int, buf: Any) -> None:
        if offset < start:
            raise FlashError(READ_FAILED, "worn")
        read(offset, buf)

    flash.read = broken  # type: ignore[method-assign]
    one.arm(found, 3)
    assert slot.state().armed


# --- epochs -----------------------------------------------------------------------------------


def stored(flash: RamNor, world: World) -> int | None:
    return EpochCounter(region(flash, world.map, "epoch")).read()


def test_i4_only_a_confirmed_images_epoch_is_settled(flash: RamNor, world: World) -> None:
    above = SimpleNamespace(epoch=3)
    for mode in (decision.TRIAL, decision.LAST_RESORT, decision.LAST_CONFIRMED):
        installer(flash, world, verified=above, mode=mode).settle_epoch()
        assert stored(flash, world) == 1
    installer(flash, world, verified=above, mode=decision.CONFIRMED).settle_epoch()
    assert stored(flash, world) == 3


def test_i4_a_confirmation_that_flash_does_not_keep_raises_no_epoch(world: World) -> None:
    flash = factory(world.map, image("1.0.0"))
    world.publish(NEW, 1)
    Life(flash, world, "power").run()
    trial = Life(flash, world, "hard")
    trial.run(until=lambda one: one.updater.state == states.CONFIRMING)

    def worn() -> None:
        raise FlashError(FLASH_READBACK, "worn")

    trial.parts.installer.confirm = worn  # type: ignore[method-assign]
    trial.tick()
    assert trial.updater.state != states.CONFIRMING and stored(flash, world) == 1
