"""What fails: journal, flash, memory, application, and records that disagree. Seen from outside.

The whole device in one process (rig.py): what is said is what the broker would get.
"""

from __future__ import annotations

from typing import Any

import pytest

from agent import protocol, states
from agent.manifest import Manifest
from agent.update.journal import Journal
from bootloader_verify import decision
from bootloader_verify.errors import CHANGED, FLASH_READBACK, READ_FAILED, FlashError
from bootloader_verify.slot import Slot, region
from tests.power.flash_model import RamNor
from tests.power.rig import (
    Life,
    World,
    armed,
    image,
    live,
    running,
    waiting,
)

OLD, GOOD, ILL = image("1.0.0"), image("1.1.0"), image("1.2.0")


# --- a worn journal ---


def refuse_saves(life: Life) -> None:
    def save(*_parts: object) -> None:
        raise FlashError(FLASH_READBACK, "worn")

    life.parts.journal._records.save = save  # type: ignore[method-assign]


def test_an_offer_that_the_journal_cannot_keep_is_refused_and_the_old_job_goes_on(
    flash: RamNor, world: World
) -> None:
    world.publish(GOOD, 1)
    life = Life(flash, world, "power")
    life.run(until=lambda one: one.updater.state == states.SCANNING)
    keep = life.parts.journal._records.save
    refuse_saves(life)
    first = world.offer
    world.publish(image("1.3.0"), 2)
    life.updater.on_message(protocol.OFFER, memoryview(world.offer))
    world.offer = first
    life.parts.journal._records.save = keep  # type: ignore[method-assign]
    life.run(until=lambda one: one.updater.state == states.REBOOTING)
    assert ("OfferRejected", "FLASH_READBACK") in [(e["event"], e["code"]) for e in world.events]
    assert {s["request_id"] for s in world.statuses[1:]} == {101}
    assert running(live(flash, world, "hard")) == "1.1.0"


def test_a_job_whose_end_cannot_be_kept_ends_all_the_same(flash: RamNor, world: World) -> None:
    world.publish(GOOD, 1)
    life = Life(flash, world, "power")
    life.run(until=lambda one: one.updater.state == states.WAITING)
    refuse_saves(life)
    assert not life.run()
    assert world.words(101)[-1] == "InstallationFailed"
    assert life.app.held[-1] is False
    assert running(live(flash, world)) in ("1.0.0", "1.1.0")


def test_a_cancel_that_cannot_be_kept_is_refused(flash: RamNor, world: World) -> None:
    world.publish(GOOD, 1)
    life = Life(flash, world, "power")
    life.run(until=lambda one: one.updater.state == states.DOWNLOADING)
    keep = life.parts.journal._records.save
    refuse_saves(life)
    life.updater.on_message(protocol.CMD, memoryview(protocol.pack_cmd(protocol.CMD_CANCEL, 101)))
    life.parts.journal._records.save = keep  # type: ignore[method-assign]
    life.run()
    assert ("CommandRejected", "FLASH_READBACK") in [(e["event"], e["code"]) for e in world.events]
    assert running(live(flash, world, "hard")) == "1.1.0"


def test_a_journal_that_reads_otherwise_each_time_is_told_and_the_charger_runs(
    flash: RamNor, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_self: object) -> None:
        raise FlashError(CHANGED, "record 7")

    monkeypatch.setattr(Journal, "load", load)
    world.publish(GOOD, 1)
    assert running(live(flash, world)) == "1.1.0"
    assert world.events[0]["event"] == "JournalDamaged"


# --- journal, trailer and what runs disagree ---


def without_a_way_back(world: World) -> RamNor:
    """A charger whose only image is in slot b, complete, and whose power went before it was armed."""
    flash = RamNor(world.map.FLASH_SIZE, world.map.ERASE, world.map.WRITE)
    life = Life(flash, world, "power")
    life.run(until=lambda one: one.updater.state == states.WAITING)
    return flash


