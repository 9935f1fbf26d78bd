"""THREATS.md, rows 21, 36 and 50 to 53 as a charger meets them: what boots, and what is said of it."""

from __future__ import annotations

import pytest

from agent import protocol, states
from bootloader_verify import decision, trailer
from bootloader_verify.counter import EpochCounter
from bootloader_verify.errors import FlashError
from bootloader_verify.keyset import Keyset
from bootloader_verify.slot import Slot, region
from tests.power.flash_model import PowerCut, RamNor
from tests.power.rig import RELEASE, STRANGER, Life, World, armed, factory, image, live, running

OLD, GOOD, ILL = image("1.0.0"), image("1.1.0"), image("1.2.0")
CAUSES = [trailer.WATCHDOG, trailer.SOFT, trailer.HARD, trailer.UNKNOWN]


def put(flash: RamNor, world: World, name: str, data: bytes, counter: int, confirm: bool) -> None:
    """`data` in a slot, armed or confirmed, whoever signed it."""
    slot = Slot(flash, world.map, name)
    slot.region.erase(0, slot.region.size_bytes)
    slot.region.program(0, data + b"\xff" * (-len(data) % world.map.WRITE))
    trailer.arm(slot.region, slot.layout, counter)
    if confirm:
        trailer.confirm(slot.region, slot.layout, slot.state())


def spoil(flash: RamNor, world: World, name: str) -> None:
    flash.flip(world.map.REGIONS["slot_" + name][0] + 5000, 0x01)


def stored_epoch(flash: RamNor, world: World, epoch: int) -> None:
    EpochCounter(region(flash, world.map, "epoch")).raise_to(epoch, True)


# --- 21: an epoch below the stored one ----------------------------------------------------------------
def test_t21_an_older_epoch_does_not_boot_as_trial_or_last_resort(world: World) -> None:
    flash = factory(world.map, image("2.0.0", epoch=3), epoch=3)
    put(flash, world, "b", image("1.1.0", epoch=2), 2, False)
    booted = Life(flash, world, "hard").booted
    assert (booted.mode, booted.codes["b"]) == (decision.CONFIRMED, "ROLLBACK")
    spoil(flash, world, "a")
    slot = Slot(flash, world.map, "b")
    trailer.erase(slot.region, slot.layout)
    assert Life(flash, world, "hard").booted.mode == decision.RECOVERY


def test_t21_the_way_back_does_not_lead_below_the_epoch(world: World) -> None:
    """The confirmed old image is exempt only while it is the last one."""
    flash = factory(world.map, OLD)
    put(flash, world, "b", image("2.0.0", epoch=3), 2, True)
    stored_epoch(flash, world, 3)
    booted = Life(flash, world, "hard").booted
    assert booted.slot is not None and booted.slot.name == "b"
    assert booted.codes["a"] == "ROLLBACK"
    spoil(flash, world, "b")
    booted = Life(flash, world, "hard").booted
    assert booted.slot is not None and booted.slot.name == "a"
    assert booted.mode == decision.LAST_CONFIRMED


# --- 36: a revoked key --------------------------------------------------------------------------------
def test_t36_an_image_by_a_revoked_key_boots_only_if_nothing_else_is_left(world: World) -> None:
    flash = factory(world.map, OLD)
    put(flash, world, "b", image("1.1.0", signer=STRANGER), 2, True)
    trusted = world.keys
    other = dict(trusted.keys)
    other[STRANGER.key_id] = type(trusted.keys[RELEASE.key_id])(
        STRANGER.key_id, STRANGER.alg, "release", "all", STRANGER.public_raw
    )
    world.keys = Keyset(2, other, trusted.thresholds, (RELEASE.key_id,))
    booted = Life(flash, world, "hard").booted
    assert booted.slot is not None and booted.slot.name == "b"
    assert booted.codes["a"] == "REVOKED"
    spoil(flash, world, "b")
    booted = Life(flash, world, "hard").booted
    assert booted.slot is not None and booted.slot.name == "a"
    assert booted.mode == decision.LAST_CONFIRMED  # said in the status: mode


# --- 50: a trial that resets or hangs -----------------------------------------------------------------
@pytest.mark.parametrize("cause", CAUSES)
def test_t50_three_resets_before_the_confirmation_end_a_trial(
    flash: RamNor, world: World, cause: str
) -> None:
    armed(flash, world, GOOD)
    for attempt in (1, 2, 3):
        booted = Life(flash, world, cause).booted
        assert (booted.mode, booted.attempt) == (decision.TRIAL, attempt)
    booted = Life(flash, world, cause).booted
    assert (booted.mode, booted.attempt) == (decision.CONFIRMED, 0)
    assert running(live(flash, world)) == "1.0.0"
    assert world.words(101)[-1] == "InstallationFailed"


def test_t50_power_losses_burn_no_attempt_and_still_end(flash: RamNor, world: World) -> None:
    armed(flash, world, GOOD)
    for boot in range(trailer.MAX_BOOTS):
        booted = Life(flash, world, trailer.POWER).booted
        assert (booted.mode, booted.attempt) == (decision.TRIAL, 1), boot
    assert Life(flash, world, trailer.POWER).booted.mode == decision.CONFIRMED


def test_t50_a_trial_that_is_confirmed_in_its_last_attempt_stays(
    flash: RamNor, world: World
) -> None:
    armed(flash, world, GOOD)
    for _ in range(2):
        Life(flash, world, trailer.WATCHDOG)
    assert running(live(flash, world, trailer.WATCHDOG)) == "1.1.0"
    assert world.words(101)[-1] == "Installed"


