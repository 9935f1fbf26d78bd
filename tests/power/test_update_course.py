"""Sessions, lines, trials, epochs: what a charger does while an update goes on, seen from outside.

The whole device in one process (rig.py): what is said is what the broker would get.
"""

from __future__ import annotations

from typing import Any

import pytest

from agent import protocol, states
from agent.manifest import Manifest
from agent.update.journal import Journal
from bootloader_verify import decision
from bootloader_verify.counter import EpochCounter
from bootloader_verify.errors import CHANGED, FLASH_READBACK, READ_FAILED, FlashError
from bootloader_verify.ladder import Verified
from bootloader_verify.slot import Slot, region
from tests.power.flash_model import RamNor
from tests.power.rig import (
    Life,
    World,
    factory,
    image,
    live,
    offered,
    payload_for,
    refusal,
    running,
)

OLD, GOOD, ILL = image("1.0.0"), image("1.1.0"), image("1.2.0")


# --- the charger comes first ------------------------------------------------------------------


def waiting(flash: RamNor, world: World, **policy: Any) -> Life:
    """A life that has a verified image and a car that charges."""
    world.publish(GOOD, 1, **policy)
    life = Life(flash, world, "power")
    life.app.answers["charging"] = True
    life.run(until=lambda one: one.updater.state == states.WAITING and one.parts.reporter.idle)
    for _ in range(20):
        life.tick()
    return life


def test_g02_activation_waits_for_the_end_of_the_session(flash: RamNor, world: World) -> None:
    life = waiting(flash, world)
    assert (world.statuses[-1]["status"], world.statuses[-1]["reason"]) == (
        "InstallScheduled",
        "TxInProgress",
    )
    assert life.app.held == [True]  # idle connectors are Unavailable meanwhile
    assert not Slot(flash, world.map, "b").state().armed
    life.app.answers["charging"] = False
    assert life.run() == "the new image is armed"
    assert running(live(flash, world, "hard")) == "1.1.0"


def test_g04_a_deferral_that_is_too_long_is_told(flash: RamNor, world: World) -> None:
    life = waiting(flash, world, max_deferral_s=3)
    for _ in range(40):
        life.tick()
    assert [e["event"] for e in world.events] == ["OfferAccepted", "ActivationDeferred"]


def test_t14_cancel_gives_the_charger_back_in_every_state_that_can_be_cancelled(
    world: World,
) -> None:
    cancel = memoryview(protocol.pack_cmd(protocol.CMD_CANCEL, 101))
    for state in (states.SCANNING, states.DOWNLOADING, states.VERIFYING, states.WAITING):
        flash, here = factory(world.map, OLD), World(world.map)
        here.publish(GOOD, 1)
        life = Life(flash, here, "power")
        life.app.answers["charging"] = True
        life.run(until=lambda one, wanted=state: one.updater.state == wanted)
        life.updater.on_message(protocol.CMD, cancel)
        life.run()
        assert life.updater.state == states.IDLE, state
        assert (here.statuses[-1]["status"], here.statuses[-1]["reason"]) == ("Idle", "Canceled")
        assert life.app.held[-1:] in ([], [False])
        assert running(live(flash, here)) == "1.0.0"  # the same offer is not taken up again


def test_t14_behind_the_point_of_no_return_a_cancel_is_refused(flash: RamNor, world: World) -> None:
    world.publish(GOOD, 1)
    life = Life(flash, world, "power")
    life.run(until=lambda one: one.updater.state == states.REBOOTING)
    life.updater.on_message(protocol.CMD, memoryview(protocol.pack_cmd(protocol.CMD_CANCEL, 101)))
    life.run()
    assert ("CommandRejected", "IN_PROGRESS") in [(e["event"], e["code"]) for e in world.events]
    assert running(live(flash, world, "hard")) == "1.1.0"


def test_t15_a_second_offer_replaces_the_first(flash: RamNor, world: World) -> None:
    world.publish(GOOD, 1)
    life = Life(flash, world, "power")
    life.run(until=lambda one: one.updater.state == states.DOWNLOADING)
    world.publish(image("1.3.0"), 2)
    assert life.run()
    assert running(live(flash, world, "hard")) == "1.3.0"
    assert [e["code"] for e in world.events if e["event"] == "OfferAccepted"] == [
        "Accepted",
        "AcceptedCanceled",
    ]
    replaced = [s["request_id"] for s in world.statuses].index(102)
    assert all(s["request_id"] == 102 for s in world.statuses[replaced:])