def test_an_image_that_was_never_tried_is_not_called_installed(world: World) -> None:
    world.publish(GOOD, 1)
    flash = without_a_way_back(world)
    life = Life(flash, world, "power")
    assert life.booted.mode == decision.LAST_RESORT
    assert life.run() == "the new image is armed"
    assert "Installed" not in world.words(101)
    life = live(flash, world, "hard")
    assert [b.mode for b in world.boots[-2:]][-1] == decision.TRIAL
    assert world.words(101)[-1] == "Installed" and running(life) == "1.1.0"


def test_an_ill_image_that_was_never_tried_ends_in_recovery_not_in_a_loop(world: World) -> None:
    world.publish(ILL, 1)
    flash = without_a_way_back(world)
    life = live(flash, world)
    assert life.booted.mode == decision.RECOVERY
    assert "Installed" not in world.words(101)
    assert world.words(101)[-1] == "InstallationFailed"


def test_a_torn_confirmation_of_the_only_image_is_tried_again(world: World) -> None:
    world.publish(GOOD, 1)
    flash = without_a_way_back(world)
    Life(flash, world, "power").run()  # arms it
    trial = Life(flash, world, "hard")
    trial.run(until=lambda one: one.updater.state == states.CONFIRMING)
    slot = Slot(flash, world.map, "b")
    slot.region.program(slot.layout.image_ok, b"\x13" * slot.layout.unit)
    life = live(flash, world)
    assert running(life) == "1.1.0" and life.booted.mode == decision.TRIAL
    assert slot.state().confirmed and world.words(101)[-1] == "Installed"


def test_a_confirmed_image_whose_job_cannot_be_closed_does_not_reset_for_ever(
    flash: RamNor, world: World
) -> None:
    world.publish(GOOD, 1)
    Life(flash, world, "power").run()
    for _ in range(3):
        life = Life(flash, world, "hard")
        refuse_saves(life)
        assert life.run() == ""
        assert world.statuses[-1]["status"] == "Installed"


def test_what_the_boot_stage_refused_is_disarmed(flash: RamNor, world: World) -> None:
    armed(flash, world, GOOD)
    flash.flip(world.map.REGIONS["slot_b"][0] + 3000, 0x10)
    live(flash, world, "hard")
    assert world.words(101)[-1] == "InstallVerificationFailed"
    flash.flip(world.map.REGIONS["slot_b"][0] + 3000, 0x10)  # the cell reads well again
    assert running(live(flash, world)) == "1.0.0"


def test_a_trial_that_no_job_named_is_not_told_under_another_jobs_id(
    flash: RamNor, world: World
) -> None:
    armed(flash, world, GOOD)
    region(flash, world.map, "journal").erase(0, world.map.REGIONS["journal"][1])
    world.offer = b""
    life = live(flash, world, "hard")
    assert running(life) == "1.1.0"
    assert (world.statuses[-1]["status"], world.statuses[-1]["request_id"]) == ("Installed", 0)


def test_b08_power_losses_deny_no_image(flash: RamNor, world: World) -> None:
    armed(flash, world, GOOD)
    for _ in range(12):
        Life(flash, world, "power")
    live(flash, world)
    assert world.words(101)[-1] == "InstallationFailed"
    world.publish(GOOD, 2)
    assert running(live(flash, world)) == "1.1.0"


def test_t14_a_cancelled_image_does_not_boot_when_the_other_one_breaks(
    flash: RamNor, world: World
) -> None:
    life = waiting(flash, world)
    life.updater.on_message(protocol.CMD, memoryview(protocol.pack_cmd(protocol.CMD_CANCEL, 101)))
    flash.flip(world.map.REGIONS["slot_a"][0] + 3000, 0x10)
    world.offer = b""
    assert Life(flash, world, "power").booted.mode == decision.RECOVERY