# --- 50: what a failed or unconfirmable trial leaves ---------------------------------------------------
def test_t50_what_failed_is_no_image_any_more_while_another_one_runs(
    flash: RamNor, world: World
) -> None:
    world.publish(ILL, 1)
    live(flash, world)
    assert Life(flash, world, "power").booted.codes["b"] == "BAD_MAGIC"


def test_t50_the_last_image_is_kept_though_its_trial_failed(flash: RamNor, world: World) -> None:
    armed(flash, world, ILL)
    spoil(flash, world, "a")
    life = live(flash, world)
    assert life.booted.mode == decision.RECOVERY
    assert life.booted.codes["b"] == ""  # used up, and still an image


def unconfirmable(flash: RamNor, world: World) -> None:
    """image_ok of slot b takes no write."""
    slot, program = Slot(flash, world.map, "b"), flash.program
    image_ok = slot.region.offset + slot.layout.image_ok

    def refuse(offset: int, data: bytes) -> None:
        if offset == image_ok:
            raise FlashError("FLASH_FAILED", "worn out")
        program(offset, data)

    flash.program = refuse  # type: ignore[method-assign,assignment]


def test_t50_the_only_image_runs_on_though_it_cannot_be_confirmed(
    flash: RamNor, world: World
) -> None:
    armed(flash, world, GOOD)
    spoil(flash, world, "a")
    unconfirmable(flash, world)
    life = live(flash, world)
    assert running(life) == "1.1.0" and not Slot(flash, world.map, "b").state().armed
    last = world.statuses[-1]
    assert (last["status"], last["detail"]) == (
        "InstallationFailed",
        "runs, but is not confirmed",
    )
    for _ in range(5):  # and it stays so
        booted = live(flash, world, "power").booted
        assert booted.mode == decision.LAST_RESORT and booted.verified is not None
        assert tuple(booted.verified.version[:3]) == (1, 1, 0)


def test_t50_beside_another_image_it_gives_way(flash: RamNor, world: World) -> None:
    armed(flash, world, GOOD)
    unconfirmable(flash, world)
    assert running(live(flash, world)) == "1.0.0"


# --- 51: who may confirm, and when --------------------------------------------------------------------
def test_t51_only_the_slot_that_runs_its_trial_is_confirmed(flash: RamNor, world: World) -> None:
    armed(flash, world, GOOD)
    spare = Slot(flash, world.map, "b")
    life = Life(flash, world, "hard")
    before = Slot(flash, world.map, "a").state().image_ok
    life.parts.installer.confirm()
    assert spare.state().confirmed and Slot(flash, world.map, "a").state().image_ok == before
    operations = flash.operations
    life.parts.installer.confirm()  # twice is once
    assert flash.operations == operations


def test_t51_what_is_no_trial_cannot_be_confirmed(flash: RamNor, world: World) -> None:
    put(flash, world, "b", GOOD, 2, False)
    slot = Slot(flash, world.map, "b")
    trailer.erase(slot.region, slot.layout)
    with pytest.raises(FlashError) as caught:
        trailer.confirm(slot.region, slot.layout, slot.state())
    assert caught.value.code == "NOT_ARMED"


def test_t51_a_trial_that_was_given_up_is_not_confirmed_any_more(
    flash: RamNor, world: World
) -> None:
    """Its self-test failed; that it would pass now comes too late for this attempt."""
    armed(flash, world, ILL)
    life = Life(flash, world, "hard")
    life.run(until=lambda one: one.updater.state == states.GIVING_UP)
    life.app.answers["self_test"] = (True, "all well")
    assert life.run() == "the trial is given up"
    assert not Slot(flash, world.map, "b").state().confirmed


# --- 52: nothing boots --------------------------------------------------------------------------------
def test_t52_without_a_valid_slot_nothing_unsigned_boots_and_the_agent_mends_it(
    flash: RamNor, world: World
) -> None:
    put(flash, world, "b", image("1.1.0", signer=STRANGER), 2, True)
    spoil(flash, world, "a")
    life = Life(flash, world, "power")
    assert (life.booted.mode, life.booted.slot, life.booted.payload) == ("recovery", None, None)
    assert life.booted.codes == {"a": "BAD_HASH", "b": "UNKNOWN_KEY"}
    world.publish(image("1.3.0"), 1)
    after = live(flash, world)
    assert running(after) == "1.3.0"
    modes = [status["mode"] for status in world.statuses]
    assert modes[0] == decision.RECOVERY and modes[-1] == decision.CONFIRMED
    assert world.words(101)[-1] == protocol.INSTALLED


# --- 53: an update that breaks in a metadata step -----------------------------------------------------
def test_t53_the_old_image_boots_whatever_metadata_write_of_an_update_fails(
    flash: RamNor, world: World
) -> None:
    """Every write to trailer, epoch and journal of an update cut: a confirmed or a trial image boots."""
    world.publish(image("1.1.0", epoch=2), 1)
    whole = flash.clone()
    live(whole, World(world.map, offer=world.offer, artifacts=world.artifacts))
    slot = Slot(flash, world.map, "b")
    image_end = slot.region.offset + slot.layout.image_limit
    metadata = [
        number
        for number, (_, offset, _) in enumerate(whole.trace)
        if not slot.region.offset <= offset < image_end
    ]
    assert len(metadata) > 8
    for number in metadata:
        one = flash.clone()
        one.cut_at(number, "mask-3")
        here = World(world.map, offer=world.offer, artifacts=world.artifacts)
        with pytest.raises(PowerCut):
            live(one, here)
        booted = Life(one.clone(), here, "power").booted
        assert booted.mode in (decision.CONFIRMED, decision.TRIAL), number