def test_an_offer_that_comes_during_a_trial_is_taken_behind_it(flash: RamNor, world: World) -> None:
    world.publish(GOOD, 1)
    Life(flash, world, "power").run()
    trial = Life(flash, world, "hard")
    world.publish(image("1.3.0"), 2)
    assert trial.run() == "the new image is armed"
    assert world.words(101)[-1] == "Installed"
    assert running(live(flash, world, "hard")) == "1.3.0"


# --- lines and servers ------------------------------------------------------------------------


def test_t01_a_lost_line_pauses_and_nothing_that_arrived_is_fetched_again(
    flash: RamNor, world: World
) -> None:
    world.publish(GOOD, 1)
    life = Life(flash, world, "power")
    life.run(until=lambda one: len(world.fetched) >= 4)
    life.updater.on_link(False, world.now_ms)
    assert life.updater.state == states.PAUSED
    for _ in range(20):
        life.tick()
    life.run()
    assert sorted(world.fetched) == sorted(set(world.fetched))
    assert running(live(flash, world, "hard")) == "1.1.0"


def test_an_artifact_that_is_gone_is_replaced_by_another_of_the_same_image(
    flash: RamNor, world: World
) -> None:
    payload = payload_for(world, GOOD)
    gone = world.artifact(GOOD, "deflate")
    payload["artifacts"].insert(0, gone.entry())
    offered(world, payload)
    del world.artifacts[gone.id]
    assert running(live(flash, world)) == "1.1.0"


def test_no_artifact_left_ends_the_download_with_the_reason(flash: RamNor, world: World) -> None:
    world.publish(GOOD, 1)
    world.artifacts.clear()
    live(flash, world)
    last = world.statuses[-1]
    assert (last["status"], last["reason"]) == ("DownloadFailed", "ArtifactGone")


def test_deflated_blocks_arrive_as_well(flash: RamNor, world: World) -> None:
    world.publish(GOOD, 1, "deflate")
    assert running(live(flash, world)) == "1.1.0"


def test_t02_a_deadline_that_passes_ends_the_download(flash: RamNor, world: World) -> None:
    world.publish(GOOD, 1, deadline_s=60)
    life = Life(flash, world, "power")
    life.updater.on_message(protocol.OFFER, memoryview(world.offer))
    for _ in range(700):
        life.tick()
    last = world.statuses[-1]
    assert (last["status"], last["reason"]) == ("DownloadFailed", "DeadlineExceeded")
    assert not world.fetched and life.app.held in ([], [False])


# --- trials -----------------------------------------------------------------------------------


def armed(flash: RamNor, world: World, data: bytes) -> None:
    world.publish(data, 1)
    Life(flash, world, "power").run()
    assert Slot(flash, world.map, "b").state().armed


def test_p06_power_losses_in_a_trial_burn_no_attempt(flash: RamNor, world: World) -> None:
    armed(flash, world, GOOD)
    for _ in range(5):
        life = Life(flash, world, "power")
        assert life.booted.mode == decision.TRIAL
    assert running(live(flash, world)) == "1.1.0"
    assert world.words(101)[-1] == "Installed"


def test_p10_but_their_number_is_bounded(flash: RamNor, world: World) -> None:
    armed(flash, world, GOOD)
    modes = [Life(flash, world, "power").booted.mode for _ in range(14)]
    assert modes.count(decision.TRIAL) == 12
    assert modes[-1] == decision.CONFIRMED
    assert running(live(flash, world)) == "1.0.0"


@pytest.mark.parametrize("cause", ["watchdog", "soft", "hard", "unknown"])
def test_b01_b02_every_other_reset_burns_one(flash: RamNor, world: World, cause: str) -> None:
    armed(flash, world, GOOD)
    modes = [Life(flash, world, cause).booted.mode for _ in range(4)]
    assert modes == [decision.TRIAL] * 3 + [decision.CONFIRMED]


def test_b11_the_release_that_failed_is_not_taken_again(flash: RamNor, world: World) -> None:
    world.publish(ILL, 1)
    live(flash, world)
    world.publish(ILL, 2)
    assert refusal(flash, world)["code"] == "DENIED"
    world.publish(GOOD, 3)
    assert running(live(flash, world)) == "1.1.0"