def test_a_slot_that_cannot_be_read_does_not_keep_the_other_from_booting(
    flash: RamNor, world: World
) -> None:
    at, size = world.map.REGIONS["slot_b"]
    read = flash.read

    def broken(offset: int, buf: bytearray | memoryview) -> None:
        if at <= offset < at + size:
            raise FlashError(READ_FAILED, "worn")
        read(offset, buf)

    flash.read = broken  # type: ignore[method-assign]
    life = Life(flash, world, "power")
    assert running(life) == "1.0.0" and life.booted.codes["b"] == "READ_FAILED"
    assert life.run() == ""


# --- applications ---


def test_an_application_that_would_not_answer_the_gate_fails_its_trial(
    flash: RamNor, world: World
) -> None:
    for answer in (RuntimeError("no such pin"), None, "no"):
        for question in ("charging", "contactor_closed", "connectors"):
            life_flash, here = flash.clone(), World(world.map)
            armed(life_flash, here, GOOD)
            for _ in range(3):
                life = Life(life_flash, here, "hard")
                life.app.answers[question] = answer
                life.run()
            assert running(live(life_flash, here, "hard")) == "1.0.0", (question, answer)


def test_a_failed_trial_lets_a_session_end_first(flash: RamNor, world: World) -> None:
    armed(flash, world, ILL)
    life = Life(flash, world, "hard")
    life.app.answers["charging"] = True
    life.run(until=lambda one: one.updater.state == states.GIVING_UP)
    for _ in range(100):
        life.tick()
    assert life.restarted == "" and life.app.held == [True]
    life.app.answers["charging"] = False
    life.tick()
    assert life.restarted == "the trial is given up"


def test_an_application_that_stops_during_a_download_is_started_again(
    flash: RamNor, world: World
) -> None:
    world.publish(GOOD, 1)
    life = Life(flash, world, "power")
    life.updater.on_message(protocol.OFFER, memoryview(world.offer))
    life.parts.app.stopped("OSError: 5")
    for _ in range(400):
        life.tick()
    assert life.restarted == "the application had stopped"


def test_a_hold_that_was_not_heard_is_given_back_later(flash: RamNor, world: World) -> None:
    life = waiting(flash, world)
    life.app.hold = lambda _on: 1 / 0  # type: ignore[method-assign,assignment]
    life.updater.on_message(protocol.CMD, memoryview(protocol.pack_cmd(protocol.CMD_CANCEL, 101)))
    heard: list[bool] = []
    life.app.hold = heard.append  # type: ignore[method-assign]
    life.tick()
    assert heard == [False]


def test_the_second_job_says_again_why_it_waits(flash: RamNor, world: World) -> None:
    life = waiting(flash, world)
    world.publish(image("1.3.0"), 2)
    life.updater.on_message(protocol.OFFER, memoryview(world.offer))
    life.run(until=lambda one: one.updater.state == states.WAITING and one.parts.reporter.idle)
    for _ in range(10):
        life.tick()
    last = world.statuses[-1]
    assert (last["request_id"], last["status"]) == (102, "InstallScheduled")


def test_t21_no_memory_for_long_ends_the_job_and_not_the_charger(
    flash: RamNor, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish(GOOD, 1)
    life = Life(flash, world, "power")

    def climb(_manifest: object) -> None:
        raise MemoryError("memory allocation failed, allocating 1024 bytes")

    monkeypatch.setattr(life.parts.installer, "climb", climb)
    assert life.run() == ""
    last = world.statuses[-1]
    assert (last["status"], last["reason"]) == ("InstallationFailed", "OutOfMemory")
    assert running(live(flash, world)) == "1.0.0"


def test_t21_no_memory_for_a_moment_costs_nothing(
    flash: RamNor, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish(GOOD, 1)
    life = Life(flash, world, "power")
    climb, left = life.parts.installer.climb, [3]

    def sometimes(job: Manifest) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            raise MemoryError
        return climb(job)

    monkeypatch.setattr(life.parts.installer, "climb", sometimes)
    life.run()
    assert running(live(flash, world, "hard")) == "1.1.0"
