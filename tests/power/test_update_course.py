"""Sessions, lines, trials, epochs: what a charger does while an update goes on, seen from outside.

The whole device in one process (rig.py): what is said is what the broker would get.
"""

from __future__ import annotations

import pytest

from agent import protocol, states
from agent.update.activation import LAST_WORD_MS
from bootloader_verify import decision
from bootloader_verify.counter import EpochCounter
from bootloader_verify.slot import Slot, region
from tests.power.flash_model import RamNor
from tests.power.rig import (
    TICK_MS,
    Life,
    World,
    armed,
    factory,
    image,
    live,
    offered,
    payload_for,
    refusal,
    running,
    waiting,
)

OLD, GOOD, ILL = image("1.0.0"), image("1.1.0"), image("1.2.0")


# --- the charger comes first ------------------------------------------------------------------


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


def test_g08_a_car_that_comes_before_the_reset_is_not_cut_off(flash: RamNor, world: World) -> None:
    world.publish(GOOD, 1)
    life = Life(flash, world, "power")
    life.run(until=lambda one: one.updater.state == states.REBOOTING)
    life.app.answers["charging"] = True
    for _ in range(100):
        life.tick()
    assert life.restarted == ""
    assert (world.statuses[-1]["status"], world.statuses[-1]["reason"]) == (
        "InstallScheduled",
        "TxInProgress",
    )
    life.app.answers["charging"] = False
    assert life.run() == "the new image is armed"


def test_the_reset_waits_for_the_last_word_but_not_for_ever(flash: RamNor, world: World) -> None:
    world.publish(GOOD, 1)
    life = Life(flash, world, "power")
    life.run(until=lambda one: one.updater.state == states.ARMING)
    silent_ms = 0
    while not life.restarted:  # nothing is acknowledged any more
        world.now_ms += TICK_MS
        silent_ms += TICK_MS
        life.updater.poll(world.now_ms)
    assert LAST_WORD_MS <= silent_ms <= LAST_WORD_MS + 5 * TICK_MS


def test_a_job_that_replaces_a_waiting_one_gives_the_hold_back(flash: RamNor, world: World) -> None:
    life = waiting(flash, world)
    world.publish(image("1.3.0"), 2)
    life.updater.on_message(protocol.OFFER, memoryview(world.offer))
    assert life.app.held == [True, False]


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