def test_a_trial_whose_application_crashes_goes_back_with_its_words(
    flash: RamNor, world: World
) -> None:
    armed(flash, world, GOOD)
    for _ in range(3):
        life = Life(flash, world, "hard")
        life.parts.app.stopped("ValueError: no such pin")
        life.run()
    live(flash, world, "hard")
    last = world.statuses[-1]
    assert (last["status"], last["detail"]) == ("InstallationFailed", "ValueError: no such pin")


# --- epochs ---


def stored_epoch(flash: RamNor, world: World) -> int | None:
    return EpochCounter(region(flash, world.map, "epoch")).read()


def test_the_factory_image_s_epoch_becomes_the_device_s(world: World) -> None:
    flash = factory(world.map, image("1.0.0", epoch=30), epoch=0)
    live(flash, world)
    assert stored_epoch(flash, world) == 30
    world.publish(image("1.1.0", epoch=31), 1)
    assert running(live(flash, world)) == "1.1.0" and stored_epoch(flash, world) == 31


def test_t21_an_older_epoch_is_refused_behind_a_confirmed_rise(flash: RamNor, world: World) -> None:
    world.publish(image("1.1.0", epoch=3), 1)
    live(flash, world)
    world.publish(image("1.2.1", epoch=2), 2)
    assert refusal(flash, world)["code"] == "ROLLBACK"


def test_t24_a_damaged_counter_is_an_alarm_and_the_running_image_counts(
    flash: RamNor, world: World
) -> None:
    at, size = world.map.REGIONS["epoch"]
    for offset in (0, 4, size // 2, size // 2 + 4):
        flash.flip(at + offset, 0x01)
    life = live(flash, world)
    assert running(life) == "1.0.0"
    assert [e["event"] for e in world.events] == ["EpochDamaged"]
    assert stored_epoch(flash, world) == 1


# --- without an image -------------------------------------------------------------------------


def test_b13_a_charger_with_no_image_takes_a_good_one(world: World) -> None:
    flash = RamNor(world.map.FLASH_SIZE, world.map.ERASE, world.map.WRITE)
    world.publish(GOOD, 1)
    life = live(flash, world)
    assert world.boots[0].mode == decision.RECOVERY
    assert world.statuses[0]["mode"] == "recovery"
    assert running(life) == "1.1.0" and world.words(101)[-1] == "Installed"


def test_v14_a_confirmed_image_that_rots_is_not_booted(flash: RamNor, world: World) -> None:
    flash.flip(world.map.REGIONS["slot_a"][0] + 3000, 0x10)
    life = Life(flash, world, "power")
    assert life.booted.mode == decision.RECOVERY and life.booted.codes["a"] == "BAD_HASH"


def test_an_application_that_stopped_is_told_and_started_again(flash: RamNor, world: World) -> None:
    life = Life(flash, world, "power")
    life.parts.app.stopped("OSError: 5")
    for _ in range(310):
        life.tick()
    assert life.restarted == "the application had stopped"
    assert ("ApplicationStopped", "OSError: 5") in [(e["event"], e["detail"]) for e in world.events]


def test_the_status_is_repeated_when_somebody_asks(flash: RamNor, world: World) -> None:
    life = Life(flash, world, "power")
    life.run()
    said = len(world.statuses)
    life.updater.on_message(protocol.CMD, memoryview(protocol.pack_cmd(protocol.CMD_STATUS)))
    life.tick()
    assert world.statuses[said:] == world.statuses[said - 1 : said]


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

    def verify(_manifest: object) -> None:
        raise MemoryError("memory allocation failed, allocating 1024 bytes")

    monkeypatch.setattr(life.parts.installer, "verify", verify)
    assert life.run() == ""
    last = world.statuses[-1]
    assert (last["status"], last["reason"]) == ("InstallationFailed", "OutOfMemory")
    assert running(live(flash, world)) == "1.0.0"


def test_t21_no_memory_for_a_moment_costs_nothing(
    flash: RamNor, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish(GOOD, 1)
    life = Life(flash, world, "power")
    verify, left = life.parts.installer.verify, [3]

    def sometimes(job: Manifest) -> Verified:
        left[0] -= 1
        if left[0] >= 0:
            raise MemoryError
        return verify(job)

    monkeypatch.setattr(life.parts.installer, "verify", sometimes)
    life.run()
    assert running(live(flash, world, "hard")) == "1.1.0"
